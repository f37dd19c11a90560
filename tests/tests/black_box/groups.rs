//! Versions of one model, put together.

use anyhow::Result;
use modelshelf_tests::{Library, Model, field, names};
use serde_json::{Value, json};

fn version(path: &str, model: u64, id: u64, base: &str) -> Model {
    Model::lora(path)
        .base(base)
        .civitai(json!({"id": id, "modelId": model, "name": format!("v{id}")}))
}

fn library() -> Result<Library> {
    Library::of([
        version("a1", 1, 10, "SDXL 1.0"),
        version("a2", 1, 12, "SDXL 1.0"),
        version("a3", 1, 11, "SD 1.5"),
        version("b1", 2, 20, "SDXL 1.0"),
        Model::lora("single"),
    ])
}

#[tokio::test]
async fn a_group_shows_its_newest_version_and_how_many_there_are() -> Result<()> {
    let server = library()?.serve().await?;
    let page = server.list("loras", &[("group_by_model", "true")]).await?;
    let mut shown: Vec<(String, Value)> = names(&page)
        .into_iter()
        .zip(
            page["items"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| item["version_count"].clone()),
        )
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |name: &str| {
        shown
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, count)| count.clone())
    };
    // The two bases of model 1 are apart, since the default setting is `same_base`.
    assert_eq!(of("a2"), Some(json!(2)));
    assert_eq!(of("a1"), None);
    assert!(
        of("a3").is_some() && of("b1").is_some() && of("single").is_some(),
        "{shown:?}"
    );
    assert_eq!(page["total"], 4);
    Ok(())
}

#[tokio::test]
async fn the_versions_of_one_model_are_listed_newest_first_whatever_the_order() -> Result<()> {
    let server = library()?.serve().await?;
    let query = [("civitai_model_id", "1"), ("sort_by", "name:asc")];
    let page = server.list("loras", &query).await?;
    assert_eq!(names(&page), ["a2", "a3", "a1"]);
    Ok(())
}

#[tokio::test]
async fn models_of_one_repository_are_a_group_too() -> Result<()> {
    let url = "https://huggingface.co/someone/things";
    let server = Library::of([
        Model::lora("h1").side("hf_url", url).modified(1.0),
        Model::lora("h2").side("hf_url", url).modified(2.0),
    ])?
    .serve()
    .await?;
    let page = server
        .list("loras", &[("civitai_model_id", "hf:someone/things")])
        .await?;
    assert_eq!(names(&page), ["h2", "h1"]);
    let page = server.list("loras", &[("group_by_model", "true")]).await?;
    assert_eq!(names(&page), ["h2"]);
    assert_eq!(field(&page, "hf_url"), [url]);
    Ok(())
}
