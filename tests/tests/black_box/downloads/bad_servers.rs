//! Downloads that arrive whole although servers drop them, slow them down, or this one is killed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use modelshelf_tests::Library;
use modelshelf_tests::civitai::{CatalogFile, Civitai, Storage};
use serde_json::{Value, json};

use super::{enqueue, get, names, options, sized, wait_for_end};

#[tokio::test]
async fn two_hundred_downloads_from_a_bad_server_all_arrive_whole_and_once() -> Result<()> {
    const COUNT: u64 = 200;
    let library = Library::new()?;
    let civitai = Civitai::start((1..=COUNT).map(|id| sized(id, 20_000 + id))).await?;
    civitai.give_out(Storage {
        drops: 20,
        limits: 10,
        faults: 10,
        uses: Some(2),
        ..Storage::default()
    });
    let server = options(&library, &civitai, "tries = 30")?.serve().await?;
    for id in 1..=COUNT {
        let text = id.to_string();
        let (status, added) = get(
            &server,
            "downloads/queue/add",
            &[("model_id", &text), ("download_id", &text)],
        )
        .await?;
        assert_eq!((status, &added["item"]["download_id"]), (200, &json!(text)));
    }
    let items = wait_for_end(&server, COUNT as usize).await?;
    let failed: Vec<&Value> = items.iter().filter(|item| item["status"] != "completed").collect();
    assert!(failed.is_empty(), "{failed:?}");
    let paths: HashSet<&str> = items.iter().filter_map(|item| item["file_path"].as_str()).collect();
    assert_eq!(paths.len(), COUNT as usize);
    for item in &items {
        let id = item["model_id"].as_u64().context("model_id")?;
        let wanted = CatalogFile::new(id * 100, &format!("file{id}.safetensors"), 20_000 + id);
        let path = item["file_path"].as_str().context("file_path")?;
        assert!(std::fs::read(path)? == wanted.bytes(0, wanted.size as usize), "{path}");
    }
    let left = names(&library.root("loras"))?;
    assert_eq!(left.len(), 2 * COUNT as usize, "{left:?}");
    assert_eq!(server.list("loras", &[]).await?["total"], COUNT);
    let (_, stats) = get(&server, "downloads/stats", &[]).await?;
    assert_eq!(
        stats["stats"],
        json!({"queued": 0, "downloading": 0, "paused": 0, "completed": COUNT, "failed": 0, "canceled": 0})
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn large_files_come_over_several_connections_from_a_bad_server_and_little_comes_twice() -> Result<()> {
    const COUNT: u64 = 3;
    const SIZE: u64 = 44 << 20;
    let library = Library::new()?;
    let civitai = Civitai::start((1..=COUNT).map(|id| sized(id, SIZE + id))).await?;
    civitai.give_out(Storage {
        drops: 20,
        limits: 10,
        faults: 10,
        uses: Some(2),
        ..Storage::default()
    });
    let server = options(&library, &civitai, "tries = 30\nconnections = 4")?
        .serve()
        .await?;
    for id in 1..=COUNT {
        enqueue(&server, &id.to_string(), &id.to_string()).await?;
    }
    for item in wait_for_end(&server, COUNT as usize).await? {
        assert_eq!(item["status"], "completed", "{item}");
        let id = item["model_id"].as_u64().context("model_id")?;
        let wanted = CatalogFile::new(id * 100, &format!("file{id}.safetensors"), SIZE + id);
        let path = item["file_path"].as_str().context("file_path")?;
        assert!(std::fs::read(path)? == wanted.bytes(0, wanted.size as usize), "{path}");
    }
    let (sent, size) = (civitai.sent(), COUNT * SIZE);
    assert!(sent < size + size / 4, "{sent} bytes were sent for {size}");
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_goes_on_where_it_was() -> Result<()> {
    const SIZE: u64 = 64 << 20;
    let library = Library::new()?;
    let civitai = Civitai::start([sized(1, SIZE), sized(2, 1000)]).await?;
    let slow = Storage {
        rate: Some(3 << 20),
        ..Storage::default()
    };
    civitai.give_out(slow);
    let server = options(&library, &civitai, "connections = 2")?.silent().serve().await?;
    enqueue(&server, "1", "a").await?;
    let end = Instant::now() + Duration::from_secs(60);
    while civitai.sent() < SIZE / 2 {
        assert!(Instant::now() < end, "only {} were sent", civitai.sent());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill();
    civitai.give_out(Storage::default());
    let server = options(&library, &civitai, "connections = 2")?.serve().await?;
    let items = wait_for_end(&server, 1).await?;
    assert_eq!(
        (&items[0]["status"], &items[0]["download_id"]),
        (&json!("completed"), &json!("a"))
    );
    server.item("loras", "file1").await?;
    // What was on its way when it was killed is lost, and the state is written each tenth of a second.
    let again = civitai.sent().saturating_sub(SIZE);
    assert!(again < SIZE / 50, "{again} of {SIZE} bytes came twice");
    server.stop().await?;
    Ok(())
}
