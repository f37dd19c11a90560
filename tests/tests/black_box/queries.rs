//! The read-only questions that every type answers.

use std::path::Path;

use anyhow::{Context, Result};
use modelshelf_tests::model::{beside, wire};
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::{Value, json};

/// Asserts that a question is answered with this status and a JSON error.
pub async fn refused(server: &Server, target: &str, query: &[(&str, &str)], status: u16) -> Result<()> {
    let reply = server.send(&Call::get(target).query(query)).await?;
    let answer = reply.json()?;
    assert_eq!(
        (reply.status, &answer["success"]),
        (status, &json!(false)),
        "{target} {query:?}: {answer}"
    );
    assert!(
        answer["error"].as_str().is_some_and(|error| !error.is_empty()),
        "{answer}"
    );
    Ok(())
}

async fn tagged() -> Result<Server> {
    Library::of([
        Model::lora("a").tags(&["style", "anime"]).base("SDXL 1.0"),
        Model::lora("b").tags(&["style", "animal"]).base("SDXL 1.0"),
        Model::lora("c").tags(&["style"]).base("Pony"),
    ])?
    .serve()
    .await
}

#[tokio::test]
async fn tags_come_with_their_counts_most_frequent_first() -> Result<()> {
    let server = tagged().await?;
    let top = server.get_json("/api/lm/loras/top-tags", &[]).await?;
    let expected = json!([{"tag": "style", "count": 3}, {"tag": "animal", "count": 1}, {"tag": "anime", "count": 1}]);
    assert_eq!((&top["success"], &top["tags"]), (&json!(true), &expected));
    let one = server.get_json("/api/lm/loras/top-tags", &[("limit", "1")]).await?;
    assert_eq!(one["tags"], json!([{"tag": "style", "count": 3}]));
    for limit in ["0", "-5", "500"] {
        let all = server.get_json("/api/lm/loras/top-tags", &[("limit", limit)]).await?;
        assert_eq!(all["tags"].as_array().map(Vec::len), Some(3), "{limit}");
    }
    refused(&server, "/api/lm/loras/top-tags", &[("limit", "many")], 400).await
}

#[tokio::test]
async fn tags_are_searched_by_any_part_in_any_case() -> Result<()> {
    let server = tagged().await?;
    let found = server.get_json("/api/lm/loras/search-tags", &[("q", "ANIM")]).await?;
    assert_eq!(
        found["tags"],
        json!([{"tag": "animal", "count": 1}, {"tag": "anime", "count": 1}])
    );
    let all = server.get_json("/api/lm/loras/search-tags", &[]).await?;
    assert_eq!(all["tags"].as_array().map(Vec::len), Some(3));
    let none = server.get_json("/api/lm/loras/search-tags", &[("q", "zzz")]).await?;
    assert_eq!(none["tags"], json!([]));
    Ok(())
}

#[tokio::test]
async fn more_than_twenty_tags_are_given_only_on_request() -> Result<()> {
    let server =
        Library::of((0..30).map(|number| Model::lora(&format!("m{number}")).tags(&[&format!("tag{number:02}")])))?
            .serve()
            .await?;
    for (limit, expected) in [(None, 20), (Some("0"), 30), (Some("25"), 25), (Some("201"), 20)] {
        let query: Vec<(&str, &str)> = limit.map(|limit| ("limit", limit)).into_iter().collect();
        let top = server.get_json("/api/lm/loras/top-tags", &query).await?;
        assert_eq!(top["tags"].as_array().map(Vec::len), Some(expected), "{limit:?}");
    }
    Ok(())
}

#[tokio::test]
async fn base_models_and_sub_types_come_with_their_counts() -> Result<()> {
    let server = tagged().await?;
    let bases = server.get_json("/api/lm/loras/base-models", &[]).await?;
    let expected = json!([{"name": "SDXL 1.0", "count": 2}, {"name": "Pony", "count": 1}]);
    assert_eq!((&bases["success"], &bases["base_models"]), (&json!(true), &expected));
    let types = server.get_json("/api/lm/loras/model-types", &[]).await?;
    assert_eq!(
        (&types["success"], &types["model_types"]),
        (&json!(true), &json!([{"type": "lora", "count": 3}]))
    );
    Ok(())
}

#[tokio::test]
async fn duplicates_are_groups_of_equal_files_with_the_original_first() -> Result<()> {
    let server = Library::of([
        Model::lora("a/amber").seed(1).base("SDXL 1.0").favorite(),
        Model::lora("b/amber copy").seed(1).base("SDXL 1.0"),
        Model::lora("b/amber (1)").seed(1).base("Pony"),
        Model::lora("single").seed(2),
    ])?
    .serve()
    .await?;
    let path = "/api/lm/loras/find-duplicates";
    let all = server.get_json(path, &[]).await?;
    assert_eq!((&all["success"], &all["count"]), (&json!(true), &json!(1)));
    let group = &all["duplicates"][0];
    assert_eq!(group["models"].as_array().map(Vec::len), Some(3));
    assert_eq!(group["models"][0]["file_name"], "amber");
    assert_eq!(group["hash"], group["models"][0]["sha256"]);
    let by_base = server.get_json(path, &[("base_model", "SDXL 1.0")]).await?;
    assert_eq!(by_base["duplicates"][0]["models"].as_array().map(Vec::len), Some(2));
    // One of a pair is no pair.
    assert_eq!(server.get_json(path, &[("favorites_only", "true")]).await?["count"], 0);
    assert_eq!(
        server.get_json(path, &[("folder", "b")]).await?["duplicates"][0]["models"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    Ok(())
}

#[tokio::test]
async fn loras_of_one_name_in_different_folders_are_conflicts() -> Result<()> {
    let server = Library::of([Model::lora("a/same"), Model::lora("b/same"), Model::lora("a/other")])?
        .serve()
        .await?;
    let answer = server.get_json("/api/lm/loras/find-filename-conflicts", &[]).await?;
    assert_eq!((&answer["success"], &answer["count"]), (&json!(true), &json!(1)));
    assert_eq!(answer["conflicts"][0]["filename"], "same");
    assert_eq!(answer["conflicts"][0]["models"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test]
async fn notes_are_found_by_name_and_by_a_path_that_ends_in_the_name() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("deep/amber").side("notes", "half strength"))?;
    let server = library.serve().await?;
    let path = "/api/lm/loras/get-notes";
    for name in ["amber", "some/folder/amber", "some\\folder\\amber"] {
        let answer = server.get_json(path, &[("name", name)]).await?;
        assert_eq!(
            answer,
            json!({"success": true, "notes": "half strength", "file_path": wire(&file)}),
            "{name}"
        );
    }
    refused(&server, path, &[("name", "ber")], 404).await?;
    refused(&server, path, &[], 400).await
}

#[tokio::test]
async fn preview_and_provider_urls_are_found_by_name_with_or_without_its_folder() -> Result<()> {
    let version = json!({"id": 11, "modelId": 22, "model": {"type": "LORA", "allowNoCredit": false}});
    let library = Library::of([
        Model::lora("one/amber").preview("png").civitai(version),
        Model::lora("two/amber")
            .preview("png")
            .civitai(json!({"id": 33, "modelId": 44})),
        Model::lora("plain"),
    ])?;
    let server = library.serve().await?;
    let path = "/api/lm/loras/preview-url";
    let preview = async |name: &str| -> Result<String> {
        let answer = server.get_json(path, &[("name", name)]).await?;
        Ok(answer["preview_url"].as_str().unwrap_or_default().to_owned())
    };
    let one = preview("one/amber").await?;
    assert!(
        one.starts_with("/api/lm/previews?path=") && one.contains("one"),
        "{one}"
    );
    assert_eq!(preview("one/amber.safetensors").await?, one);
    assert!(preview("two/amber").await?.contains("two"));
    for name in ["plain", "nobody"] {
        assert_eq!(preview(name).await?, "/loras_static/images/no-preview.png", "{name}");
    }
    let placeholder = server.get("/loras_static/images/no-preview.png").await?;
    assert_eq!(
        (placeholder.status, placeholder.header("content-type")),
        (200, "image/png")
    );
    let flags = server
        .get_json(path, &[("name", "one/amber"), ("license_flags", "1")])
        .await?;
    assert!(
        flags["license_flags"].is_u64() && flags["use_new_license_icons"].is_boolean(),
        "{flags}"
    );
    refused(&server, path, &[], 400).await?;

    let path = "/api/lm/loras/civitai-url";
    let answer = server.get_json(path, &[("name", "one/amber")]).await?;
    let url = "https://civitai.com/models/22?modelVersionId=11";
    assert_eq!(
        answer,
        json!({"success": true, "civitai_url": url, "model_id": "22", "version_id": "11"})
    );
    refused(&server, path, &[("name", "plain")], 404).await?;
    refused(&server, path, &[("name", "nobody")], 404).await?;
    refused(&server, path, &[], 400).await
}

#[tokio::test]
async fn metadata_is_what_the_provider_said_and_the_description_is_the_sidecars() -> Result<()> {
    let version = json!({
        "id": 11, "modelId": 22, "name": "v1", "trainedWords": ["a"], "baseModel": "Pony", "description": "d", "images": [],
        "model": {"name": "M"}, "creator": {"username": "u"}, "stats": {"downloadCount": 5}, "files": [{"id": 1}],
    });
    let library = Library::new()?;
    let file = library.add(
        &Model::lora("amber")
            .civitai(version)
            .side("modelDescription", "<p>warm</p>"),
    )?;
    let bare = library.add(&Model::lora("bare"))?;
    let server = library.serve().await?;
    let ask = async |route: &str, file: &Path| -> Result<Value> {
        server
            .get_json(&format!("/api/lm/loras/{route}"), &[("file_path", &wire(file))])
            .await
    };
    let metadata = ask("metadata", &file).await?;
    assert_eq!(metadata["success"], true);
    let subset = metadata["metadata"].as_object().context("object")?;
    assert_eq!(
        (&subset["id"], &subset["trainedWords"], &subset["creator"]),
        (&json!(11), &json!(["a"]), &json!({"username": "u"}))
    );
    assert!(
        !subset.contains_key("stats") && !subset.contains_key("files"),
        "{subset:?}"
    );
    assert_eq!(ask("metadata", &bare).await?["metadata"], json!({}));
    assert_eq!(ask("model-description", &file).await?["description"], "<p>warm</p>");
    assert_eq!(ask("model-description", &bare).await?["description"], "");

    let absent = wire(&library.root("loras").join("absent.safetensors"));
    for route in ["/api/lm/loras/metadata", "/api/lm/loras/model-description"] {
        refused(&server, route, &[], 400).await?;
        refused(&server, route, &[("file_path", &absent)], 404).await?;
    }
    // A sidecar that broke since is no sidecar.
    std::fs::write(beside(&library.root("loras").join("bare"), "metadata.json"), "{broken")?;
    refused(&server, "/api/lm/loras/metadata", &[("file_path", &wire(&bare))], 404).await
}

#[tokio::test]
async fn relative_paths_are_ranked_by_how_well_they_match() -> Result<()> {
    let server = Library::of([
        Model::lora("amber").base("Pony"),
        Model::lora("style/amber_light").base("SDXL 1.0"),
        Model::lora("style/other").base("SDXL 1.0"),
        Model::lora("warm_amber"),
    ])?
    .serve()
    .await?;
    let ask = async |query: &[(&str, &str)]| -> Result<Value> {
        let answer = server.get_json("/api/lm/loras/relative-paths", query).await?;
        assert_eq!(answer["success"], true);
        Ok(answer["relative_paths"].clone())
    };
    assert_eq!(
        ask(&[("search", "amber")]).await?,
        json!([
            "amber.safetensors",
            "warm_amber.safetensors",
            "style/amber_light.safetensors"
        ])
    );
    assert_eq!(
        ask(&[("search", "amber -style")]).await?,
        json!(["amber.safetensors", "warm_amber.safetensors"])
    );
    assert_eq!(
        ask(&[("search", "style light")]).await?,
        json!(["style/amber_light.safetensors"])
    );
    assert_eq!(ask(&[("search", "safetensors")]).await?, json!([]));
    assert_eq!(
        ask(&[("search", "amber"), ("limit", "1"), ("offset", "1")]).await?,
        json!(["warm_amber.safetensors"])
    );
    assert_eq!(
        ask(&[("search", "amber"), ("base_model", "Pony")]).await?,
        json!(["amber.safetensors"])
    );
    assert_eq!(ask(&[]).await?.as_array().map(Vec::len), Some(4));
    Ok(())
}
