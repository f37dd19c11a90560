//! Settings that are changed while the server runs, and secrets among them.

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, Civitai};
use modelshelf_tests::model::sha256;
use modelshelf_tests::{Call, Library, Model, names};
use serde_json::{Value, json};

const SETTINGS: &str = "/api/lm/settings";

#[tokio::test]
async fn a_changed_setting_is_in_force_at_once_and_after_a_restart() -> Result<()> {
    let library = Library::of([Model::lora("safe"), Model::lora("adult").side("preview_nsfw_level", 8)])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let before = server.get("/api/lm/loras/list").await?;
    let tag = before.header("etag").to_owned();
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let changes = json!({"show_only_sfw": true, "something_unknown": [1], "mature_blur_level": "zzz"});
    assert_eq!(server.post_json(SETTINGS, &changes).await?, json!({"success": true}));
    socket.find(|message| message["type"] == "settings_changed").await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["safe"]);
    // What a page has of before is not taken for the answer of now.
    let again = Call::get("/api/lm/loras/list").header("If-None-Match", &tag);
    assert_eq!(server.send(&again).await?.status, 200);
    server.stop().await?;
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["safe"]);
    let shown = server.get_json(SETTINGS, &[]).await?["settings"].clone();
    assert_eq!(
        (&shown["something_unknown"], &shown["mature_blur_level"]),
        (&json!([1]), &json!("R"))
    );
    Ok(())
}

#[tokio::test]
async fn secrets_are_kept_for_their_owner_and_never_shown() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let mut model = CatalogModel::new(5, "Amber", "LORA");
    model.versions[0].files[0].sha256 = sha256(&std::fs::read(&file)?);
    let civitai = Civitai::start([model]).await?;
    civitai.ask_for_key(&["hidden-key"]);
    let data = library.path().join("data");
    let server = library.options().civitai(&civitai).data_dir(&data).serve().await?;
    let fetch = Call::post("/api/lm/loras/fetch-civitai", &json!({ "file_path": file }));
    let refused = server.send(&fetch).await?.json()?;
    assert!(
        refused["error"]
            .as_str()
            .unwrap_or_default()
            .contains("asks for an API key"),
        "{refused}"
    );

    let changes = json!({"civitai_api_key": "hidden-key", "proxy_password": "hidden-word"});
    server.post_json(SETTINGS, &changes).await?;
    assert_eq!(server.send(&fetch).await?.json()?["success"], true);
    let shown = server.get_json(SETTINGS, &[]).await?;
    assert_eq!(
        (
            &shown["settings"]["civitai_api_key_set"],
            &shown["settings"]["proxy_password_set"]
        ),
        (&json!(true), &json!(true))
    );
    let page = server.get("/loras").await?.text();
    for text in [shown.to_string(), page, server.log()] {
        assert!(!text.contains("hidden-"), "{text}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(data.join("secrets.json"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    server.post_json(SETTINGS, &json!({"civitai_api_key": "wrong"})).await?;
    let refused = server.send(&fetch).await?.json()?;
    assert!(
        refused["error"]
            .as_str()
            .unwrap_or_default()
            .contains("rejects the API key"),
        "{refused}"
    );
    server
        .post_json(SETTINGS, &json!({"civitai_api_key": "__DELETE__"}))
        .await?;
    let shown = server.get_json(SETTINGS, &[]).await?["settings"].clone();
    assert_eq!(shown["civitai_api_key_set"], false);
    Ok(())
}

#[tokio::test]
async fn the_key_of_the_environment_is_the_strongest() -> Result<()> {
    let civitai = Civitai::start([CatalogModel::new(5, "Amber", "LORA")]).await?;
    let library = Library::new()?;
    let server = library
        .options()
        .settings("civitai_api_key = 'of-the-file'")
        .civitai(&civitai)
        .environment("CIVITAI_API_KEY", "of-the-environment")
        .serve()
        .await?;
    server.get_json("/api/lm/loras/civitai/model/version/50", &[]).await?;
    let asked = civitai.asked();
    assert!(
        asked
            .iter()
            .all(|own| own.authorization.as_deref() == Some("Bearer of-the-environment"))
    );
    assert!(!asked.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_can_not_be_used_is_refused_and_changes_nothing() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let before = server.get_json(SETTINGS, &[]).await?;
    let refused = [
        (
            json!({"example_images_path": "nope/x", "show_only_sfw": true}),
            "`example_images_path` must be a path from the root of the disk on, and is \"nope/x\".",
        ),
        (
            json!({"proxy_enabled": true, "proxy_host": "h", "proxy_port": "x"}),
            "proxy_port",
        ),
        (
            json!({"proxy_enabled": true, "proxy_host": "h", "proxy_port": 1, "proxy_type": "carrier"}),
            "proxy_type",
        ),
        (json!({"civitai_api_key": "line\nbreak"}), "API key"),
        (json!({"folder_paths": {}}), "folder_paths"),
    ];
    for (changes, text) in refused {
        let reply = server.send(&Call::post(SETTINGS, &changes)).await?;
        let answer = reply.json()?;
        assert_eq!((reply.status, &answer["success"]), (200, &json!(false)), "{changes}");
        assert!(answer["error"].as_str().unwrap_or_default().contains(text), "{answer}");
    }
    // More than is kept of settings.
    for changes in [
        json!({"unknown": "x".repeat(70_000)}),
        json!({"u".repeat(200): 1}),
        (0..600)
            .map(|index| (format!("unknown{index}"), json!(1)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    ] {
        let reply = server.send(&Call::post(SETTINGS, &changes)).await?;
        assert!(
            reply.status == 400 && reply.text().contains("may have"),
            "{} {}",
            reply.status,
            reply.text()
        );
    }
    assert_eq!(server.get_json(SETTINGS, &[]).await?, before);
    // Whether a path exists is not told.
    for path in ["/etc/passwd", "/no/such/folder"] {
        let reply = server
            .send(&Call::post(SETTINGS, &json!({"example_images_path": path})))
            .await?;
        assert_eq!(reply.json()?, json!({"success": true}));
    }
    assert_eq!(server.send(&Call::post(SETTINGS, &json!([]))).await?.status, 400);
    // A page of another site can't.
    let foreign = Call::post(SETTINGS, &json!({"show_only_sfw": true})).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&foreign).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_is_set() -> Result<()> {
    let library = Library::new()?;
    // A stand-in takes requests with whole addresses, as a proxy gets them, like its own.
    let civitai = Civitai::start([CatalogModel::new(5, "Amber", "LORA")]).await?;
    let nobody = "[providers]\ncivitai = 'http://nobody.invalid/api/v1'\nretry_seconds = 0.0\n";
    let server = library.options().settings(nobody).serve().await?;
    let path = "/api/lm/loras/civitai/model/version/50";
    assert_eq!(server.get(path).await?.status, 500);
    let base = civitai.base();
    let (host, port) = base
        .trim_start_matches("http://")
        .trim_end_matches("/api/v1")
        .split_once(':')
        .context("address")?;
    let proxy = json!({"proxy_enabled": true, "proxy_type": "http", "proxy_host": host, "proxy_port": port});
    server.post_json(SETTINGS, &proxy).await?;
    let answer: Value = server.get_json(path, &[]).await?;
    assert_eq!(answer["id"], 50);
    Ok(())
}

#[tokio::test]
async fn lists_that_clients_send_as_texts_are_shown_as_lists() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let changes = json!({"auto_organize_exclusions": ["a", " b "], "metadata_refresh_skip_paths": "c, d"});
    server.post_json("/api/lm/settings", &changes).await?;
    let shown = server.get_json("/api/lm/settings", &[]).await?["settings"].clone();
    assert_eq!(
        (
            &shown["auto_organize_exclusions"],
            &shown["metadata_refresh_skip_paths"]
        ),
        (&json!(["a", "b"]), &json!(["c", "d"]))
    );
    assert_eq!(shown["proxy_username"], "");
    Ok(())
}
