//! JSON as Python writes it, in sidecars and in headers.

use std::path::Path;

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, names};
use serde_json::json;

/// Tokens that are no JSON, or that no number of 64 bits holds.
const TOKENS: [&str; 7] = [
    "\"loss\": NaN",
    "\"best\": -Infinity",
    "\"rate\": 1e400",
    "\"seed\": 123456789012345678901234567890",
    "\"small\": 1e-05",
    "\"one\": 1.0",
    r#""caption\udfff": "a\ud800b""#,
];

/// Puts the tokens into the sidecar of a model.
fn spoil(sidecar: &Path) -> Result<()> {
    let text = std::fs::read_to_string(sidecar)?;
    let text = text.trim_end().trim_end_matches('}').trim_end();
    std::fs::write(sidecar, format!("{text}, \"training\": {{{}}}}}", TOKENS.join(", ")))?;
    Ok(())
}

#[tokio::test]
async fn a_model_with_numbers_of_python_is_listed_and_keeps_them_through_edits_and_undo() -> Result<()> {
    let library = Library::of([Model::lora("a").sidecar().civitai(json!({"id": 7, "name": "v1"}))])?;
    let sidecar = library.root("loras").join("a.metadata.json");
    spoil(&sidecar)?;
    let server = library.serve().await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["a"]);
    let path = wire(&library.root("loras").join("a.safetensors"));
    let edit = json!({"file_path": path, "notes": "new"});
    let saved = server.post_json("/api/lm/loras/save-metadata", &edit).await?;
    let tags = json!({"file_path": path, "tags": ["x"]});
    server.post_json("/api/lm/loras/add-tags", &tags).await?;
    server
        .post_json("/api/lm/loras/exclude", &json!({"file_path": path}))
        .await?;
    let text = std::fs::read_to_string(&sidecar)?;
    for token in TOKENS.iter().chain(&["\"notes\": \"new\""]) {
        assert!(text.contains(token), "{token} is missing in {text}");
    }
    assert_eq!(saved["success"], true);
    Ok(())
}

#[tokio::test]
async fn clients_get_plain_json() -> Result<()> {
    let library = Library::of([Model::lora("a").sidecar()])?;
    let sidecar = library.root("loras").join("a.metadata.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&sidecar)?)?;
    value["notes"] = json!("NOTES");
    value["civitai"] = json!({"id": 7, "name": "v1", "images": "IMAGES"});
    let text = value.to_string().replace("\"NOTES\"", r#""a\ud800b""#);
    std::fs::write(
        &sidecar,
        text.replace("\"IMAGES\"", "[{\"width\": NaN, \"seed\": 36893488147419103232}]"),
    )?;
    let server = library.serve().await?;
    let item = server.item("loras", "a").await?;
    assert_eq!(item["notes"], "a\u{fffd}b");
    let path = wire(&library.root("loras").join("a.safetensors"));
    let metadata = server
        .get_json("/api/lm/loras/metadata", &[("file_path", &path)])
        .await?;
    let image = &metadata["metadata"]["images"][0];
    assert!(image["width"].is_null(), "{metadata}");
    assert_eq!(image["seed"].as_f64(), Some(36893488147419103232.0));
    Ok(())
}

#[tokio::test]
async fn an_info_file_of_another_program_is_adopted_whatever_python_wrote_into_it() -> Result<()> {
    let library = Library::of([Model::new("loras", "a")])?;
    let info = library.root("loras").join("a.civitai.info");
    std::fs::write(
        &info,
        r#"{"id": 9, "modelId": 8, "name": "v", "baseModel": "SDXL 1.0", "nan": NaN, "model": {"name": "Adopted", "x": "\udc00"},
            "files": [{"primary": true, "sizeKB": 1e400}]}"#,
    )?;
    let server = library.serve().await?;
    assert_eq!(server.item("loras", "a").await?["model_name"], "Adopted");
    Ok(())
}

#[tokio::test]
async fn words_of_a_header_with_numbers_of_python_are_shown() -> Result<()> {
    let frequency = r#"{"img": {"cat\ud800": 3, "dog": 2, "odd": NaN}}"#;
    let library = Library::of([Model::lora("a").metadata("ss_tag_frequency", frequency)])?;
    let server = library.serve().await?;
    let path = wire(&library.root("loras").join("a.safetensors"));
    let words = server
        .get_json("/api/lm/trained-words", &[("file_path", &path)])
        .await?;
    assert_eq!(
        words["trained_words"],
        json!([["cat\u{fffd}", 3], ["dog", 2], ["odd", 0]])
    );
    Ok(())
}

#[tokio::test]
async fn a_header_without_metadata_may_say_null() -> Result<()> {
    let header = br#"{"__metadata__":null,"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 4]);
    let library = Library::of([Model::lora("a").bytes(bytes)])?;
    let server = library.serve().await?;
    let item = server.item("loras", "a").await?;
    assert!(item["problem"].is_null(), "{item}");
    Ok(())
}
