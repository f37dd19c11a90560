//! The search field.

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server, sorted_names};
use serde_json::json;

async fn server() -> Result<Server> {
    Library::of([
        Model::lora("amber_lantern")
            .name("Warm Light")
            .tags(&["cosy"])
            .civitai(json!({"creator": {"username": "Lanternfolk"}})),
        Model::lora("blue_hour").name("Amber Evening").tags(&["dusk"]),
        Model::lora("crystal").name("Kristall"),
    ])?
    .serve()
    .await
}

async fn found(server: &Server, query: &[(&str, &str)]) -> Result<Vec<String>> {
    Ok(sorted_names(&server.list("loras", query).await?))
}

#[tokio::test]
async fn a_search_looks_for_one_text_in_file_and_model_names_in_any_case() -> Result<()> {
    let server = server().await?;
    assert_eq!(
        found(&server, &[("search", "AMBER")]).await?,
        ["amber_lantern", "blue_hour"]
    );
    assert_eq!(found(&server, &[("search", "warm light")]).await?, ["amber_lantern"]);
    assert_eq!(found(&server, &[("search", "light warm")]).await?, [""; 0]);
    assert_eq!(found(&server, &[("search", "")]).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn tags_and_creators_are_searched_only_when_asked_for() -> Result<()> {
    let server = server().await?;
    assert_eq!(found(&server, &[("search", "cosy")]).await?, [""; 0]);
    assert_eq!(
        found(&server, &[("search", "cosy"), ("search_tags", "true")]).await?,
        ["amber_lantern"]
    );
    assert_eq!(found(&server, &[("search", "lanternf")]).await?, [""; 0]);
    assert_eq!(
        found(&server, &[("search", "lanternf"), ("search_creator", "true")]).await?,
        ["amber_lantern"]
    );
    Ok(())
}

#[tokio::test]
async fn a_searched_field_can_be_left_out() -> Result<()> {
    let server = server().await?;
    assert_eq!(
        found(&server, &[("search", "amber"), ("search_filename", "false")]).await?,
        ["blue_hour"]
    );
    assert_eq!(
        found(&server, &[("search", "amber"), ("search_modelname", "false")]).await?,
        ["amber_lantern"]
    );
    Ok(())
}

#[tokio::test]
async fn a_fuzzy_search_forgives_a_slip_and_wants_every_word() -> Result<()> {
    let server = server().await?;
    assert_eq!(
        found(&server, &[("search", "kristal"), ("fuzzy_search", "true")]).await?,
        ["crystal"]
    );
    assert_eq!(
        found(&server, &[("search", "krystall"), ("fuzzy_search", "true")]).await?,
        ["crystal"]
    );
    assert_eq!(found(&server, &[("search", "krystall")]).await?, [""; 0]);
    assert_eq!(
        found(&server, &[("search", "light warm"), ("fuzzy_search", "true")]).await?,
        ["amber_lantern"]
    );
    assert_eq!(
        found(&server, &[("search", "warm submarine"), ("fuzzy_search", "true")]).await?,
        [""; 0]
    );
    assert_eq!(
        found(&server, &[("search", "light warm"), ("fuzzy", "true")]).await?,
        ["amber_lantern"]
    );
    Ok(())
}
