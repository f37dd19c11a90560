//! Files that are still being written.

use std::io::Write;

use anyhow::{Context, Result};
use modelshelf_tests::model::sha256;
use modelshelf_tests::{Library, Model, sorted_names};
use serde_json::Value;

fn problem(problems: &Value, name: &str) -> String {
    let all = problems["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = all
        .iter()
        .find(|problem| problem["file_path"].as_str().is_some_and(|path| path.ends_with(name)));
    own.map(|problem| problem["problem"].to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_file_that_is_still_being_written_is_read_when_it_is_whole_without_anybody_asking() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = library.options().scan_settings("stable_seconds = 2.0").serve().await?;
    let whole = std::fs::read(library.root("loras").join("here.safetensors"))?;
    let path = library.root("loras").join("growing.safetensors");
    let mut file = std::fs::File::create(&path)?;
    let (first, second) = whole.split_at(whole.len() / 2);
    file.write_all(first)?;
    server.wait_for_status("loras", |status| status["waiting"] == 1).await?;
    file.write_all(second)?;
    drop(file);
    let page = server.wait_for_names("loras", &["growing", "here"]).await?;
    let items = page["items"].as_array().context("items")?;
    assert!(items.iter().all(|item| item["problem"].is_null()), "{page}");
    let hashed = |page: &Value| page["items"].to_string().matches(&sha256(&whole)).count() == 2;
    server.wait_for("loras", hashed).await?;
    Ok(())
}

#[tokio::test]
async fn a_scan_that_is_asked_for_waits_a_little_for_files_that_were_just_written() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = library
        .options()
        .scan_settings("watch = false\nstable_seconds = 0.5")
        .serve()
        .await?;
    library.add(&Model::lora("fresh"))?;
    server.scan("loras", false).await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["fresh", "here"]);
    Ok(())
}

#[tokio::test]
async fn what_keeps_changing_for_long_is_told_as_waiting() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = library
        .options()
        .scan_settings("watch = false\nstable_seconds = 100.0")
        .start()
        .await?;
    server.wait_for_status("loras", |status| status["waiting"] == 1).await?;
    server.scan("loras", false).await?;
    for _ in 0..400 {
        let problems = server.get_json("/api/lm/loras/problems", &[]).await?;
        if problem(&problems, "here.safetensors").contains("still being written") {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("it was never told");
}

#[tokio::test]
async fn unfinished_downloads_are_no_models_and_what_they_stand_beside_waits() -> Result<()> {
    let library = Library::of([Model::lora("here"), Model::lora("coming"), Model::lora("third")])?;
    let root = library.root("loras");
    for name in [
        "coming.safetensors.aria2",
        "third.safetensors.part",
        "x.safetensors.crdownload",
    ] {
        std::fs::write(root.join(name), b"unfinished")?;
    }
    let server = library.options().watching().start().await?;
    server.wait_for_status("loras", |status| status["waiting"] == 2).await?;
    // The scan that lets them wait may not have ended yet.
    server.wait_for_names("loras", &["here"]).await?;
    let problems = server.get_json("/api/lm/loras/problems", &[]).await?;
    assert!(
        problem(&problems, "coming.safetensors").contains("coming.safetensors.aria2"),
        "{problems}"
    );
    std::fs::remove_file(root.join("coming.safetensors.aria2"))?;
    server.wait_for_names("loras", &["coming", "here"]).await?;
    std::fs::rename(root.join("third.safetensors.part"), root.join("third.safetensors"))?;
    server.wait_for_names("loras", &["coming", "here", "third"]).await?;
    Ok(())
}
