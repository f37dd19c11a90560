//! Where settings come from.

use anyhow::Result;
use modelshelf_tests::http::basic;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, ServerOptions, names, sorted_names};
use serde_json::json;

#[tokio::test]
async fn folders_come_from_our_own_settings_file() -> Result<()> {
    let library = Library::of([Model::lora("amber"), Model::new("unet", "flux").sidecar()])?;
    let config = library.path().join("settings.toml");
    let quoted = |root: &str| json!(wire(&library.root(root))).to_string();
    std::fs::write(
        &config,
        format!(
            "[folder_paths]\nloras = [{}]\nunet = [{}]\n",
            quoted("loras"),
            quoted("unet")
        ),
    )?;
    let server = ServerOptions::default()
        .argument("--config")
        .argument(&config)
        .serve()
        .await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["amber"]);
    assert_eq!(server.item("checkpoints", "flux").await?["sub_type"], "diffusion_model");
    Ok(())
}

#[tokio::test]
async fn the_settings_file_in_the_data_folder_needs_no_flag() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::write(
        data.join("settings.toml"),
        format!("[folder_paths]\nloras = [{}]\n", json!(wire(&library.root("loras")))),
    )?;
    let server = ServerOptions::default().data_dir(&data).serve().await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["amber"]);
    Ok(())
}

#[tokio::test]
async fn existing_settings_of_the_original_are_found_and_left_as_they_are() -> Result<()> {
    let library = Library::of([Model::lora("safe"), Model::lora("adult").side("preview_nsfw_level", 8)])?;
    let extra = Library::of([Model::lora("extra")])?;
    let config = library.path().join("config");
    let file = config.join("ComfyUI-LoRA-Manager/settings.json");
    std::fs::create_dir_all(config.join("ComfyUI-LoRA-Manager"))?;
    let settings = json!({
        "folder_paths": {"loras": [wire(&library.root("loras")), "/does/not/exist"]},
        "extra_folder_paths": {"loras": [wire(&extra.root("loras"))]},
        "show_only_sfw": true,
        "something_unknown": {"kept": true},
    });
    std::fs::write(&file, settings.to_string())?;
    let server = ServerOptions::default()
        .environment("XDG_CONFIG_HOME", &config)
        .serve()
        .await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["extra", "safe"]);
    assert_eq!(std::fs::read_to_string(&file)?, settings.to_string());
    Ok(())
}

#[tokio::test]
async fn a_comfyui_folder_brings_its_models_and_its_extra_paths() -> Result<()> {
    let comfyui = tempfile::tempdir()?;
    let elsewhere = Library::of([Model::lora("elsewhere"), Model::new("unet", "diffusion").sidecar()])?;
    for folder in ["models/loras", "models/checkpoints", "models/embeddings"] {
        std::fs::create_dir_all(comfyui.path().join(folder))?;
    }
    Model::lora("inside").write(&comfyui.path().join("models"))?;
    Model::new("checkpoints", "full")
        .sidecar()
        .write(&comfyui.path().join("models"))?;
    let yaml = format!(
        "other:\n  base_path: {}\n  loras: loras\n  diffusion_models: |\n    unet\n    nowhere\n",
        wire(elsewhere.path())
    );
    std::fs::write(comfyui.path().join("extra_model_paths.yaml"), yaml)?;
    let server = ServerOptions::default()
        .argument("--comfyui")
        .argument(comfyui.path())
        .serve()
        .await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["elsewhere", "inside"]);
    assert_eq!(
        sorted_names(&server.list("checkpoints", &[]).await?),
        ["diffusion", "full"]
    );
    assert_eq!(
        server.item("checkpoints", "diffusion").await?["sub_type"],
        "diffusion_model"
    );
    Ok(())
}

#[tokio::test]
async fn a_broken_settings_file_ends_the_start_with_its_name_and_the_line() -> Result<()> {
    let library = Library::new()?;
    let config = library.path().join("mine.toml");
    std::fs::write(&config, "good = 1\nbad = = 2\n")?;
    let error = library
        .options()
        .argument("--config")
        .argument(&config)
        .start()
        .await
        .err();
    let message = error.map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(message.contains("mine.toml") && message.contains("line 2"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_flag_that_cannot_be_used_is_named() -> Result<()> {
    for (arguments, part) in [
        (&["--root", "loras"][..], "--root"),
        (&["--config", "/no/such/file.toml"], "/no/such/file.toml"),
    ] {
        let options = arguments.iter().fold(ServerOptions::default(), ServerOptions::argument);
        let message = options
            .start()
            .await
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_and_an_allowed_origin_let_a_tool_make_changes() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let config = library.path().join("settings.toml");
    std::fs::write(
        &config,
        "[server]\ntoken = \"0123456789abcdef0123456789abcdef\"\nallowed_origins = [\"chrome-extension://abc\"]\nallowed_hosts = [\"nas.lan\"]\n",
    )?;
    let token = "0123456789abcdef0123456789abcdef";
    let server = library
        .options()
        .sending_token(token)
        .argument("--config")
        .argument(&config);
    let server = server.serve().await?;
    let call = Call::post("/api/lm/loras/cancel-task", &json!({})).header("Sec-Fetch-Site", "cross-site");
    let status = async |name: &str, value: &str| {
        server
            .send(&call.clone().header(name, value))
            .await
            .map(|reply| reply.status)
    };
    assert_eq!(status("Authorization", &format!("Bearer {token}")).await?, 200);
    assert_eq!(status("Authorization", "Bearer other").await?, 401);
    // The browser sends no token of its own to a foreign page, but an extension that has one may.
    let by_basic = call.clone().header("Authorization", &basic(token));
    let status = async |origin: &str| {
        server
            .send(&by_basic.clone().header("Origin", origin))
            .await
            .map(|reply| reply.status)
    };
    assert_eq!(status("chrome-extension://abc").await?, 200);
    assert_eq!(status("http://evil.example").await?, 403);
    assert_eq!(
        server
            .send(&Call::get("/api/lm/loras/list").header("Host", "nas.lan:99"))
            .await?
            .status,
        200
    );
    Ok(())
}

#[tokio::test]
async fn names_to_show_can_be_file_names() -> Result<()> {
    let library = Library::of([Model::lora("b").name("A"), Model::lora("a").name("B")])?;
    let config = library.path().join("settings.toml");
    std::fs::write(
        &config,
        "model_name_display = \"file_name\"\nlora_syntax_format = \"full\"\n",
    )?;
    library.add(&Model::lora("sub/a").name("C"))?;
    let server = library.options().argument("--config").argument(&config).serve().await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["a", "a", "b"]);
    assert_eq!(
        server.get_json("/api/lm/loras/find-filename-conflicts", &[]).await?["count"],
        0
    );
    Ok(())
}

#[tokio::test]
async fn versions_of_any_base_are_one_group_when_settings_say_so() -> Result<()> {
    let version =
        |path: &str, id: u64, base: &str| Model::lora(path).base(base).civitai(json!({"id": id, "modelId": 1}));
    let library = Library::of([version("a", 1, "SDXL 1.0"), version("b", 2, "Pony")])?;
    let config = library.path().join("settings.toml");
    std::fs::write(&config, "version_grouping = \"any\"\n")?;
    let server = library.options().argument("--config").argument(&config).serve().await?;
    assert_eq!(
        names(&server.list("loras", &[("group_by_model", "true")]).await?),
        ["b"]
    );
    Ok(())
}
