//! Roots and folders.

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, ServerOptions};
use serde_json::json;

use super::queries::refused;

#[tokio::test]
async fn roots_are_the_existing_folders_of_a_type() -> Result<()> {
    let library = Library::new()?;
    let server = library.serve().await?;
    let roots = |names: &[&str]| names.iter().map(|name| wire(&library.root(name))).collect::<Vec<_>>();
    let loras = server.get_json("/api/lm/loras/roots", &[]).await?;
    assert_eq!(loras, json!({"success": true, "roots": roots(&["loras"])}));
    let checkpoints = server.get_json("/api/lm/checkpoints/roots", &[]).await?;
    assert_eq!(checkpoints["roots"], json!(roots(&["checkpoints", "unet"])));
    Ok(())
}

#[tokio::test]
async fn a_root_that_is_named_twice_counts_once() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let root = library.root("loras");
    let server = ServerOptions::default()
        .root("loras", &root)
        .root("loras", &root.join("../loras"))
        .serve()
        .await?;
    assert_eq!(
        server.get_json("/api/lm/loras/roots", &[]).await?["roots"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}

#[tokio::test]
async fn folders_are_listed_in_any_case_and_the_root_only_when_it_holds_files() -> Result<()> {
    let library = Library::of(["b/x", "A/y", "a2/deep/z"].map(Model::lora))?;
    let server = library.serve().await?;
    let folders = server.get_json("/api/lm/loras/folders", &[]).await?;
    let list = folders["folders"].as_array().cloned().unwrap_or_default();
    assert_eq!((&list[0], list.last()), (&json!("A"), Some(&json!("b"))), "{folders}");
    assert!(
        list.contains(&json!("a2/deep")) && !list.contains(&json!("")),
        "{folders}"
    );

    let library = Library::of(["top", "b/x"].map(Model::lora))?;
    let server = library.serve().await?;
    assert_eq!(
        server.get_json("/api/lm/loras/folders", &[]).await?,
        json!({"folders": ["", "b"]})
    );
    Ok(())
}

#[tokio::test]
async fn a_folder_tree_has_the_folders_of_its_root_and_the_unified_one_of_all() -> Result<()> {
    let library = Library::of([
        Model::new("checkpoints", "a/b/one").sidecar(),
        Model::new("checkpoints", "c/two").sidecar(),
        Model::new("unet", "d/three").sidecar(),
    ])?;
    let server = library.serve().await?;
    let path = "/api/lm/checkpoints/folder-tree";
    let of = async |root: &str| server.get_json(path, &[("model_root", root)]).await;
    let tree = of(&wire(&library.root("checkpoints"))).await?;
    assert_eq!(tree, json!({"success": true, "tree": {"a": {"b": {}}, "c": {}}}));
    assert_eq!(of(&wire(&library.root("unet"))).await?["tree"], json!({"d": {}}));
    assert_eq!(of("/nowhere").await?["tree"], json!({}));
    refused(&server, path, &[], 400).await?;
    let unified = server.get_json("/api/lm/checkpoints/unified-folder-tree", &[]).await?;
    assert_eq!(
        unified,
        json!({"success": true, "tree": {"a": {"b": {}}, "c": {}, "d": {}}})
    );
    Ok(())
}
