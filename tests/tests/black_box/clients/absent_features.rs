//! Routes that clients call on every start, whose features Modelshelf does not have: they get an answer with which they
//! go on working.

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model};
use serde_json::{Value, json};

/// LoraManager's pages ask these on each load.
#[tokio::test]
async fn the_pages_of_lora_manager_learn_the_version_and_that_nothing_is_newer() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let own = server.get_json("/version", &[]).await?["version"].clone();
    let info = server.get_json("/api/lm/version-info", &[]).await?;
    assert_eq!(info, json!({"success": true, "version": own, "has_git": false}));
    let answer = server
        .get_json("/api/lm/check-updates", &[("nightly", "false")])
        .await?;
    assert_eq!(
        (&answer["success"], &answer["update_available"], &answer["releases"]),
        (&json!(true), &json!(false), &json!([]))
    );
    assert_eq!(answer["current_version"], answer["latest_version"]);
    let version = answer["current_version"].as_str().unwrap_or_default();
    assert!(
        own.as_str().is_some_and(|own| own.starts_with(&version[1..])),
        "{answer}"
    );
    assert!(answer["git_info"]["short_hash"].is_string() && answer["message"].is_string());
    let supporters = server.get_json("/api/lm/supporters", &[]).await?;
    assert_eq!(
        supporters["supporters"],
        json!({"specialThanks": [], "allSupporters": [], "totalCount": 0})
    );
    let status = server.get_json("/api/lm/example-images-status", &[]).await?;
    assert_eq!(
        (&status["is_downloading"], &status["status"]["status"]),
        (&json!(false), &json!("idle"))
    );
    let needed = server
        .post_json("/api/lm/check-example-images-needed", &json!({"model_types": ["lora"]}))
        .await?;
    assert_eq!(
        (&needed["needs_download"], &needed["pending_count"]),
        (&json!(false), &json!(0))
    );
    Ok(())
}

/// ComfyUI-Autocomplete-Plus-Plus stops all completion for 30 s after one 404 of these.
#[tokio::test]
async fn completion_of_words_and_wildcards_finds_nothing_and_that_of_loras_goes_on() -> Result<()> {
    let server = Library::of([Model::lora("a/style")])?.serve().await?;
    let words = server
        .get_json(
            "/api/lm/custom-words/search",
            &[("search", "sty"), ("limit", "20"), ("enriched", "true")],
        )
        .await?;
    assert_eq!(words, json!({"success": true, "words": []}));
    let wildcards = server
        .get_json("/api/lm/wildcards/search", &[("search", "sty"), ("limit", "20")])
        .await?;
    assert_eq!(
        (&wildcards["words"], &wildcards["meta"]["has_wildcards"]),
        (&json!([]), &json!(false))
    );
    for (prefix, paths) in [("loras", json!(["a/style.safetensors"])), ("embeddings", json!([]))] {
        let answer = server
            .get_json(
                &format!("/api/lm/{prefix}/relative-paths"),
                &[("search", "sty"), ("limit", "20")],
            )
            .await?;
        assert_eq!(answer["relative_paths"], paths);
    }
    Ok(())
}

/// The info sidebar of ComfyUI-LM-Remote, and comfy-ts.
#[tokio::test]
async fn a_model_has_no_example_images_and_that_is_no_error() -> Result<()> {
    let server = Library::of([Model::lora("a")])?.serve().await?;
    let hash = server.item("loras", "a").await?["sha256"].clone();
    let hash = hash.as_str().unwrap_or_default();
    let files = server
        .get_json("/api/lm/example-image-files", &[("model_hash", hash)])
        .await?;
    assert_eq!(files, json!({"success": true, "files": []}));
    let has = server
        .get_json("/api/lm/has-example-images", &[("model_hash", hash)])
        .await?;
    assert_eq!(has, json!({"has_images": false}));
    for route in ["example-image-files", "has-example-images"] {
        let reply = server.get(&format!("/api/lm/{route}")).await?;
        assert_eq!(
            (reply.status, reply.json()?["error"].clone()),
            (400, json!("Missing model_hash parameter"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_location_of_a_file_is_a_path_for_the_clipboard() -> Result<()> {
    let library = Library::new()?;
    let file = wire(&library.add(&Model::lora("a/b"))?);
    let server = library.options().settings("show_only_sfw = false").serve().await?;
    let ask = async |route: &str, body: Value| {
        let reply = server.send(&Call::post(&format!("/api/lm/{route}"), &body)).await?;
        anyhow::Ok((reply.status, reply.json()?))
    };
    let (status, answer) = ask("open-file-location", json!({ "file_path": file })).await?;
    assert_eq!(
        (status, &answer["mode"], &answer["path"], &answer["success"]),
        (200, &json!("clipboard"), &json!(file), &json!(true))
    );
    for (body, status, error) in [
        (json!({}), 400, "Missing file_path parameter"),
        (json!({"file_path": "/etc/passwd"}), 404, "File does not exist"),
    ] {
        assert_eq!(
            ask("open-file-location", body).await?,
            (status, json!({"success": false, "error": error}))
        );
    }
    let shown = server.get_json("/api/lm/settings", &[]).await?["settings"]["settings_file"].clone();
    let (status, answer) = ask("settings/open-location", json!({})).await?;
    assert_eq!((status, &answer["path"]), (200, &shown));
    Ok(())
}

#[tokio::test]
async fn what_needs_comfyui_answers_as_lora_manager_does_without_it() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let reply = server.get("/api/lm/get-registry").await?;
    let answer = reply.json()?;
    assert_eq!(
        (reply.status, &answer["success"], &answer["error"]),
        (503, &json!(false), &json!("Standalone Mode Active"))
    );
    assert!(answer["message"].is_string());
    for route in ["register-nodes", "update-lora-code", "update-node-widget"] {
        let reply = server
            .send(&Call::post(&format!("/api/lm/{route}"), &json!({})))
            .await?;
        assert_eq!(reply.status, 503, "{route}");
    }
    let skills = server.get_json("/api/lm/agent/skills", &[]).await?;
    assert_eq!(skills, json!({"skills": []}));
    let workflows = server.get_json("/api/lm/example-workflows", &[]).await?;
    assert_eq!(workflows, json!({"success": true, "workflows": []}));
    Ok(())
}
