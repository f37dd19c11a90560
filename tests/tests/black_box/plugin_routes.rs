//! The routes that the built-in types add.

use anyhow::{Context, Result};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::{Value, json};

use super::queries::refused;

async fn loras() -> Result<Server> {
    Library::of([
        Model::lora("style/amber")
            .name("Amber")
            .base("SDXL 1.0")
            .tags(&["style"])
            .side("usage_tips", r#"{"strength":0.8}"#)
            .civitai(json!({"id": 1, "modelId": 1, "trainedWords": ["warm light", "lantern"]})),
        Model::lora("style/azure")
            .name("azure")
            .base("SDXL 1.0")
            .tags(&["blue"]),
        Model::lora("7days").name("7 days").base("Pony"),
        Model::lora("other").name("(other)").base("Pony"),
        Model::lora("kanji").name("漢字").base("SD 1.5"),
    ])?
    .serve()
    .await
}

#[tokio::test]
async fn loras_are_counted_by_the_class_of_their_first_letter() -> Result<()> {
    let server = loras().await?;
    let answer = server.get_json("/api/lm/loras/letter-counts", &[]).await?;
    let counts = answer["letter_counts"].as_object().context("object")?;
    assert_eq!(counts.len(), 29, "{counts:?}");
    for (letter, expected) in [("A", 2), ("B", 0), ("#", 1), ("@", 1), ("漢", 1)] {
        assert_eq!(counts[letter], expected, "{letter}");
    }
    Ok(())
}

#[tokio::test]
async fn trigger_words_are_found_by_name_and_unknown_names_have_none() -> Result<()> {
    let server = loras().await?;
    let path = "/api/lm/loras/get-trigger-words";
    for name in ["amber", "style/amber"] {
        let answer = server.get_json(path, &[("name", name)]).await?;
        assert_eq!(
            answer,
            json!({"success": true, "trigger_words": ["warm light", "lantern"]}),
            "{name}"
        );
    }
    assert_eq!(
        server.get_json(path, &[("name", "nobody")]).await?["trigger_words"],
        json!([])
    );
    refused(&server, path, &[], 400).await
}

#[tokio::test]
async fn usage_tips_are_found_by_a_relative_path() -> Result<()> {
    let server = loras().await?;
    let path = "/api/lm/loras/usage-tips-by-path";
    let tips = async |relative: &str| server.get_json(path, &[("relative_path", relative)]).await;
    assert_eq!(
        tips("style/amber.safetensors").await?,
        json!({"success": true, "usage_tips": r#"{"strength":0.8}"#})
    );
    assert_eq!(tips("nobody.safetensors").await?["usage_tips"], "");
    refused(&server, path, &[], 400).await
}

async fn sample(server: &Server, body: Value) -> Result<Value> {
    server.post_json("/api/lm/loras/random-sample", &body).await
}

#[tokio::test]
async fn a_random_sample_has_the_size_and_strengths_that_were_asked_for() -> Result<()> {
    let server = loras().await?;
    let body =
        json!({"count": 3, "model_strength_min": 0.4, "model_strength_max": 0.6, "use_same_clip_strength": true});
    let answer = sample(&server, body).await?;
    assert_eq!((&answer["success"], &answer["count"]), (&json!(true), &json!(3)));
    let mut seen = Vec::new();
    for lora in answer["loras"].as_array().context("loras")? {
        let strength = lora["strength"].as_f64().context("strength")?;
        assert!((0.4..=0.6).contains(&strength), "{lora}");
        assert_eq!(
            (&lora["clipStrength"], &lora["active"], &lora["locked"]),
            (&lora["strength"], &json!(true), &json!(false))
        );
        assert_eq!(lora["expanded"], false);
        seen.push(lora["name"].to_string());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_sample_keeps_locked_loras_and_stays_inside_its_pool() -> Result<()> {
    let server = loras().await?;
    let locked = json!({"name": "7days", "strength": 0.25, "clipStrength": 0.25, "active": true, "expanded": false, "locked": true});
    let body = json!({"count": 2, "locked_loras": [locked], "pool_config": {"baseModels": ["SDXL 1.0"]}});
    let answer = sample(&server, body).await?;
    let loras = answer["loras"].as_array().context("loras")?;
    assert_eq!(loras.last(), Some(&locked));
    for lora in &loras[..loras.len() - 1] {
        assert!(
            lora["name"]
                .as_str()
                .is_some_and(|name| name.ends_with("amber") || name.ends_with("azure")),
            "{lora}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_sample_that_cannot_be_is_400() -> Result<()> {
    let server = loras().await?;
    for body in [
        json!({"count": 0}),
        json!({"count": 101}),
        json!({"count": "many"}),
        json!({"model_strength_min": -11}),
        json!({"model_strength_max": 10.5}),
    ] {
        let reply = server.send(&Call::post("/api/lm/loras/random-sample", &body)).await?;
        assert_eq!(
            (reply.status, reply.json()?["success"].clone()),
            (400, json!(false)),
            "{body}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn two_samples_differ_and_are_not_the_same_in_every_call() -> Result<()> {
    let library = Library::of((0..50).map(|number| Model::lora(&format!("m{number}"))))?;
    let server = library.serve().await?;
    let first = sample(&server, json!({"count": 10})).await?;
    let second = sample(&server, json!({"count": 10})).await?;
    assert_ne!(first["loras"], second["loras"]);
    Ok(())
}

#[tokio::test]
async fn a_cycler_gets_the_pool_in_order_with_folders_in_the_names() -> Result<()> {
    let server = loras().await?;
    let path = "/api/lm/loras/cycler-list";
    let answer = server
        .post_json(path, &json!({"pool_config": {"baseModels": ["SDXL 1.0"]}}))
        .await?;
    let expected = json!([
        {"file_name": "style/amber", "model_name": "Amber", "folder": "style"},
        {"file_name": "style/azure", "model_name": "azure", "folder": "style"},
    ]);
    assert_eq!((&answer["loras"], &answer["count"]), (&expected, &json!(2)));
    for (pool, count) in [
        (json!({"tags": {"include": ["style"], "exclude": []}}), 1),
        (json!({"tags": {"include": [], "exclude": ["style"]}}), 4),
        (json!({"folders": {"include": ["style"], "exclude": []}}), 2),
        (json!({"folders": {"include": [], "exclude": ["style"]}}), 3),
        (
            json!({"namePatterns": {"include": ["^a"], "exclude": [], "useRegex": true}}),
            2,
        ),
        (json!({}), 5),
        (Value::Null, 5),
    ] {
        let answer = server
            .post_json(path, &json!({"pool_config": pool, "sort_by": "model_name"}))
            .await?;
        assert_eq!(answer["count"], count, "{pool}");
    }
    Ok(())
}

#[tokio::test]
async fn trigger_words_are_sent_to_nodes_as_events() -> Result<()> {
    let server = loras().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let body = json!({"lora_names": ["amber"], "node_ids": [5, {"node_id": 6, "graph_id": "g"}]});
    assert_eq!(
        server.post_json("/api/lm/loras/get_trigger_words", &body).await?,
        json!({"success": true})
    );
    let mut events = Vec::new();
    for _ in 0..2 {
        events.push(socket.find(|message| message["type"] == "trigger_word_update").await?);
    }
    assert_eq!(
        (&events[0]["id"], &events[0]["message"]),
        (&json!(5), &json!("warm light,, lantern"))
    );
    assert_eq!((&events[1]["id"], &events[1]["graph_id"]), (&json!(6), &json!("g")));
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400() -> Result<()> {
    let server = loras().await?;
    for path in ["random-sample", "cycler-list", "get_trigger_words"] {
        let call = Call::post(&format!("/api/lm/loras/{path}"), &json!({})).body("{not json");
        let reply = server.send(&call).await?;
        assert_eq!(
            (reply.status, reply.json()?["success"].clone()),
            (400, json!(false)),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn checkpoints_and_embeddings_tell_all_they_know_of_a_name() -> Result<()> {
    let library = Library::new()?;
    let full = library.add(&Model::new("checkpoints", "SDXL/full model").sidecar().name("Full"))?;
    library.add(&Model::new("embeddings", "word").sidecar())?;
    let server = library.serve().await?;
    let entry = server.get_json("/api/lm/checkpoints/info/full%20model", &[]).await?;
    assert_eq!(
        (&entry["file_path"], &entry["model_name"], &entry["folder"]),
        (&json!(wire(&full)), &json!("Full"), &json!("SDXL"))
    );
    let names = "file_path file_name model_name folder size modified sha256 autov3 base_model preview_url preview_nsfw_level \
        from_civitai favorite notes usage_tips metadata_source exclude db_checked last_checked_at tags civitai civitai_deleted \
        skip_metadata_refresh hf_url license_flags sub_type hash_status";
    for name in names.split_whitespace() {
        assert!(entry.get(name).is_some(), "{name} is missing in {entry}");
    }
    let reply = server.get("/api/lm/checkpoints/info/nobody").await?;
    assert_eq!(
        (reply.status, reply.json()?["error"].clone()),
        (404, json!("Checkpoint not found"))
    );
    assert_eq!(
        server.get_json("/api/lm/embeddings/info/word", &[]).await?["file_name"],
        "word"
    );
    let reply = server.get("/api/lm/embeddings/info/nobody").await?;
    assert_eq!(
        (reply.status, reply.json()?["error"].clone()),
        (404, json!("Embedding not found"))
    );
    Ok(())
}

#[tokio::test]
async fn checkpoint_roots_are_told_apart_by_kind() -> Result<()> {
    let library = Library::of([
        Model::new("checkpoints", "b/full").sidecar().base("SDXL 1.0"),
        Model::new("checkpoints", "a").extension("ckpt").sidecar(),
        Model::new("unet", "diffusion").sidecar().base("Flux.1 D"),
    ])?;
    let server = library.serve().await?;
    for (route, root) in [("checkpoints_roots", "checkpoints"), ("unet_roots", "unet")] {
        let answer = server.get_json(&format!("/api/lm/checkpoints/{route}"), &[]).await?;
        assert_eq!(answer, json!({"success": true, "roots": [wire(&library.root(root))]}));
    }
    let path = "/api/lm/checkpoints/loader-pool";
    let pool = server.get_json(path, &[]).await?;
    let expected =
        json!([{"name": "a.ckpt", "base_model": "Unknown"}, {"name": "b/full.safetensors", "base_model": "SDXL 1.0"}]);
    assert_eq!(pool["items"], expected);
    let pool = server.get_json(path, &[("sub_type", "diffusion_model")]).await?;
    assert_eq!(
        pool["items"],
        json!([{"name": "diffusion.safetensors", "base_model": "Flux.1 D"}])
    );
    let reply = server.send(&Call::get(path).query(&[("sub_type", "other")])).await?;
    assert_eq!(
        (reply.status, reply.json()?["error"].clone()),
        (400, json!("invalid sub_type"))
    );
    Ok(())
}

#[tokio::test]
async fn a_name_with_a_slash_is_no_route() -> Result<()> {
    let server = Library::of([Model::new("checkpoints", "a/b").sidecar()])?
        .serve()
        .await?;
    assert_eq!(server.get("/api/lm/checkpoints/info/a/b").await?.status, 404);
    Ok(())
}
