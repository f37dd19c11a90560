//! Files that no hash proves: what only looks like success is not installed.

use anyhow::Result;
use axum::Json;
use axum::extract::Path as Params;
use axum::http::{HeaderMap, HeaderValue, header};
use modelshelf_tests::civitai::Civitai;
use modelshelf_tests::{Call, Library, weights};
use serde_json::{Value, json};

use super::options;

/// A file of the repository: its name, the size that the list says, and the answer.
#[derive(Clone)]
struct Listed {
    name: &'static str,
    size: usize,
    headers: &'static [(header::HeaderName, &'static str)],
    body: Vec<u8>,
}

/// A site like Hugging Face with one repository of small files, which have no hash there.
async fn hub(files: Vec<Listed>) -> Result<String> {
    let tree: Vec<Value> = files
        .iter()
        .map(|file| json!({"type": "file", "path": file.name, "size": file.size}))
        .collect();
    let give = async move |Params((_, _, _, path)): Params<(String, String, String, String)>| {
        let file = files.iter().find(|file| file.name == path);
        let headers: HeaderMap = file
            .iter()
            .flat_map(|file| file.headers)
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        (headers, file.map(|file| file.body.clone()).unwrap_or_default())
    };
    let list = async move || Json(tree.clone());
    let router = axum::Router::new()
        .route("/api/models/{owner}/{name}/tree/{revision}", axum::routing::get(list))
        .route("/{owner}/{name}/resolve/{revision}/{*path}", axum::routing::get(give));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(base)
}

fn listed(name: &'static str, body: &[u8], headers: &'static [(header::HeaderName, &'static str)]) -> Listed {
    Listed {
        name,
        size: body.len(),
        headers,
        body: body.to_vec(),
    }
}

#[tokio::test]
async fn what_only_looks_like_success_is_not_installed_and_each_reason_is_told() -> Result<()> {
    let good = weights::safetensors(&[], &[("t".into(), "F16".into(), vec![4, 4])], 1);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let mut behind = good.clone();
    behind.extend(b"more");
    let short = Listed {
        size: good.len() + 7,
        ..listed("short.safetensors", &good, &[])
    };
    let files = vec![
        listed("good.safetensors", &good, &[]),
        listed("pointer.safetensors", pointer, &[]),
        listed("page.safetensors", b"<p>x", &[(header::CONTENT_TYPE, "TEXT/HTML")]),
        listed(
            "message.safetensors",
            b"{}",
            &[(header::CONTENT_TYPE, "application/json")],
        ),
        listed("packed.safetensors", b"\x1f\x8b", &[(header::CONTENT_ENCODING, "gzip")]),
        listed("part.safetensors", &good, &[(header::CONTENT_RANGE, "bytes 0-9/100")]),
        listed("cut.safetensors", &good[..good.len() - 1], &[]),
        listed("behind.safetensors", &behind, &[]),
        short,
    ];
    let (library, civitai) = (Library::new()?, Civitai::start([]).await?);
    let base = hub(files).await?;
    let server = options(&library, &civitai, &format!("huggingface = '{base}'"))?
        .serve()
        .await?;
    let root = library.root("loras");
    let download = async |name: &str| {
        let body = json!({"repo": "o/r", "filename": name, "model_root": root, "relative_path": ""});
        let reply = server.send(&Call::post("/api/lm/download-hf-model", &body)).await?;
        Ok::<_, anyhow::Error>((reply.status, reply.json()?))
    };
    let (status, answer) = download("good.safetensors").await?;
    assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    for (name, word) in [
        ("pointer", "Git LFS"),
        ("page", "web page"),
        ("message", "application/json"),
        ("packed", "gzip"),
        ("part", "other bytes than it sends"),
        ("cut", "incomplete"),
        ("behind", "4 bytes behind"),
        ("short", "the provider names"),
    ] {
        let (status, answer) = download(&format!("{name}.safetensors")).await?;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(status == 500 && error.contains(word), "{name}: {status} {answer}");
        assert!(!root.join(format!("{name}.safetensors")).exists(), "{name}");
    }
    assert!(root.join("pointer.safetensors.rejected").is_file());
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}
