//! What a download brings, and where it would go.

use anyhow::Result;
use modelshelf_tests::civitai::{CatalogVersion, Civitai, Storage};
use modelshelf_tests::{Call, Library};
use serde_json::{Value, json};

use super::{
    by_default, download, enqueue, get, lora, names, options, options_with, sized, slow, wait_for_end, wait_for_file,
};

#[tokio::test]
async fn a_version_comes_whole_with_its_metadata_and_preview_into_its_folder_and_is_listed_at_once() -> Result<()> {
    let (library, mut model) = (Library::new()?, lora(1));
    model.versions[0].images = vec![json!({"url": "/images/a.png", "nsfwLevel": 1, "type": "image"})];
    let file = model.versions[0].files[0].clone();
    let civitai = Civitai::start([model]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let mut socket = server.socket("/ws/download-progress?id=mine").await?;
    assert_eq!(
        socket.next().await?,
        json!({"type": "download_id", "download_id": "mine"})
    );
    let body = json!({"model_id": "1", "model_version_id": 10, "use_default_paths": true, "download_id": "mine"});
    let (status, answer) = download(&server, body).await?;
    assert_eq!((status, answer), (200, json!({"success": true, "download_id": "mine"})));
    let last = socket.find(|message| message["progress"] == 100).await?;
    assert_eq!(last["bytes_downloaded"], 3000);
    let (_, polled) = get(&server, "download-progress/mine", &[]).await?;
    for field in ["progress", "bytes_downloaded", "total_bytes", "bytes_per_second"] {
        assert_eq!(polled[field], last[field], "{field}");
    }
    assert!(polled.get("status").is_none() && last["status"] == "progress");

    let folder = library.root("loras").join("SDXL 1.0/style");
    assert_eq!(std::fs::read(folder.join(&file.name))?, file.bytes(0, 3000));
    let item = server.item("loras", "file10").await?;
    assert_eq!(item["model_name"], "Model 1");
    assert_eq!(item["sha256"], file.sha256);
    assert!(
        item["preview_url"].as_str().is_some_and(|url| url.contains("file10")),
        "{item}"
    );
    let sidecar: Value = serde_json::from_slice(&std::fs::read(folder.join("file10.metadata.json"))?)?;
    assert_eq!(sidecar["civitai"]["id"], 10);
    assert_eq!(sidecar["metadata_source"], "civitai_api");
    assert_eq!(
        (&sidecar["hash_status"], &sidecar["size"]),
        (&json!("completed"), &json!(3000))
    );
    assert_eq!(names(&library.root("loras"))?.len(), 3);

    let (status, again) = download(&server, by_default(1)).await?;
    assert_eq!(
        (status, &again["error"]),
        (500, &json!("Model version already exists in lora library"))
    );
    let (_, history) = get(&server, "downloads/history", &[]).await?;
    let row = &history["items"][0];
    assert_eq!(
        (&history["total"], &row["status"], &row["download_id"]),
        (&json!(1), &json!("completed"), &json!("mine"))
    );
    let (_, known) = get(
        &server,
        "model-version-download-status",
        &[("modelType", "LoCon"), ("modelVersionId", "10")],
    )
    .await?;
    assert_eq!(
        known,
        json!({"success": true, "modelType": "lora", "modelVersionId": 10, "hasBeenDownloaded": true})
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn settings_leave_out_versions_that_were_here_and_base_models_that_nobody_wants() -> Result<()> {
    let library = Library::new()?;
    let mut other = lora(2);
    other.versions[0].base_model = "Pony".into();
    let civitai = Civitai::start([lora(1), other]).await?;
    let keys = "skip_previously_downloaded_model_versions = true\ndownload_skip_base_models = ['Pony']";
    let server = options_with(&library, &civitai, keys, "")?.serve().await?;
    let set = Call::post(
        "/api/lm/model-version-download-status",
        &json!({"modelType": "lora", "modelVersionId": 10, "downloaded": true}),
    );
    assert_eq!(server.send(&set).await?.status, 200);
    let (_, answer) = download(&server, by_default(1)).await?;
    assert_eq!(
        (&answer["skipped"], &answer["reason"], &answer["model_version_id"]),
        (&json!(true), &json!("previously_downloaded_version"), &json!(10))
    );
    let (_, answer) = download(&server, by_default(2)).await?;
    assert_eq!(
        (&answer["reason"], &answer["base_model"]),
        (&json!("base_model_excluded"), &json!("Pony"))
    );
    let (_, unset) = get(
        &server,
        "set-model-version-download-status",
        &[("modelType", "lora"), ("modelVersionId", "10"), ("downloaded", "false")],
    )
    .await?;
    assert_eq!(unset["hasBeenDownloaded"], false);
    assert_eq!(download(&server, by_default(1)).await?.1["success"], true);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plan_says_where_a_file_would_go_and_downloads_nothing() -> Result<()> {
    let library = Library::new()?;
    let newer = CatalogVersion::new(11, "v2");
    let civitai = Civitai::start([lora(1).versions([newer, CatalogVersion::new(10, "v1")])]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let body = json!({"model_id": 1, "model_version_id": 10, "use_default_paths": true});
    let plan = server.post_json("/api/lm/downloads/plan", &body).await?;
    assert_eq!(plan["folder"], json!(library.root("loras").join("SDXL 1.0/style")));
    assert_eq!(
        (&plan["file_name"], &plan["model_type"]),
        (&json!("file10.safetensors"), &json!("lora"))
    );
    assert_eq!(plan["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(plan["files"][0]["id"], plan["file_id"]);
    assert_eq!(civitai.sent(), 0);
    let unknown = server
        .send(&Call::post("/api/lm/downloads/plan", &json!({"model_id": 5})))
        .await?;
    assert_eq!(unknown.status, 404);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_picture_or_lies_in_a_private_network_is_no_preview_and_fails_nothing() -> Result<()> {
    let (library, mut model, mut other) = (Library::new()?, lora(1), lora(2));
    // A weight file, where a picture is said to be.
    model.versions[0].images = vec![json!({"url": "/files/100/a.png", "nsfwLevel": 1, "type": "image"})];
    other.versions[0].images = vec![json!({"url": "/images/a.png", "nsfwLevel": 1, "type": "image"})];
    let civitai = Civitai::start([model, other]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    assert_eq!(download(&server, by_default(1)).await?.0, 200);
    assert_eq!(
        names(&library.root("loras"))?,
        ["file10.metadata.json", "file10.safetensors"]
    );
    server.stop().await?;

    let config = library.path().join("settings.toml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(
        &config,
        text.replace("[previews]\nprivate_addresses = true", "[previews]"),
    )?;
    let server = library
        .options()
        .data_dir(&library.path().join("data"))
        .argument("--config")
        .argument(&config)
        .serve()
        .await?;
    assert_eq!(download(&server, by_default(2)).await?.0, 200);
    assert_eq!(civitai.count("/images/"), 0);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn whether_a_version_was_downloaded_is_what_the_ledger_says() -> Result<()> {
    let library = Library::new()?;
    let versions = [CatalogVersion::new(11, "v2"), CatalogVersion::new(10, "v1")];
    let civitai = Civitai::start([lora(1).versions(versions)]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let body = json!({"model_id": 1, "model_version_id": 10, "use_default_paths": true});
    assert_eq!(download(&server, body).await?.0, 200);
    let words = async || -> Result<Vec<(Value, Value)>> {
        let asked = server.get_json("/api/lm/loras/civitai/versions/1", &[]).await?;
        let told = server
            .get_json("/api/lm/loras/updates/versions/1", &[("refresh", "1")])
            .await?;
        let of = |list: &Value, id: &str| -> Vec<Value> {
            let mut list: Vec<Value> = list.as_array().cloned().unwrap_or_default();
            list.sort_by_key(|version| version[id].as_u64());
            list.into_iter()
                .map(|version| version["hasBeenDownloaded"].clone())
                .collect()
        };
        let (asked, told) = (of(&asked, "id"), of(&told["record"]["versions"], "versionId"));
        Ok(asked.into_iter().zip(told).collect())
    };
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(words().await?, [(yes.clone(), yes.clone()), (no.clone(), no.clone())]);
    // A person's word counts for more than what lies there, and what lies there no more was here all the same.
    for (version, downloaded) in [(10, false), (11, true)] {
        let set = json!({"modelType": "lora", "modelVersionId": version, "downloaded": downloaded});
        server.post_json("/api/lm/model-version-download-status", &set).await?;
    }
    assert_eq!(words().await?, [(no.clone(), no), (yes.clone(), yes)]);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_preview_keeps_its_level_over_a_crash_and_goes_with_a_cancelled_download() -> Result<()> {
    let library = Library::new()?;
    let models = (1..=2).map(|id| {
        let mut model = sized(id, 8 << 20);
        model.versions[0].images = vec![json!({"url": "/images/a.png", "nsfwLevel": 4, "type": "image"})];
        model
    });
    let civitai = Civitai::start(models).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "parallel = 2")?.silent().serve().await?;
    for (id, model) in [("a", "1"), ("b", "2")] {
        enqueue(&server, model, id).await?;
    }
    for id in 1..=2 {
        wait_for_file(&library, &format!("file{id}.webp")).await?;
        wait_for_file(&library, &format!("file{id}.safetensors.part.state")).await?;
    }
    server.kill();
    let server = options(&library, &civitai, "parallel = 1")?.serve().await?;
    assert_eq!(
        get(&server, "cancel-download-get", &[("download_id", "b")]).await?.0,
        200
    );
    let left = names(&library.root("loras"))?;
    assert!(!left.iter().any(|name| name.starts_with("file2.")), "{left:?}");
    civitai.give_out(Storage::default());
    wait_for_end(&server, 2).await?;
    let item = server.item("loras", "file1").await?;
    assert_eq!(item["preview_nsfw_level"], 4);
    assert!(item["preview_url"].as_str().is_some_and(|url| !url.is_empty()));
    assert_eq!(civitai.count("/images/a.png"), 2, "it was there already");
    server.stop().await?;
    Ok(())
}
