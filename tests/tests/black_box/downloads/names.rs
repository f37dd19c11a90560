//! Files that want the same name, and what counts as a file that has come.

use anyhow::Result;
use modelshelf_tests::Library;
use modelshelf_tests::civitai::{CatalogFile, CatalogModel, Civitai, Storage};
use serde_json::{Value, json};

use super::{by_default, download, enqueue, get, names, options, rows, sized, slow, wait_for_file};

const SIZE: u64 = 4 << 20;

/// A model whose file has the name that every such model's has.
fn same_name(id: u64) -> CatalogModel {
    let mut model = sized(id, SIZE);
    model.versions[0].files = vec![CatalogFile::new(id * 100, "same.safetensors", SIZE)];
    model
}

#[tokio::test]
async fn what_has_arrived_of_a_file_is_left_to_it_by_another_one_of_its_name() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([same_name(1), same_name(2)]).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "")?.serve().await?;
    let mut socket = server.socket("/ws/download-progress?id=a").await?;
    enqueue(&server, "1", "a").await?;
    socket
        .find(|message| message["bytes_downloaded"].as_u64() > Some(0))
        .await?;
    get(&server, "skip-download", &[("download_id", "a")]).await?;
    let folder = library.root("loras").join("SDXL 1.0/style");
    let part = std::fs::read(folder.join("same.safetensors.part"))?;
    assert!(!part.is_empty());

    civitai.give_out(Storage::default());
    assert_eq!(download(&server, by_default(2)).await?.0, 200);
    assert_eq!(std::fs::read(folder.join("same.safetensors.part"))?, part);
    let other = CatalogFile::new(200, "same.safetensors", SIZE);
    let beside = format!("same-{}.safetensors", &other.sha256[..4]);
    assert!(std::fs::read(folder.join(beside))? == other.bytes(0, SIZE as usize));

    let sent = civitai.sent();
    let again = json!({"model_id": 1, "use_default_paths": true, "download_id": "a"});
    assert_eq!(download(&server, again).await?.0, 200);
    assert!(civitai.sent() - sent < SIZE, "it began from zero");
    let own = CatalogFile::new(100, "same.safetensors", SIZE);
    assert!(std::fs::read(folder.join("same.safetensors"))? == own.bytes(0, SIZE as usize));
    assert_eq!(server.list("loras", &[]).await?["total"], 2);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn cancelling_leaves_what_another_download_has_under_the_same_name() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([same_name(1), same_name(2), sized(3, 64 << 20)]).await?;
    civitai.give_out(Storage {
        wrong: true,
        ..Storage::default()
    });
    let server = options(&library, &civitai, "parallel = 1")?.serve().await?;
    // It leaves no part: another one takes the name.
    let body = json!({"model_id": 1, "use_default_paths": true, "download_id": "a"});
    assert_eq!(download(&server, body).await?.0, 500);
    civitai.give_out(slow());
    enqueue(&server, "2", "b").await?;
    wait_for_file(&library, "same.safetensors.part.state").await?;
    get(&server, "skip-download", &[("download_id", "b")]).await?;
    // The first one waits for another try, and is cancelled before that begins.
    enqueue(&server, "3", "c").await?;
    wait_for_file(&library, "file3.safetensors.part.state").await?;
    let (_, retried) = get(&server, "downloads/history/retry", &[("download_id", "a")]).await?;
    let id = retried["item"]["download_id"].as_str().unwrap_or_default();
    let (_, cancelled) = get(&server, "cancel-download-get", &[("download_id", id)]).await?;
    assert_eq!(cancelled["success"], true);
    assert!(names(&library.root("loras"))?.contains(&"same.safetensors.part".to_owned()));
    get(&server, "cancel-download-get", &[("download_id", "c")]).await?;
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_id_that_ended_well_is_an_answer_for_its_own_file_alone() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([sized(1, 3000), sized(2, 3000)]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let wanted = |model: u64| json!({"model_id": model, "use_default_paths": true, "download_id": "a"});
    let ok = (200, json!({"success": true, "download_id": "a"}));
    assert_eq!(download(&server, wanted(1)).await?, ok);
    let sent = civitai.sent();
    assert_eq!(download(&server, wanted(1)).await?, ok);
    assert_eq!(civitai.sent(), sent, "it is here already");

    assert_eq!(download(&server, wanted(2)).await?, ok);
    let item = server.item("loras", "file2").await?;
    assert_eq!(rows(&server).await?.1, 2, "each try has a row of its own");
    // What is gone is no answer.
    let path = std::path::PathBuf::from(item["file_path"].as_str().unwrap_or_default());
    std::fs::remove_file(&path)?;
    std::fs::remove_file(path.with_extension("metadata.json"))?;
    server.scan("loras", false).await?;
    server.wait_for("loras", |page| page["total"] == 1).await?;
    assert_eq!(download(&server, wanted(2)).await?, ok);
    let sha256 = server.item("loras", "file2").await?["sha256"].clone();
    assert_eq!(
        sha256,
        Value::from(CatalogFile::new(200, "file2.safetensors", 3000).sha256)
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_comes_while_its_file_does_is_not_lost() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start((1..=3).map(|id| sized(id, SIZE))).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "")?.serve().await?;
    let folder = library.root("loras").join("SDXL 1.0/style");
    let mine = |id: u64, sha256: &str| {
        json!({
            "file_name": "elsewhere", "model_name": "Mine", "file_path": "/elsewhere.safetensors", "size": 1, "modified": 0.0,
            "sha256": sha256, "base_model": "SDXL 1.0", "preview_url": "", "notes": "typed", "mine": id,
        })
        .to_string()
    };
    let own = CatalogFile::new(200, "file2.safetensors", SIZE).sha256;
    for (id, text) in [
        (1, "{ broken".to_owned()),
        (2, mine(2, &own)),
        (3, mine(3, &"0".repeat(64))),
    ] {
        enqueue(&server, &id.to_string(), &format!("d{id}")).await?;
        wait_for_file(&library, &format!("file{id}.safetensors.part.state")).await?;
        std::fs::write(folder.join(format!("file{id}.metadata.json")), text)?;
    }
    civitai.give_out(Storage::default());
    let items = super::wait_for_end(&server, 3).await?;
    let status = |id: &str| {
        let item = items.iter().find(|item| item["download_id"] == id);
        item.map(|item| item["status"].clone()).unwrap_or_default()
    };
    assert_eq!(
        [status("d1"), status("d2"), status("d3")],
        ["completed", "completed", "failed"]
    );
    let there = names(&folder)?;
    let aside = there
        .iter()
        .find(|name| name.starts_with("file1.metadata.json.broken-"));
    let aside = aside.unwrap_or_else(|| panic!("{there:?}"));
    assert_eq!(std::fs::read_to_string(folder.join(aside))?, "{ broken");
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.join("file2.metadata.json"))?)?;
    assert_eq!((&kept["mine"], &kept["notes"]), (&json!(2), &json!("typed")));
    assert_eq!(
        (&kept["file_name"], &kept["civitai"]["id"]),
        (&json!("file2"), &json!(20))
    );
    // The next try takes another name, and what had arrived comes along.
    let sent = civitai.sent();
    get(&server, "downloads/history/retry", &[("download_id", "d3")]).await?;
    super::wait_for_end(&server, 3).await?;
    server.wait_for("loras", |page| page["total"] == 3).await?;
    assert!(civitai.sent() - sent < SIZE / 2);
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.join("file3.metadata.json"))?)?;
    assert_eq!(kept["file_name"], "elsewhere");
    server.stop().await?;
    Ok(())
}
