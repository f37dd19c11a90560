//! The queue and the history, which clients write in, too.

use std::time::{Duration, Instant};

use anyhow::Result;
use modelshelf_tests::Library;
use modelshelf_tests::civitai::{Civitai, Storage};
use serde_json::json;

use super::{begin, download, enqueue, get, lora, names, options, sized, slow, wait_for_end, wait_for_file};

#[tokio::test]
async fn a_client_may_work_the_queue_off_by_itself_and_note_what_it_did() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1)]).await?);
    let server = options(&library, &civitai, "")?.serve().await?;
    // Both at once: one file, two answers.
    let added = get(
        &server,
        "downloads/queue/add",
        &[("model_id", "1"), ("download_id", "a"), ("model_name", "N")],
    )
    .await?;
    assert_eq!(added.1["item"]["status"], "queued");
    let (status, answer) = download(
        &server,
        json!({"model_id": 1, "use_default_paths": true, "download_id": "a"}),
    )
    .await?;
    assert_eq!((status, answer), (200, json!({"success": true, "download_id": "a"})));
    let again = get(
        &server,
        "downloads/queue/add",
        &[("model_id", "1"), ("download_id", "a")],
    )
    .await?;
    assert_eq!(again, (200, json!({"success": true, "item": {}})));
    assert_eq!(
        get(&server, "downloads/queue/complete", &[("download_id", "a")])
            .await?
            .0,
        404
    );
    assert_eq!(
        get(
            &server,
            "downloads/queue/status",
            &[("download_id", "a"), ("status", "x")]
        )
        .await?
        .0,
        404
    );
    let (_, deleted) = get(&server, "downloads/history/delete", &[("download_id", "a")]).await?;
    assert_eq!(deleted, json!({"success": true}));
    assert_eq!(get(&server, "downloads/history/retry", &[("id", "1")]).await?.0, 404);
    assert_eq!(get(&server, "downloads/history/retry", &[]).await?.0, 400);
    for path in ["move-to-top", "move-to-end", "remove"] {
        let path = format!("downloads/queue/{path}");
        assert_eq!(
            get(&server, &path, &[("download_id", "no")]).await?,
            (200, json!({"success": false}))
        );
    }
    assert_eq!(
        get(&server, "downloads/history/retry-all", &[]).await?.1,
        json!({"success": true, "retry_count": 0})
    );
    assert_eq!(
        get(&server, "downloads/queue/clear", &[]).await?.1,
        json!({"success": true, "cleared": 0})
    );
    assert_eq!(get(&server, "downloads/history", &[("limit", "x")]).await?.0, 400);
    let (_, history) = get(&server, "downloads/history", &[("limit", "1000")]).await?;
    assert_eq!((&history["limit"], &history["total"]), (&json!(500), &json!(0)));
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_call_says_where_a_row_that_runs_goes_and_a_restart_remembers_it() -> Result<()> {
    const SIZE: u64 = 16 << 20;
    let library = Library::new()?;
    let civitai = Civitai::start([sized(1, SIZE)]).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "")?.silent().serve().await?;
    // It begins at once, and goes where settings say.
    enqueue(&server, "1", "a").await?;
    let by_settings = library.root("loras").join("SDXL 1.0/style");
    wait_for_file(&library, "file1.safetensors.part.state").await?;
    assert!(by_settings.join("file1.safetensors.part").exists());
    let mine = library.root("loras").join("mine");
    let call = begin(
        &server,
        json!({"model_id": 1, "download_id": "a", "model_root": library.root("loras"), "relative_path": "mine"}),
    );
    let end = Instant::now() + Duration::from_secs(30);
    while !mine.join("file1.safetensors.part").exists() {
        assert!(Instant::now() < end, "{:?}", names(&library.root("loras"))?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What had arrived came along.
    assert_eq!(names(&by_settings)?, Vec::<String>::new());
    server.kill();
    assert!(call.await?.is_err());

    civitai.give_out(Storage::default());
    let server = options(&library, &civitai, "")?.serve().await?;
    let items = wait_for_end(&server, 1).await?;
    assert_eq!(items[0]["file_path"], json!(mine.join("file1.safetensors")));
    server.item("loras", "file1").await?;
    assert_eq!(names(&library.root("loras"))?.len(), 2);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_call_with_queued_is_answered_before_the_download_ends_and_the_history_says_how_it_did() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([sized(1, 16 << 20)]).await?;
    civitai.give_out(slow());
    let server = options(&library, &civitai, "")?.serve().await?;
    let body = json!({
        "model_id": 1, "download_id": "a", "model_root": library.root("loras"), "relative_path": "mine", "queued": true,
        "model_name": "What the page knows",
    });
    let queued = json!({"success": true, "queued": true, "download_id": "a"});
    assert_eq!(download(&server, body.clone()).await?, (200, queued));
    let (_, queue) = get(&server, "downloads/queue", &[]).await?;
    assert_eq!(queue["queue"][0]["download_id"], "a", "{queue}");

    civitai.give_out(Storage::default());
    let items = wait_for_end(&server, 1).await?;
    let file = library.root("loras").join("mine/file1.safetensors");
    assert_eq!(items[0]["file_path"], json!(file), "{items:?}");
    // An id is that of one download.
    let (_, again) = download(&server, body).await?;
    assert_eq!(again["queued"], false);

    // A call would be refused; here nobody waits for its answer.
    let unknown = json!({"model_id": 2, "use_default_paths": true, "queued": true, "model_name": "Unknown"});
    assert_eq!(download(&server, unknown).await?.0, 200);
    let items = wait_for_end(&server, 2).await?;
    assert_eq!(
        (&items[0]["status"], &items[0]["model_name"]),
        (&json!("failed"), &json!("Unknown"))
    );
    assert!(items[0]["error"].is_string(), "{items:?}");
    // What can't be asked for at all is told at once.
    assert_eq!(download(&server, json!({"queued": true})).await?.0, 400);
    server.stop().await?;
    Ok(())
}
