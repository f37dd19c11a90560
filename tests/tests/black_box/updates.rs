//! Newer versions at the provider.

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, CatalogVersion, Civitai, Fault};
use modelshelf_tests::{Call, Library, Model, Server, sorted_names};
use serde_json::{Value, json};

use super::remote_metadata::sidecar;

/// Two models: one of which a newer version is out, and one that is up to date.
async fn set_up() -> Result<(Library, Civitai)> {
    let library = Library::new()?;
    let local = |path: &str, id: u64, model: u64, base: &str| {
        Model::lora(path)
            .base(base)
            .civitai(json!({"id": id, "modelId": model, "name": "v1"}))
    };
    library.add(&local("old", 50, 5, "SDXL 1.0"))?;
    library.add(&local("sub/other-base", 49, 5, "Pony"))?;
    library.add(&local("current", 60, 6, "SDXL 1.0"))?;
    library.add(&local("gone", 70, 7, "SDXL 1.0"))?;
    let newer = CatalogVersion::new(55, "v2").field("images", json!([{"url": "https://i/x.png"}]));
    let versions = [
        newer,
        CatalogVersion::new(50, "v1"),
        CatalogVersion::new(49, "v1 pony").base("Pony"),
    ];
    let civitai = Civitai::start([
        CatalogModel::new(5, "Amber", "LORA").versions(versions),
        CatalogModel::new(6, "Blue", "LORA").versions([CatalogVersion::new(60, "v1")]),
    ])
    .await?;
    Ok((library, civitai))
}

async fn with_updates(server: &Server) -> Result<Vec<String>> {
    let page = server.list("loras", &[("update_available_only", "true")]).await?;
    Ok(sorted_names(&page))
}

async fn post(server: &Server, route: &str, body: &Value) -> Result<Value> {
    server.post_json(&format!("/api/lm/loras/updates/{route}"), body).await
}

#[tokio::test]
async fn newer_versions_are_found_shown_and_remembered() -> Result<()> {
    let (library, civitai) = set_up().await?;
    let data = library.path().join("data");
    let start = || library.options().civitai(&civitai).data_dir(&data).serve();
    let server = start().await?;
    assert!(with_updates(&server).await?.is_empty());
    let answer = post(&server, "refresh", &json!({})).await?;
    let [record] = answer["records"].as_array().context("records")?.as_slice() else {
        anyhow::bail!("{answer}")
    };
    assert_eq!(
        (&record["modelId"], &record["modelType"], &record["hasUpdate"]),
        (&json!(5), &json!("lora"), &json!(true))
    );
    assert_eq!(
        (&record["versionIds"], &record["inLibraryVersionIds"]),
        (&json!([55, 50, 49]), &json!([50, 49]))
    );
    assert_eq!(
        (&record["largestVersionId"], &record["shouldIgnore"]),
        (&json!(55), &json!(false))
    );
    let version = &record["versions"][0];
    assert_eq!(
        (
            &version["name"],
            &version["baseModel"],
            &version["sizeBytes"],
            &version["previewUrl"]
        ),
        (
            &json!("v2"),
            &json!("SDXL 1.0"),
            &json!(3000),
            &json!("https://i/x.png")
        )
    );
    assert_eq!(
        (&version["isInLibrary"], &version["filePath"]),
        (&json!(false), &Value::Null)
    );
    // The newer version is of one base model only.
    assert_eq!(with_updates(&server).await?, ["old"]);
    assert_eq!(server.item("loras", "old").await?["update_available"], true);
    assert_eq!(server.item("loras", "other-base").await?["update_available"], false);
    // A deleted model is not asked about again and again, nor told of.
    let status = server.get_json("/api/lm/loras/updates/status/7", &[]).await?;
    assert_eq!(status["record"]["shouldIgnore"], true);
    civitai.forget();
    post(&server, "refresh", &json!({})).await?;
    assert!(civitai.asked().is_empty(), "{:?}", civitai.asked());
    post(&server, "refresh", &json!({"force": true, "folder_path": "sub"})).await?;
    assert_eq!(civitai.count("ids=5&"), 1);
    server.stop().await?;

    let server = start().await?;
    assert_eq!(with_updates(&server).await?, ["old"]);
    Ok(())
}

#[tokio::test]
async fn models_and_versions_can_be_ignored_and_a_setting_decides_about_base_models() -> Result<()> {
    let (library, civitai) = set_up().await?;
    let server = library.options().civitai(&civitai).serve().await?;
    post(&server, "refresh", &json!({})).await?;
    let set = json!({"version_grouping": "same_model"});
    server.post_json("/api/lm/settings", &set).await?;
    assert_eq!(with_updates(&server).await?, ["old", "other-base"]);
    let answer = post(&server, "ignore", &json!({"modelId": 5, "shouldIgnore": true})).await?;
    assert_eq!(
        (&answer["record"]["shouldIgnore"], &answer["record"]["hasUpdate"]),
        (&json!(true), &json!(false))
    );
    assert!(with_updates(&server).await?.is_empty());
    post(&server, "ignore", &json!({"modelId": 5, "shouldIgnore": false})).await?;
    let ignore = |yes: bool| json!({"modelId": "5", "versionId": "55", "shouldIgnore": yes});
    let answer = post(&server, "ignore-version", &ignore(true)).await?;
    assert_eq!(answer["record"]["versions"][0]["shouldIgnore"], true);
    assert_eq!(answer["record"]["versions"][1]["fileName"], "old");
    assert!(with_updates(&server).await?.is_empty());
    // What is ignored stays so when the provider is asked again.
    post(&server, "refresh", &json!({"force": true})).await?;
    assert!(with_updates(&server).await?.is_empty());
    post(&server, "ignore-version", &ignore(false)).await?;
    civitai.change(5, |model| model.versions[0].early_access = true);
    post(&server, "refresh", &json!({"force": true})).await?;
    assert_eq!(with_updates(&server).await?, ["old", "other-base"]);
    server
        .post_json("/api/lm/settings", &json!({"hide_early_access_updates": true}))
        .await?;
    assert!(with_updates(&server).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn requests_that_can_not_be_served_say_why() -> Result<()> {
    let (library, civitai) = set_up().await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let refused = [
        ("ignore", json!({}), "modelId is required"),
        (
            "ignore-version",
            json!({"modelId": 5}),
            "modelId and versionId are required",
        ),
    ];
    for (route, body, text) in refused {
        let reply = server
            .send(&Call::post(&format!("/api/lm/loras/updates/{route}"), &body))
            .await?;
        assert_eq!((reply.status, &reply.json()?["error"]), (400, &json!(text)));
    }
    let reply = server.get("/api/lm/loras/updates/status/abc").await?;
    assert_eq!(
        (reply.status, &reply.json()?["error"]),
        (400, &json!("model_id must be an integer"))
    );
    // Of what nobody knows the record is empty.
    let unknown = server.get_json("/api/lm/loras/updates/status/999", &[]).await?;
    assert_eq!(
        unknown["record"],
        json!({
            "modelType": "lora", "modelId": 999, "largestVersionId": null, "versionIds": [], "inLibraryVersionIds": [],
            "lastCheckedAt": null, "shouldIgnore": false, "hasUpdate": false, "versions": [],
        })
    );
    // Of what is here alone something is known without asking.
    let known = server.get_json("/api/lm/loras/updates/versions/5", &[]).await?;
    let versions = known["record"]["versions"].as_array().context("versions")?;
    assert_eq!((versions.len(), &versions[0]["name"]), (2, &Value::Null));
    assert!(versions[0]["filePath"].is_string() && civitai.asked().is_empty());
    let asked = server
        .get_json("/api/lm/loras/updates/versions/5", &[("refresh", "1")])
        .await?;
    assert_eq!(asked["record"]["versions"].as_array().map(Vec::len), Some(3));
    civitai.fail(Fault::limited("/models", "900"));
    let path = "/api/lm/loras/updates/refresh";
    let reply = server.send(&Call::post(path, &json!({"force": true}))).await?;
    assert_eq!(reply.status, 429, "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn licences_that_are_missing_are_filled_in() -> Result<()> {
    let (library, civitai) = set_up().await?;
    civitai.change(5, |model| {
        model.fields.insert("allowCommercialUse".into(), json!(["Rent"]));
    });
    let server = library.options().civitai(&civitai).serve().await?;
    let answer = post(&server, "fetch-missing-license", &json!({"modelIds": [5, 7]})).await?;
    assert_eq!(answer["missingModelIds"], json!([7]));
    assert_eq!(answer["updated"].as_array().map(Vec::len), Some(2), "{answer}");
    let file = library.root("loras").join("old.safetensors");
    let stored = sidecar(&file)?["civitai"].clone();
    assert_eq!(
        (&stored["model"]["allowCommercialUse"], &stored["id"]),
        (&json!(["Rent"]), &json!(50))
    );
    assert_eq!(
        post(&server, "fetch-missing-license", &json!({"modelIds": [5]})).await?["updated"],
        json!([])
    );
    Ok(())
}

#[tokio::test]
async fn an_archive_is_no_word_on_what_can_be_had() -> Result<()> {
    let (library, civitai) = set_up().await?;
    civitai.put(CatalogModel::new(7, "Gone", "LORA").versions([CatalogVersion::new(75, "v2")]));
    civitai.remove(7, true);
    let server = library.options().civitai(&civitai).serve().await?;
    post(&server, "refresh", &json!({})).await?;
    let status = server.get_json("/api/lm/loras/updates/status/7", &[]).await?;
    let record = &status["record"];
    assert_eq!(
        (&record["shouldIgnore"], &record["versionIds"], &record["hasUpdate"]),
        (&json!(true), &json!([70]), &json!(false))
    );
    assert_eq!(civitai.count("/archive/api"), 0);
    Ok(())
}

#[tokio::test]
async fn a_provider_that_fails_costs_the_models_it_was_asked_about_and_not_the_request() -> Result<()> {
    let (library, civitai) = set_up().await?;
    let server = library.options().civitai(&civitai).serve().await?;
    civitai.fail(Fault::status("/models", 500));
    let answer = post(&server, "refresh", &json!({"force": true})).await?;
    assert_eq!((&answer["success"], &answer["records"]), (&json!(true), &json!([])));
    let errors = answer["errors"].as_array().context("errors")?;
    assert!(!errors.is_empty(), "{answer}");
    for error in errors {
        let text = error["error"].as_str().unwrap_or_default();
        assert!(error["modelId"].is_u64() && text.contains("500"), "{error}");
    }
    let licences = post(&server, "fetch-missing-license", &json!({"modelIds": [5]})).await?;
    let errors = licences["errors"].as_array().context("errors")?;
    assert!(
        errors.iter().all(|error| error["filePath"].is_string()) && !errors.is_empty(),
        "{licences}"
    );
    civitai.mend();
    let answer = post(&server, "refresh", &json!({})).await?;
    assert!(
        answer.get("errors").is_none() && answer["records"] != json!([]),
        "{answer}"
    );
    Ok(())
}
