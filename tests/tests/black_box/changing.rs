//! Changes stay inside the library, whatever else happens to its folders, its clock, and the server's own folder.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server, sorted_names};
use serde_json::{Value, json};

use crate::acts::{done, files, post};

/// Operations while folders are swapped.
const OPERATIONS: usize = 400;

/// Everything below a folder, by path, with its content.
fn content(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.insert(path.clone(), Vec::new());
            all.extend(content(&path)?);
        } else {
            all.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(all)
}

/// Swaps a folder and a link to a folder outside back and forth until it is told to stop.
fn swap(folder: &Path, outside: &Path, stop: &AtomicBool, swaps: &AtomicU32) {
    let (was, link) = (folder.with_extension("was"), folder.with_extension("link"));
    let _ = symlink(outside, &link);
    while !stop.load(Ordering::Relaxed) {
        let _ = std::fs::rename(folder, &was).and_then(|()| std::fs::rename(&link, folder));
        std::thread::yield_now();
        let _ = std::fs::rename(folder, &link).and_then(|()| std::fs::rename(&was, folder));
        std::thread::yield_now();
        swaps.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_folder_that_is_swapped_for_a_link_during_operations_changes_nothing_outside() -> Result<()> {
    let names: Vec<String> = (0..30).map(|number| format!("m{number}")).collect();
    let inside = names
        .iter()
        .map(|name| Model::lora(&format!("sub/{name}")).sidecar().preview("png"));
    let library = Library::of(inside.chain([Model::lora("other/n")]))?;
    let root = library.root("loras");
    let server = library.serve().await?;
    // Files of the same names, which an operation that follows the link would hit.
    let outside = tempfile::tempdir()?;
    for (path, bytes) in content(&root.join("sub"))? {
        std::fs::write(outside.path().join(path.file_name().context("a name")?), bytes)?;
    }
    let before = content(outside.path())?;
    let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let swapper = std::thread::spawn({
        let (stop, swaps) = (stop.clone(), swaps.clone());
        let (folder, outside) = (root.join("sub"), outside.path().to_owned());
        move || swap(&folder, &outside, &stop, &swaps)
    });
    let mut succeeded = BTreeMap::<&str, u32>::new();
    for number in 0..OPERATIONS {
        let name = &names[number % names.len()];
        let path = wire(&root.join(format!("sub/{name}.safetensors")));
        let (route, body) = match number % 5 {
            0 => (
                "loras/save-metadata",
                json!({ "file_path": path, "notes": format!("n{number}") }),
            ),
            1 => ("loras/delete", json!({ "file_path": path })),
            2 => (
                "loras/rename",
                json!({ "file_path": path, "new_file_name": format!("{name}r") }),
            ),
            3 => (
                "loras/move_model",
                json!({ "file_path": path, "target_path": wire(&root.join("other")) }),
            ),
            _ => (
                "loras/move_model",
                json!({
                    "file_path": wire(&root.join("other/n.safetensors")), "target_path": wire(&root.join("sub/new")),
                }),
            ),
        };
        let (_, answer) = post(&server, route, body).await?;
        if answer["success"] == true {
            *succeeded.entry(route).or_default() += 1;
            if let Some(id) = answer["undo_id"].as_str() {
                post(&server, "undo", json!({ "id": id })).await?;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper
        .join()
        .map_err(|_| anyhow::anyhow!("the swapping thread broke"))?;
    post(&server, "trash/empty", json!({})).await?;
    server.stop().await?;
    assert_eq!(content(outside.path())?, before, "{succeeded:?}");
    assert!(swaps.load(Ordering::Relaxed) > 0);
    assert!(!succeeded.is_empty(), "nothing ever succeeded, so nothing was tested");
    Ok(())
}

#[tokio::test]
async fn a_trash_that_is_a_link_is_refused_by_name_and_nothing_goes_where_it_leads() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let outside = tempfile::tempdir()?;
    let trash = library.root("loras").join(".lm-pending-delete");
    symlink(outside.path(), &trash)?;
    let server = library.serve().await?;
    let path = wire(&library.root("loras").join("m.safetensors"));
    let (status, answer) = post(&server, "loras/delete", json!({ "file_path": path })).await?;
    assert!(
        status >= 400 && answer["error"].to_string().contains(".lm-pending-delete"),
        "{status} {answer}"
    );
    assert!(Path::new(&path).exists());
    assert_eq!(std::fs::read_dir(outside.path())?.count(), 0);
    std::fs::remove_file(trash)?;
    done(&server, "loras/delete", json!({ "file_path": path })).await?;
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(path.metadata()?.permissions().mode() & 0o777)
}

#[tokio::test]
async fn a_data_folder_that_existed_is_private_after_the_start() -> Result<()> {
    let library = Library::of([Model::lora("m")])?;
    let data = library.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755))?;
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(mode(&data)?, 0o700);
    server.stop().await?;

    let other = library.path().join("somebody's");
    std::fs::create_dir(&other)?;
    std::fs::write(other.join("thesis.txt"), "")?;
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o755))?;
    let refused = library.options().data_dir(&other).compiling().start().await;
    let error = format!("{:#}", refused.err().context("the server started")?);
    assert!(error.contains("thesis.txt") && error.contains("--data-dir"), "{error}");
    assert_eq!(mode(&other)?, 0o755);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_data_folder_vanished_says_so_and_changes_nothing_any_more() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let before = files(&library.root("loras"))?;
    std::fs::remove_dir_all(&data)?;
    let path = wire(&library.root("loras").join("m.safetensors"));
    for (route, body) in [
        ("loras/save-metadata", json!({ "file_path": path, "notes": "x" })),
        ("loras/delete", json!({ "file_path": path })),
    ] {
        let (status, answer) = post(&server, route, body).await?;
        assert!(
            status == 503 && answer["error"].to_string().contains("data folder"),
            "{status} {answer}"
        );
    }
    assert_eq!(files(&library.root("loras"))?, before);
    let problems = server.get_json("/api/lm/loras/problems", &[]).await?.to_string();
    assert!(problems.contains("removed or replaced"), "{problems}");
    assert!(server.log().contains("removed or replaced"));
    // Reading goes on.
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["m"]);
    Ok(())
}

#[tokio::test]
async fn a_second_server_does_not_start_though_the_lock_was_removed() -> Result<()> {
    let library = Library::of([Model::lora("m")])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    std::fs::remove_file(data.join("lock"))?;
    let refused = library.options().data_dir(&data).start().await;
    let error = format!("{:#}", refused.err().context("a second server started")?);
    assert!(error.contains("in use by another server"), "{error}");
    let path = wire(&library.root("loras").join("m.safetensors"));
    done(
        &server,
        "loras/save-metadata",
        json!({ "file_path": path, "notes": "x" }),
    )
    .await?;
    Ok(())
}

/// Makes every act of a data folder older by so many days.
fn age(data: &Path, days: f64) -> Result<()> {
    let shift = |value: &mut Value| {
        if let Some(seconds) = value.as_f64() {
            *value = json!(seconds - days * 86_400.0);
        }
    };
    for entry in std::fs::read_dir(data.join("history"))? {
        let path = entry?.path().join("act.json");
        let mut act: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        shift(&mut act["at"]);
        shift(&mut act["clock"]);
        std::fs::write(&path, act.to_string())?;
    }
    let path = data.join("history_clock.json");
    let mut clock: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    shift(&mut clock["time"]);
    shift(&mut clock["system"]);
    Ok(std::fs::write(&path, clock.to_string())?)
}

#[tokio::test]
async fn a_clock_that_jumps_a_month_ahead_empties_no_trash() -> Result<()> {
    let library = Library::of(["a", "b", "c"].map(|name| Model::lora(name).sidecar()))?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    for name in ["a", "b", "c"] {
        let path = wire(&library.root("loras").join(format!("{name}.safetensors")));
        done(&server, "loras/delete", json!({ "file_path": path })).await?;
    }
    let acts = |server: Value| server["total"].as_u64();
    let history = Call::get("/api/lm/history");
    assert_eq!(acts(server.send(&history).await?.json()?), Some(3));
    server.stop().await?;
    // All that the server knows is a month old now, as if the clock had jumped.
    age(&data, 30.0)?;
    for _ in 0..3 {
        let server = library.options().data_dir(&data).serve().await?;
        assert_eq!(acts(server.send(&history).await?.json()?), Some(3));
        assert!(
            files(&library.root("loras"))?
                .keys()
                .filter(|path| path.ends_with(".safetensors"))
                .count()
                == 3
        );
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_servers_with_data_folders_of_their_own_lose_no_tag() -> Result<()> {
    let names: Vec<String> = (0..30).map(|number| format!("m{number:02}")).collect();
    let library = Library::of(names.iter().map(|name| Model::lora(name).sidecar()))?;
    let one = library.serve().await?;
    let other = library.serve().await?;
    let add = async |server: &Server, tag: &str| -> Result<()> {
        for name in &names {
            for number in 0..3 {
                let path = wire(&library.root("loras").join(format!("{name}.safetensors")));
                let tags = [format!("{tag}{number}")];
                done(server, "loras/add-tags", json!({ "file_path": path, "tags": tags })).await?;
            }
        }
        Ok(())
    };
    tokio::try_join!(add(&one, "one"), add(&other, "other"))?;
    for name in &names {
        let path = library.root("loras").join(format!("{name}.metadata.json"));
        let sidecar: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let tags = sidecar["tags"].as_array().cloned().unwrap_or_default();
        let wanted = ["one0", "one1", "one2", "other0", "other1", "other2"];
        assert!(wanted.iter().all(|tag| tags.contains(&json!(tag))), "{name}: {tags:?}");
    }
    Ok(())
}

#[tokio::test]
async fn names_that_are_too_long_are_the_requests_fault() -> Result<()> {
    let long = "x".repeat(243);
    let library = Library::of([Model::lora(&long), Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let root = library.root("loras");
    let path = |name: &str| wire(&root.join(format!("{name}.safetensors")));
    let longer = "y".repeat(300);
    for (route, body) in [
        ("loras/save-metadata", json!({ "file_path": path(&long), "notes": "x" })),
        ("loras/delete", json!({ "file_path": path(&longer) })),
        (
            "loras/rename",
            json!({ "file_path": path("m"), "new_file_name": longer }),
        ),
        (
            "loras/move_model",
            json!({ "file_path": path("m"), "target_path": wire(&root.join(&longer)) }),
        ),
        (
            "loras/move_models_bulk",
            json!({ "file_paths": [path("m")], "target_path": wire(&root.join(&longer)) }),
        ),
    ] {
        let (status, answer) = post(&server, route, body).await?;
        let text = answer.to_string();
        assert!(text.contains("long"), "{route}: {status} {answer}");
        assert!(status == 400 || route.ends_with("bulk"), "{route}: {status} {answer}");
    }
    let call = Call::get("/api/lm/previews").query(&[("path", wire(&root.join(format!("{longer}.png"))).as_str())]);
    assert_eq!(server.send(&call).await?.status, 400);
    assert!(!root.join("m.metadata.json.tmp").exists());
    Ok(())
}
