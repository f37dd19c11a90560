//! Copies of one file: verified, deleted together by version, and made to share their bytes on the disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use modelshelf_tests::model::{sha256, wire};
use modelshelf_tests::{Call, Library, Model, Mount, Server, skip, sorted_names};
use serde_json::{Value, json};

use crate::acts::{done, files, post};

fn sidecar(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(
        path.with_extension("metadata.json"),
    )?)?)
}

async fn verify(server: &Server, paths: &[&Path]) -> Result<Value> {
    let paths: Vec<String> = paths.iter().map(|path| wire(path)).collect();
    done(server, "loras/verify-duplicates", json!({ "file_paths": paths })).await
}

#[tokio::test]
async fn verifying_reads_the_files_again_and_puts_right_what_was_wrong() -> Result<()> {
    let library = Library::new()?;
    let one = library.add(&Model::lora("one").seed(1))?;
    let copy = library.add(
        &Model::lora("copy")
            .seed(1)
            .side("sha256", "ab".repeat(32))
            .side("theirs", 1),
    )?;
    let other = library.add(
        &Model::lora("other")
            .seed(2)
            .side("sha256", sha256(&std::fs::read(&one)?)),
    )?;
    let server = library.serve().await?;
    let (same, different) = (sha256(&std::fs::read(&one)?), sha256(&std::fs::read(&other)?));

    // A wrong hash of a copy is put right, and is no mismatch.
    let gone = library.root("loras").join("gone.safetensors");
    let answer = verify(&server, &[&one, &copy, &gone]).await?;
    assert_eq!(
        answer,
        json!({
            "success": true, "verified_as_duplicates": true, "mismatched_files": [], "new_hash_map": {},
            "missing_files": [wire(&gone)],
        })
    );
    assert_eq!(
        json!([sidecar(&copy)?["sha256"], sidecar(&copy)?["theirs"]]),
        json!([same, 1])
    );
    assert_eq!(server.item("loras", "copy").await?["sha256"], same);

    let answer = verify(&server, &[&one, &other]).await?;
    assert_eq!(
        answer,
        json!({
            "success": true, "verified_as_duplicates": false, "mismatched_files": [wire(&other)],
            "new_hash_map": {wire(&other): different}, "missing_files": [],
        })
    );
    assert_eq!(sidecar(&other)?["sha256"], different);
    let groups = server.get_json("/api/lm/loras/find-duplicates", &[]).await?;
    assert_eq!(
        json!([groups["count"], groups["duplicates"][0]["hash"]]),
        json!([1, same])
    );
    assert_eq!(
        server.item("loras", "other").await?,
        library.serve().await?.item("loras", "other").await?
    );

    // What lies in the folders and is no model is passed over, and a way out of them is none.
    let stray = Model::lora("stray").write(library.path())?;
    let trashed = library.root("loras").join(".lm-pending-delete/0123/t.safetensors");
    std::fs::create_dir_all(trashed.parent().unwrap_or(&trashed))?;
    std::fs::copy(&stray, &trashed)?;
    let answer = verify(&server, &[&one, &trashed]).await?;
    assert_eq!(answer["mismatched_files"], json!([]));
    let climbing = format!("{}/../elsewhere.safetensors", wire(&library.root("loras")));
    std::fs::copy(&stray, &climbing)?;
    let refused = post(
        &server,
        "loras/verify-duplicates",
        json!({"file_paths": [wire(&one), climbing]}),
    );
    assert_eq!(refused.await?.0, 400);
    let listed = server.list("loras", &[]).await?;
    assert!(
        ["t", "elsewhere"]
            .iter()
            .all(|name| !sorted_names(&listed).contains(&(*name).to_owned())),
        "{listed}"
    );

    for (body, status) in [
        (json!({}), 400),
        (json!({"file_paths": []}), 400),
        (
            json!({"file_paths": [wire(&library.path().join("x.safetensors"))]}),
            400,
        ),
    ] {
        assert_eq!(post(&server, "loras/verify-duplicates", body).await?.0, status);
    }
    Ok(())
}

#[tokio::test]
async fn all_files_of_a_version_are_deleted_together_and_come_back_together() -> Result<()> {
    let version = |id: u64| json!({"id": id, "modelId": 7, "name": "v"});
    let library = Library::of([
        Model::lora("a").civitai(version(70)),
        Model::lora("b/a").civitai(version(70)).preview("png"),
        Model::lora("c").civitai(version(71)),
    ])?;
    let server = library.serve().await?;
    let before = files(&library.root("loras"))?;
    let get = |query: &str| {
        let call = Call::get(&format!("/api/lm/delete-model-version{query}")).header("Sec-Fetch-Site", "same-origin");
        let server = &server;
        async move { server.send(&call).await }
    };
    for (query, status, error) in [
        ("", 400, "Missing required parameter: modelVersionId"),
        ("?modelVersionId=x", 400, "Parameter modelVersionId must be an integer"),
        ("?modelVersionId=9", 404, "Model version not found in any scanner cache"),
    ] {
        let reply = get(query).await?;
        assert_eq!(
            (reply.status, reply.json()?),
            (status, json!({"success": false, "error": error}))
        );
    }
    let foreign = Call::get("/api/lm/delete-model-version?modelVersionId=70").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&foreign).await?.status, 403);
    let answer = get("?modelVersionId=70").await?.json()?;
    assert_eq!(
        json!([
            answer["success"],
            answer["modelType"],
            answer["modelVersionId"],
            answer["deletedFiles"]
        ]),
        json!([true, "lora", 70, 2])
    );
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["c"]);
    done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(files(&library.root("loras"))?, before);
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["a", "a", "c"]);
    Ok(())
}

fn inode(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}

/// Three copies of a megabyte and a file that only claims to be one.
fn copies() -> Result<(Library, Vec<PathBuf>)> {
    let library = Library::new()?;
    let model = |name: &str| Model::lora(name).seed(1).grown_to(1 << 20);
    let mut paths = Vec::new();
    for name in ["a", "b/a", "c"] {
        paths.push(library.add(&model(name).tags(&[name]))?);
    }
    let hash = sha256(&std::fs::read(&paths[0])?);
    for path in &paths {
        let mut own = sidecar(path)?;
        own["sha256"] = json!(hash);
        std::fs::write(path.with_extension("metadata.json"), own.to_string())?;
    }
    let mut liar = std::fs::read(&paths[0])?;
    *liar.last_mut().context("a byte")? ^= 1;
    let path = library.add(&Model::lora("liar").bytes(liar).side("sha256", hash))?;
    paths.push(path);
    Ok((library, paths))
}

#[tokio::test]
async fn copies_share_their_bytes_after_a_comparison_and_later_acts_on_one_leave_the_others_alone() -> Result<()> {
    let (library, paths) = copies()?;
    let [a, b, c, liar] = &paths[..] else {
        anyhow::bail!("four files")
    };
    let looks = |path: &Path| -> Result<_> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.mtime(), metadata.mtime_nsec(), metadata.mode()))
    };
    std::fs::set_permissions(c, std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
    let own = [looks(b)?, looks(c)?];
    let server = library.serve().await?;
    let before = files(&library.root("loras"))?;
    let item = server.item("loras", "c").await?;
    let body = |dry_run: bool| json!({"keep": wire(a), "replace": [wire(b), wire(c), wire(liar), wire(a)], "method": "hardlink", "dry_run": dry_run});

    let plan = done(&server, "loras/link-duplicates", body(true)).await?;
    assert_eq!(
        json!([plan["dry_run"], plan["bytes_saved"], plan["success_count"]]),
        json!([true, 3 << 20, 3])
    );
    assert_eq!(files(&library.root("loras"))?, before);
    assert_ne!(inode(a)?, inode(b)?);

    let answer = done(&server, "loras/link-duplicates", body(false)).await?;
    assert_eq!(
        json!([answer["bytes_saved"], answer["success_count"], answer["failure_count"]]),
        json!([2 << 20, 2, 1])
    );
    assert_eq!(
        answer["results"][0],
        json!({"file_path": wire(b), "success": true, "method": "hardlink", "bytes_saved": 1 << 20})
    );
    let error = answer["results"][2]["error"].as_str().unwrap_or_default();
    assert!(error.contains("does not have the content"), "{error}");
    assert_eq!((inode(b)?, inode(c)?), (inode(a)?, inode(a)?));
    assert_ne!(inode(liar)?, inode(a)?);
    // Nothing that a person sees is different.
    let strip = |mut item: Value| {
        item.as_object_mut().map(|item| item.remove("modified"));
        item
    };
    server.scan("loras", false).await?;
    assert_eq!(strip(server.item("loras", "c").await?), strip(item.clone()));
    assert_eq!(strip(library.serve().await?.item("loras", "c").await?), strip(item));
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["a", "a", "c", "liar"]);
    let again = done(
        &server,
        "loras/link-duplicates",
        json!({"keep": wire(a), "replace": [wire(b)]}),
    )
    .await?;
    assert_eq!(
        json!([again["results"][0]["method"], again["bytes_saved"], again["undo_id"]]),
        json!(["already", 0, null])
    );

    // Deleting and editing one of them is about that one.
    let bytes = std::fs::read(b)?;
    let deleted = done(&server, "loras/delete", json!({"file_path": wire(a)})).await?;
    done(&server, "trash/empty", json!({})).await?;
    done(
        &server,
        "loras/save-metadata",
        json!({"file_path": wire(b), "notes": "n"}),
    )
    .await?;
    assert!(!a.exists() && std::fs::read(b)? == bytes && std::fs::read(c)? == bytes);
    let (status, _) = post(&server, "undo", json!({"id": deleted["undo_id"]})).await?;
    assert_eq!(status, 404, "the trash was emptied");

    // The undo gives each its own bytes again.
    let undone = done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(undone["conflicts"], json!([]));
    assert_ne!(inode(b)?, inode(c)?);
    assert_eq!([looks(b)?, looks(c)?], own);
    assert!(std::fs::read(b)? == bytes && std::fs::read(c)? == bytes);
    assert_eq!(sidecar(b)?["notes"], "n");
    Ok(())
}

/// A disk of btrfs in a file, mounted at `at`; none where there is none to be had.
fn btrfs(file: &Path, at: &Path) -> Result<Option<Mount>> {
    std::fs::File::create(file)?.set_len(512 << 20)?;
    std::fs::create_dir_all(at)?;
    let made = std::process::Command::new("mkfs.btrfs")
        .args(["-q", "-m", "single"])
        .arg(file)
        .stderr(std::process::Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        skip("there is no mkfs.btrfs");
        return Ok(None);
    }
    let file = file.to_str().context("a path")?;
    Ok(Mount::new(&["-o", "loop", file], at))
}

/// Bytes that are taken on the disk of a path.
fn taken(path: &Path) -> Result<u64> {
    let synced = std::process::Command::new("sync").arg("-f").arg(path).status()?;
    anyhow::ensure!(synced.success(), "sync");
    let used = std::process::Command::new("df")
        .args(["-B1", "--output=used"])
        .arg(path)
        .output()?;
    let text = String::from_utf8(used.stdout)?;
    Ok(text.lines().last().context("a number")?.trim().parse()?)
}

#[tokio::test]
async fn on_a_file_system_with_reflinks_copies_share_bytes_and_stay_files_of_their_own() -> Result<()> {
    let library = Library::new()?;
    let root = library.root("loras");
    let Some(_disk) = btrfs(&library.path().join("disk"), &root)? else {
        return Ok(());
    };
    let mut paths = Vec::new();
    for name in ["a", "b", "c"] {
        paths.push(library.add(&Model::lora(name).seed(1).grown_to(16 << 20).tags(&[name]))?);
    }
    for path in &paths {
        // A sparse file takes nothing, and would save nothing.
        let mut bytes = std::fs::read(path)?;
        let from = bytes.len() - (15 << 20);
        (bytes[from..].iter_mut().zip(0u32..))
            .for_each(|(byte, at)| *byte = (at.wrapping_mul(2_654_435_761) >> 24) as u8);
        std::fs::write(path, bytes)?;
    }
    let server = library.serve().await?;
    let (before, all) = (files(&root)?, taken(&root)?);
    let body = json!({"keep": wire(&paths[0]), "replace": [wire(&paths[1]), wire(&paths[2])]});
    let answer = done(&server, "loras/link-duplicates", body).await?;
    assert_eq!(
        json!([
            answer["results"][0]["method"],
            answer["results"][1]["method"],
            answer["bytes_saved"]
        ]),
        json!(["reflink", "reflink", 32 << 20])
    );
    let shared = taken(&root)?;
    assert!(
        shared + (24 << 20) < all,
        "{all} bytes were taken before, {shared} after"
    );
    let weights = |files: std::collections::BTreeMap<String, Vec<u8>>| -> Vec<_> {
        files
            .into_iter()
            .filter(|(path, _)| path.ends_with(".safetensors"))
            .collect()
    };
    assert!(weights(files(&root)?) == weights(before));
    assert_ne!(inode(&paths[0])?, inode(&paths[1])?);
    // Writing to one leaves the others alone.
    let mut own = std::fs::read(&paths[1])?;
    *own.last_mut().context("a byte")? ^= 1;
    std::fs::write(&paths[1], &own)?;
    assert!(std::fs::read(&paths[2])? == std::fs::read(&paths[0])? && std::fs::read(&paths[2])? != own);
    Ok(())
}

#[tokio::test]
async fn what_can_t_share_is_refused() -> Result<()> {
    let (library, paths) = copies()?;
    let a = &paths[0];
    std::os::unix::fs::symlink(a, library.root("loras").join("link.safetensors"))?;
    let server = library.serve().await?;
    let outside = library.path().join("x.safetensors");
    let never = library.root("loras").join("never.safetensors");
    for (body, status) in [
        (json!({"keep": wire(a), "replace": []}), 400),
        (json!({"keep": wire(a)}), 400),
        (json!({"keep": wire(a), "replace": [wire(a)], "other": 1}), 400),
        (json!({"keep": wire(a), "replace": [wire(&outside)]}), 400),
        (json!({"keep": wire(&never), "replace": [wire(a)]}), 404),
    ] {
        let (code, answer) = post(&server, "loras/link-duplicates", body).await?;
        assert_eq!(code, status, "{answer}");
    }
    let (_, answer) = post(
        &server,
        "loras/link-duplicates",
        json!({"keep": wire(a), "replace": [wire(&never)]}),
    )
    .await?;
    assert_eq!(answer["success"], false);
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|error| error.contains("never.safetensors"))
    );
    assert_eq!(server.get_json("/api/lm/history", &[]).await?["total"], 0);
    Ok(())
}
