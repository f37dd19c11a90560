//! A server that is killed goes on from where it was.

use std::time::Duration;

use anyhow::{Context, Result};
use modelshelf_tests::{Library, Model, Server};
use serde_json::Value;

const MODELS: usize = 2000;

fn library() -> Result<Library> {
    let library = Library::new()?;
    for number in 0..MODELS {
        let model = Model::new("loras", &format!("f{}/m{number:04}", number % 17));
        // Some of each kind: alone, with a sidecar, with one that needs its hash.
        library.add(&match number % 3 {
            0 => model,
            1 => model.sidecar().tags(&["style"]),
            _ => model.side("sha256", "").side("notes", "mine"),
        })?;
    }
    Ok(library)
}

/// Everything that is listed, without what depends on the moment of the first reading.
async fn everything(server: &Server) -> Result<Vec<Value>> {
    server.wait_ready("loras").await?;
    server.scan("loras", false).await?;
    let mut all = Vec::new();
    for page in 1..=MODELS / 100 {
        let page = server.list("loras", &[("page", &page.to_string())]).await?;
        all.extend(page["items"].as_array().context("items")?.iter().cloned());
    }
    for item in &mut all {
        if let Some(item) = item.as_object_mut() {
            for key in ["modified", "media_url"] {
                item.remove(key);
            }
        }
    }
    all.sort_by_key(|item| item["file_path"].to_string());
    Ok(all)
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_scanning_ends_with_the_same_library() -> Result<()> {
    let library = library()?;
    let data = library.path().join("data");
    for wait in [50, 200, 500, 900] {
        let server = library.options().data_dir(&data).silent().start().await?;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        server.kill();
    }
    let server = library.options().data_dir(&data).serve().await?;
    let survived = everything(&server).await?;
    server.stop().await?;
    let fresh = library
        .options()
        .data_dir(&library.path().join("fresh"))
        .serve()
        .await?;
    let expected = everything(&fresh).await?;
    assert_eq!(survived.len(), MODELS);
    assert_eq!(expected.len(), MODELS);
    for (survived, expected) in survived.iter().zip(&expected) {
        assert_eq!(survived, expected);
    }
    // Nothing half-written lies about as a model's metadata.
    assert_eq!(fresh.status("loras").await?["problems"], 0);
    Ok(())
}
