//! Starting again.

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server, sorted_names};
use serde_json::json;

/// The first answer of the listing that is not "not ready".
async fn first_answer(server: &Server, prefix: &str) -> Result<serde_json::Value> {
    loop {
        let reply = server.get(&format!("/api/lm/{prefix}/list?page_size=100")).await?;
        if reply.status != 503 {
            return reply.json();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_first_answer_after_a_restart_is_already_complete() -> Result<()> {
    let library = Library::of((0..60).map(|number| Model::lora(&format!("m{number:02}")).tags(&["style"])))?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let before = server.list("loras", &[]).await?;
    assert!(server.stop().await?.success());

    let server = library.options().data_dir(&data).start().await?;
    let after = first_answer(&server, "loras").await?;
    assert_eq!(after["items"], before["items"]);
    assert_eq!(after["total"], 60);
    let tags = server.get_json("/api/lm/loras/top-tags", &[]).await?;
    assert_eq!(tags["tags"], json!([{"tag": "style", "count": 60}]));
    Ok(())
}

#[tokio::test]
async fn sub_types_are_the_same_after_a_restart() -> Result<()> {
    let library = Library::of([
        Model::new("embeddings", "e").sidecar(),
        Model::new("unet", "u").sidecar(),
    ])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let types =
        async |server: &Server, prefix: &str| server.get_json(&format!("/api/lm/{prefix}/model-types"), &[]).await;
    let before = (
        types(&server, "embeddings").await?,
        types(&server, "checkpoints").await?,
    );
    assert_eq!(before.0["model_types"], json!([{"type": "embedding", "count": 1}]));
    server.stop().await?;
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(
        (
            types(&server, "embeddings").await?,
            types(&server, "checkpoints").await?
        ),
        before
    );
    Ok(())
}

#[tokio::test]
async fn what_changed_while_the_server_was_off_is_seen_without_asking() -> Result<()> {
    let library = Library::of([Model::lora("kept"), Model::lora("removed")])?;
    let data = library.path().join("data");
    library.options().data_dir(&data).serve().await?.stop().await?;
    library.add(&Model::lora("added"))?;
    std::fs::remove_file(library.root("loras").join("removed.safetensors"))?;
    let server = library.options().data_dir(&data).serve().await?;
    for _ in 0..500 {
        if sorted_names(&server.list("loras", &[]).await?) == ["added", "kept"] {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:?}", sorted_names(&server.list("loras", &[]).await?));
}

#[tokio::test]
async fn a_lost_or_broken_store_costs_a_scan_and_nothing_else() -> Result<()> {
    let library = Library::of([Model::lora("amber").favorite().tags(&["style"]).side("notes", "mine")])?;
    let data = library.path().join("data");
    library.options().data_dir(&data).serve().await?.stop().await?;
    let mut broken = 0;
    for entry in std::fs::read_dir(&data)? {
        let path = entry?.path();
        if path.is_file() {
            std::fs::write(&path, b"this is no database")?;
            broken += 1;
        }
    }
    assert!(
        broken >= 3,
        "the store, downloads and updates are files in the data folder"
    );
    let server = library.options().data_dir(&data).serve().await?;
    let queue = server.get_json("/api/lm/downloads/queue", &[]).await?;
    assert_eq!(queue["queue"], json!([]));
    for file in ["library.sqlite", "downloads.sqlite", "updates.sqlite"] {
        let log = server.log();
        let told = log
            .lines()
            .any(|line| line.contains(file) && line.contains("a new one is begun"));
        assert!(told, "{file}: {log}");
        let aside = format!("{file}.aside-");
        let mut there = std::fs::read_dir(&data)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        assert!(there.any(|name| name.starts_with(&aside)), "{file}");
    }
    let item = server.item("loras", "amber").await?;
    assert_eq!(
        (&item["favorite"], &item["tags"], &item["notes"]),
        (&json!(true), &json!(["style"]), &json!("mine"))
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_was_killed_starts_again_with_what_it_had() -> Result<()> {
    let library = Library::of((0..30).map(|number| Model::lora(&format!("m{number:02}"))))?;
    let data = library.path().join("data");
    drop(library.options().data_dir(&data).serve().await?);
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 30);
    Ok(())
}

#[tokio::test]
async fn a_request_to_stop_ends_the_server_even_with_open_sockets() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library.serve().await?;
    let _socket = server.socket("/ws/fetch-progress").await?;
    assert!(server.stop().await?.success());
    Ok(())
}
