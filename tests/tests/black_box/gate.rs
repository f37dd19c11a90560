//! The ready gate.

use anyhow::Result;
use modelshelf_tests::{Library, Model};
use serde_json::json;

#[tokio::test]
async fn until_a_library_is_attached_its_routes_answer_503_and_from_then_on_never_again() -> Result<()> {
    let library = Library::of((0..50).map(|number| Model::lora(&format!("m{number}"))))?;
    let server = library.options().compiling().start().await?;
    for path in [
        "/api/lm/loras/list",
        "/api/lm/loras/letter-counts",
        "/api/lm/embeddings/top-tags",
    ] {
        let mut was_ready = false;
        for _ in 0..3_000 {
            let reply = server.get(path).await?;
            match reply.status {
                503 => {
                    assert!(!was_ready, "{path} was ready before");
                    assert_eq!(reply.json()?, json!({"success": false, "error": "Service not ready"}));
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                200 if was_ready => break,
                200 => was_ready = true,
                other => panic!("{path}: {other} {}", reply.text()),
            }
        }
        assert!(was_ready, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_status_route_says_how_far_a_library_is() -> Result<()> {
    let library = Library::of([Model::lora("a"), Model::lora("b")])?;
    let server = library.options().start().await?;
    let status = server.wait_ready("loras").await?;
    assert_eq!(status["success"], true);
    assert_eq!(status["total"], 2);
    assert!(status["generation"].is_u64(), "{status}");
    assert!(
        !status["progress"].is_null() || status.get("progress").is_some(),
        "{status}"
    );
    Ok(())
}

#[tokio::test]
async fn a_type_without_any_root_is_ready_and_empty() -> Result<()> {
    let server = modelshelf_tests::ServerOptions::default().serve().await?;
    for prefix in ["loras", "checkpoints", "embeddings"] {
        let page = server.list(prefix, &[]).await?;
        assert_eq!(
            (&page["total"], &page["total_pages"]),
            (&json!(0), &json!(0)),
            "{prefix}"
        );
        assert_eq!(page["items"], json!([]));
    }
    Ok(())
}
