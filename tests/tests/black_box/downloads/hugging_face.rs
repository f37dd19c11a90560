//! Files of repositories.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use axum::Json;
use axum::extract::Path as Params;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use modelshelf_tests::civitai::{CatalogFile, Civitai};
use modelshelf_tests::{Call, Library};
use serde_json::{Value, json};

use super::{get, options};

/// A site like Hugging Face with one repository, whose list has two pages; how often the list was asked for.
async fn hub(file: CatalogFile) -> Result<(String, Arc<AtomicUsize>)> {
    let listed = file.clone();
    let asked = Arc::new(AtomicUsize::new(0));
    let own = asked.clone();
    let tree = async move |Params((owner, name, _)): Params<(String, String, String)>, uri: Uri| {
        if (owner.as_str(), name.as_str()) != ("o", "r") {
            return StatusCode::NOT_FOUND.into_response();
        }
        // Busy at first.
        if own.fetch_add(1, Ordering::Relaxed) == 0 {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        if uri.query().is_some_and(|query| query.contains("cursor=next")) {
            let large = json!({"oid": listed.sha256, "size": listed.size});
            return Json(json!([
                {"type": "file", "path": "sub/a b.safetensors", "size": listed.size, "lfs": large},
            ]))
            .into_response();
        }
        let next = format!("<{}?recursive=true&cursor=next>; rel=\"next\"", uri.path());
        let page = Json(json!([
            {"type": "directory", "path": "sub", "size": 0},
            {"type": "file", "path": "README.md", "size": 5},
        ]));
        ([(header::LINK, next)], page).into_response()
    };
    let give = async move |Params((_, _, _, path)): Params<(String, String, String, String)>| {
        if path != "sub/a b.safetensors" {
            return StatusCode::NOT_FOUND.into_response();
        }
        file.bytes(0, file.size as usize).into_response()
    };
    let router = axum::Router::new()
        .route("/api/models/{owner}/{name}/tree/{revision}", axum::routing::get(tree))
        .route("/{owner}/{name}/resolve/{revision}/{*path}", axum::routing::get(give));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((base, asked))
}

#[tokio::test]
async fn a_file_of_a_repository_is_listed_downloaded_and_linked() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([]).await?);
    let file = CatalogFile::new(7, "a b.safetensors", 5000);
    let (base, asked) = hub(file.clone()).await?;
    let server = options(&library, &civitai, &format!("huggingface = '{base}'"))?
        .serve()
        .await?;
    let (status, files) = get(&server, "hf-repo-files", &[("repo", "o/r")]).await?;
    assert_eq!(
        (status, files),
        (200, json!([{"filename": "sub/a b.safetensors", "size": 5000}]))
    );
    assert_eq!(asked.load(Ordering::Relaxed), 3, "a refusal and two pages");
    assert_eq!(get(&server, "hf-repo-files", &[("repo", "o/none")]).await?.0, 404);
    assert_eq!(get(&server, "hf-repo-files", &[("repo", "../r")]).await?.0, 400);
    let post = async |path: &str, body: Value| -> Result<(u16, Value)> {
        let reply = server.send(&Call::post(&format!("/api/lm/{path}"), &body)).await?;
        Ok((reply.status, reply.json()?))
    };
    let root = library.root("loras");
    let wanted =
        json!({"repo": "o/r", "filename": "sub/a b.safetensors", "model_root": root, "use_default_paths": true});
    let (status, answer) = post("download-hf-model", wanted).await?;
    let path = root.join("huggingface/o/r/a b.safetensors");
    assert_eq!((status, &answer["path"]), (200, &json!(path)), "{answer}");
    assert!(std::fs::read(&path)? == file.bytes(0, 5000));
    let item = server.item("loras", "a b").await?;
    assert_eq!(
        (&item["hf_url"], &item["from_civitai"]),
        (&json!("https://huggingface.co/o/r"), &json!(false))
    );
    for (body, status) in [
        (json!({"repo": "o/r"}), 400),
        (json!({"repo": "o/r/x", "filename": "a.safetensors"}), 400),
        (json!({"repo": "o/r", "filename": "../a.safetensors"}), 400),
        (
            json!({"repo": "o/r", "filename": "a.safetensors", "relative_path": "../x"}),
            400,
        ),
        (
            json!({"repo": "o/r", "filename": "a.safetensors", "model_root": "/tmp"}),
            500,
        ),
        (
            json!({"repo": "o/r", "filename": "none.safetensors", "model_root": root}),
            500,
        ),
    ] {
        assert_eq!(post("download-hf-model", body.clone()).await?.0, status, "{body}");
    }
    let (status, answer) = post(
        "set-hf-url",
        json!({"file_path": "/nope", "hf_url": "https://huggingface.co/x/y"}),
    )
    .await?;
    assert_eq!((status, &answer["error"]), (404, &json!("File not found: /nope")));
    let (_, linked) = post(
        "set-hf-url",
        json!({"file_path": path, "hf_url": "https://huggingface.co/x/y"}),
    )
    .await?;
    assert_eq!(linked["message"], "hf_url set to https://huggingface.co/x/y");
    let short = json!({"file_path": path, "hf_url": "https://hf.co/x/y"});
    assert_eq!(post("set-hf-url", short).await?.1["message"], "hf_url already set");
    assert_eq!(
        server.item("loras", "a b").await?["hf_url"],
        "https://huggingface.co/x/y"
    );
    assert_eq!(
        post("set-hf-url", json!({"file_path": path, "hf_url": "https://a.b/x/y"}))
            .await?
            .0,
        400
    );
    server.stop().await?;
    Ok(())
}
