//! What plugins may do beyond the sandbox: requests, state, edits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Reply, Server, component};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn serve(library: &Library, settings: &str, data: Option<&std::path::Path>) -> Result<Server> {
    let config = library.path().join("settings.toml");
    std::fs::write(
        &config,
        format!("{settings}\n[scan]\nwatch = false\nstable_seconds = 0.0\n"),
    )?;
    let folder = library.path().join("capables");
    std::fs::create_dir_all(&folder)?;
    let options = library.options().plugin(&component::guest("capable")?);
    let mut options = options.root("capables", &folder).argument("--config").argument(&config);
    if let Some(data) = data {
        options = options.data_dir(data);
    }
    let server = options.serve().await?;
    server.wait_ready("capables").await?;
    Ok(server)
}

/// A web server on this machine: `/` answers with what it was asked, `/to?URL` redirects, `/large` answers 5 MiB.
async fn web() -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (port, asked) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut buffer = [0; 4096];
                    match stream.read(&mut buffer).await {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let target = text.split(' ').nth(1).unwrap_or_default();
                let (head, body) = match target.strip_prefix("/to?") {
                    Some(url) => (format!("302 Found\r\nLocation: {url}"), Vec::new()),
                    None if target == "/large" => ("200 OK".to_owned(), vec![b'x'; 5 << 20]),
                    None => ("200 OK".to_owned(), text.clone().into_bytes()),
                };
                let head = format!(
                    "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            });
        }
    });
    Ok((port, asked))
}

async fn fetch(server: &Server, url: &str) -> Result<Reply> {
    server
        .send(&Call::get("/api/lm/capables/fetch").query(&[("url", url)]))
        .await
}

async fn refused(server: &Server, url: &str, reason: &str) -> Result<()> {
    let reply = fetch(server, url).await?;
    ensure!(
        matches!(reply.status, 400 | 401) && reply.text().contains(reason),
        "{url}: {} {}",
        reply.status,
        reply.text()
    );
    Ok(())
}

async fn grant(server: &Server, host: &str, granted: bool) -> Result<Reply> {
    let body = json!({"remote_host": host, "granted": granted});
    server.send(&Call::post("/api/plugins/capable/grants", &body)).await
}

#[tokio::test]
async fn private_addresses_are_never_reached_unless_settings_say_so() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let (port, asked) = web().await?;
    let server = serve(&library, "", None).await?;
    let url = |host: &str| format!("https://{host}:{port}/");
    refused(&server, &url("127.0.0.1"), "not granted").await?;
    refused(&server, &url("elsewhere.example"), "does not name").await?;
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(grant(&server, host, true).await?.status, 200);
    }
    // By its number, in any spelling, and by a name.
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "localhost"] {
        refused(&server, &url(host), "private network").await?;
    }
    refused(&server, &format!("http://localhost:{port}/"), "no https").await?;
    refused(&server, "file:///etc/passwd", "no https").await?;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // A grant is taken back, and what was not asked for can't be granted.
    assert_eq!(grant(&server, "localhost", false).await?.status, 200);
    refused(&server, &url("localhost"), "not granted").await?;
    assert_eq!(grant(&server, "elsewhere.example", true).await?.status, 400);
    Ok(())
}

#[tokio::test]
async fn a_granted_host_is_reached_with_nothing_but_what_the_plugin_sent() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let (port, _) = web().await?;
    let settings = "[plugins.capable.grants]\nremote_hosts = ['127.0.0.1']\nprivate_addresses = true\n\
                    [plugins.capable.limits]\nrequests_per_minute = 9";
    let server = serve(&library, settings, None).await?;
    let base = format!("http://127.0.0.1:{port}");
    let answer = fetch(&server, &format!("{base}/x?y=1")).await?.json()?;
    assert_eq!(answer["status"], 200, "{answer}");
    let seen = answer["body"].as_str().unwrap_or_default().to_lowercase();
    assert!(seen.starts_with("get /x?y=1 "), "{seen}");
    for ambient in ["cookie", "referer", "authorization", "user-agent", "origin"] {
        assert!(!seen.contains(&format!("{ambient}:")), "{seen}");
    }
    // Redirects lead to granted hosts alone.
    let answer = fetch(&server, &format!("{base}/to?{base}/there")).await?.json()?;
    assert!(
        answer["body"]
            .as_str()
            .is_some_and(|body| body.starts_with("GET /there ")),
        "{answer}"
    );
    refused(&server, &format!("{base}/to?http://localhost:{port}/"), "not granted").await?;
    refused(&server, &format!("{base}/to?http://169.254.169.254/"), "does not name").await?;
    let reply = fetch(&server, &format!("{base}/large")).await?;
    assert_eq!(reply.status, 500, "{}", reply.text());
    let call = Call::get("/api/lm/capables/fetch").query(&[("url", &format!("{base}/")), ("header", "Host")]);
    assert_eq!(server.send(&call).await?.status, 400);
    // So far: one, two by a redirect, two that led elsewhere, one large.
    let mut last = None;
    for _ in 0..4 {
        last = Some(fetch(&server, &format!("{base}/")).await?);
    }
    let last = last.context("reply")?;
    ensure!(
        last.status == 409 && last.text().contains("limit of 9 requests"),
        "{}",
        last.text()
    );
    let reply = grant(&server, "127.0.0.1", false).await?;
    ensure!(
        reply.status == 409 && reply.text().contains("settings.toml"),
        "{}",
        reply.text()
    );
    Ok(())
}

#[tokio::test]
async fn state_of_a_plugin_outlives_the_server_within_its_bounds() -> Result<()> {
    let (library, data) = (Library::of([Model::lora("amber")])?, tempfile::tempdir()?);
    let settings = "[plugins.capable.limits]\nstored_kib = 1";
    let server = serve(&library, settings, Some(data.path())).await?;
    let keep = |key: &str, value: &str| Call::post(&format!("/api/lm/capables/kept/{key}"), &json!(value));
    assert_eq!(server.send(&keep("a", "first")).await?.status, 200);
    assert_eq!(server.send(&keep("ab", "second")).await?.status, 200);
    let reply = server.send(&keep("c", &"x".repeat(1_100))).await?;
    ensure!(
        reply.status == 409 && reply.text().contains("limit of 1024"),
        "{}",
        reply.text()
    );
    assert_eq!(server.send(&keep(&"k".repeat(300), "x")).await?.status, 400);
    server.stop().await?;

    let server = serve(&library, settings, Some(data.path())).await?;
    assert_eq!(server.get("/api/lm/capables/kept/a").await?.text(), "\"first\"");
    assert_eq!(server.get("/api/lm/capables/kept/c").await?.status, 404);
    assert_eq!(
        server.get_json("/api/lm/capables/keys", &[("prefix", "a")]).await?,
        json!(["a", "ab"])
    );
    Ok(())
}

#[tokio::test]
async fn a_plugin_changes_models_of_its_own_type_and_that_can_be_undone() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let folder = library.path().join("capables");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("one.capable"), "x")?;
    // With one call at a time: an edit asks rules while the call that makes it still runs.
    let server = serve(&library, "[limits]\ninstances = 1\ninstances_each = 1", None).await?;
    let patch =
        |path: String, patch: Value| Call::post("/api/lm/capables/patch", &json!({"path": path, "patch": patch}));
    let own = server.item("capables", "one").await?["file_path"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let by_get = Call::get("/api/lm/capables/patch");
    let by_get = by_get.body(json!({"path": own, "patch": {"model_name": "New"}}).to_string());
    let reply = server.send(&by_get).await?;
    ensure!(
        reply.status == 501,
        "a GET edits nothing: {} {}",
        reply.status,
        reply.text()
    );
    assert_eq!(server.item("capables", "one").await?["model_name"], "one");
    let reply = server
        .send(&patch(
            own.clone(),
            json!({"model_name": "New", "tags": ["B"], "own": {"a": 1}}),
        ))
        .await?;
    ensure!(reply.status == 200, "{}", reply.text());
    assert_eq!(reply.json()?, json!({"model_name": "New", "tags": ["b"]}));
    let sidecar: Value = serde_json::from_slice(&std::fs::read(folder.join("one.metadata.json"))?)?;
    assert_eq!(
        (&sidecar["model_name"], &sidecar["own"]),
        (&json!("New"), &json!({"a": 1}))
    );
    let history = server.get_json("/api/lm/history", &[]).await?;
    let act = history["acts"][0].clone();
    server
        .post_json("/api/lm/undo", &json!({"id": act["id"]}))
        .await
        .with_context(|| history.to_string())?;
    assert_eq!(server.item("capables", "one").await?["model_name"], "one");

    let other = wire(&library.root("loras").join("amber.safetensors"));
    for (path, patched, status) in [
        (other, json!({"notes": "mine"}), 401),
        ("/etc/passwd".to_owned(), json!({}), 401),
        (own.replace("/one.", "/none."), json!({}), 404),
        (own, json!([1]), 400),
    ] {
        let reply = server.send(&patch(path.clone(), patched)).await?;
        ensure!(reply.status == status, "{path}: {} {}", reply.status, reply.text());
    }
    Ok(())
}
