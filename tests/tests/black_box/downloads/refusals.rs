//! What is refused, and why.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, Civitai, Fault, Storage};
use modelshelf_tests::{Call, Library};
use serde_json::json;

use super::{
    begin, by_default, download, enqueue, get, lora, names, options, options_with, rows, sized, slow, wait_for_end,
    wait_for_file,
};

#[tokio::test]
async fn what_a_request_lacks_is_told_before_anything_is_done() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1)]).await?);
    let server = options(&library, &civitai, "")?.serve().await?;
    let missing = "Missing required parameter: Please provide either 'model_id' or 'model_version_id'";
    for (body, error) in [
        (json!({"download_id": "x"}), missing),
        (json!({"model_id": "", "download_id": "x"}), missing),
        (
            json!({"model_id": "a", "download_id": "x"}),
            "Invalid model_id: Must be an integer",
        ),
        (
            json!({"model_id": 1, "model_version_id": [], "download_id": "x"}),
            "Invalid model_version_id: Must be an integer",
        ),
    ] {
        let (status, answer) = download(&server, body).await?;
        assert_eq!((status, &answer["error"]), (400, &json!(error)));
    }
    assert_eq!(get(&server, "download-progress/x", &[]).await?.0, 404);
    for (body, error) in [
        (json!({"model_id": 9}), "Failed to fetch model metadata"),
        (json!({"model_id": 1}), "No save directory specified"),
        (
            json!({"model_id": 1, "model_root": "/tmp"}),
            "Download path is outside allowed directory",
        ),
        (
            json!({"model_id": 1, "model_root": library.root("loras"), "relative_path": "../x"}),
            "Download path is outside allowed directory",
        ),
    ] {
        let (status, answer) = download(&server, body).await?;
        assert_eq!((status, &answer["error"]), (500, &json!(error)));
        assert!(answer["download_id"].is_string());
    }
    assert_eq!(names(&library.root("loras"))?, Vec::<String>::new());
    for path in [
        "cancel-download-get",
        "skip-download",
        "pause-download",
        "resume-download",
        "downloads/queue/remove",
    ] {
        assert_eq!(get(&server, path, &[]).await?.0, 400, "{path}");
    }
    for path in ["cancel-download-get", "skip-download"] {
        let unknown = get(&server, path, &[("download_id", "no")]).await?;
        assert_eq!(
            unknown,
            (200, json!({"success": false, "error": "Download task not found"}))
        );
    }
    for path in ["pause-download", "resume-download"] {
        let unknown = get(&server, path, &[("download_id", "no")]).await?;
        assert_eq!(
            unknown,
            (400, json!({"success": false, "error": "Download task not found"}))
        );
    }
    let (status, answer) = get(&server, "download-model-get", &[]).await?;
    assert_eq!((status, &answer["success"]), (400, &json!(false)));
    // A page elsewhere starts nothing.
    let foreign = Call::get("/api/lm/download-model-get?model_id=1").header("Origin", "https://evil.example");
    assert_eq!(server.send(&foreign).await?.status, 403);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_a_provider_refuses_is_told_with_what_to_do() -> Result<()> {
    let library = Library::new()?;
    let mut gated = lora(2);
    gated.versions[0].early_access = true;
    let civitai = Civitai::start([lora(1), gated, CatalogModel::new(3, "Other", "Workflows")]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let (status, answer) = download(&server, by_default(2)).await?;
    assert_eq!(
        (status, answer),
        (
            401,
            json!({"success": false, "error": "Early Access Restriction: This model requires purchase. Please buy early access on Civitai.com."})
        )
    );
    let (_, answer) = download(&server, by_default(3)).await?;
    assert_eq!(
        answer["error"],
        "Model type \"Workflows\" is not supported for download"
    );
    for (status, word) in [(451, "where you are"), (410, "any more"), (401, "civitai_api_key")] {
        civitai.fail(Fault::status("/api/download/", status));
        let (_, answer) = download(&server, by_default(1)).await?;
        civitai.mend();
        assert!(
            answer["error"].as_str().is_some_and(|text| text.contains(word)),
            "{answer}"
        );
    }
    civitai.give_out(Storage {
        wrong: true,
        ..Storage::default()
    });
    let (status, answer) = download(&server, by_default(1)).await?;
    assert_eq!(status, 500);
    let kept = answer["kept_as"].as_str().context("kept_as")?.to_owned();
    assert!(answer["error"].as_str().is_some_and(|text| text.contains("SHA-256")) && Path::new(&kept).is_file());
    server.scan("loras", false).await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 0);
    civitai.give_out(Storage::default());
    let (_, history) = get(&server, "downloads/history", &[("status", "failed"), ("limit", "1")]).await?;
    let id = history["items"][0]["download_id"].as_str().context("id")?.to_owned();
    let (_, retried) = get(&server, "downloads/history/retry", &[("download_id", &id)]).await?;
    assert_eq!(
        (&retried["item"]["status"], &retried["item"]["source"]),
        (&json!("queued"), &json!("retry"))
    );
    server.wait_for("loras", |page| page["total"] == 1).await?;
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_key_is_sent_to_the_provider_and_never_along_to_where_files_are() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1)]).await?);
    civitai.ask_for_key(&["secret"]);
    let server = options_with(&library, &civitai, "civitai_api_key = 'secret'", "")?
        .serve()
        .await?;
    assert_eq!(download(&server, by_default(1)).await?.0, 200);
    let asked = civitai.asked();
    let (files, api): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.target.starts_with("/files/"));
    assert!(!files.is_empty() && files.iter().all(|asked| asked.authorization.is_none()));
    let download = api
        .iter()
        .find(|asked| asked.target.starts_with("/api/download/"))
        .context("none")?;
    assert_eq!(download.authorization.as_deref(), Some("Bearer secret"));
    assert!(!server.log().contains("secret"));
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_refused_leaves_no_row_and_a_row_that_is_says_why() -> Result<()> {
    let library = Library::new()?;
    let mut gated = lora(2);
    gated.versions[0].early_access = true;
    let civitai = Civitai::start([gated, sized(3, 64 << 20)]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let body = json!({"model_id": 2, "use_default_paths": true, "download_id": "a"});
    assert_eq!(download(&server, body).await?.0, 401);
    assert_eq!(rows(&server).await?, (Vec::new(), 0));
    assert_eq!(get(&server, "download-progress/a", &[]).await?.0, 404);
    // Nor does one for what nobody has; one that can't be asked for now can be tried again.
    assert_eq!(download(&server, by_default(9)).await?.0, 500);
    assert_eq!(rows(&server).await?, (Vec::new(), 0));
    civitai.fail(Fault::status("/api/v1/models/3", 500));
    civitai.fail(Fault::status("/archive/api", 500));
    assert_eq!(download(&server, by_default(3)).await?.0, 500);
    civitai.mend();
    assert_eq!(rows(&server).await?, (Vec::new(), 1));
    get(&server, "downloads/history/clear", &[]).await?;

    // The same twice at once: the second call is told, and nothing is noted of it.
    civitai.give_out(slow());
    let first = begin(
        &server,
        json!({"model_id": 3, "use_default_paths": true, "download_id": "b"}),
    );
    wait_for_file(&library, "file3.safetensors.part.state").await?;
    let (status, answer) = download(&server, by_default(3)).await?;
    assert_eq!(
        (status, &answer["error"]),
        (500, &json!("This file is being downloaded already"))
    );
    assert_eq!(rows(&server).await?.0.len(), 1);
    get(&server, "cancel-download-get", &[("download_id", "b")]).await?;
    assert_eq!(first.await??.1["cancelled"], true);

    // What a client queued is not lost without a word.
    enqueue(&server, "2", "c").await?;
    let items = wait_for_end(&server, 2).await?;
    assert_eq!(
        (&items[0]["download_id"], &items[0]["status"]),
        (&json!("c"), &json!("failed"))
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
#[cfg(unix)]
async fn a_link_that_leads_out_of_the_library_is_no_place_for_a_file() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1)]).await?);
    let server = options(&library, &civitai, "")?.serve().await?;
    let outside = tempfile::tempdir()?;
    std::os::unix::fs::symlink(outside.path(), library.root("loras").join("link"))?;
    for relative in ["link", "link/below"] {
        let body = json!({"model_id": 1, "model_root": library.root("loras"), "relative_path": relative});
        let (status, answer) = download(&server, body).await?;
        assert_eq!(
            (status, &answer["error"]),
            (500, &json!("Download path is outside allowed directory"))
        );
    }
    assert_eq!(names(outside.path())?, Vec::<String>::new());
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn neither_a_mirror_nor_a_redirect_leads_into_a_private_network() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1), lora(2), lora(3)]).await?);
    civitai.remove(2, true);
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = inside.local_addr()?.port();
    let asked = Arc::new(AtomicUsize::new(0));
    let own = asked.clone();
    let router = axum::Router::new().fallback(async move || {
        own.fetch_add(1, Ordering::Relaxed);
        "inside"
    });
    tokio::spawn(async move { axum::serve(inside, router).await });
    let options = options(&library, &civitai, "")?;
    let config = library.path().join("settings.toml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replace("private_addresses = true", ""))?;
    let server = options.serve().await?;
    // The address of the API is the settings' own; the files are at another one.
    let (_, answer) = download(&server, by_default(1)).await?;
    let says_what_to_do = |answer: &serde_json::Value| {
        let error = answer["error"].as_str().unwrap_or_default();
        error.contains("private network") && error.contains("private_addresses")
    };
    assert!(says_what_to_do(&answer), "{answer}");
    assert!(civitai.count("/api/download/") > 0 && civitai.count("/files/") == 0);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        civitai.mirror_at(&format!("http://{host}:{port}/api/lm/delete-model"));
        let (_, answer) = download(&server, by_default(2)).await?;
        assert!(says_what_to_do(&answer), "{host}: {answer}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    server.stop().await?;
    Ok(())
}
