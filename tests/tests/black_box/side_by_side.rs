//! What showed when the same requests went to the original and to this server.

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, CatalogVersion, Civitai};
use modelshelf_tests::model::{sha256, wire};
use modelshelf_tests::{Library, Model, Server, names, sorted_names};
use serde_json::{Value, json};

use super::downloads;

fn version(path: &str, id: u64, model: u64) -> Model {
    Model::lora(path).civitai(json!({"id": id, "modelId": model, "name": format!("v{id}")}))
}

async fn exists(server: &Server, query: &[(&str, &str)]) -> Result<Value> {
    server.get_json("/api/lm/check-model-exists", query).await
}

#[tokio::test]
async fn tags_with_spaces_around_are_found_without_them() -> Result<()> {
    let library = Library::of([Model::lora("a").tags(&[" Style "]), Model::lora("b").tags(&["style"])])?;
    let server = library.serve().await?;
    for tag in ["style", "STYLE", "style "] {
        let page = server.list("loras", &[("tag_include", tag)]).await?;
        assert_eq!(sorted_names(&page), ["a", "b"], "{tag}");
    }
    assert_eq!(
        names(&server.list("loras", &[("tag_exclude", "style")]).await?),
        [""; 0]
    );
    // They are shown as they are.
    assert_eq!(server.item("loras", "a").await?["tags"], json!([" Style "]));
    Ok(())
}

#[tokio::test]
async fn a_level_that_was_written_as_a_text_counts() -> Result<()> {
    let library = Library::of([Model::lora("a").side("preview_nsfw_level", "16")])?;
    let server = library.serve().await?;
    assert_eq!(server.item("loras", "a").await?["preview_nsfw_level"], 16);
    Ok(())
}

#[tokio::test]
async fn versions_of_a_model_are_told_once_and_what_was_here_only_when_nothing_is() -> Result<()> {
    let library = Library::of([
        version("a", 12, 5),
        version("b", 11, 5),
        version("c", 11, 5),
        version("d", 30, 8),
    ])?;
    let server = library.serve().await?;
    let model = exists(&server, &[("modelId", "5")]).await?;
    let versions = model["versions"].as_array().context("versions")?.iter();
    let told: Vec<Value> = versions.map(|own| json!([own["versionId"], own["fileName"]])).collect();
    assert_eq!(told, [json!([12, "a"]), json!([11, "c"])]);

    let path = "/api/lm/set-model-version-download-status";
    let query = |id| {
        [
            ("modelType", "lora"),
            ("modelVersionId", id),
            ("modelId", "5"),
            ("downloaded", "true"),
        ]
    };
    for id in ["99", "77"] {
        server.get_json(path, &query(id)).await?;
    }
    let model = exists(&server, &[("modelId", "5")]).await?;
    assert_eq!(model["downloadedVersionIds"], json!([]));
    let paths = ["a", "b", "c"].map(|name| wire(&library.root("loras").join(format!("{name}.safetensors"))));
    server
        .post_json("/api/lm/loras/bulk-delete", &json!({ "file_paths": paths }))
        .await?;
    let model = exists(&server, &[("modelId", "5")]).await?;
    assert_eq!((&model["modelType"], &model["versions"]), (&json!("lora"), &json!([])));
    let ids = model["downloadedVersionIds"].as_array().context("ids")?;
    assert!(
        ids.windows(2).all(|pair| pair[0].as_u64() < pair[1].as_u64()),
        "{model}"
    );
    assert!(ids.contains(&json!(77)) && ids.contains(&json!(99)), "{model}");
    let several = server
        .get_json("/api/lm/check-models-exist", &[("modelIds", "5")])
        .await?;
    assert_eq!(
        several["results"],
        json!([{"modelId": 5, "modelType": null, "versions": [], "downloadedVersionIds": []}])
    );
    Ok(())
}

#[tokio::test]
async fn a_version_that_was_deleted_as_such_does_not_count_as_downloaded() -> Result<()> {
    let library = Library::of([version("a", 12, 5), version("b", 13, 6)])?;
    let server = library.serve().await?;
    let counts = async |id: &str| -> Result<Value> {
        let query = [("modelType", "lora"), ("modelVersionId", id)];
        let path = "/api/lm/model-version-download-status";
        Ok(server.get_json(path, &query).await?["hasBeenDownloaded"].clone())
    };
    server
        .get_json(
            "/api/lm/set-model-version-download-status",
            &[("modelType", "lora"), ("modelVersionId", "12"), ("downloaded", "true")],
        )
        .await?;
    assert_eq!(counts("12").await?, true);
    let answer = server
        .get_json("/api/lm/delete-model-version", &[("modelVersionId", "12")])
        .await?;
    assert!(answer.get("error").is_none(), "{answer}");
    assert_eq!(
        (&answer["deletedFiles"], counts("12").await?),
        (&json!(1), json!(false))
    );
    Ok(())
}

#[tokio::test]
async fn a_bulk_delete_of_nothing_has_no_batch() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let server = library.serve().await?;
    let path = wire(&library.root("loras").join("never.safetensors"));
    let answer = server
        .post_json("/api/lm/loras/bulk-delete", &json!({ "file_paths": [path] }))
        .await?;
    assert_eq!((&answer["total_deleted"], answer.get("batch_id")), (&json!(0), None));
    Ok(())
}

#[tokio::test]
async fn the_whole_entry_has_the_tags_that_names_tell() -> Result<()> {
    let library = Library::of([Model::new("checkpoints", "wan_t2v_HIGH")
        .sidecar()
        .base("Wan Video 14B t2v")])?;
    let server = library.serve().await?;
    let entry = server.get_json("/api/lm/checkpoints/info/wan_t2v_HIGH", &[]).await?;
    assert_eq!(entry["auto_tags"], json!(["HIGH", "T2V"]));
    Ok(())
}

#[tokio::test]
async fn folders_are_shown_in_the_order_of_the_settings() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let folders: Vec<String> = ["z-first", "a-second"]
        .iter()
        .map(|name| wire(&library.path().join(name)))
        .collect();
    for folder in &folders {
        std::fs::create_dir(folder)?;
    }
    let settings = library.path().join("settings.json");
    std::fs::write(&settings, json!({"folder_paths": {"loras": folders}}).to_string())?;
    let server = library
        .options()
        .argument("--settings-json")
        .argument(&settings)
        .serve()
        .await?;
    let answer = server.get_json("/api/lm/settings/libraries", &[]).await?;
    let shown = answer["libraries"]["default"]["folder_paths"]["loras"]
        .as_array()
        .context("folders")?;
    assert_eq!(shown[..2], [json!(folders[0]), json!(folders[1])]);
    Ok(())
}

#[tokio::test]
async fn lists_of_settings_hold_each_text_once() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let changes = json!({"download_skip_base_models": "Pony", "metadata_refresh_skip_paths": ["x", "y", "x"]});
    server.post_json("/api/lm/settings", &changes).await?;
    let shown = server.get_json("/api/lm/settings", &[]).await?["settings"].clone();
    assert_eq!(
        (
            &shown["download_skip_base_models"],
            &shown["metadata_refresh_skip_paths"]
        ),
        (&json!(["Pony"]), &json!(["x", "y"]))
    );
    Ok(())
}

async fn provider(versions: Vec<CatalogVersion>) -> Result<Civitai> {
    Civitai::start([CatalogModel::new(5, "Amber", "LORA").versions(versions)]).await
}

#[tokio::test]
async fn a_version_that_nobody_knows_comes_last_when_it_is_ignored() -> Result<()> {
    let library = Library::of([version("a", 50, 5), version("b", 51, 5), version("c", 52, 5)])?;
    let server = library.serve().await?;
    for id in [51, 7] {
        let body = json!({"modelId": 5, "versionId": id, "shouldIgnore": true});
        server.post_json("/api/lm/loras/updates/ignore-version", &body).await?;
    }
    let record = server.get_json("/api/lm/loras/updates/status/5", &[]).await?["record"].clone();
    assert_eq!(
        (&record["versionIds"], &record["inLibraryVersionIds"]),
        (&json!([50, 51, 52, 7]), &json!([50, 51, 52]))
    );
    let ignored: Vec<&Value> = record["versions"]
        .as_array()
        .context("versions")?
        .iter()
        .map(|own| &own["shouldIgnore"])
        .collect();
    assert_eq!(ignored, [false, true, false, true]);
    Ok(())
}

#[tokio::test]
async fn records_of_updates_have_the_providers_order_and_a_tame_image() -> Result<()> {
    let library = Library::of([version("a", 50, 5), version("b", 51, 5)])?;
    let images = json!([
        {"url": "https://i/wild.png", "nsfwLevel": 16, "type": "image"},
        {"url": "https://i/tame.png", "nsfwLevel": 1, "type": "image"},
    ]);
    let newer = CatalogVersion::new(60, "v3").field("images", images);
    let civitai = provider(vec![
        newer,
        CatalogVersion::new(51, "v2"),
        CatalogVersion::new(50, "v1"),
    ])
    .await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let answer = server.post_json("/api/lm/loras/updates/refresh", &json!({})).await?;
    let record = &answer["records"][0];
    assert_eq!(
        (&record["versionIds"], &record["inLibraryVersionIds"]),
        (&json!([60, 51, 50]), &json!([51, 50]))
    );
    assert_eq!(record["versions"][0]["previewUrl"], "https://i/tame.png");
    Ok(())
}

#[tokio::test]
async fn a_licence_that_is_not_whole_is_filled_in() -> Result<()> {
    let part = json!({"id": 50, "modelId": 5, "model": {"name": "Amber", "allowNoCredit": false}});
    let library = Library::of([Model::lora("a").civitai(part)])?;
    let civitai = provider(vec![CatalogVersion::new(50, "v1")]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let path = "/api/lm/loras/updates/fetch-missing-license";
    let answer = server.post_json(path, &json!({})).await?;
    assert_eq!(answer["updated"].as_array().map(Vec::len), Some(1), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_providers_version_comes_without_workflows_and_names_the_providers_files() -> Result<()> {
    let library = Library::of([version("here", 50, 5)])?;
    let hash = sha256(&std::fs::read(library.root("loras").join("here.safetensors"))?);
    let images = json!([{"url": "https://i/a.png", "meta": {"prompt": "p", "comfy": "{}"}}]);
    let known = CatalogVersion::new(50, "v1").sha256(&hash).field("images", images);
    let civitai = provider(vec![known]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    for path in ["version/50".to_owned(), format!("hash/{hash}")] {
        let shown = server
            .get_json(&format!("/api/lm/loras/civitai/model/{path}"), &[])
            .await?;
        assert_eq!(shown["images"][0]["meta"], json!({"prompt": "p"}), "{path}");
    }
    let all = server.get_json("/api/lm/loras/civitai/versions/5", &[]).await?;
    let file = &all[0]["files"][0];
    assert_eq!(
        (
            &all[0]["downloadedFiles"][0]["fileName"],
            &all[0]["downloadedFiles"][0]["fileId"]
        ),
        (&file["name"], &file["id"])
    );
    Ok(())
}

#[tokio::test]
async fn a_file_with_other_content_is_known_by_its_name() -> Result<()> {
    let library = Library::of([version("file50", 50, 5)])?;
    let civitai = provider(vec![CatalogVersion::new(50, "v1")]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let all = server.get_json("/api/lm/loras/civitai/versions/5", &[]).await?;
    assert_eq!(
        (
            &all[0]["downloadedFiles"][0]["fileId"],
            &all[0]["downloadedFiles"][0]["fileName"]
        ),
        (&json!(500), &json!("file50.safetensors"))
    );
    Ok(())
}

#[tokio::test]
async fn a_refresh_takes_whole_seconds() -> Result<()> {
    let civitai = provider(Vec::new()).await?;
    let server = Library::new()?.options().civitai(&civitai).serve().await?;
    let answer = server.post_json("/api/lm/loras/fetch-all-civitai", &json!({})).await?;
    assert!(answer["elapsed_seconds"].is_u64(), "{answer}");
    Ok(())
}

#[tokio::test]
async fn the_choice_of_a_file_in_the_queue_has_spaces_between_its_parts() -> Result<()> {
    let civitai = provider(Vec::new()).await?;
    let server = Library::new()?.options().civitai(&civitai).serve().await?;
    let query = [
        ("download_id", "q"),
        ("model_id", "1"),
        ("file_params", r#"{"id":3,"list":[1,2],"in":{"type":"Model"}}"#),
    ];
    let (_, answer) = downloads::get(&server, "downloads/queue/add", &query).await?;
    assert_eq!(
        answer["item"]["file_params"],
        r#"{"id": 3, "list": [1, 2], "in": {"type": "Model"}}"#
    );
    Ok(())
}

#[tokio::test]
async fn a_version_that_was_downloaded_has_its_name_among_the_updates_at_once() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([downloads::sized(1, 3_000)]).await?;
    let server = downloads::options(&library, &civitai, "")?.serve().await?;
    let (status, answer) = downloads::download(&server, downloads::by_default(1)).await?;
    assert_eq!(status, 200, "{answer}");
    let record = server.get_json("/api/lm/loras/updates/versions/1", &[]).await?["record"].clone();
    assert_eq!(
        (
            &record["versions"][0]["versionId"],
            &record["versions"][0]["name"],
            &record["lastCheckedAt"]
        ),
        (&json!(10), &json!("v1"), &Value::Null)
    );
    Ok(())
}
