//! Pausing, going on, cancelling and skipping.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use modelshelf_tests::Library;
use modelshelf_tests::civitai::{Civitai, Storage};
use serde_json::{Value, json};

use super::{begin, enqueue, get, names, options, rows, sized, slow, wait_for_end, wait_for_file, wait_for_rows};

#[tokio::test]
async fn downloads_are_paused_resumed_and_cancelled_and_a_skipped_one_leaves_its_part() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start((1..=3).map(|id| sized(id, 8 << 20))).await?;
    civitai.give_out(Storage {
        rate: Some(1 << 20),
        ..Storage::default()
    });
    let server = options(&library, &civitai, "parallel = 1")?.serve().await?;
    let mut socket = server.socket("/ws/download-progress?id=a").await?;
    for (id, model) in [("a", "1"), ("b", "2"), ("c", "3")] {
        enqueue(&server, model, id).await?;
    }
    socket
        .find(|message| message["bytes_downloaded"].as_u64() > Some(0))
        .await?;
    let ok = |message: &str| (200, json!({"success": true, "message": message}));
    let paused = get(&server, "pause-download", &[("download_id", "a")]).await?;
    assert_eq!(paused, ok("Download paused successfully"));
    let told = socket.find(|message| message["status"] == "paused").await?;
    assert_eq!(told["bytes_per_second"], 0.0);
    let (_, polled) = get(&server, "download-progress/a", &[]).await?;
    assert_eq!(
        (&polled["status"], &polled["progress"]),
        (&json!("paused"), &told["progress"])
    );
    assert_eq!(get(&server, "pause-download", &[("download_id", "a")]).await?.0, 400);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = civitai.sent();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(civitai.sent() - sent < 1 << 19);
    let (_, queue) = get(&server, "downloads/queue", &[]).await?;
    let statuses: Vec<&Value> = queue["queue"]
        .as_array()
        .context("queue")?
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(statuses, ["paused", "queued", "queued"]);
    let resumed = get(&server, "resume-download", &[("download_id", "a")]).await?;
    assert_eq!(resumed, ok("Download resumed successfully"));
    socket.find(|message| message["status"] == "downloading").await?;
    assert_eq!(get(&server, "resume-download", &[("download_id", "a")]).await?.0, 400);

    let cancelled = get(&server, "cancel-download-get", &[("download_id", "a")]).await?;
    assert_eq!(cancelled, ok("Download cancelled successfully"));
    socket.find(|message| message["status"] == "cancelled").await?;
    assert!(
        !names(&library.root("loras"))?
            .iter()
            .any(|name| name.starts_with("file1."))
    );
    // The next one begins, and leaves what it has when it is skipped.
    let end = Instant::now() + Duration::from_secs(30);
    while !names(&library.root("loras"))?
        .iter()
        .any(|name| name == "file2.safetensors.part.state")
    {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    get(&server, "skip-download", &[("download_id", "b")]).await?;
    assert!(names(&library.root("loras"))?.contains(&"file2.safetensors.part".to_owned()));
    // One that waits can be paused, moved and taken out.
    assert_eq!(
        get(&server, "downloads/queue/remove", &[("download_id", "c")]).await?.1,
        json!({"success": true})
    );
    let (_, stats) = get(&server, "downloads/stats", &[]).await?;
    assert_eq!(
        stats["stats"],
        json!({"queued": 0, "downloading": 0, "paused": 0, "completed": 0, "failed": 0, "canceled": 1})
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_download_that_waits_stands_still_when_it_is_paused() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([sized(1, 64 << 20), sized(2, 3000), sized(3, 3000)]).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "parallel = 1")?.serve().await?;
    enqueue(&server, "1", "a").await?;
    wait_for_file(&library, "file1.safetensors.part.state").await?;
    // One that somebody calls for and one of the queue.
    let call = begin(
        &server,
        json!({"model_id": 2, "use_default_paths": true, "download_id": "b"}),
    );
    enqueue(&server, "3", "c").await?;
    wait_for_rows(&server, 3).await?;
    for id in ["b", "c"] {
        assert_eq!(get(&server, "pause-download", &[("download_id", id)]).await?.0, 200);
        assert_eq!(get(&server, "pause-download", &[("download_id", id)]).await?.0, 400);
    }
    get(&server, "cancel-download-get", &[("download_id", "a")]).await?;
    civitai.give_out(Storage::default());
    // The slot is free, and nobody takes it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let statuses: Vec<Value> = rows(&server).await?.0.iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["paused", "paused"]);
    for id in ["b", "c"] {
        assert_eq!(get(&server, "resume-download", &[("download_id", id)]).await?.0, 200);
    }
    assert_eq!(call.await??, (200, json!({"success": true, "download_id": "b"})));
    let items = wait_for_end(&server, 3).await?;
    assert_eq!(items.iter().filter(|item| item["status"] == "completed").count(), 2);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_row_that_is_taken_out_of_the_queue_does_not_begin() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([sized(1, 64 << 20), sized(2, 3000)]).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "parallel = 1")?.serve().await?;
    enqueue(&server, "1", "a").await?;
    wait_for_file(&library, "file1.safetensors.part.state").await?;
    let call = begin(
        &server,
        json!({"model_id": 2, "use_default_paths": true, "download_id": "b"}),
    );
    wait_for_rows(&server, 2).await?;
    assert_eq!(
        get(&server, "downloads/queue/remove", &[("download_id", "b")]).await?.1,
        json!({"success": true})
    );
    assert_eq!(call.await??.1["cancelled"], true);
    get(&server, "cancel-download-get", &[("download_id", "a")]).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(civitai.count("/files/200"), 0);
    assert_eq!(rows(&server).await?, (Vec::new(), 1));
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_is_cancelled_removed_or_cleared_leaves_nothing_though_it_does_not_run() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start((1..=4).map(|id| sized(id, 64 << 20))).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "parallel = 4")?.silent().serve().await?;
    for (id, model) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        enqueue(&server, model, id).await?;
    }
    for id in 1..=4 {
        wait_for_file(&library, &format!("file{id}.safetensors.part.state")).await?;
    }
    server.kill();
    let server = options(&library, &civitai, "parallel = 1")?.serve().await?;
    let end = Instant::now() + Duration::from_secs(30);
    while rows(&server).await?.0[0]["status"] != "downloading" {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = || -> Result<Vec<String>> {
        let all = names(&library.root("loras"))?;
        Ok(all.into_iter().filter(|name| name.ends_with(".part")).collect())
    };
    assert_eq!(left()?.len(), 4, "a restart keeps what there is");
    get(&server, "downloads/queue/remove", &[("download_id", "b")]).await?;
    assert!(!left()?.contains(&"file2.safetensors.part".to_owned()));
    // One that a call has waiting for a slot.
    let call = begin(
        &server,
        json!({"model_id": 3, "use_default_paths": true, "download_id": "c"}),
    );
    while get(&server, "download-progress/c", &[]).await?.0 != 200 {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    get(&server, "cancel-download-get", &[("download_id", "c")]).await?;
    assert_eq!(call.await??.1["cancelled"], true);
    assert_eq!(left()?, ["file1.safetensors.part", "file4.safetensors.part"]);
    assert_eq!(get(&server, "downloads/queue/clear", &[]).await?.1["cleared"], 2);
    assert_eq!(names(&library.root("loras"))?, Vec::<String>::new());
    server.stop().await?;
    Ok(())
}
