//! Names and files that nobody expects.
#![cfg(unix)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use modelshelf_tests::{Library, Model, sorted_names};
use serde_json::json;

async fn problems(server: &modelshelf_tests::Server) -> Result<String> {
    Ok(server.get_json("/api/lm/loras/problems", &[]).await?.to_string())
}

#[tokio::test]
async fn names_with_emoji_combining_characters_and_spaces_are_listed_as_they_are() -> Result<()> {
    let names = [
        "🐈‍⬛ cat",
        "e\u{301}clair",
        "\u{e9}clair",
        " leading and trailing ",
        "日本語/ネコ",
        "a'\"&<b>",
        "%41",
    ];
    let library = Library::of(names.map(Model::lora))?;
    let server = library.serve().await?;
    let mut expected: Vec<String> = names
        .iter()
        .map(|name| name.rsplit('/').next().unwrap_or(name).to_string())
        .collect();
    expected.sort();
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), expected);
    server.scan("loras", true).await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), expected);
    Ok(())
}

#[tokio::test]
async fn names_that_are_not_utf_8_are_told_and_stop_nothing() -> Result<()> {
    let library = Library::of([Model::lora("good")])?;
    let root = library.root("loras");
    let bad = |name: &[u8]| root.join(OsStr::from_bytes(name));
    std::fs::write(bad(b"bad\xff.safetensors"), b"x")?;
    std::fs::create_dir(bad(b"folder\xff"))?;
    std::fs::write(bad(b"folder\xff/inner.safetensors"), b"x")?;
    let server = library.options().watching().serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good"]);
    let told = problems(&server).await?;
    assert!(told.matches("UTF-8").count() == 2, "{told}");
    std::fs::rename(bad(b"bad\xff.safetensors"), root.join("mended.safetensors"))?;
    server.wait_for_names("loras", &["good", "mended"]).await?;
    assert_eq!(problems(&server).await?.matches("UTF-8").count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_name_as_long_as_names_can_be_is_listed_without_a_sidecar() -> Result<()> {
    let long = "n".repeat(255 - ".safetensors".len());
    let library = Library::of([Model::new("loras", &long)])?;
    let server = library.serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), [long]);
    Ok(())
}

/// Makes folders in each other below `top`, that many, and gives the innermost.
fn nested(top: &Path, name: &str, levels: usize) -> Result<PathBuf> {
    let innermost = (0..levels).fold(top.to_owned(), |path, _| path.join(name));
    std::fs::create_dir_all(&innermost)?;
    Ok(innermost)
}

#[tokio::test]
async fn paths_longer_than_the_system_takes_are_told_and_stop_nothing() -> Result<()> {
    let library = Library::of([Model::lora("good")])?;
    // No call takes the whole path, but two halves can be put together.
    let name = "d".repeat(200);
    let upper = nested(&library.root("loras"), &name, 15)?;
    let lower = nested(&library.path().join("half"), &name, 15)?;
    std::fs::write(lower.join("deep.safetensors"), b"x")?;
    std::fs::rename(library.path().join("half"), upper.join("half"))?;
    let server = library.serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good"]);
    let told = problems(&server).await?;
    assert!(told.contains("can't be read"), "{told}");
    Ok(())
}

#[tokio::test]
async fn folders_deeper_than_anybody_needs_are_told_and_stop_nothing() -> Result<()> {
    let library = Library::of([Model::lora("good")])?;
    let deep = nested(&library.root("loras"), "d", 100)?;
    std::fs::write(deep.join("deep.safetensors"), b"x")?;
    let server = library.serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good"]);
    let told = problems(&server).await?;
    assert!(told.contains("folders deep"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_model_whose_place_a_folder_or_a_pipe_takes_is_gone() -> Result<()> {
    let library = Library::of([Model::lora("good"), Model::lora("folder"), Model::lora("pipe")])?;
    let server = library.options().watching().serve().await?;
    let path = |name: &str| -> PathBuf { library.root("loras").join(format!("{name}.safetensors")) };
    std::fs::remove_file(path("folder"))?;
    std::fs::create_dir(path("folder"))?;
    library.add(&Model::lora("folder.safetensors/inner"))?;
    std::fs::remove_file(path("pipe"))?;
    ensure!(Command::new("mkfifo").arg(path("pipe")).status()?.success());
    server.wait_for_names("loras", &["good", "inner"]).await?;
    // The model was gone a moment before the pipe came.
    for _ in 0..400 {
        if problems(&server).await?.contains("pipe.safetensors") {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("the pipe was never told");
}

#[tokio::test]
async fn what_lies_in_a_folder_that_can_not_be_read_stays_listed() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let library = Library::of([Model::lora("good"), Model::lora("locked/inside")])?;
    let server = library.serve().await?;
    let locked = library.root("loras").join("locked");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000))?;
    let readable = std::fs::read_dir(&locked).is_ok();
    server.scan("loras", false).await?;
    let listed = sorted_names(&server.list("loras", &[]).await?);
    let told = problems(&server).await?;
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o755))?;
    assert_eq!(listed, ["good", "inside"]);
    if readable {
        eprintln!("run by root, whom no mode keeps out: only that nothing broke was tested");
    } else {
        assert!(told.contains("locked"), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn models_behind_a_link_whose_disk_is_away_stay_listed() -> Result<()> {
    use std::os::unix::fs::symlink;
    let library = Library::of([Model::lora("good")])?;
    let outside = Library::of([Model::lora("linked")])?;
    symlink(outside.root("loras"), library.root("loras").join("elsewhere"))?;
    let server = library.options().watching().serve().await?;
    server.wait_for_names("loras", &["good", "linked"]).await?;
    let away = outside.path().join("unmounted");
    std::fs::rename(outside.root("loras"), &away)?;
    server.scan("loras", false).await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good", "linked"]);
    assert!(problems(&server).await?.contains("elsewhere"));
    std::fs::rename(&away, outside.root("loras"))?;
    std::fs::remove_file(outside.root("loras").join("linked.safetensors"))?;
    library.add(&Model::lora("more"))?;
    server.scan("loras", false).await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good", "more"]);
    assert_eq!(server.status("loras").await?["problems"], json!(0));
    Ok(())
}
