//! Downloads from a stand-in provider, on its good and bad days.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use modelshelf_tests::civitai::{CatalogFile, CatalogModel, CatalogVersion, Civitai, Fault, Storage};
use modelshelf_tests::{Call, Library, Server, ServerOptions};
use serde_json::{Value, json};

/// Settings that make a server download from the stand-in without long waits.
fn settings(civitai: &Civitai, more: &str) -> String {
    format!(
        "{}\n[scan]\nwatch = false\nstable_seconds = 0.0\n[downloads]\nretry_seconds = 0.005\n{more}",
        civitai.settings()
    )
}

fn options(library: &Library, civitai: &Civitai, more: &str) -> Result<ServerOptions> {
    options_with(library, civitai, "", more)
}

fn options_with(library: &Library, civitai: &Civitai, keys: &str, more: &str) -> Result<ServerOptions> {
    let config = library.path().join("settings.toml");
    std::fs::write(&config, format!("{keys}\n{}", settings(civitai, more)))?;
    Ok(library
        .options()
        .data_dir(&library.path().join("data"))
        .argument("--config")
        .argument(config))
}

fn lora(id: u64) -> CatalogModel {
    CatalogModel::new(id, &format!("Model {id}"), "LORA")
}

/// Of one file with this size.
fn sized(id: u64, size: u64) -> CatalogModel {
    let mut version = CatalogVersion::new(id * 10, "v1");
    version.files = vec![CatalogFile::new(id * 100, &format!("file{id}.safetensors"), size)];
    lora(id).versions([version])
}

async fn download(server: &Server, body: Value) -> Result<(u16, Value)> {
    let reply = server.send(&Call::post("/api/lm/download-model", &body)).await?;
    Ok((reply.status, reply.json()?))
}

fn by_default(id: u64) -> Value {
    json!({ "model_id": id, "use_default_paths": true })
}

async fn get(server: &Server, path: &str, query: &[(&str, &str)]) -> Result<(u16, Value)> {
    let reply = server
        .send(
            &Call::get(&format!("/api/lm/{path}"))
                .query(query)
                .header("Origin", &origin(server)),
        )
        .await?;
    Ok((reply.status, reply.json()?))
}

fn origin(server: &Server) -> String {
    format!("http://{}", server.address())
}

async fn wait_for_end(server: &Server, count: usize) -> Result<Vec<Value>> {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let (_, history) = get(server, "downloads/history", &[("limit", "500")]).await?;
        let items = history["items"].as_array().context("items")?.clone();
        if items.len() >= count {
            return Ok(items);
        }
        if Instant::now() > end {
            let (_, queue) = get(server, "downloads/queue", &[]).await?;
            bail!("{} of {count} ended; {}", items.len(), queue["stats"]);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(self::names(&entry.path())?);
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn a_version_comes_whole_with_its_metadata_and_preview_into_its_folder_and_is_listed_at_once() -> Result<()> {
    let (library, mut model) = (Library::new()?, lora(1));
    model.versions[0].images = vec![json!({"url": "/images/a.png", "nsfwLevel": 1, "type": "image"})];
    let file = model.versions[0].files[0].clone();
    let civitai = Civitai::start([model]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let mut socket = server.socket("/ws/download-progress?id=mine").await?;
    assert_eq!(
        socket.next().await?,
        json!({"type": "download_id", "download_id": "mine"})
    );
    let body = json!({"model_id": "1", "model_version_id": 10, "use_default_paths": true, "download_id": "mine"});
    let (status, answer) = download(&server, body).await?;
    assert_eq!((status, answer), (200, json!({"success": true, "download_id": "mine"})));
    let last = socket.find(|message| message["progress"] == 100).await?;
    assert_eq!(last["bytes_downloaded"], 3000);
    let (_, polled) = get(&server, "download-progress/mine", &[]).await?;
    for field in ["progress", "bytes_downloaded", "total_bytes", "bytes_per_second"] {
        assert_eq!(polled[field], last[field], "{field}");
    }
    assert!(polled.get("status").is_none() && last["status"] == "progress");

    let folder = library.root("loras").join("SDXL 1.0/style");
    assert_eq!(std::fs::read(folder.join(&file.name))?, file.bytes(0, 3000));
    let item = server.item("loras", "file10").await?;
    assert_eq!(item["model_name"], "Model 1");
    assert_eq!(item["sha256"], file.sha256);
    assert!(
        item["preview_url"].as_str().is_some_and(|url| url.contains("file10")),
        "{item}"
    );
    let sidecar: Value = serde_json::from_slice(&std::fs::read(folder.join("file10.metadata.json"))?)?;
    assert_eq!(sidecar["civitai"]["id"], 10);
    assert_eq!(sidecar["metadata_source"], "civitai_api");
    assert_eq!(
        (&sidecar["hash_status"], &sidecar["size"]),
        (&json!("completed"), &json!(3000))
    );
    assert_eq!(names(&library.root("loras"))?.len(), 3);

    let (status, again) = download(&server, by_default(1)).await?;
    assert_eq!(
        (status, &again["error"]),
        (500, &json!("Model version already exists in lora library"))
    );
    let (_, history) = get(&server, "downloads/history", &[]).await?;
    assert_eq!(
        (&history["items"][1]["status"], &history["items"][0]["status"]),
        (&json!("completed"), &json!("failed"))
    );
    assert_eq!(history["items"][1]["download_id"], "mine");
    let (_, known) = get(
        &server,
        "model-version-download-status",
        &[("modelType", "LoCon"), ("modelVersionId", "10")],
    )
    .await?;
    assert_eq!(
        known,
        json!({"success": true, "modelType": "lora", "modelVersionId": 10, "hasBeenDownloaded": true})
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_a_request_lacks_is_told_before_anything_is_done() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1)]).await?);
    let server = options(&library, &civitai, "")?.serve().await?;
    let missing = "Missing required parameter: Please provide either 'model_id' or 'model_version_id'";
    for (body, error) in [
        (json!({"download_id": "x"}), missing),
        (json!({"model_id": "", "download_id": "x"}), missing),
        (
            json!({"model_id": "a", "download_id": "x"}),
            "Invalid model_id: Must be an integer",
        ),
        (
            json!({"model_id": 1, "model_version_id": [], "download_id": "x"}),
            "Invalid model_version_id: Must be an integer",
        ),
    ] {
        let (status, answer) = download(&server, body).await?;
        assert_eq!((status, &answer["error"]), (400, &json!(error)));
    }
    assert_eq!(get(&server, "download-progress/x", &[]).await?.0, 404);
    for (body, error) in [
        (json!({"model_id": 9}), "Failed to fetch model metadata"),
        (json!({"model_id": 1}), "No save directory specified"),
        (
            json!({"model_id": 1, "model_root": "/tmp"}),
            "Download path is outside allowed directory",
        ),
        (
            json!({"model_id": 1, "model_root": library.root("loras"), "relative_path": "../x"}),
            "Download path is outside allowed directory",
        ),
    ] {
        let (status, answer) = download(&server, body).await?;
        assert_eq!((status, &answer["error"]), (500, &json!(error)));
        assert!(answer["download_id"].is_string());
    }
    assert_eq!(names(&library.root("loras"))?, Vec::<String>::new());
    for path in [
        "cancel-download-get",
        "skip-download",
        "pause-download",
        "resume-download",
        "downloads/queue/remove",
    ] {
        assert_eq!(get(&server, path, &[]).await?.0, 400, "{path}");
    }
    for path in ["cancel-download-get", "skip-download"] {
        let unknown = get(&server, path, &[("download_id", "no")]).await?;
        assert_eq!(
            unknown,
            (200, json!({"success": false, "error": "Download task not found"}))
        );
    }
    for path in ["pause-download", "resume-download"] {
        let unknown = get(&server, path, &[("download_id", "no")]).await?;
        assert_eq!(
            unknown,
            (400, json!({"success": false, "error": "Download task not found"}))
        );
    }
    let (status, answer) = get(&server, "download-model-get", &[]).await?;
    assert_eq!((status, &answer["success"]), (400, &json!(false)));
    // A page elsewhere starts nothing.
    let foreign = Call::get("/api/lm/download-model-get?model_id=1").header("Origin", "https://evil.example");
    assert_eq!(server.send(&foreign).await?.status, 403);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_a_provider_refuses_is_told_with_what_to_do() -> Result<()> {
    let library = Library::new()?;
    let mut gated = lora(2);
    gated.versions[0].early_access = true;
    let civitai = Civitai::start([lora(1), gated, CatalogModel::new(3, "Other", "Workflows")]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let (status, answer) = download(&server, by_default(2)).await?;
    assert_eq!(
        (status, answer),
        (
            401,
            json!({"success": false, "error": "Early Access Restriction: This model requires purchase. Please buy early access on Civitai.com."})
        )
    );
    let (_, answer) = download(&server, by_default(3)).await?;
    assert_eq!(
        answer["error"],
        "Model type \"Workflows\" is not supported for download"
    );
    for (status, word) in [(451, "where you are"), (410, "any more"), (401, "civitai_api_key")] {
        civitai.fail(Fault::status("/api/download/", status));
        let (_, answer) = download(&server, by_default(1)).await?;
        civitai.mend();
        assert!(
            answer["error"].as_str().is_some_and(|text| text.contains(word)),
            "{answer}"
        );
    }
    civitai.give_out(Storage {
        wrong: true,
        ..Storage::default()
    });
    let (status, answer) = download(&server, by_default(1)).await?;
    assert_eq!(status, 500);
    let kept = answer["kept_as"].as_str().context("kept_as")?.to_owned();
    assert!(answer["error"].as_str().is_some_and(|text| text.contains("SHA-256")) && Path::new(&kept).is_file());
    server.scan("loras", false).await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 0);
    civitai.give_out(Storage::default());
    let (_, history) = get(&server, "downloads/history", &[("status", "failed"), ("limit", "1")]).await?;
    let id = history["items"][0]["download_id"].as_str().context("id")?.to_owned();
    let (_, retried) = get(&server, "downloads/history/retry", &[("download_id", &id)]).await?;
    assert_eq!(
        (&retried["item"]["status"], &retried["item"]["source"]),
        (&json!("queued"), &json!("retry"))
    );
    server.wait_for("loras", |page| page["total"] == 1).await?;
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_key_is_sent_to_the_provider_and_never_along_to_where_files_are() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([lora(1)]).await?);
    civitai.ask_for_key(&["secret"]);
    let server = options_with(&library, &civitai, "civitai_api_key = 'secret'", "")?
        .serve()
        .await?;
    assert_eq!(download(&server, by_default(1)).await?.0, 200);
    let asked = civitai.asked();
    let (files, api): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.target.starts_with("/files/"));
    assert!(!files.is_empty() && files.iter().all(|asked| asked.authorization.is_none()));
    let download = api
        .iter()
        .find(|asked| asked.target.starts_with("/api/download/"))
        .context("none")?;
    assert_eq!(download.authorization.as_deref(), Some("Bearer secret"));
    assert!(!server.log().contains("secret"));
    server.stop().await?;
    Ok(())
}

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
    get(
        &server,
        "downloads/queue/add",
        &[("model_id", "1"), ("download_id", "a")],
    )
    .await?;
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
        get(
            &server,
            "downloads/queue/add",
            &[("model_id", model), ("download_id", id)],
        )
        .await?;
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
async fn settings_leave_out_versions_that_were_here_and_base_models_that_nobody_wants() -> Result<()> {
    let library = Library::new()?;
    let mut other = lora(2);
    other.versions[0].base_model = "Pony".into();
    let civitai = Civitai::start([lora(1), other]).await?;
    let keys = "skip_previously_downloaded_model_versions = true\ndownload_skip_base_models = ['Pony']";
    let server = options_with(&library, &civitai, keys, "")?.serve().await?;
    let set = Call::post(
        "/api/lm/model-version-download-status",
        &json!({"modelType": "lora", "modelVersionId": 10, "downloaded": true}),
    );
    assert_eq!(server.send(&set).await?.status, 200);
    let (_, answer) = download(&server, by_default(1)).await?;
    assert_eq!(
        (&answer["skipped"], &answer["reason"], &answer["model_version_id"]),
        (&json!(true), &json!("previously_downloaded_version"), &json!(10))
    );
    let (_, answer) = download(&server, by_default(2)).await?;
    assert_eq!(
        (&answer["reason"], &answer["base_model"]),
        (&json!("base_model_excluded"), &json!("Pony"))
    );
    let (_, unset) = get(
        &server,
        "set-model-version-download-status",
        &[("modelType", "lora"), ("modelVersionId", "10"), ("downloaded", "false")],
    )
    .await?;
    assert_eq!(unset["hasBeenDownloaded"], false);
    assert_eq!(download(&server, by_default(1)).await?.1["success"], true);
    server.stop().await?;
    Ok(())
}

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
async fn a_plan_says_where_a_file_would_go_and_downloads_nothing() -> Result<()> {
    let library = Library::new()?;
    let newer = CatalogVersion::new(11, "v2");
    let civitai = Civitai::start([lora(1).versions([newer, CatalogVersion::new(10, "v1")])]).await?;
    let server = options(&library, &civitai, "")?.serve().await?;
    let body = json!({"model_id": 1, "model_version_id": 10, "use_default_paths": true});
    let plan = server.post_json("/api/lm/downloads/plan", &body).await?;
    assert_eq!(plan["folder"], json!(library.root("loras").join("SDXL 1.0/style")));
    assert_eq!(
        (&plan["file_name"], &plan["model_type"]),
        (&json!("file10.safetensors"), &json!("lora"))
    );
    assert_eq!(plan["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(plan["files"][0]["id"], plan["file_id"]);
    assert_eq!(civitai.sent(), 0);
    let unknown = server
        .send(&Call::post("/api/lm/downloads/plan", &json!({"model_id": 5})))
        .await?;
    assert_eq!(unknown.status, 404);
    server.stop().await?;
    Ok(())
}

/// A site like Hugging Face with one repository.
async fn hub(file: CatalogFile) -> Result<String> {
    use axum::extract::Path as Params;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    let listed = file.clone();
    let tree = async move |Params((owner, name, _)): Params<(String, String, String)>| {
        if (owner.as_str(), name.as_str()) != ("o", "r") {
            return StatusCode::NOT_FOUND.into_response();
        }
        axum::Json(json!([
            {"type": "directory", "path": "sub", "size": 0},
            {"type": "file", "path": "README.md", "size": 5},
            {"type": "file", "path": "sub/a b.safetensors", "size": listed.size, "lfs": {"oid": listed.sha256, "size": listed.size}},
        ]))
        .into_response()
    };
    let give = async move |Params((_, _, _, path)): Params<(String, String, String, String)>| {
        if path != "sub/a b.safetensors" {
            return StatusCode::NOT_FOUND.into_response();
        }
        file.bytes(0, file.size as usize).into_response()
    };
    let router = axum::Router::new()
        .route("/api/models/{owner}/{name}/tree/{revision}", axum::routing::get(tree))
        .route("/{owner}/{name}/resolve/{revision}/{*path}", axum::routing::get(give));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(base)
}

#[tokio::test]
async fn a_file_of_a_repository_is_listed_downloaded_and_linked() -> Result<()> {
    let (library, civitai) = (Library::new()?, Civitai::start([]).await?);
    let file = CatalogFile::new(7, "a b.safetensors", 5000);
    let base = hub(file.clone()).await?;
    let server = options(&library, &civitai, &format!("huggingface = '{base}'"))?
        .serve()
        .await?;
    let (status, files) = get(&server, "hf-repo-files", &[("repo", "o/r")]).await?;
    assert_eq!(
        (status, files),
        (200, json!([{"filename": "sub/a b.safetensors", "size": 5000}]))
    );
    assert_eq!(get(&server, "hf-repo-files", &[("repo", "o/none")]).await?.0, 404);
    assert_eq!(get(&server, "hf-repo-files", &[("repo", "../r")]).await?.0, 400);
    let post = async |path: &str, body: Value| -> Result<(u16, Value)> {
        let reply = server.send(&Call::post(&format!("/api/lm/{path}"), &body)).await?;
        Ok((reply.status, reply.json()?))
    };
    let root = library.root("loras");
    let wanted =
        json!({"repo": "o/r", "filename": "sub/a b.safetensors", "model_root": root, "use_default_paths": true});
    let (status, answer) = post("download-hf-model", wanted).await?;
    let path = root.join("huggingface/o/r/a b.safetensors");
    assert_eq!((status, &answer["path"]), (200, &json!(path)), "{answer}");
    assert!(std::fs::read(&path)? == file.bytes(0, 5000));
    let item = server.item("loras", "a b").await?;
    assert_eq!(
        (&item["hf_url"], &item["from_civitai"]),
        (&json!("https://huggingface.co/o/r"), &json!(false))
    );
    for (body, status) in [
        (json!({"repo": "o/r"}), 400),
        (json!({"repo": "o/r/x", "filename": "a.safetensors"}), 400),
        (json!({"repo": "o/r", "filename": "../a.safetensors"}), 400),
        (
            json!({"repo": "o/r", "filename": "a.safetensors", "relative_path": "../x"}),
            400,
        ),
        (
            json!({"repo": "o/r", "filename": "a.safetensors", "model_root": "/tmp"}),
            500,
        ),
        (
            json!({"repo": "o/r", "filename": "none.safetensors", "model_root": root}),
            500,
        ),
    ] {
        assert_eq!(post("download-hf-model", body.clone()).await?.0, status, "{body}");
    }
    let (_, linked) = post(
        "set-hf-url",
        json!({"file_path": path, "hf_url": "https://huggingface.co/x/y"}),
    )
    .await?;
    assert_eq!(linked["message"], "hf_url set to https://huggingface.co/x/y");
    assert_eq!(
        server.item("loras", "a b").await?["hf_url"],
        "https://huggingface.co/x/y"
    );
    assert_eq!(
        post("set-hf-url", json!({"file_path": path, "hf_url": "https://a.b/x/y"}))
            .await?
            .0,
        400
    );
    server.stop().await?;
    Ok(())
}
