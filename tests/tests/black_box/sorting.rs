//! The orders of a listing.

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server, names};
use serde_json::json;

async fn order(server: &Server, sort: &str) -> Result<Vec<String>> {
    Ok(names(&server.list("loras", &[("sort_by", sort)]).await?))
}

fn reversed(mut names: Vec<String>) -> Vec<String> {
    names.reverse();
    names
}

#[tokio::test]
async fn names_are_sorted_as_people_count_and_in_any_case() -> Result<()> {
    let server = Library::of([
        Model::lora("a").name("Style 10"),
        Model::lora("b").name("style 9"),
        Model::lora("c").name("Style 1"),
        Model::lora("d").name("amber"),
    ])?
    .serve()
    .await?;
    let sorted = ["d", "c", "b", "a"];
    for sort in ["name", "name:asc", ""] {
        assert_eq!(order(&server, sort).await?, sorted, "{sort:?}");
    }
    assert_eq!(names(&server.list("loras", &[]).await?), sorted);
    assert_eq!(reversed(order(&server, "name:desc").await?), sorted);
    Ok(())
}

#[tokio::test]
async fn dates_and_sizes_sort_in_both_directions() -> Result<()> {
    let server = Library::of([
        Model::lora("old").modified(100.0).tensor("w", "U8", &[900]),
        Model::lora("new").modified(300.5).tensor("w", "U8", &[100]),
        Model::lora("middle").modified(300.0).tensor("w", "U8", &[500]),
    ])?
    .serve()
    .await?;
    assert_eq!(order(&server, "date").await?, ["old", "middle", "new"]);
    assert_eq!(order(&server, "date:desc").await?, ["new", "middle", "old"]);
    assert_eq!(order(&server, "size:asc").await?, ["new", "middle", "old"]);
    assert_eq!(order(&server, "size:desc").await?, ["old", "middle", "new"]);
    Ok(())
}

#[tokio::test]
async fn equal_names_are_told_apart_by_their_path() -> Result<()> {
    let server = Library::of(["b/x", "a/y", "c/w"].map(|path| Model::lora(path).name("Same")))?
        .serve()
        .await?;
    assert_eq!(order(&server, "name").await?, ["y", "x", "w"]);
    assert_eq!(order(&server, "size").await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_random_order_is_the_same_for_the_same_seed_and_holds_everything() -> Result<()> {
    let server = Library::of((0..60).map(|number| Model::lora(&format!("m{number:02}"))))?
        .serve()
        .await?;
    let first = order(&server, "random:7").await?;
    assert_eq!(order(&server, "random:7").await?, first);
    let other = order(&server, "random:8").await?;
    assert_ne!(other, first);
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(first.clone()), sorted(other));
    assert_ne!(first, sorted(first.clone()));
    assert_eq!(order(&server, "random").await?, order(&server, "random:asc").await?);
    Ok(())
}

#[tokio::test]
async fn models_with_more_versions_come_first_on_request() -> Result<()> {
    let version = |path: &str, model: u64, id: u64| Model::lora(path).civitai(json!({"id": id, "modelId": model}));
    let server = Library::of([
        version("one", 1, 10),
        version("two a", 2, 20),
        version("two b", 2, 21),
        version("three a", 3, 30),
        version("three b", 3, 31),
        version("three c", 3, 32),
        Model::lora("single"),
    ])?
    .serve()
    .await?;
    let query = [("sort_by", "versions_count:desc"), ("group_by_model", "true")];
    let grouped = names(&server.list("loras", &query).await?);
    assert_eq!(grouped[..2], ["three c", "two b"]);
    assert_eq!(grouped.len(), 4);
    let apart = order(&server, "versions_count:desc").await?;
    assert!(apart[..3].iter().all(|name| name.starts_with("three")), "{apart:?}");
    assert!(apart[3..5].iter().all(|name| name.starts_with("two")), "{apart:?}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_order_still_lists_everything() -> Result<()> {
    let server = Library::of([Model::lora("a"), Model::lora("b")])?.serve().await?;
    for sort in ["colour", "name:sideways", ":", "usage:desc"] {
        assert_eq!(order(&server, sort).await?.len(), 2, "{sort}");
    }
    Ok(())
}
