//! Disks that are away.

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server, sorted_names};
use serde_json::json;

async fn listed(server: &Server) -> Result<Vec<(String, bool)>> {
    let page = server.list("loras", &[]).await?;
    let offline = page["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item["offline"] == true);
    Ok(modelshelf_tests::names(&page).into_iter().zip(offline).collect())
}

fn all(names: &[&str], offline: bool) -> Vec<(String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), offline)).collect()
}

#[tokio::test]
async fn a_root_that_is_gone_keeps_its_records_and_says_they_are_offline() -> Result<()> {
    let library = Library::of([Model::lora("a").tags(&["style"]), Model::lora("sub/b")])?;
    let server = library.serve().await?;
    let away = library.path().join("unmounted");
    std::fs::rename(library.root("loras"), &away)?;
    for full in [false, true] {
        server.scan("loras", full).await?;
        assert_eq!(listed(&server).await?, all(&["a", "b"], true), "full: {full}");
    }
    assert_eq!(
        server.get_json("/api/lm/loras/top-tags", &[]).await?["tags"],
        json!([{"tag": "style", "count": 1}])
    );
    std::fs::rename(&away, library.root("loras"))?;
    server.scan("loras", false).await?;
    assert_eq!(listed(&server).await?, all(&["a", "b"], false));
    Ok(())
}

#[tokio::test]
async fn a_root_that_is_suddenly_empty_keeps_its_records_too() -> Result<()> {
    let library = Library::of([Model::lora("a"), Model::lora("b")])?;
    let server = library.serve().await?;
    // What an unmounted disk leaves behind is its empty mount point.
    std::fs::rename(library.root("loras"), library.path().join("unmounted"))?;
    std::fs::create_dir(library.root("loras"))?;
    server.scan("loras", false).await?;
    assert_eq!(listed(&server).await?, all(&["a", "b"], true));
    Ok(())
}

#[tokio::test]
async fn records_of_an_absent_root_survive_a_restart() -> Result<()> {
    let library = Library::of([Model::lora("a"), Model::new("embeddings", "kept").sidecar()])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    server.stop().await?;
    let away = library.path().join("unmounted");
    std::fs::rename(library.root("loras"), &away)?;
    let server = library.options().data_dir(&data).serve().await?;
    server.scan("loras", false).await?;
    assert_eq!(listed(&server).await?, all(&["a"], true));
    assert_eq!(sorted_names(&server.list("embeddings", &[]).await?), ["kept"]);
    Ok(())
}

#[tokio::test]
async fn one_absent_root_of_two_does_not_touch_the_other() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let second = Library::of([Model::lora("b")])?;
    let server = library.options().root("loras", &second.root("loras")).serve().await?;
    std::fs::rename(second.root("loras"), second.path().join("unmounted"))?;
    library.add(&Model::lora("c"))?;
    server.scan("loras", false).await?;
    let expected = [("a", false), ("b", true), ("c", false)].map(|(name, offline)| (name.to_owned(), offline));
    assert_eq!(listed(&server).await?, expected);
    Ok(())
}

#[tokio::test]
async fn absent_models_are_forgotten_only_when_a_person_says_so() -> Result<()> {
    let library = Library::of([Model::lora("a").sidecar()])?;
    let server = library.serve().await?;
    let away = library.path().join("unmounted");
    std::fs::rename(library.root("loras"), &away)?;
    server
        .get_json("/api/lm/loras/scan", &[("forget_offline", "true")])
        .await?;
    assert_eq!(listed(&server).await?, []);
    // Forgetting touches nothing on the disk, so that its return brings all back.
    std::fs::rename(&away, library.root("loras"))?;
    server.scan("loras", false).await?;
    assert_eq!(listed(&server).await?, all(&["a"], false));
    Ok(())
}
