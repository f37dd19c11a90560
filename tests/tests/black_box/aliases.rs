//! Files that several paths lead to.
#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, Server, sorted_names};
use serde_json::{Value, json};

async fn aliases(server: &Server, name: &str) -> Result<Vec<String>> {
    let item = server.item("loras", name).await?;
    let aliases = item["aliases"].as_array().into_iter().flatten();
    Ok(aliases.filter_map(Value::as_str).map(str::to_owned).collect())
}

async fn assert_no_duplicates(server: &Server) -> Result<()> {
    for route in ["find-duplicates", "find-filename-conflicts"] {
        let answer = server.get_json(&format!("/api/lm/loras/{route}"), &[]).await?;
        assert_eq!(answer["count"], 0, "{route}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn linked_folders_and_files_are_aliases_and_no_duplicates() -> Result<()> {
    let library = Library::of([Model::lora("real/deep/amber")])?;
    let root = library.root("loras");
    // Before the real folder in the order of names, and after it.
    symlink(root.join("real"), root.join("a link"))?;
    symlink(root.join("real/deep"), root.join("z link"))?;
    symlink(
        root.join("real/deep/amber.safetensors"),
        root.join("amber link.safetensors"),
    )?;
    let server = library.serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["amber"]);
    let item = server.item("loras", "amber").await?;
    assert_eq!(item["folder"], "real/deep");
    let expected: Vec<String> = ["a link/deep/amber", "amber link", "z link/amber"]
        .iter()
        .map(|path| format!("{}/{path}.safetensors", wire(&root)))
        .collect();
    assert_eq!(aliases(&server, "amber").await?, expected);
    assert_no_duplicates(&server).await?;
    // What is known of links is kept up.
    std::fs::remove_file(root.join("a link"))?;
    let before = server.status("loras").await?["content_bytes_read"].clone();
    server.scan("loras", false).await?;
    assert_eq!(aliases(&server, "amber").await?, expected[1..]);
    assert_eq!(server.status("loras").await?["content_bytes_read"], before);
    Ok(())
}

#[tokio::test]
async fn a_root_that_leads_into_another_gives_aliases() -> Result<()> {
    let library = Library::of([Model::lora("sub/amber")])?;
    let link = library.path().join("other root");
    symlink(library.root("loras").join("sub"), &link)?;
    let server = library.options().root("loras", &link).serve().await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    // The first root in order lists it.
    assert_eq!(
        aliases(&server, "amber").await?,
        [wire(&link.join("amber.safetensors"))]
    );
    assert_no_duplicates(&server).await?;
    Ok(())
}

#[tokio::test]
async fn two_links_to_one_folder_outside_list_it_once() -> Result<()> {
    let outside = Library::of([Model::lora("amber"), Model::lora("in/gold")])?;
    let library = Library::new()?;
    let root = library.root("loras");
    symlink(outside.root("loras"), root.join("first"))?;
    symlink(outside.root("loras"), root.join("second"))?;
    symlink(outside.root("loras").join("in"), root.join("inner"))?;
    let server = library.serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["amber", "gold"]);
    assert_eq!(
        aliases(&server, "amber").await?,
        [wire(&root.join("second/amber.safetensors"))]
    );
    assert_eq!(
        aliases(&server, "gold").await?,
        [
            root.join("inner/gold.safetensors"),
            root.join("second/in/gold.safetensors")
        ]
        .map(|path| wire(&path))
    );
    Ok(())
}

#[tokio::test]
async fn loops_are_no_aliases_and_a_file_without_aliases_has_no_such_field() -> Result<()> {
    let library = Library::of([Model::lora("real/amber")])?;
    let root = library.root("loras");
    symlink(&root, root.join("real/up"))?;
    symlink(root.join("real"), root.join("real/self"))?;
    symlink(Path::new("round"), root.join("round"))?;
    let server = library.serve().await?;
    let item = server.item("loras", "amber").await?;
    assert_eq!(item.get("aliases"), None, "{item}");
    let problems = server.get_json("/api/lm/loras/problems", &[]).await?;
    assert!(problems.to_string().contains("/round"), "{problems}");
    Ok(())
}

#[tokio::test]
async fn hard_links_stay_models_of_their_own_with_one_hash() -> Result<()> {
    let library = Library::of([Model::new("loras", "amber")])?;
    let root = library.root("loras");
    std::fs::hard_link(root.join("amber.safetensors"), root.join("gold.safetensors"))?;
    let server = library.serve().await?;
    let (amber, gold) = (
        server.item("loras", "amber").await?,
        server.item("loras", "gold").await?,
    );
    assert_eq!(amber["sha256"], gold["sha256"]);
    assert_eq!(amber["sha256"].as_str().map(str::len), Some(64));
    assert_eq!((amber.get("aliases"), gold.get("aliases")), (None, None));
    std::fs::remove_file(root.join("amber.safetensors"))?;
    server.scan("loras", false).await?;
    assert_eq!(server.list("loras", &[]).await?["items"][0]["file_name"], json!("gold"));
    Ok(())
}
