//! Nodes and widgets of ComfyUI, and what forwards their calls.

use anyhow::{Context, Result};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, names};
use serde_json::{Value, json};

fn library() -> Result<Library> {
    Library::of([
        Model::lora("styles/amber")
            .base("SDXL 1.0")
            .tags(&["style"])
            .civitai(json!({"id": 1, "modelId": 2, "trainedWords": ["amber glow"], "model": {"type": "LORA", "allowNoCredit": true}}))
            .side("usage_tips", "{\"strength\": 0.8}")
            .side("notes", "at 0.8"),
        Model::lora("brush").base("Pony").tags(&["ink"]),
        Model::lora("knight").base("Pony").tags(&["character"]),
        Model::new("checkpoints", "base/xl").sidecar(),
        Model::new("unet", "flux").sidecar(),
        Model::new("embeddings", "negative").sidecar(),
    ])
}

/// ComfyUI-LM-Remote: its Python client, through aiohttp.
#[tokio::test]
async fn the_client_of_a_proxy_in_comfyui_reads_models_samples_and_cycles() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let agent = ("User-Agent", "Python/3.12 aiohttp/3.9.5");
    let list = Call::get("/api/lm/loras/list")
        .query(&[("page_size", "9999")])
        .header(agent.0, agent.1);
    let page = server.send(&list).await?.json()?;
    assert_eq!((&page["page_size"], &page["total"]), (&json!(100), &json!(3)));
    let words = Call::get("/api/lm/loras/get-trigger-words")
        .query(&[("name", "amber")])
        .header(agent.0, agent.1);
    assert_eq!(
        server.send(&words).await?.json()?["trigger_words"],
        json!(["amber glow"])
    );
    let body = json!({"count": 2, "model_strength_min": 0.5, "model_strength_max": 1.0, "pool_config": {"baseModels": ["Pony"]}, "locked_loras": []});
    let sample = Call::post("/api/lm/loras/random-sample", &body).header(agent.0, agent.1);
    let answer = server.send(&sample).await?.json()?;
    assert_eq!((&answer["success"], &answer["count"]), (&json!(true), &json!(2)));
    assert!(answer["loras"][0]["clipStrength"].is_number() && answer["loras"][0]["active"] == true);
    let cycle = Call::post(
        "/api/lm/loras/cycler-list",
        &json!({"sort_by": "filename", "pool_config": null}),
    );
    let answer = server.send(&cycle.header(agent.0, agent.1)).await?.json()?;
    let cycled: Vec<&str> = answer["loras"]
        .as_array()
        .context("loras")?
        .iter()
        .filter_map(|own| own["file_name"].as_str())
        .collect();
    assert_eq!(cycled, ["styles/amber", "brush", "knight"]);
    Ok(())
}

/// Its newer sidebar asks for what LoraManager does not have first, and goes on with the list.
#[tokio::test]
async fn a_sidebar_falls_back_to_the_list_and_shows_a_model() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    assert_eq!(server.get("/api/lm/loras/resolve?name=amber").await?.status, 404);
    let page = server.list("loras", &[("search", "amber")]).await?;
    let item = &page["items"][0];
    let path = item["file_path"].as_str().context("file_path")?;
    let metadata = server
        .get_json("/api/lm/loras/metadata", &[("file_path", path)])
        .await?;
    assert_eq!(metadata["metadata"]["trainedWords"], json!(["amber glow"]));
    assert!(item["preview_url"].is_string() && item["civitai"]["modelId"] == 2);
    Ok(())
}

/// LoRA optimizer nodes, and workflowx.
#[tokio::test]
async fn nodes_fill_their_choices() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let bases = server
        .get_json("/api/lm/loras/base-models", &[("limit", "100")])
        .await?;
    assert_eq!(
        bases["base_models"],
        json!([{"name": "Pony", "count": 2}, {"name": "SDXL 1.0", "count": 1}])
    );
    let page = server.list("loras", &[("page", "1"), ("base_model", "Pony")]).await?;
    assert_eq!(
        (names(&page), &page["total_pages"]),
        (vec!["brush".into(), "knight".into()], &json!(1))
    );
    let paths = server
        .get_json("/api/lm/loras/relative-paths", &[("search", ""), ("limit", "100")])
        .await?;
    assert_eq!(paths["relative_paths"].as_array().map(Vec::len), Some(3));
    let tree = server.get_json("/api/lm/loras/unified-folder-tree", &[]).await?;
    assert_eq!(tree["tree"], json!({"styles": {}}));
    let path = page["items"][0]["file_path"].as_str().context("file_path")?.to_owned();
    let description = server
        .get_json("/api/lm/loras/model-description", &[("file_path", &path)])
        .await?;
    assert_eq!(
        (&description["success"], &description["description"]),
        (&json!(true), &json!(""))
    );
    let scan = server.get_json("/api/lm/loras/scan", &[]).await?;
    assert_eq!(scan["status"], "success");
    let pool = server
        .get_json("/api/lm/checkpoints/loader-pool", &[("sub_type", "diffusion_model")])
        .await?;
    assert_eq!(pool["items"][0]["name"], "flux.safetensors");
    Ok(())
}

/// LoraManager's own widgets, through a proxy.
#[tokio::test]
async fn widgets_read_previews_licences_notes_and_tips_and_save_them() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let preview = server
        .get_json(
            "/api/lm/loras/preview-url",
            &[("name", "styles/amber"), ("license_flags", "true")],
        )
        .await?;
    assert!(
        preview["license_flags"].is_u64() && preview["use_new_license_icons"].is_boolean(),
        "{preview}"
    );
    let notes = server.get_json("/api/lm/loras/get-notes", &[("name", "amber")]).await?;
    assert_eq!(notes["notes"], "at 0.8");
    let tips = server
        .get_json(
            "/api/lm/loras/usage-tips-by-path",
            &[("relative_path", "styles/amber.safetensors")],
        )
        .await?;
    assert_eq!(tips["usage_tips"], "{\"strength\": 0.8}");
    let path = wire(&library.root("loras").join("styles/amber.safetensors"));
    let body = json!({"file_path": path, "usage_tips": "{\"strength\":0.7}"});
    assert_eq!(
        server.post_json("/api/lm/loras/save-metadata", &body).await?["success"],
        true
    );
    let item = server.item("loras", "amber").await?;
    assert_eq!(item["usage_tips"], "{\"strength\":0.7}");
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let body = json!({"lora_names": ["styles/amber"], "node_ids": [7, {"node_id": 8, "graph_id": "g"}]});
    server.post_json("/api/lm/loras/get_trigger_words", &body).await?;
    let told: Value = socket.find(|message| message["type"] == "trigger_word_update").await?;
    assert!(told.to_string().contains("amber glow"), "{told}");
    Ok(())
}
