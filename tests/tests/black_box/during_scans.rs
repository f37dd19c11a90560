//! Scans beside people who work: what they did stays, and what did not change is not published.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, Server};
use serde_json::{Value, json};

use crate::acts::done;

const MODELS: usize = 240;

async fn all(server: &Server) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for page in 1..=MODELS.div_ceil(100) {
        let page = server.list("loras", &[("page", &page.to_string())]).await?;
        for item in page["items"].as_array().into_iter().flatten() {
            all.insert(item["file_path"].as_str().unwrap_or_default().to_owned(), item.clone());
        }
    }
    Ok(all)
}

#[tokio::test]
async fn a_rescan_of_everything_that_finds_nothing_new_publishes_nothing() -> Result<()> {
    let library = Library::of((0..MODELS).map(|number| {
        let model = Model::lora(&format!("f{}/m{number}", number % 7)).preview("png");
        model.tags(&["style"]).side("modelDescription", "<p>some words</p>")
    }))?;
    library.add(&Model::new("loras", "alone"))?;
    let server = library.serve().await?;
    server.scan("loras", true).await?;
    let before = server.status("loras").await?;
    let answer = server.scan("loras", true).await?;
    let after = server.status("loras").await?;
    assert_eq!(before["generation"], after["generation"]);
    assert!(after["content_bytes_read"].as_u64() > before["content_bytes_read"].as_u64());
    let message = answer["message"].as_str().unwrap_or_default();
    ensure!(message.contains(&format!("{} read", MODELS + 1)), "{message}");
    // Descriptions are on their way to the disk when a scan has ended.
    let described = [("search", "some words"), ("search_description", "true")];
    let end = Instant::now() + Duration::from_secs(20);
    while server.list("loras", &described).await?["total"] != MODELS {
        ensure!(Instant::now() < end, "descriptions are not found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One that did change is the only one.
    library.add(&Model::lora("f0/m0").name("Another"))?;
    server.scan("loras", true).await?;
    assert_eq!(server.item("loras", "m0").await?["model_name"], "Another");
    let generation = |status: &Value| status["generation"].as_u64().unwrap_or_default();
    assert_eq!(generation(&server.status("loras").await?), generation(&after) + 1);
    Ok(())
}

#[tokio::test]
async fn edits_renames_and_deletes_stay_while_everything_is_read_again() -> Result<()> {
    let library = Library::of((0..MODELS).map(|number| Model::lora(&format!("f{}/m{number:03}", number % 7))))?;
    let server = library.serve().await?;
    let path = |number: usize| {
        wire(
            &library
                .root("loras")
                .join(format!("f{}/m{number:03}.safetensors", number % 7)),
        )
    };
    let mut expected: BTreeMap<String, String> = (0..MODELS).map(|number| (path(number), String::new())).collect();
    let scanning = async {
        for _ in 0..12 {
            server.scan("loras", true).await?;
        }
        anyhow::Ok(())
    };
    let working = async {
        for turn in 0..60 {
            let number = (turn * 37) % MODELS;
            let file = path(number);
            match turn % 5 {
                0 => {
                    done(&server, "loras/delete", json!({ "file_path": file })).await?;
                    expected.remove(&file);
                }
                1 => {
                    let name = format!("renamed{turn}");
                    let body = json!({ "file_path": file, "new_file_name": name });
                    done(&server, "loras/rename", body).await?;
                    let notes = expected.remove(&file).unwrap_or_default();
                    let (folder, _) = file.rsplit_once('/').unwrap_or_default();
                    expected.insert(format!("{folder}/{name}.safetensors"), notes);
                }
                _ => {
                    let notes = format!("written in turn {turn}");
                    let body = json!({ "file_path": file, "notes": notes });
                    done(&server, "loras/save-metadata", body).await?;
                    expected.insert(file.clone(), notes.clone());
                    let seen = all(&server).await?;
                    ensure!(seen[&file]["notes"] == notes, "{file} is not as it was just saved");
                }
            }
        }
        anyhow::Ok(())
    };
    let (scanned, worked) = tokio::join!(scanning, working);
    scanned?;
    worked?;
    let notes: BTreeMap<String, String> = all(&server)
        .await?
        .into_iter()
        .map(|(path, item)| (path, item["notes"].as_str().unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(notes, expected);
    // Nothing was written beside files that are not there any more.
    for entry in std::fs::read_dir(library.root("loras").join("f0"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".metadata.json") {
            let model = entry.path().with_file_name(format!("{stem}.safetensors"));
            assert!(model.exists(), "{name} has no model");
        }
    }
    let fresh = library.serve().await?;
    let there = all(&fresh).await?;
    for (path, item) in all(&server).await? {
        assert_eq!(there.get(&path), Some(&item));
    }
    Ok(())
}
