//! Parts of the settings that can't be used: they are named, and only a mistake in the command line ends the start.

use std::time::Duration;

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server, ServerOptions, names, sorted_names};
use serde_json::json;

async fn problems(server: &Server) -> Result<String> {
    Ok(server.get_json("/api/lm/loras/problems", &[]).await?["problems"].to_string())
}

/// The log of a server that ends by itself.
async fn ended(options: ServerOptions) -> Result<String> {
    let server = match options.silent().start().await {
        Ok(server) => server,
        Err(error) => return Ok(error.to_string()),
    };
    for _ in 0..600 {
        if server.get("/healthz").await.is_err() {
            // The last words may still be on their way.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(server.log());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the server still runs")
}

#[tokio::test]
async fn a_mistyped_name_of_folders_on_the_command_line_ends_the_start_with_the_closest_one() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let root = format!("lora={}", wire(&library.root("loras")));
    let log = ended(ServerOptions::default().argument("--root").argument(root)).await?;
    assert!(log.contains("--root") && log.contains("did you mean `loras`?"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_mistyped_name_in_a_file_is_a_problem_and_the_rest_is_served() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let root = json!(wire(&library.root("loras")));
    let settings = format!("[folder_paths]\nloras = [{root}]\ncheckpoint = [{root}]\nclip_vision = [{root}]\n");
    let server = ServerOptions::default().settings(&settings).serve().await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["a"]);
    let told = problems(&server).await?;
    assert!(
        told.contains("did you mean `checkpoints`?") && !told.contains("clip_vision"),
        "{told}"
    );
    assert_eq!(server.status("loras").await?["problems"], 1);
    Ok(())
}

#[tokio::test]
async fn a_folder_that_never_was_is_not_found_and_one_that_went_is_offline() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let (there, never) = (library.root("loras"), library.path().join("nevre"));
    let server = ServerOptions::default()
        .root("loras", &there)
        .root("loras", &never)
        .serve()
        .await?;
    let root = |status: &serde_json::Value, path: &std::path::Path| {
        let roots = status["roots"].as_array().cloned().unwrap_or_default();
        roots
            .into_iter()
            .find(|root| root["path"] == wire(path))
            .unwrap_or_default()
    };
    let status = server.status("loras").await?;
    assert_eq!(
        (&root(&status, &never)["missing"], &root(&status, &there)["missing"]),
        (&json!(true), &json!(false))
    );
    let told = problems(&server).await?;
    assert!(
        told.contains(&wire(&never)) && told.contains("check its path"),
        "{told}"
    );
    assert!(server.log().contains("not found"), "{}", server.log());
    let body = json!({"file_path": wire(&there.join("a.safetensors")), "target_path": wire(&never)});
    let reply = server.send(&Call::post("/api/lm/loras/move_model", &body)).await?;
    assert!(reply.text().contains("not found: check the path"), "{}", reply.text());
    std::fs::rename(&there, library.path().join("aside"))?;
    server.scan("loras", false).await?;
    let status = server.status("loras").await?;
    let gone = root(&status, &there);
    assert_eq!((&gone["online"], &gone["missing"]), (&json!(false), &json!(false)));
    Ok(())
}

#[tokio::test]
async fn paths_of_a_comfyui_are_taken_as_comfyui_takes_them() -> Result<()> {
    let comfyui = tempfile::tempdir()?;
    std::fs::create_dir_all(comfyui.path().join("models"))?;
    let elsewhere = Library::of([Model::lora("variable")])?;
    let first = Library::of([Model::lora("first")])?;
    Model::lora("merged").write(&comfyui.path().join("shared"))?;
    let yaml = format!(
        "common: &common\n  base_path: shared\n  loras: loras\n\
         other:\n  <<: *common\n  loras: nowhere\n  loras: loras\n\
         env:\n  base_path: ${{MODELS}}\n  loras: loras\n  vae: 3\n\
         best:\n  is_default: true\n  loras: {}\n",
        json!(wire(&first.root("loras")))
    );
    std::fs::write(comfyui.path().join("extra_model_paths.yaml"), yaml)?;
    let server = ServerOptions::default()
        .argument("--comfyui")
        .argument(comfyui.path())
        .environment("MODELS", elsewhere.path())
        .serve()
        .await?;
    assert_eq!(
        sorted_names(&server.list("loras", &[]).await?),
        ["first", "merged", "variable"]
    );
    let roots = server.get_json("/api/lm/loras/roots", &[]).await?;
    assert_eq!(roots["roots"][0], wire(&first.root("loras")));
    let told = problems(&server).await?;
    for part in [
        "extra_model_paths.yaml",
        "`loras` more than once",
        "`env.vae` is a number",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_and_a_proxy_that_can_not_be_used_are_named_and_stop_nothing() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let settings = "civitai_api_key = 'schl\u{fc}ssel'\nproxy_enabled = true\nproxy_host = 'no host'\nproxy_port = 80\n\
                    [downloads]\nhuggingface_token = \"se\\ncret\"\n";
    let server = library
        .options()
        .settings(settings)
        .environment("HTTP_PROXY", "http://a b")
        .serve()
        .await?;
    let told = problems(&server).await?;
    for part in [
        "civitai_api_key",
        "proxy_host",
        "downloads.huggingface_token",
        "HTTP_PROXY",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        !told.contains("schl") && !told.contains("cret") && !server.log().contains("schl"),
        "{told}"
    );
    // Other settings can be changed all the same, and a key that is pasted with white space is taken.
    for changes in [
        json!({"show_only_sfw": true}),
        json!({"proxy_host": "h", "civitai_api_key": " abc\n"}),
    ] {
        assert_eq!(
            server.post_json("/api/lm/settings", &changes).await?["success"],
            true,
            "{changes}"
        );
    }
    let refused = server
        .post_json("/api/lm/settings", &json!({"civitai_api_key": "\u{fc}"}))
        .await?;
    assert_eq!(refused["success"], false, "{refused}");
    Ok(())
}
