//! Moving models: all their files travel, nothing is replaced, and an undo brings everything back to the byte.

use std::path::{Path, PathBuf};

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::views::{self, files, folders};
use modelshelf_tests::{Library, Model, skip, sorted_names};
use serde_json::{Value, json};

use crate::acts::{done, post};

fn model(root: &Path, name: &str) -> String {
    wire(&root.join(format!("{name}.safetensors")))
}

#[tokio::test]
async fn all_files_of_a_model_travel_and_come_back_and_so_do_folders() -> Result<()> {
    let library = Library::of([
        Model::lora("a/m").name("Shown").tags(&["t"]).preview("png"),
        Model::lora("a/m.v2").sidecar(),
        Model::lora("a/mm").sidecar(),
    ])?;
    let root = library.root("loras");
    std::fs::write(root.join("a/m.txt"), "a person's")?;
    std::fs::write(root.join("a/m.civitai.info"), "{}")?;
    let server = library.serve().await?;
    let (before, folders_before) = (files(&root)?, folders(&root)?);
    let old = server.item("loras", "m").await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;

    let target = wire(&root.join("b/c ü"));
    let wish = json!({"file_path": model(&root, "a/m"), "target_path": target});
    let mut dry = wish.clone();
    dry["dry_run"] = true.into();
    let plan = done(&server, "loras/move_model", dry).await?;
    assert_eq!(plan["results"][0]["files"].as_array().map(Vec::len), Some(5), "{plan}");
    assert_eq!(
        json!([
            plan["move_count"],
            plan["clash_count"],
            plan["copied_bytes"],
            plan["dry_run"]
        ]),
        json!([1, 0, 0, true])
    );
    assert_eq!(files(&root)?, before, "a plan changes nothing");
    assert!(!root.join("b").exists());

    let answer = done(&server, "loras/move_model", wish).await?;
    let new = model(&root, "b/c ü/m");
    assert_eq!(
        json!([
            answer["original_file_path"],
            answer["new_file_path"],
            answer["cache_entry"]["folder"]
        ]),
        json!([model(&root, "a/m"), new, "b/c ü"])
    );
    assert_eq!(plan["results"][0]["new_file_path"], new.as_str());
    assert_eq!(answer["cache_entry"]["tags"], json!(["t"]));
    socket.find(|message| message["type"] == "models_changed").await?;
    for name in ["m.txt", "m.civitai.info", "m.png", "m.metadata.json"] {
        assert!(root.join("b/c ü").join(name).exists(), "{name}");
    }
    assert!(
        root.join("a/m.v2.safetensors").exists(),
        "another model whose name starts the same stays"
    );
    let sidecar: Value = serde_json::from_slice(&std::fs::read(root.join("b/c ü/m.metadata.json"))?)?;
    assert_eq!(
        json!([sidecar["file_path"], sidecar["preview_url"]]),
        json!([new, wire(&root.join("b/c ü/m.png"))])
    );
    let items = views::agree(&server, library.options(), "loras").await?;
    let item = &items[&new];
    assert_eq!(
        json!([item["model_name"], item["sha256"], item["folder"]]),
        json!(["Shown", old["sha256"], "b/c ü"])
    );

    let undone = done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(undone["conflicts"], json!([]));
    assert_eq!(
        (files(&root)?, folders(&root)?),
        (before, folders_before),
        "with the folders that were made"
    );
    assert_eq!(server.item("loras", "m").await?, old);
    views::agree(&server, library.options(), "loras").await?;
    // And once more, which makes the folders again.
    done(&server, "undo", json!({"id": undone["undo_id"]})).await?;
    assert_eq!(server.item("loras", "m").await?["folder"], "b/c ü");
    views::agree(&server, library.options(), "loras").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_being_downloaded_beside_a_model_stays_where_it_is() -> Result<()> {
    let library = Library::of([Model::lora("a/m").sidecar()])?;
    let root = library.root("loras");
    let others = ["m.v2.safetensors.part", "m.v2.safetensors.part.state", "m.v2.png"];
    for other in others {
        std::fs::write(root.join("a").join(other), "another's")?;
    }
    let server = library.serve().await?;
    let target = wire(&root.join("b"));
    let wish = json!({"file_path": model(&root, "a/m"), "target_path": target});
    done(&server, "loras/move_model", wish).await?;
    assert!(root.join("b/m.safetensors").is_file());
    for other in others {
        assert!(root.join("a").join(other).is_file(), "{other}");
    }
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_taken_is_made_another_and_nothing_is_replaced() -> Result<()> {
    let library = Library::of([
        Model::lora("a/m").sidecar().seed(1),
        Model::lora("c/m").sidecar().seed(2),
        Model::lora("b/m").tags(&["theirs"]).seed(3),
        Model::lora("n").sidecar(),
    ])?;
    let root = library.root("loras");
    // No model, but a file that would be taken over.
    std::fs::write(root.join("b/n.txt"), "somebody's")?;
    std::fs::write(root.join("n.txt"), "its own")?;
    let server = library.serve().await?;
    let before = files(&root)?;
    let hash = server.item("loras", "n").await?["sha256"].as_str().unwrap_or_default()[..4].to_owned();
    let target = wire(&root.join("b"));
    let paths = ["a/m", "c/m", "n", "none"].map(|name| model(&root, name));
    let wish = json!({"file_paths": paths, "target_path": target});
    let mut dry = wish.clone();
    dry["dry_run"] = true.into();
    let plan = done(&server, "loras/move_models_bulk", dry).await?;
    assert_eq!(
        json!([plan["move_count"], plan["clash_count"], plan["failure_count"]]),
        json!([3, 3, 1]),
        "{plan}"
    );
    let answer = done(&server, "loras/move_models_bulk", wish).await?;
    assert_eq!(
        json!([answer["message"], answer["success_count"], answer["failure_count"]]),
        json!(["Moved 3 of 4 models", 3, 1])
    );
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    for (result, planned) in results.iter().zip(plan["results"].as_array().into_iter().flatten()) {
        assert_eq!(result["new_file_path"], planned["new_file_path"], "done as planned");
    }
    assert_eq!(results[2]["new_file_path"], model(&root, &format!("b/n-{hash}")));
    assert_eq!(std::fs::read(root.join(format!("b/n-{hash}.txt")))?, b"its own");
    assert_eq!(std::fs::read(root.join("b/n.txt"))?, b"somebody's");
    assert_eq!(
        json!([
            results[3]["success"],
            results[3]["new_file_path"],
            results[3]["cache_entry"]
        ]),
        json!([false, null, null])
    );
    let items = views::agree(&server, library.options(), "loras").await?;
    assert_eq!(items[&model(&root, "b/m")]["tags"], json!(["theirs"]));
    // One undo for all of it.
    done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(files(&root)?, before);
    views::agree(&server, library.options(), "loras").await?;
    Ok(())
}

#[tokio::test]
async fn files_at_the_target_that_belong_to_nobody_do_not_become_the_models_own() -> Result<()> {
    let library = Library::of([Model::lora("a/m").sidecar()])?;
    let root = library.root("loras");
    std::fs::create_dir(root.join("b"))?;
    std::fs::write(root.join("b/m.png"), "of another model")?;
    let server = library.serve().await?;
    let body = json!({"file_path": model(&root, "a/m"), "target_path": wire(&root.join("b"))});
    let answer = done(&server, "loras/move_model", body).await?;
    let new_path = answer["new_file_path"].as_str().unwrap_or_default();
    assert!(new_path.contains("/b/m-"), "{answer}");
    assert_eq!(std::fs::read(root.join("b/m.png"))?, b"of another model");
    assert_eq!(answer["cache_entry"]["preview_url"], "");
    Ok(())
}

#[tokio::test]
async fn nothing_is_put_where_a_disk_is_away() -> Result<()> {
    let library = Library::of([Model::new("checkpoints", "c"), Model::new("unet", "u")])?;
    let server = library.serve().await?;
    let (from, away) = (library.root("checkpoints").join("c.safetensors"), library.root("unet"));
    // As a mount point is without its disk.
    let disk = library.path().join("disk");
    std::fs::rename(&away, &disk)?;
    std::fs::create_dir(&away)?;
    let body = json!({"file_path": wire(&from), "target_path": wire(&away.join("x"))});
    let (status, answer) = post(&server, "checkpoints/move_model", body.clone()).await?;
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(status == 500 && error.contains("away"), "{status} {answer}");
    assert!(from.exists() && !away.join("x").exists());
    // Nor does an undo put anything there.
    std::fs::remove_dir(&away)?;
    std::fs::rename(&disk, &away)?;
    let back =
        json!({"file_path": wire(&away.join("u.safetensors")), "target_path": wire(&library.root("checkpoints"))});
    library.add(&Model::new("unet", "stays"))?;
    server.scan("checkpoints", false).await?;
    let id = done(&server, "checkpoints/move_model", back).await?["undo_id"].clone();
    std::fs::rename(&away, &disk)?;
    std::fs::create_dir(&away)?;
    let (_, answer) = post(&server, "undo", json!({ "id": id })).await?;
    assert!(answer.to_string().contains("away"), "{answer}");
    assert!(std::fs::read_dir(&away)?.next().is_none());
    Ok(())
}

#[tokio::test]
async fn what_is_not_asked_for_rightly_changes_nothing() -> Result<()> {
    let library = Library::of([Model::lora("a/m").sidecar()])?;
    let root = library.root("loras");
    let elsewhere = library.path().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(&elsewhere, root.join("later"))?;
    let server = library.serve().await?;
    // A link that no scan has seen.
    let unseen = library.path().join("unseen");
    std::fs::create_dir(&unseen)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(&unseen, root.join("unseen"))?;
    let before = files(&root)?;
    let (path, there) = (model(&root, "a/m"), wire(&root.join("b")));
    let missing = "File path and target path are required";
    let outside = "Target path '/tmp' is outside configured library directories";
    for (body, status, text) in [
        (json!({"file_path": path}), 400, missing),
        (json!({"target_path": there}), 400, missing),
        (json!({"file_path": path, "target_path": "/tmp"}), 500, outside),
        (
            json!({"file_path": "/etc/passwd", "target_path": there}),
            500,
            "Source path '/etc/passwd' is outside",
        ),
        (
            json!({"file_path": model(&root, "none"), "target_path": there}),
            500,
            "not a model",
        ),
        (
            json!({"file_path": path, "target_path": format!("{there}/../../x")}),
            500,
            "is outside",
        ),
        (
            json!({"file_path": path, "target_path": wire(&root.join("unseen/x"))}),
            500,
            "is outside",
        ),
        (
            json!({"file_path": path, "target_path": wire(&root.join(".lm-pending-delete/x"))}),
            500,
            "is outside",
        ),
        (json!({"file_path": path, "target_path": "b"}), 500, "is outside"),
    ] {
        let (code, answer) = post(&server, "loras/move_model", body.clone()).await?;
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!(code, status, "{body}: {answer}");
        assert!(error.contains(text), "{body}: {answer}");
        if code == 500 {
            assert_eq!(
                json!([answer["success"], answer["new_file_path"]]),
                json!([false, null])
            );
        }
    }
    let (code, answer) = post(
        &server,
        "loras/move_models_bulk",
        json!({"file_paths": [], "target_path": there}),
    )
    .await?;
    assert_eq!(
        (code, &answer["error"]),
        (400, &json!("File paths and target path are required"))
    );
    let (code, answer) = post(
        &server,
        "loras/move_models_bulk",
        json!({"file_paths": [path], "target_path": "/tmp"}),
    )
    .await?;
    assert_eq!((code, &answer["results"][0]["message"]), (200, &json!(outside)));
    let same = done(
        &server,
        "loras/move_model",
        json!({"file_path": path, "target_path": wire(&root.join("a"))}),
    )
    .await?;
    assert_eq!(
        same,
        json!({"success": true, "message": "Source and target directories are the same", "original_file_path": path, "new_file_path": path})
    );
    assert_eq!(files(&root)?, before);
    assert!(!root.join("b").exists());
    assert_eq!(server.get_json("/api/lm/history", &[]).await?["total"], 0);
    Ok(())
}

#[tokio::test]
async fn use_default_paths_files_models_by_the_template() -> Result<()> {
    let library = Library::of([
        Model::lora("m").base("SDXL 1.0").tags(&["Cats", "style"]),
        Model::lora("n").base("../..").sidecar(),
    ])?;
    let root = library.root("loras");
    let settings = library.path().join("settings.json");
    let values = json!({"base_model_path_mappings": {"SDXL 1.0": "XL"}, "download_path_templates": {"lora": "{base_model}/{first_tag}"}});
    std::fs::write(&settings, values.to_string())?;
    let options = || library.options().argument("--settings-json").argument(&settings);
    let server = options().serve().await?;
    let paths = ["m", "n"].map(|name| model(&root, name));
    let wish = json!({"file_paths": paths, "target_path": wire(&root), "use_default_paths": true});
    let answer = done(&server, "loras/move_models_bulk", wish).await?;
    assert_eq!(answer["results"][0]["new_file_path"], model(&root, "XL/style/m"));
    assert_eq!(
        answer["results"][1]["new_file_path"],
        model(&root, "unnamed/no tags/n"),
        "{answer}"
    );
    views::agree(&server, options(), "loras").await?;
    Ok(())
}

/// A folder on another file system than the temporary one, where this machine has one.
#[cfg(target_os = "linux")]
fn other_file_system() -> Result<Option<tempfile::TempDir>> {
    use std::os::unix::fs::MetadataExt;
    let memory = Path::new("/dev/shm");
    let here = std::env::temp_dir().metadata()?.dev();
    if !memory.is_dir() || memory.metadata()?.dev() == here {
        return Ok(None);
    }
    Ok(Some(
        tempfile::Builder::new().prefix("modelshelf-test-").tempdir_in(memory)?,
    ))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_move_to_another_file_system_copies_verifies_and_comes_back() -> Result<()> {
    let library = Library::of([
        Model::lora("a/m").tags(&["t"]).preview("png"),
        Model::lora("a/n").sidecar(),
    ])?;
    let root = library.root("loras");
    let Some(disk) = other_file_system()? else {
        skip("there is no second file system");
        return Ok(());
    };
    let other: PathBuf = disk.path().to_owned();
    let options = || library.options().root("loras", &other);
    let server = options().serve().await?;
    let before = files(&root)?;
    let old = server.item("loras", "m").await?;
    let wish = json!({"file_paths": [model(&root, "a/m"), model(&root, "a/n")], "target_path": wire(&other.join("x"))});
    let mut dry = wish.clone();
    dry["dry_run"] = true.into();
    let plan = done(&server, "loras/move_models_bulk", dry).await?;
    assert_eq!(plan["results"][0]["crosses_file_systems"], true);
    assert_eq!(plan["copied_bytes"], plan["bytes"], "{plan}");
    let answer = done(&server, "loras/move_models_bulk", wish).await?;
    assert_eq!(answer["success_count"], 2, "{answer}");
    assert!(files(&root)?.is_empty(), "{:?}", files(&root)?.keys());
    let moved = files(&other)?;
    assert_eq!(moved.len(), 5, "{:?}", moved.keys());
    assert_eq!(moved[&model(&other, "x/m")], before[&model(&root, "a/m")]);
    let items = views::agree(&server, options(), "loras").await?;
    let item = &items[&model(&other, "x/m")];
    assert_eq!(
        json!([item["sha256"], item["tags"], item["modified"]]),
        json!([old["sha256"], ["t"], old["modified"]])
    );
    done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(files(&root)?, before);
    assert!(files(&other)?.is_empty() && folders(&other)?.is_empty());
    views::agree(&server, options(), "loras").await?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_copy_that_fails_leaves_the_model_where_it_was() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let library = Library::of([Model::lora("a/m").sidecar()])?;
    let root = library.root("loras");
    let Some(disk) = other_file_system()? else {
        return Ok(());
    };
    // The preview can't be read, after the weights were copied.
    let picture = root.join("a/m.png");
    std::fs::write(&picture, "p")?;
    std::fs::set_permissions(&picture, std::fs::Permissions::from_mode(0o0))?;
    if std::fs::read(&picture).is_ok() {
        // Root reads everything; a link that leads nowhere can't be copied by anybody.
        std::fs::remove_file(&picture)?;
        std::os::unix::fs::symlink(root.join("nowhere"), &picture)?;
    }
    let server = library.options().root("loras", disk.path()).serve().await?;
    let before = std::fs::read(root.join("a/m.metadata.json"))?;
    let wish = json!({"file_path": model(&root, "a/m"), "target_path": wire(&disk.path().join("x"))});
    let (status, answer) = post(&server, "loras/move_model", wish).await?;
    assert_eq!((status, &answer["new_file_path"]), (500, &Value::Null), "{answer}");
    assert!(files(disk.path())?.is_empty() && folders(disk.path())?.is_empty());
    assert_eq!(std::fs::read(root.join("a/m.metadata.json"))?, before);
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["m"]);
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_path_over_a_linked_folder_means_the_model_that_is_listed() -> Result<()> {
    let library = Library::of([
        Model::lora("real/m").sidecar(),
        Model::lora("real/n").sidecar(),
        Model::lora("real/o").sidecar(),
    ])?;
    let root = library.root("loras");
    std::os::unix::fs::symlink(root.join("real"), root.join("alias"))?;
    let server = library.serve().await?;
    done(&server, "loras/delete", json!({"file_path": model(&root, "alias/m")})).await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["n", "o"]);
    done(
        &server,
        "loras/rename",
        json!({"file_path": model(&root, "alias/n"), "new_file_name": "p"}),
    )
    .await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["o", "p"]);
    let same = done(
        &server,
        "loras/move_model",
        json!({"file_path": model(&root, "real/o"), "target_path": wire(&root.join("alias"))}),
    )
    .await?;
    assert_eq!(same["message"], "Source and target directories are the same");
    let moved = done(
        &server,
        "loras/move_model",
        json!({"file_path": model(&root, "alias/o"), "target_path": wire(&root.join("alias/sub"))}),
    )
    .await?;
    assert_eq!(moved["new_file_path"], model(&root, "real/sub/o"));
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["o", "p"]);
    Ok(())
}
