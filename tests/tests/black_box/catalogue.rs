//! What a provider lists, with what of it is here: versions of a model, models of a user, base models.

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, CatalogVersion, Civitai, Fault};
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::{Value, json};

async fn refused(server: &Server, path: &str, status: u16, text: &str) -> Result<()> {
    let reply = server.get(path).await?;
    let answer = reply.json()?;
    assert_eq!(
        (reply.status, &answer["success"]),
        (status, &json!(false)),
        "{path}: {answer}"
    );
    assert!(
        answer["error"].as_str().unwrap_or_default().contains(text),
        "{path}: {answer}"
    );
    Ok(())
}

fn picture(url: &str) -> Value {
    json!([{ "url": url, "type": "image", "nsfwLevel": 1 }])
}

#[tokio::test]
async fn versions_of_a_model_say_what_is_here_and_what_was() -> Result<()> {
    let library = Library::of([Model::lora("a").civitai(json!({"id": 70, "modelId": 7}))])?;
    let versions = [
        CatalogVersion::new(72, "v3").field("images", picture("https://i.example/x.png")),
        CatalogVersion::new(71, "v2"),
        CatalogVersion::new(70, "v1"),
    ];
    let civitai = Civitai::start([
        CatalogModel::new(7, "Amber", "LoCon").versions(versions),
        CatalogModel::new(8, "Words", "Wildcards"),
        CatalogModel::new(9, "Empty", "LORA").versions([]),
    ])
    .await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let was_here = json!({"modelType": "lora", "modelVersionId": 71, "downloaded": true});
    server
        .post_json("/api/lm/model-version-download-status", &was_here)
        .await?;
    let path = "/api/lm/model-versions-status";
    let answer = server.get_json(path, &[("modelId", " 7 ")]).await?;
    let version = |id: u64, name: &str, url: Value, here: bool, was: bool| json!({"id": id, "name": name, "thumbnailUrl": url, "inLibrary": here, "hasBeenDownloaded": was});
    assert_eq!(
        (&answer["modelId"], &answer["modelName"], &answer["modelType"]),
        (&json!(7), &json!("Amber"), &json!("locon"))
    );
    let listed = answer["versions"].as_array().context("versions")?;
    assert_eq!(
        listed[0],
        version(72, "v3", json!("https://i.example/x.png"), false, false)
    );
    assert_eq!(listed[1], version(71, "v2", Value::Null, false, true));
    // A file that a scan saw was downloaded some time.
    assert_eq!(listed[2], version(70, "v1", Value::Null, true, true));

    refused(&server, path, 400, "Missing required parameter: modelId").await?;
    refused(
        &server,
        &format!("{path}?modelId=x"),
        400,
        "Parameter modelId must be an integer",
    )
    .await?;
    for id in ["9", "99", "-1"] {
        refused(&server, &format!("{path}?modelId={id}"), 404, "Model not found").await?;
    }
    refused(
        &server,
        &format!("{path}?modelId=8"),
        400,
        "Model type \"wildcards\" is not supported",
    )
    .await?;
    // Who can't be asked does not say that there is nothing.
    civitai.fail(Fault::status("/api/v1/models/7", 500));
    refused(&server, &format!("{path}?modelId=7"), 502, "500").await
}

#[tokio::test]
async fn models_of_a_user_come_in_pages_with_what_is_here() -> Result<()> {
    let library = Library::of([Model::lora("a").civitai(json!({"id": 10, "modelId": 1}))])?;
    let original = "https://image.civitai.com/a/original=true/b.jpeg";
    let pictured = CatalogVersion::new(30, "v1").field("images", picture(original));
    let mut other = CatalogModel::new(9, "Another's", "LORA");
    other.creator = "somebody".into();
    let civitai = Civitai::start([
        CatalogModel::new(1, "One", "LORA"),
        CatalogModel::new(2, "Two", "Wildcards"),
        CatalogModel::new(3, "Three", "Checkpoint").versions([pictured]),
        other,
    ])
    .await?;
    civitai.page_size(2);
    let server = library.options().civitai(&civitai).serve().await?;
    let path = "/api/lm/civitai/user-models";
    let first = server.get_json(path, &[("username", "stand-in")]).await?;
    assert_eq!(
        first,
        json!({
            "success": true, "username": "stand-in", "modelCount": 1, "hasMore": true, "nextCursor": "2", "estimatedTotal": 3,
            "versions": [{
                "modelId": 3, "versionId": 30, "modelName": "Three", "versionName": "v1", "type": "Checkpoint",
                "tags": ["style", "test"], "baseModel": "SDXL 1.0",
                "thumbnailUrl": "https://image.civitai.com/a/width=450,optimized=true/b.jpeg",
                "inLibrary": false, "hasBeenDownloaded": false,
            }],
        })
    );
    let asked = civitai.asked();
    let list = asked
        .iter()
        .find(|own| own.target.contains("/models?"))
        .context("asked")?;
    assert!(
        list.target
            .contains("username=stand-in&nsfw=true&limit=100&sort=Newest&period=AllTime"),
        "{}",
        list.target
    );
    let last = server
        .get_json(path, &[("username", "stand-in"), ("cursor", "2")])
        .await?;
    assert_eq!(
        (&last["hasMore"], &last["nextCursor"], &last["estimatedTotal"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    let version = &last["versions"][0];
    assert_eq!(
        (&version["versionId"], &version["inLibrary"], &version["thumbnailUrl"]),
        (&json!(10), &json!(true), &Value::Null)
    );
    refused(&server, path, 400, "Missing required parameter: username").await?;
    civitai.fail(Fault::status("/api/v1/models?", 500));
    refused(
        &server,
        &format!("{path}?username=u"),
        502,
        "Failed to fetch user models",
    )
    .await
}

#[tokio::test]
async fn base_models_are_the_known_ones_and_those_that_the_provider_lists() -> Result<()> {
    let civitai = Civitai::start([]).await?;
    let server = Library::new()?.options().civitai(&civitai).serve().await?;
    let get = async |path: &str| server.get_json(&format!("/api/lm/base-models{path}"), &[]).await;
    let state = get("/cache-status").await?["data"].clone();
    let none = json!({"has_cache": false, "last_updated": null, "is_expired": true, "ttl_seconds": 604_800, "age_seconds": null});
    assert_eq!(state, none);
    // The provider lists none: what is always known is left.
    let known = get("").await?["data"].clone();
    assert_eq!(
        (&known["source"], &known["hardcoded_count"], &known["merged_count"]),
        (&json!("fallback"), &json!(72), &json!(72))
    );
    assert_eq!(
        (&known["remote_count"], &known["last_updated"]),
        (&json!(0), &Value::Null)
    );
    let names = known["models"].as_array().context("models")?;
    assert!(names.is_sorted_by_key(|name| name.as_str()) && names.len() == 72);

    civitai.list_base_models(&["Pony", "Brand New", "A"]);
    let known = get("").await?["data"].clone();
    assert_eq!(
        (&known["source"], &known["remote_count"], &known["merged_count"]),
        (&json!("api"), &json!(3), &json!(74))
    );
    assert!(
        known["last_updated"].as_str().unwrap_or_default().ends_with("+00:00"),
        "{known}"
    );
    assert_eq!(known["models"][0], "A");
    // It is kept, also while the provider can't be asked.
    civitai.fail(Fault::status("/enums", 500));
    assert_eq!(get("").await?["data"]["source"], "cache");
    let call = Call::post("/api/lm/base-models/refresh", &json!({}));
    let answer = server.send(&call).await?.json()?;
    assert_eq!(
        (
            &answer["success"],
            &answer["data"]["merged_count"],
            &answer["data"]["source"]
        ),
        (&json!(true), &json!(74), &json!("cache"))
    );
    let state = get("/cache-status").await?["data"].clone();
    assert_eq!(
        (&state["has_cache"], &state["is_expired"]),
        (&json!(true), &json!(false))
    );
    assert!(state["age_seconds"].is_u64(), "{state}");

    let groups = get("/categories").await?["data"].clone();
    let groups = groups.as_object().context("groups")?;
    assert_eq!(groups.keys().next().map(String::as_str), Some("Stable Diffusion 1.x"));
    assert_eq!(groups["SDXL"], json!(["SDXL 1.0", "SDXL Lightning", "SDXL Hyper"]));
    Ok(())
}
