//! Programs that run in a browser: an extension, and a page of another origin.

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogFile, CatalogModel, CatalogVersion, Civitai};
use modelshelf_tests::{Call, Library, Model, Reply, Server};
use serde_json::json;

/// What Chromium sends for a `fetch` of an extension's service worker.
fn from_extension(call: Call) -> Call {
    [
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36",
        ),
        ("Origin", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"),
        ("Sec-Fetch-Site", "none"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Dest", "empty"),
    ]
    .into_iter()
    .fold(call, |call, (name, value)| call.header(name, value))
}

async fn ask(server: &Server, path: &str, query: &[(&str, &str)]) -> Result<Reply> {
    let call = Call::get(&format!("/api/lm/{path}")).query(query);
    server.send(&from_extension(call)).await
}

/// lora-manager-bridge: it marks on a model's page what is here, downloads by GET, and knows "already exists".
#[tokio::test]
async fn an_extension_sees_what_is_here_downloads_polls_and_cancels() -> Result<()> {
    let mut version = CatalogVersion::new(10, "v1");
    version.files = vec![CatalogFile::new(100, "new.safetensors", 4096)];
    let civitai = Civitai::start([CatalogModel::new(1, "New", "LORA").versions([version])]).await?;
    let library = Library::of([Model::lora("here").civitai(json!({"id": 50, "modelId": 5}))])?;
    let server = library.options().civitai(&civitai).serve().await?;
    for (prefix, total) in [("loras", 1), ("checkpoints", 0), ("embeddings", 0)] {
        let query = [("civitai_model_id", "5"), ("page", "1"), ("page_size", "100")];
        let reply = ask(&server, &format!("{prefix}/list"), &query).await?;
        assert_eq!(
            (reply.status, &reply.json()?["total"]),
            (200, &json!(total)),
            "{prefix}"
        );
    }
    // LoraManager 1.2.1 has no such type either, and the extension remembers that.
    assert_eq!(
        ask(&server, "other/list", &[("civitai_model_id", "5")]).await?.status,
        404
    );
    let settings = ask(&server, "settings", &[]).await?.json()?;
    assert_eq!(settings["settings"]["civitai_api_key_set"], false);

    let query = [
        ("model_id", "1"),
        ("model_version_id", "10"),
        ("use_default_paths", "true"),
        ("download_id", "bridge-1"),
    ];
    let reply = ask(&server, "download-model-get", &query).await?;
    assert_eq!((reply.status, &reply.json()?["success"]), (200, &json!(true)));
    let progress = ask(&server, "download-progress/bridge-1", &[]).await?.json()?;
    assert_eq!(progress["progress"], 100);
    let again = ask(
        &server,
        "download-model-get",
        &[query[0], query[1], query[2], ("download_id", "bridge-2")],
    )
    .await?;
    let answer = again.json()?;
    let error = answer["error"].as_str().context("error")?;
    assert!(error.contains("already exists"), "{error}");
    let cancelled = ask(&server, "cancel-download-get", &[("download_id", "bridge-3")]).await?;
    assert_eq!((cancelled.status, &cancelled.json()?["success"]), (200, &json!(false)));
    Ok(())
}

/// oc-comfy: a page of another origin, which settings allow.
#[tokio::test]
async fn a_page_of_an_allowed_origin_reads_lists_and_trigger_words() -> Result<()> {
    let library = Library::of([Model::lora("a").civitai(json!({"id": 1, "modelId": 2, "trainedWords": ["glow"]}))])?;
    let origin = "http://localhost:5173";
    let server = library
        .options()
        .settings(&format!("[server]\nallowed_origins = ['{origin}']"))
        .serve()
        .await?;
    for path in ["loras/list?page=1&page_size=50", "loras/get-trigger-words?name=a"] {
        let call = Call::get(&format!("/api/lm/{path}"))
            .header("Origin", origin)
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", "cors");
        let reply = server.send(&call).await?;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), origin);
    }
    Ok(())
}
