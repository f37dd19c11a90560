//! Routes that belong to no type.

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server};
use serde_json::json;

use super::queries::refused;

async fn server() -> Result<Server> {
    let version =
        |path: &str, id: u64| Model::lora(path).civitai(json!({"id": id, "modelId": 5, "name": format!("v{id}")}));
    Library::of([
        version("a", 10),
        version("b", 11),
        Model::new("checkpoints", "c").civitai(json!({"id": 20, "modelId": 6})),
    ])?
    .serve()
    .await
}

#[tokio::test]
async fn tools_can_ask_whether_a_model_or_a_version_is_here() -> Result<()> {
    let server = server().await?;
    let path = "/api/lm/check-model-exists";
    let model = server.get_json(path, &[("modelId", "5")]).await?;
    assert_eq!((&model["success"], &model["modelType"]), (&json!(true), &json!("lora")));
    let mut versions: Vec<_> = model["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|own| own["versionId"].clone())
        .collect();
    versions.sort_by_key(|id| id.as_u64());
    assert_eq!(versions, [json!(10), json!(11)]);
    let named = model["versions"].as_array().into_iter().flatten();
    assert!(
        named
            .clone()
            .all(|own| own["name"].is_string() && own["fileName"].is_string()),
        "{model}"
    );

    let version = server
        .get_json(path, &[("modelId", "5"), ("modelVersionId", "11")])
        .await?;
    assert_eq!(
        (&version["exists"], &version["modelType"]),
        (&json!(true), &json!("lora"))
    );
    let version = server
        .get_json(path, &[("modelId", "5"), ("modelVersionId", "12")])
        .await?;
    assert_eq!(version["exists"], false);
    assert_eq!(
        server.get_json(path, &[("modelId", "20")]).await?["versions"],
        json!([])
    );
    refused(&server, path, &[], 400).await?;
    refused(&server, path, &[("modelId", "x")], 400).await
}

#[tokio::test]
async fn tools_can_ask_for_several_models_at_once() -> Result<()> {
    let server = server().await?;
    let answer = server
        .get_json("/api/lm/check-models-exist", &[("modelIds", "5,6,7")])
        .await?;
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let counts: Vec<_> = results
        .iter()
        .map(|own| (own["modelId"].clone(), own["versions"].as_array().map_or(0, Vec::len)))
        .collect();
    assert_eq!(counts, [(json!(5), 2), (json!(6), 1), (json!(7), 0)]);
    assert_eq!(results[1]["modelType"], "checkpoint");
    Ok(())
}

#[tokio::test]
async fn settings_are_shown_in_the_contracts_envelope() -> Result<()> {
    let answer = server().await?.get_json("/api/lm/settings", &[]).await?;
    assert_eq!(answer["success"], true);
    assert!(
        answer["settings"].is_object() && answer["messages"].is_array(),
        "{answer}"
    );
    assert_eq!(answer["settings"]["civitai_api_key_set"], false);
    Ok(())
}

#[tokio::test]
async fn the_words_of_training_are_read_from_the_header_however_long_they_are() -> Result<()> {
    let many: Vec<String> = (0..9_000).map(|n| format!("\"word {n}\": {n}")).collect();
    let frequency = format!("{{\"img\": {{{}}}, \"other\": {{\"z\": 1}}}}", many.join(", "));
    let library = Library::new()?;
    let words = library.add(
        &Model::lora("words")
            .metadata("ss_tag_frequency", &frequency)
            .metadata("ss_datasets", r#"[{"subsets": [{"class_tokens": "a style"}]}]"#),
    )?;
    let none = library.add(&Model::lora("none").bytes(b"no model".to_vec()))?;
    let other = library.add(&Model::new("checkpoints", "m").extension("ckpt").bytes(b"x".to_vec()))?;
    let server = library.serve().await?;
    let ask = |path: String| {
        let server = &server;
        async move {
            server
                .get(&format!("/api/lm/trained-words?file_path={path}"))
                .await?
                .json()
        }
    };
    let encoded = |path: &std::path::Path| modelshelf_tests::http::encode(&modelshelf_tests::model::wire(path));
    let answer = ask(encoded(&words)).await?;
    assert_eq!(answer["trained_words"][0], json!(["word 8999", 8999]));
    assert_eq!(
        (
            answer["trained_words"].as_array().map(Vec::len),
            &answer["class_tokens"]
        ),
        (Some(9_000), &json!("a style"))
    );
    assert_eq!(
        ask(encoded(&none)).await?,
        json!({"success": true, "trained_words": [], "class_tokens": null})
    );
    for (path, error) in [
        (String::new(), "Missing file_path parameter"),
        (encoded(&other), "File must be a safetensors file"),
        (encoded(&words.with_file_name("never.safetensors")), "File not found"),
        ("/etc/passwd".into(), "File not found"),
    ] {
        assert_eq!(ask(path).await?, json!({"success": false, "error": error}));
    }
    Ok(())
}
