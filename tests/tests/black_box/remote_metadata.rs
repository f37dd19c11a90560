//! Metadata of one model from a provider: found by its hash, linked by a person, and everything that may go wrong.

use std::path::Path;

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, CatalogVersion, Civitai, Fault};
use modelshelf_tests::model::{beside, sha256};
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::{Value, json};

/// The sidecar of a model file.
pub fn sidecar(file: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(beside(
        &file.with_extension(""),
        "metadata.json",
    ))?)?)
}

/// A model at the provider whose only version has this file.
pub fn known(id: u64, name: &str, file: &Path) -> Result<CatalogModel> {
    let version = CatalogVersion::new(id * 10, "v1").sha256(&sha256(&std::fs::read(file)?));
    Ok(CatalogModel::new(id, name, "LORA").versions([version]))
}

async fn fetch(server: &Server, file: &Path) -> Result<Value> {
    server
        .post_json("/api/lm/loras/fetch-civitai", &json!({ "file_path": file }))
        .await
}

async fn status_of(server: &Server, path: &str, body: &Value) -> Result<(u16, String)> {
    let reply = server.send(&Call::post(path, body)).await?;
    let error = reply.json()?["error"].as_str().unwrap_or_default().to_owned();
    Ok((reply.status, error))
}

#[tokio::test]
async fn a_model_that_the_provider_knows_gets_its_metadata_and_an_undo_takes_it_back() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("style/a").side("notes", "mine").side("x_other", 7))?;
    let before = sidecar(&file)?;
    let civitai = Civitai::start([known(5, "Amber Glow", &file)?.field("allowNoCredit", json!(false))]).await?;
    civitai.ask_for_key(&["k"]);
    let server = library
        .options()
        .settings("civitai_api_key = 'k'")
        .civitai(&civitai)
        .serve()
        .await?;

    let answer = fetch(&server, &file).await?;
    assert_eq!(answer["success"], true, "{answer}");
    let item = &answer["metadata"];
    assert_eq!(
        (&item["model_name"], &item["base_model"], &item["tags"]),
        (&json!("Amber Glow"), &json!("SDXL 1.0"), &json!(["style", "test"]))
    );
    assert_eq!(
        item["civitai"],
        json!({"id": 50, "modelId": 5, "name": "v1", "trainedWords": ["word50"]})
    );
    let now = sidecar(&file)?;
    assert_eq!((&now["notes"], &now["x_other"]), (&json!("mine"), &json!(7)));
    assert_eq!(
        (&now["sha256"], &now["from_civitai"]),
        (&before["sha256"], &json!(true))
    );
    assert_eq!(now["metadata_source"], "civitai_api");
    assert!(now["last_checked_at"].as_f64().unwrap_or_default() > 1.7e9);
    assert_eq!(now["civitai"]["model"]["allowNoCredit"], false);
    assert_eq!(now["civitai"]["creator"]["username"], "stand-in");
    assert_eq!(now["modelDescription"], "<p>Amber Glow in words</p>");
    let asked = civitai.asked();
    assert!(asked.iter().all(|own| own.authorization.as_deref() == Some("Bearer k")));
    assert!(asked.iter().all(|own| own.user_agent.starts_with("Modelshelf/")));
    assert!(!server.log().contains("Bearer"));

    let history = server.get_json("/api/lm/history", &[]).await?;
    let act = &history["acts"][0];
    assert_eq!(act["kind"], "refresh", "{history}");
    server.post_json("/api/lm/undo", &json!({ "id": act["id"] })).await?;
    assert_eq!(sidecar(&file)?, before);
    Ok(())
}

#[tokio::test]
async fn what_a_person_typed_stays_and_the_rest_follows_the_provider() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let civitai = Civitai::start([known(5, "Amber", &file)?]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let edit = json!({"file_path": file, "model_name": "My amber", "tags": ["own"]});
    server.post_json("/api/lm/loras/save-metadata", &edit).await?;
    let item = fetch(&server, &file).await?["metadata"].clone();
    assert_eq!(
        (&item["model_name"], &item["tags"], &item["base_model"]),
        (&json!("My amber"), &json!(["own"]), &json!("SDXL 1.0"))
    );
    let words = json!({"file_path": file, "civitai": {"trainedWords": ["mine"]}});
    server.post_json("/api/lm/loras/save-metadata", &words).await?;
    civitai.change(5, |model| {
        model.versions[0].base_model = "Pony".into();
        model.versions[0].words = vec!["new".into()];
    });
    let item = fetch(&server, &file).await?["metadata"].clone();
    assert_eq!(item["civitai"]["trainedWords"], json!(["mine"]));
    assert_eq!(
        (&item["base_model"], &item["model_name"]),
        (&json!("Pony"), &json!("My amber"))
    );
    Ok(())
}

#[tokio::test]
async fn only_a_provider_that_does_not_have_it_marks_a_model_as_deleted() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let before = sidecar(&file)?;
    let civitai = Civitai::start([]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let faults = [
        (Fault::page("/api/v1", 403), 200, "web page"),
        (Fault::status("/api/v1", 500), 200, "500"),
        (Fault::limited("/api/v1", "600"), 200, "Rate limited"),
        (Fault::status("/api/v1", 401), 200, "asks for an API key"),
        (Fault::text("/api/v1", "{"), 200, "can't be used"),
        (Fault::status("/api/v1", 451), 200, "country"),
    ];
    for (fault, status, text) in faults {
        // Where a pause was asked for, another server has not heard of it.
        let server = library.options().civitai(&civitai).serve().await?;
        civitai.fail(fault.clone());
        let reply = server
            .send(&Call::post(
                "/api/lm/loras/fetch-civitai",
                &json!({ "file_path": file }),
            ))
            .await?;
        let answer = reply.json()?;
        assert_eq!(
            (reply.status, &answer["success"]),
            (status, &json!(false)),
            "{fault:?}: {answer}"
        );
        assert!(
            answer["error"].as_str().unwrap_or_default().contains(text),
            "{fault:?}: {answer}"
        );
        assert_eq!(sidecar(&file)?, before, "{fault:?}");
        civitai.mend();
    }
    let answer = fetch(&server, &file).await?;
    let error = answer["error"].as_str().context("error")?;
    assert!(
        error.starts_with("Error fetching metadata: Model not found (file=a.safetensors, sha256="),
        "{error}"
    );
    let now = sidecar(&file)?;
    assert_eq!(
        (&now["civitai_deleted"], &now["from_civitai"]),
        (&json!(true), &json!(false))
    );
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_away_is_a_state_and_not_an_error_of_each_model() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let civitai = Civitai::start([known(5, "Amber", &file)?]).await?;
    let address = civitai.base();
    let server = library
        .options()
        .settings("enable_civarchive_api = false")
        .civitai(&civitai)
        .serve()
        .await?;
    drop(civitai);
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let body = json!({ "file_path": file });
    let (status, error) = status_of(&server, "/api/lm/loras/fetch-civitai", &body).await?;
    assert_eq!(
        (status, error.as_str()),
        (503, "Network offline, will retry automatically later")
    );
    let told = socket.find(|message| message["type"] == "providers").await?;
    assert_eq!(told["offline"], true);
    assert_eq!(server.get_json("/api/lm/providers", &[]).await?["offline"], true);
    assert_eq!(sidecar(&file)?["civitai_deleted"], false);
    // It comes back at the same address.
    let at = address.trim_start_matches("http://").trim_end_matches("/api/v1");
    let _civitai = Civitai::start_at([known(5, "Amber", &file)?], at).await?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let reply = server.send(&Call::post("/api/lm/loras/fetch-civitai", &body)).await?;
        if reply.status == 200 {
            assert_eq!(reply.json()?["success"], true);
            break;
        }
        anyhow::ensure!(std::time::Instant::now() < until, "still {}", reply.text());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(server.get_json("/api/lm/providers", &[]).await?["offline"], false);
    Ok(())
}

#[tokio::test]
async fn a_pause_that_the_provider_asks_for_is_kept_and_an_answer_that_did_not_change_is_not_sent_again() -> Result<()>
{
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let civitai = Civitai::start([known(5, "Amber", &file)?]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    civitai.fail(Fault::limited("by-hash", "1").times(1));
    let started = std::time::Instant::now();
    assert_eq!(fetch(&server, &file).await?["success"], true);
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));
    // By the version that the model is linked to now.
    assert_eq!(fetch(&server, &file).await?["success"], true);
    civitai.forget();
    assert_eq!(fetch(&server, &file).await?["success"], true);
    let asked = civitai.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|own| own.status == 304),
        "{asked:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_model_is_linked_to_the_version_that_a_person_names() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let versions = [
        CatalogVersion::new(71, "v2"),
        CatalogVersion::new(70, "v1").base("Pony"),
    ];
    let civitai = Civitai::start([CatalogModel::new(7, "Linked", "LORA").versions(versions)]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let path = "/api/lm/loras/relink-civitai";
    let body = json!({"file_path": file, "model_id": "7", "model_version_id": 70});
    let answer = server.post_json(path, &body).await?;
    assert_eq!(
        answer["message"],
        "Model successfully re-linked to Civitai model 7 version 70"
    );
    let now = sidecar(&file)?;
    assert_eq!(
        (&now["civitai"]["id"], &now["base_model"]),
        (&json!(70), &json!("Pony"))
    );
    assert_eq!(answer["hash"], now["sha256"]);
    assert_eq!(now["sha256"].as_str().map(str::len), Some(64));
    // Without a version it is the newest.
    server
        .post_json(path, &json!({"file_path": file, "model_id": 7}))
        .await?;
    assert_eq!(sidecar(&file)?["civitai"]["id"], 71);
    let (status, error) = status_of(&server, path, &json!({"file_path": file, "model_id": 8})).await?;
    assert_eq!(
        (status, error.as_str()),
        (500, "Model version not found on CivitAI for ID: 8")
    );
    let (status, error) = status_of(&server, path, &json!({ "file_path": file })).await?;
    assert_eq!(
        (status, error.as_str()),
        (400, "Both file_path and model_id are required")
    );
    let (status, error) = status_of(&server, "/api/lm/loras/fetch-civitai", &json!({"file_path": "/x"})).await?;
    assert_eq!((status, error.as_str()), (404, "Model not found in cache"));
    let (status, error) = status_of(&server, "/api/lm/loras/fetch-civitai", &json!({})).await?;
    assert_eq!((status, error.as_str()), (400, "File path is required"));
    Ok(())
}

#[tokio::test]
async fn versions_say_what_of_them_is_here() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a").civitai(json!({"id": 70, "modelId": 7})))?;
    let hash = sha256(&std::fs::read(&file)?);
    let versions = [
        CatalogVersion::new(71, "v2"),
        CatalogVersion::new(70, "v1").sha256(&hash),
    ];
    let other = CatalogModel::new(8, "Big", "Checkpoint");
    let civitai = Civitai::start([CatalogModel::new(7, "Amber", "LORA").versions(versions), other]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let all = server.get_json("/api/lm/loras/civitai/versions/7", &[]).await?;
    let [newer, here] = all.as_array().context("list")?.as_slice() else {
        anyhow::bail!("{all}")
    };
    assert_eq!(
        (&newer["existsLocally"], &newer["downloadedFiles"]),
        (&json!(false), &json!([]))
    );
    assert!(newer.get("localPath").is_none());
    assert_eq!(
        (&here["existsLocally"], &here["localPath"]),
        (&json!(true), &json!(file))
    );
    assert_eq!(
        here["downloadedFiles"],
        json!([{"fileId": 700, "fileName": here["files"][0]["name"], "filePath": file}])
    );
    assert_eq!(here["modelSizeKB"], json!(3000.0 / 1024.0));

    let refused = server.get("/api/lm/loras/civitai/versions/8").await?;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()?["error"],
        "Model type mismatch. Expected LORA, LoCon, or DORA, got Checkpoint"
    );
    assert_eq!(server.get("/api/lm/loras/civitai/versions/9").await?.status, 404);
    let version = server.get_json("/api/lm/loras/civitai/model/version/71", &[]).await?;
    assert_eq!(
        (&version["id"], &version["model"]["name"]),
        (&json!(71), &json!("Amber"))
    );
    assert_eq!(server.get("/api/lm/loras/civitai/model/version/99").await?.status, 404);
    let version = server
        .get_json(&format!("/api/lm/loras/civitai/model/hash/{hash}"), &[])
        .await?;
    assert_eq!(version["id"], 70);
    let missing = server.get("/api/lm/loras/civitai/model/hash/abc").await?;
    assert_eq!(
        (missing.status, &missing.json()?["error"]),
        (404, &json!("Model not found"))
    );
    civitai.fail(Fault::status("model-versions", 500));
    assert_eq!(server.get("/api/lm/loras/civitai/model/version/71").await?.status, 500);
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_is_hashed_first_when_its_metadata_is_asked_for() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::new("checkpoints", "big").sidecar().grown_to(3 << 20))?;
    let version = CatalogVersion::new(90, "v1").sha256(&sha256(&std::fs::read(&file)?));
    let civitai = Civitai::start([CatalogModel::new(9, "Big", "Checkpoint").versions([version])]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let body = json!({ "file_path": file });
    let answer = server.post_json("/api/lm/checkpoints/fetch-civitai", &body).await?;
    assert_eq!(answer["metadata"]["model_name"], "Big", "{answer}");
    assert_eq!(answer["metadata"]["sha256"].as_str().map(str::len), Some(64));
    Ok(())
}

#[tokio::test]
async fn a_version_that_a_person_linked_stays_linked_when_metadata_is_refreshed() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let hash = sha256(&std::fs::read(&file)?);
    let versions = [
        CatalogVersion::new(71, "of the file").sha256(&hash),
        CatalogVersion::new(70, "chosen"),
    ];
    let civitai = Civitai::start([CatalogModel::new(7, "Linked", "LORA").versions(versions)]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let linked = json!({"file_path": file, "model_id": 7, "model_version_id": 70});
    server.post_json("/api/lm/loras/relink-civitai", &linked).await?;
    server
        .post_json("/api/lm/loras/fetch-civitai", &json!({ "file_path": file }))
        .await?;
    assert_eq!(sidecar(&file)?["civitai"]["id"], 70);
    server
        .post_json("/api/lm/loras/fetch-all-civitai", &json!({ "file_paths": [file] }))
        .await?;
    assert_eq!(sidecar(&file)?["civitai"]["id"], 70);
    // Once nobody has that version, the hash says which one it is.
    civitai.change(7, |model| model.versions.retain(|version| version.id != 70));
    server
        .post_json("/api/lm/loras/fetch-civitai", &json!({ "file_path": file }))
        .await?;
    assert_eq!(sidecar(&file)?["civitai"]["id"], 71);
    Ok(())
}
