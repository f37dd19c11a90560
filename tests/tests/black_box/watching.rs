//! Files that change while the server runs are seen without asking.

use std::time::Duration;

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server, sorted_names};
use serde_json::{Value, json};

async fn watching(library: &Library) -> Result<Server> {
    let server = library.options().watching().serve().await?;
    let is_watched = |status: &Value| status["roots"][0]["watched"] == "events";
    server.wait_for_status("loras", is_watched).await?;
    Ok(server)
}

fn item<'p>(page: &'p Value, name: &str) -> &'p Value {
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .find(|item| item["file_name"] == name)
        .unwrap_or(&Value::Null)
}

#[tokio::test]
async fn files_that_come_and_go_are_seen_and_every_page_is_told() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = watching(&library).await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let told = |message: &Value| message["type"] == "models_changed" && message["pageType"] == "loras";
    library.add(&Model::lora("new"))?;
    socket.find(told).await?;
    server.wait_for_names("loras", &["here", "new"]).await?;
    library.add(&Model::new("loras", "deep/in/folders/alone"))?;
    server.wait_for_names("loras", &["alone", "here", "new"]).await?;
    std::fs::remove_file(library.root("loras").join("new.safetensors"))?;
    server.wait_for_names("loras", &["alone", "here"]).await?;
    Ok(())
}

#[tokio::test]
async fn renamed_moved_and_replaced_files_are_seen() -> Result<()> {
    let library = Library::of([Model::new("loras", "a/one").seed(1), Model::lora("two")])?;
    let server = watching(&library).await?;
    let root = library.root("loras");
    std::fs::rename(root.join("two.safetensors"), root.join("second.safetensors"))?;
    server.wait_for_names("loras", &["one", "second"]).await?;
    std::fs::create_dir(root.join("b"))?;
    std::fs::rename(root.join("a/one.safetensors"), root.join("b/one.safetensors"))?;
    let in_b = |page: &Value| item(page, "one")["folder"] == "b";
    let page = server.wait_for("loras", in_b).await?;
    let before = item(&page, "one")["sha256"].clone();
    library.add(&Model::new("loras", "b/one").seed(2).tensor("w", "U8", &[64]))?;
    let replaced = |page: &Value| {
        let hash = &item(page, "one")["sha256"];
        *hash != before && *hash != ""
    };
    server.wait_for("loras", replaced).await?;
    Ok(())
}

#[tokio::test]
async fn changed_sidecars_and_previews_are_seen() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = watching(&library).await?;
    library.add(&Model::lora("amber").name("Amber Light").tags(&["style"]))?;
    let renamed = |page: &Value| item(page, "amber")["model_name"] == "Amber Light";
    server.wait_for("loras", renamed).await?;
    let preview = library.root("loras").join("amber.png");
    std::fs::write(&preview, b"image")?;
    let has_preview = |page: &Value| item(page, "amber")["media_type"] == "image";
    server.wait_for("loras", has_preview).await?;
    std::fs::remove_file(&preview)?;
    server.wait_for("loras", |page| !has_preview(page)).await?;
    Ok(())
}

#[tokio::test]
async fn whole_folders_that_come_change_their_name_and_go_are_seen() -> Result<()> {
    let library = Library::new()?;
    library.add(&Model::lora("here"))?;
    let elsewhere = Library::of([Model::lora("set/x"), Model::lora("set/deep/y")])?;
    let server = watching(&library).await?;
    let root = library.root("loras");
    std::fs::rename(elsewhere.root("loras").join("set"), root.join("set"))?;
    server.wait_for_names("loras", &["here", "x", "y"]).await?;
    std::fs::rename(root.join("set"), root.join("other"))?;
    let renamed = |page: &Value| item(page, "y")["folder"] == "other/deep";
    server.wait_for("loras", renamed).await?;
    // The new name is watched as the old one was.
    library.add(&Model::lora("other/deep/z"))?;
    server.wait_for_names("loras", &["here", "x", "y", "z"]).await?;
    std::fs::remove_dir_all(root.join("other"))?;
    server.wait_for_names("loras", &["here"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_root_that_goes_keeps_its_models_and_is_watched_again_when_it_returns() -> Result<()> {
    let library = Library::of([Model::lora("a"), Model::lora("sub/b")])?;
    let server = watching(&library).await?;
    let away = library.path().join("unmounted");
    std::fs::rename(library.root("loras"), &away)?;
    server
        .wait_for_status("loras", |status| status["roots"][0]["online"] == false)
        .await?;
    let page = server.list("loras", &[]).await?;
    assert_eq!(sorted_names(&page), ["a", "b"]);
    assert_eq!(item(&page, "a")["offline"], true);
    std::fs::rename(&away, library.root("loras"))?;
    server
        .wait_for_status("loras", |status| status["roots"][0]["online"] == true)
        .await?;
    assert_eq!(item(&server.list("loras", &[]).await?, "a")["offline"], false);
    library.add(&Model::lora("sub/c"))?;
    server.wait_for_names("loras", &["a", "b", "c"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_root_that_comes_later_is_read_and_watched() -> Result<()> {
    let library = Library::new()?;
    std::fs::remove_dir(library.root("loras"))?;
    let server = library.options().watching().serve().await?;
    std::fs::create_dir(library.root("loras"))?;
    library.add(&Model::lora("first"))?;
    server.wait_for_names("loras", &["first"]).await?;
    let is_watched = |status: &Value| status["roots"][0]["watched"] == "events";
    server.wait_for_status("loras", is_watched).await?;
    library.add(&Model::lora("second"))?;
    server.wait_for_names("loras", &["first", "second"]).await?;
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn what_links_lead_to_outside_the_roots_is_watched_too() -> Result<()> {
    use std::os::unix::fs::symlink;
    let library = Library::of([Model::lora("here")])?;
    let outside = Library::of([Model::lora("linked"), Model::new("embeddings", "lone").sidecar()])?;
    let root = library.root("loras");
    let server = watching(&library).await?;
    symlink(outside.root("loras"), root.join("elsewhere"))?;
    symlink(
        outside.root("embeddings").join("lone.safetensors"),
        root.join("lone.safetensors"),
    )?;
    server.wait_for_names("loras", &["here", "linked", "lone"]).await?;
    outside.add(&Model::lora("sub/more"))?;
    server
        .wait_for_names("loras", &["here", "linked", "lone", "more"])
        .await?;
    std::fs::remove_file(outside.root("embeddings").join("lone.safetensors"))?;
    std::fs::remove_file(root.join("lone.safetensors"))?;
    std::fs::remove_file(root.join("elsewhere"))?;
    server.wait_for_names("loras", &["here"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_root_without_events_is_looked_at_from_time_to_time() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let root = library.root("loras");
    let config = library.path().join("settings.toml");
    std::fs::write(
        &config,
        format!(
            "[scan]\npoll_seconds = 1\nstable_seconds = 0.1\n[io_profiles]\n{:?} = 'network'\n",
            root.display().to_string()
        ),
    )?;
    let server = library.options().argument("--config").argument(&config).serve().await?;
    let status = server
        .wait_for_status("loras", |status| status["roots"][0]["watched"] == "polling")
        .await?;
    assert_eq!(status["roots"][0]["profile"], "network");
    library.add(&Model::lora("sub/new"))?;
    server.wait_for_names("loras", &["here", "new"]).await?;
    std::fs::remove_file(root.join("here.safetensors"))?;
    server.wait_for_names("loras", &["new"]).await?;
    Ok(())
}

#[tokio::test]
async fn many_files_at_once_are_a_few_scans() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = watching(&library).await?;
    for number in 0..1500 {
        library.add(&Model::lora(&format!("f{}/m{number}", number % 30)))?;
    }
    server.wait_for("loras", |page| page["total"] == 1501).await?;
    let scans = server.log().matches("scanned").count();
    assert!(scans < 100, "{scans} scans");
    Ok(())
}

#[tokio::test]
async fn what_the_server_writes_itself_does_not_keep_it_busy() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = watching(&library).await?;
    library.add(&Model::new("loras", "fresh"))?;
    let hashed = |page: &Value| {
        item(page, "fresh")["sha256"]
            .as_str()
            .is_some_and(|hash| hash.len() == 64)
    };
    server.wait_for("loras", hashed).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = server.status("loras").await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = server.status("loras").await?;
    for key in ["generation", "content_bytes_read"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn watching_can_be_switched_off() -> Result<()> {
    let library = Library::of([Model::lora("here")])?;
    let server = library.options().scan_settings("watch = false").serve().await?;
    let status = server.status("loras").await?;
    assert_eq!(status["roots"][0]["watched"], json!("off"));
    Ok(())
}
