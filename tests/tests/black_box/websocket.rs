//! What listening clients are told.

use anyhow::Result;
use modelshelf_tests::{Library, Model};
use serde_json::json;

#[tokio::test]
async fn the_last_progress_of_each_type_is_told_to_whoever_comes_late() -> Result<()> {
    let library = Library::of([Model::lora("a"), Model::new("embeddings", "b").sidecar()])?;
    let server = library.serve().await?;
    let mut socket = server.socket("/ws/init-progress").await?;
    let mut pages = Vec::new();
    for _ in 0..3 {
        let message = socket.next().await?;
        assert_eq!(
            (&message["stage"], &message["progress"]),
            (&json!("finalizing"), &json!(100)),
            "{message}"
        );
        assert_eq!(message["status"], "complete");
        assert!(message["details"].is_string(), "{message}");
        pages.push(message["pageType"].as_str().unwrap_or_default().to_owned());
    }
    pages.sort();
    assert_eq!(pages, ["checkpoints", "embeddings", "loras"]);
    Ok(())
}

#[tokio::test]
async fn the_first_reading_of_a_library_tells_how_far_it_is_and_never_goes_back() -> Result<()> {
    let library = Library::of((0..400).map(|number| Model::new("loras", &format!("m{number}"))))?;
    let server = library.options().start().await?;
    let mut socket = server.socket("/ws/init-progress").await?;
    let mut last = 0;
    loop {
        let message = socket.find(|message| message["pageType"] == "loras").await?;
        assert_eq!(message["scanner_type"], "lora");
        let progress = message["progress"].as_i64().unwrap_or(-1);
        assert!((last..=100).contains(&progress), "{last} then {message}");
        last = progress;
        if message["status"] == "complete" {
            break;
        }
    }
    assert_eq!(last, 100);
    Ok(())
}

#[tokio::test]
async fn a_finished_scan_is_broadcast_on_both_general_sockets() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let server = library.serve().await?;
    let mut sockets = [
        server.socket("/ws/fetch-progress").await?,
        server.socket("/ws/batch-import-progress").await?,
    ];
    library.add(&Model::lora("b"))?;
    server.scan("loras", false).await?;
    for socket in &mut sockets {
        let message = socket.find(|message| message["type"] == "models_changed").await?;
        assert_eq!(message["type"], "models_changed");
    }
    Ok(())
}

#[tokio::test]
async fn a_socket_that_is_dropped_does_not_disturb_the_others() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let server = library.serve().await?;
    let mut kept = server.socket("/ws/fetch-progress").await?;
    for _ in 0..20 {
        drop(server.socket("/ws/fetch-progress").await?);
    }
    server.scan("loras", false).await?;
    kept.find(|message| message["type"] == "models_changed").await?;
    Ok(())
}
