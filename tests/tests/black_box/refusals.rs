//! Where the disk refuses, or holds what nobody expects: the answer says why, and nothing is changed.

use anyhow::{Context, Result, ensure};
use modelshelf_tests::model::{sha256, wire};
use modelshelf_tests::{Model, Mount};
use serde_json::{Value, json};

use crate::acts::{files, post};
use crate::fault_points::{Shelf, TRASH, listed, two};

/// Where a folder refuses: nothing is changed, and the answer says why.
async fn refused(shelf: &Shelf, acts: &[(&str, Value)]) -> Result<()> {
    let (before, old) = (files(&shelf.library.root("loras"))?, listed(shelf.server()?).await?);
    for (route, body) in acts {
        let (status, answer) = post(shelf.server()?, route, body.clone()).await?;
        let told = status >= 400 || answer["failure_count"] == 1 || answer["results"][0]["success"] == false;
        assert!(
            told && !answer.to_string().contains("request id"),
            "{route}: {status} {answer}"
        );
        assert_eq!(files(&shelf.library.root("loras"))?, before, "{route}");
        assert_eq!(listed(shelf.server()?).await?, old, "{route}");
    }
    Ok(())
}

fn acts_on(shelf: &Shelf, name: &str) -> Vec<(&'static str, Value)> {
    let path = shelf.path(name);
    vec![
        ("loras/rename", json!({"file_path": path, "new_file_name": "other"})),
        ("loras/delete", json!({"file_path": path})),
        ("loras/bulk-delete", json!({"file_paths": [path]})),
        (
            "loras/save-metadata",
            json!({"file_path": path, "notes": "n".repeat(1 << 19)}),
        ),
        (
            "loras/bulk-edit",
            json!({"file_paths": [path], "add_tags": ["n".repeat(1 << 19)]}),
        ),
    ]
}

#[tokio::test]
async fn a_read_only_folder_refuses_every_act_and_nothing_changes() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let folder = shelf.library.root("loras").join("a");
    let source = wire(&folder);
    let Some(bound) = Mount::new(&["--bind", &source], &folder) else {
        return Ok(());
    };
    let Some(_read_only) = Mount::new(&["-o", "remount,ro,bind"], &folder) else {
        return Ok(());
    };
    shelf.start().await?;
    refused(&shelf, &acts_on(&shelf, "a/one")).await?;
    drop(bound);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_room_and_loses_nothing() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let folder = shelf.library.root("loras").join("full");
    std::fs::create_dir(&folder)?;
    let Some(_disk) = Mount::new(&["-t", "tmpfs", "-o", "size=128k", "tmpfs"], &folder) else {
        return Ok(());
    };
    shelf.library.add(&Model::lora("full/m").preview("png"))?;
    shelf.start().await?;
    // Renaming and deleting need no room for the model.
    let mut acts = acts_on(&shelf, "full/m");
    acts.drain(..3);
    refused(&shelf, &acts).await?;
    let big = vec![7; 1 << 20];
    ensure!(std::fs::write(folder.join("fill"), big).is_err(), "the disk is full");
    refused(&shelf, &acts).await?;
    // The metadata file that would say its new name has no room.
    refused(&shelf, &acts_on(&shelf, "full/m")[..1]).await?;
    Ok(())
}

#[tokio::test]
async fn a_target_that_exists_and_a_source_that_vanished_are_told_and_nothing_is_lost() -> Result<()> {
    let shelf = Shelf::new(two()).await?;
    let taken = shelf.library.root("loras").join("a/other.safetensors");
    std::fs::write(&taken, "a person's")?;
    refused(&shelf, &acts_on(&shelf, "a/one")[..1]).await?;
    let vanished = shelf.library.root("loras").join("two.safetensors");
    std::fs::rename(&vanished, shelf.library.path().join("elsewhere"))?;
    for (route, body) in &acts_on(&shelf, "two") {
        if *route == "loras/delete" {
            continue;
        }
        let before = files(&shelf.library.root("loras"))?;
        let (status, answer) = post(shelf.server()?, route, body.clone()).await?;
        let told = status >= 400 || answer["failure_count"] == 1 || answer["results"][0]["success"] == false;
        assert!(told, "{route}: {status} {answer}");
        assert_eq!(files(&shelf.library.root("loras"))?, before, "{route}");
    }
    Ok(())
}

#[tokio::test]
async fn whatever_a_sidecar_is_no_act_loses_a_byte_of_it() -> Result<()> {
    for kind in ["invalid", "bom", "unknown"] {
        let shelf = Shelf::new(two()).await?;
        let beside = shelf.library.root("loras").join("a/one.metadata.json");
        let own = std::fs::read_to_string(&beside)?;
        let content = match kind {
            "invalid" => "{\"notes\": \"typed by a person\", ".to_owned(),
            "bom" => format!("\u{feff}{own}"),
            _ => own.replacen('{', "{\"zz_first\": [1.50, null, {\"deep\": \"ü\"}],", 1),
        };
        std::fs::write(&beside, &content)?;
        let digest = sha256(content.as_bytes());
        let path = shelf.path("a/one");
        for (route, body) in [
            ("loras/save-metadata", json!({"file_path": path, "notes": "n"})),
            ("loras/add-tags", json!({"file_path": path, "tags": ["x"]})),
            ("loras/exclude", json!({"file_path": path})),
            ("loras/unexclude", json!({"file_path": path})),
            (
                "loras/bulk-edit",
                json!({"file_paths": [path], "set": {"base_model": "B"}}),
            ),
            ("loras/rename", json!({"file_path": path, "new_file_name": "uno"})),
            ("loras/delete", json!({"file_path": shelf.path("a/uno")})),
        ] {
            let (status, answer) = post(shelf.server()?, route, body).await?;
            assert_eq!(status, 200, "{kind}, {route}: {answer}");
            assert!(shelf.kept()?.contains(&digest), "{kind}, {route}");
        }
        if kind == "unknown" {
            let all = files(&shelf.library.root("loras"))?;
            let last = all
                .iter()
                .find(|(path, _)| path.contains(TRASH) && path.ends_with("uno.metadata.json"));
            let last: Value = serde_json::from_slice(last.context("the sidecar in the trash")?.1)?;
            assert_eq!(last["zz_first"], json!([1.5, null, {"deep": "ü"}]));
        }
    }
    Ok(())
}
