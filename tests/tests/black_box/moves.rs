//! Files that are moved or renamed by others keep their history.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use modelshelf_tests::model::beside;
use modelshelf_tests::{Library, Model, Server};
use serde_json::{Value, json};

/// A model with everything that a person and time give it, of 4 MiB so that a hash is a lot to read.
fn treasured(path: &str) -> Model {
    Model::new("loras", path)
        .grown_to(4 << 20)
        .name("My Amber")
        .tags(&["style"])
        .favorite()
        .modified(1_600_000_000.0)
        .side("notes", "best at 0.7")
        .side("my_field", json!({"deep": [1]}))
        .side("sha256", "")
}

async fn item(server: &Server, name: &str) -> Result<Value> {
    server.item("loras", name).await
}

/// The only model, once it has its hash.
async fn hashed(server: &Server) -> Result<Value> {
    let has_hash = |page: &Value| page["items"][0]["sha256"].as_str().is_some_and(|hash| hash.len() == 64);
    Ok(server.wait_for("loras", has_hash).await?["items"][0].clone())
}

async fn bytes_read(server: &Server) -> Result<u64> {
    let status = server.status("loras").await?;
    status["content_bytes_read"].as_u64().context("content_bytes_read")
}

fn sidecar(stem: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(beside(stem, "metadata.json"))?)?)
}

fn assert_same_history(before: &Value, after: &Value) {
    for key in ["model_name", "tags", "favorite", "modified", "notes", "sha256"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(after["sha256"].as_str().map(str::len), Some(64));
}

/// The stems of the old and the new place.
fn stems(library: &Library, from: &str, to: &str) -> Result<(PathBuf, PathBuf)> {
    let (from, to) = (library.root("loras").join(from), library.root("loras").join(to));
    std::fs::create_dir_all(to.parent().context("a folder")?)?;
    Ok((from, to))
}

#[tokio::test]
async fn a_weight_file_that_was_moved_alone_keeps_its_history_and_is_not_hashed_again() -> Result<()> {
    let library = Library::of([treasured("old/amber").preview("png")])?;
    let server = library.serve().await?;
    let (before, read) = (hashed(&server).await?, bytes_read(&server).await?);
    let (from, to) = stems(&library, "old/amber", "new/deep/gold")?;
    let left_behind = std::fs::read(beside(&from, "metadata.json"))?;
    std::fs::rename(beside(&from, "safetensors"), beside(&to, "safetensors"))?;
    let answer = server.scan("loras", false).await?;
    let page = server.list("loras", &[]).await?;
    assert_eq!(
        (&page["total"], &page["items"][0]["folder"]),
        (&json!(1), &json!("new/deep")),
        "{answer}"
    );
    let after = item(&server, "gold").await?;
    assert_same_history(&before, &after);
    assert!(bytes_read(&server).await? - read < 1 << 20, "it was hashed again");
    let side = sidecar(&to)?;
    assert_eq!(
        (&side["file_name"], &side["my_field"], &side["preview_url"]),
        (&json!("gold"), &json!({"deep": [1]}), &json!(""))
    );
    assert_eq!(side["file_path"], beside(&to, "safetensors").display().to_string());
    assert_eq!(std::fs::read(beside(&from, "metadata.json"))?, left_behind);
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_a_moved_file_brought_wins() -> Result<()> {
    let library = Library::of([treasured("amber")])?;
    let server = library.serve().await?;
    let hash = hashed(&server).await?["sha256"].clone();
    let read = bytes_read(&server).await?;
    let (from, to) = stems(&library, "amber", "sub/amber")?;
    std::fs::rename(beside(&from, "safetensors"), beside(&to, "safetensors"))?;
    let mut side = sidecar(&from)?;
    side["model_name"] = json!("Changed on the way");
    side["sha256"] = json!("");
    std::fs::write(beside(&to, "metadata.json"), side.to_string())?;
    server.scan("loras", false).await?;
    let after = item(&server, "amber").await?;
    assert_eq!(
        (&after["model_name"], &after["folder"], &after["sha256"]),
        (&json!("Changed on the way"), &json!("sub"), &hash)
    );
    assert!(bytes_read(&server).await? - read < 1 << 20, "it was hashed again");
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_copied_elsewhere_and_then_deleted_is_recognised_by_its_hash() -> Result<()> {
    let library = Library::of([treasured("amber")])?;
    let server = library.options().watching().serve().await?;
    let before = hashed(&server).await?;
    let (from, to) = stems(&library, "amber", "elsewhere/gold")?;
    // What `mv` does between two disks.
    std::fs::copy(beside(&from, "safetensors"), beside(&to, "safetensors"))?;
    std::fs::remove_file(beside(&from, "safetensors"))?;
    let arrived = |page: &Value| page["total"] == 1 && page["items"][0]["model_name"] == "My Amber";
    server
        .wait_for("loras", |page| arrived(page) && page["items"][0]["file_name"] == "gold")
        .await?;
    assert_same_history(&before, &item(&server, "gold").await?);
    assert_eq!(sidecar(&to)?["my_field"], json!({"deep": [1]}));
    Ok(())
}

#[tokio::test]
async fn a_copy_whose_original_is_deleted_later_is_recognised_too() -> Result<()> {
    let library = Library::of([treasured("amber")])?;
    let server = library.options().watching().serve().await?;
    let before = hashed(&server).await?;
    let (from, to) = stems(&library, "amber", "elsewhere/gold")?;
    std::fs::copy(beside(&from, "safetensors"), beside(&to, "safetensors"))?;
    let hashed = |page: &Value| {
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.len() == 2 && items.iter().all(|item| item["sha256"] == before["sha256"])
    };
    server.wait_for("loras", hashed).await?;
    assert_eq!(
        item(&server, "gold").await?["favorite"],
        false,
        "a copy is a model of its own"
    );
    std::fs::remove_file(beside(&from, "safetensors"))?;
    let arrived = |page: &Value| page["total"] == 1 && page["items"][0]["model_name"] == "My Amber";
    server.wait_for("loras", arrived).await?;
    assert_same_history(&before, &item(&server, "gold").await?);
    Ok(())
}

#[tokio::test]
async fn what_a_person_wrote_about_a_copy_is_not_replaced_when_the_original_goes() -> Result<()> {
    let library = Library::of([treasured("amber")])?;
    let server = library.serve().await?;
    let (from, to) = stems(&library, "amber", "gold")?;
    std::fs::copy(beside(&from, "safetensors"), beside(&to, "safetensors"))?;
    server.scan("loras", false).await?;
    let mut side = sidecar(&to)?;
    side["notes"] = json!("mine");
    std::fs::write(beside(&to, "metadata.json"), side.to_string())?;
    server.scan("loras", false).await?;
    std::fs::remove_file(beside(&from, "safetensors"))?;
    for _ in 0..2 {
        server.scan("loras", false).await?;
    }
    let after = item(&server, "gold").await?;
    assert_eq!(
        (&after["notes"], &after["model_name"]),
        (&json!("mine"), &json!("gold"))
    );
    Ok(())
}

#[tokio::test]
async fn a_move_between_two_roots_while_the_server_is_off_is_recognised() -> Result<()> {
    let library = Library::of([treasured("amber")])?;
    let second = Library::new()?;
    let data = library.path().join("data");
    let options = || library.options().root("loras", &second.root("loras")).data_dir(&data);
    let server = options().serve().await?;
    let before = hashed(&server).await?;
    server.stop().await?;
    std::fs::rename(
        library.root("loras").join("amber.safetensors"),
        second.root("loras").join("amber.safetensors"),
    )?;
    let server = options().serve().await?;
    server.scan("loras", false).await?;
    let page = server.list("loras", &[]).await?;
    assert_eq!(page["total"], 1);
    assert_same_history(&before, &page["items"][0]);
    assert_eq!(
        page["items"][0]["file_path"],
        second.root("loras").join("amber.safetensors").display().to_string()
    );
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_that_is_not_hashed_by_itself_is_hashed_to_recognise_it() -> Result<()> {
    let library = Library::of([Model::new("checkpoints", "full").name("Mine").favorite()])?;
    let root = library.root("checkpoints");
    let hash = modelshelf_tests::model::sha256(&std::fs::read(root.join("full.safetensors"))?);
    library.add(
        &Model::new("checkpoints", "full")
            .name("Mine")
            .favorite()
            .side("sha256", hash),
    )?;
    let server = library.options().watching().serve().await?;
    std::fs::copy(root.join("full.safetensors"), root.join("other.safetensors"))?;
    server.wait_for_names("checkpoints", &["full", "other"]).await?;
    std::fs::remove_file(root.join("full.safetensors"))?;
    let arrived = |page: &Value| page["total"] == 1 && page["items"][0]["model_name"] == "Mine";
    server.wait_for("checkpoints", arrived).await?;
    assert_eq!(server.item("checkpoints", "other").await?["favorite"], true);
    Ok(())
}
