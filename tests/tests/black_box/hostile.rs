//! Plugins that do harm in every way that there is. Each is contained and named, and everything else goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Call, Library, Model, Reply, Server, component};
use serde_json::{Value, json};

const SETTINGS: &str = "[limits]\nmemory_mib = 16\ncall_ms = 300\nrule_ms = 300\noutput_mib = 1\nstored_kib = 256\nquarantine_traps = 0\n\
                        [scan]\nwatch = false\nstable_seconds = 0.0\n";

struct Harm {
    server: Server,
    file: PathBuf,
    good: Vec<u8>,
    _library: Library,
}

impl Harm {
    async fn new() -> Result<Self> {
        let library = Library::of([Model::lora("amber")])?;
        Model::new("hostiles", "one")
            .extension("hostile")
            .write(library.path())?;
        let config = library.path().join("settings.toml");
        std::fs::write(&config, SETTINGS)?;
        let file = library.path().join("hostile.wasm");
        let good = std::fs::read(component::guest("hostile")?)?;
        std::fs::write(&file, &good)?;
        let options = library.options().plugin(&file).argument("--config").argument(&config);
        let server = options.root("hostiles", &library.root("hostiles")).serve().await?;
        server.wait_ready("hostiles").await?;
        Ok(Self {
            server,
            file,
            good,
            _library: library,
        })
    }

    /// Has the plugin do harm in this way from now on; gives the answer of the server.
    async fn become_harmful(&self, mode: &str) -> Result<Reply> {
        let text = format!("hostile-mode:{mode:.<11}");
        std::fs::write(
            &self.file,
            component::patched(&self.good, "hostile-mode:none.......", &text)?,
        )?;
        self.server
            .send(&Call::post("/api/plugins/hostile/reload", &json!({})))
            .await
    }

    async fn loaded(&self, mode: &str) -> Result<()> {
        let reply = self.become_harmful(mode).await?;
        ensure!(reply.status == 200, "{mode}: {} {}", reply.status, reply.text());
        Ok(())
    }

    async fn known(&self) -> Result<Value> {
        let answer = self.server.get_json("/api/plugins", &[]).await?;
        let plugins = answer["plugins"].as_array().context("plugins")?;
        let own = plugins.iter().find(|plugin| plugin["id"] == "hostile");
        own.cloned().context("hostile")
    }

    /// Everything else goes on.
    async fn others_serve(&self) -> Result<()> {
        ensure!(self.server.list("loras", &[]).await?["total"] == 1);
        ensure!(self.server.get("/api/lm/loras/letter-counts").await?.status == 200);
        Ok(())
    }
}

#[tokio::test]
async fn harm_while_a_plugin_is_loaded_leaves_it_out_and_says_why() -> Result<()> {
    let harm = Harm::new().await?;
    let before = harm.known().await?;
    for (mode, reasons) in [
        ("describe", &["`describe`", "limit of 300 ms"][..]),
        ("setup", &["`setup-specific-routes`", "limit of 300 ms"]),
        ("name", &["`describe`", "more than its limit of 1048576"]),
        ("path", &["/api/lm/../../healthz", "must start with"]),
        ("catch-all", &["{*rest}", "name its segments"]),
        ("clash", &["GET /api/lm/{prefix}/list", "shared route"]),
    ] {
        let reply = harm.become_harmful(mode).await?;
        ensure!(reply.status == 422, "{mode}: {} {}", reply.status, reply.text());
        let now = harm.known().await?;
        let reason = now["failure"]["reason"].as_str().unwrap_or_default();
        for part in reasons {
            ensure!(reason.contains(part), "{mode}: {reason}");
        }
        ensure!(
            now["state"] == "serving" && now["digest"] == before["digest"],
            "{mode}: {now}"
        );
        harm.others_serve().await?;
    }
    Ok(())
}

#[tokio::test]
async fn harm_in_a_request_ends_that_request_and_is_counted() -> Result<()> {
    let harm = Harm::new().await?;
    for (mode, limit) in [
        ("handle", Some("time")),
        ("memory", Some("memory")),
        ("answer", Some("output")),
        ("deep", None),
        ("trap", None),
        ("status", None),
    ] {
        harm.loaded(mode).await?;
        let before = harm.known().await?;
        let reply = harm.server.get("/api/lm/hostiles/harm").await?;
        ensure!(reply.status == 500, "{mode}: {} {}", reply.status, reply.text());
        ensure!(reply.text().contains("request id"), "{mode}: {}", reply.text());
        let usage = &harm.known().await?["usage"];
        let count = |usage: &Value, name: &str| usage["limits_reached"][name].as_u64().unwrap_or_default();
        match limit {
            Some(name) => ensure!(
                count(usage, name) == count(&before["usage"], name) + 1,
                "{mode}: {usage}"
            ),
            None if mode != "status" => ensure!(
                usage["traps"].as_u64() > before["usage"]["traps"].as_u64(),
                "{mode}: {usage}"
            ),
            None => {}
        }
        harm.others_serve().await?;
    }
    let usage = &harm.known().await?["usage"];
    assert_eq!(usage["last_failure"]["export"], "handle");
    assert!(
        usage["peak_memory_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0 && bytes <= 16 << 20),
        "{usage}"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_request_floods_is_bounded() -> Result<()> {
    let harm = Harm::new().await?;
    harm.loaded("header").await?;
    let reply = harm.server.get("/api/lm/hostiles/harm").await?;
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.header("set-cookie"), "");
    harm.loaded("log").await?;
    assert_eq!(harm.server.get("/api/lm/hostiles/harm").await?.status, 200);
    let end = Instant::now() + Duration::from_secs(20);
    while !harm.server.log().contains("more than 100 log lines") && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = harm.server.log();
    assert!(log.contains("more than 100 log lines") && !log.contains("flood 100 "));
    for _ in 0..5 {
        assert_eq!(harm.server.get("/api/lm/hostiles/harm").await?.status, 200);
    }
    // 256 KiB a minute, in lines of 4 KiB, and what a minute adds while this runs.
    let log = harm.server.log();
    assert!(log.matches("flood ").count() < 100, "{}", log.matches("flood ").count());
    assert_eq!(log.matches("further lines are dropped").count(), 1);
    harm.loaded("events").await?;
    let reply = harm.server.get("/api/lm/hostiles/harm").await?;
    ensure!(
        reply.status == 401 && reply.text().contains("models_changed"),
        "{}",
        reply.text()
    );
    harm.loaded("kv").await?;
    let reply = harm.server.get("/api/lm/hostiles/harm").await?;
    ensure!(
        reply.status == 409 && reply.text().contains("limit of 262144"),
        "{}",
        reply.text()
    );
    let usage = &harm.known().await?["usage"];
    assert!(
        usage["stored_bytes"].as_u64().is_some_and(|bytes| bytes <= 256 << 10),
        "{usage}"
    );
    assert_eq!(usage["limits_reached"]["stored"], 1);
    harm.others_serve().await
}

#[tokio::test]
async fn harm_in_a_rule_spoils_its_own_models_only() -> Result<()> {
    let harm = Harm::new().await?;
    for (mode, problem) in [
        ("derive", "failed"),
        ("format", "failed"),
        ("length", "failed"),
        ("text", "more than"),
    ] {
        harm.loaded(mode).await?;
        let told = |page: &Value| {
            page["items"][0]["problem"]
                .as_str()
                .is_some_and(|text| text.contains(problem))
        };
        harm.server
            .wait_for("hostiles", told)
            .await
            .with_context(|| mode.to_owned())?;
        harm.others_serve().await?;
    }
    // What a rule gives stays inside its own model's item, and takes no field of the host's over.
    for (mode, own) in [("none", json!(1)), ("json", Value::Null)] {
        harm.loaded(mode).await?;
        let is_it = |page: &Value| page["items"][0]["own"] == own && page["items"][0]["problem"].is_null();
        let page = harm
            .server
            .wait_for("hostiles", is_it)
            .await
            .with_context(|| mode.to_owned())?;
        let path = page["items"][0]["file_path"].as_str().unwrap_or_default();
        ensure!(path.ends_with("one.hostile"), "{mode}: {path}");
    }
    for mode in ["parse-query", "filter"] {
        harm.loaded(mode).await?;
        let reply = harm.server.get("/api/lm/hostiles/list?hostile=1").await?;
        ensure!(reply.status == 500, "{mode}: {} {}", reply.status, reply.text());
        ensure!(harm.server.list("hostiles", &[]).await?["total"] == 1, "{mode}");
        harm.others_serve().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_never_ends_is_replaced_by_one_that_does() -> Result<()> {
    let harm = Harm::new().await?;
    for name in ["two", "three", "four"] {
        write_more(&harm.file, name)?;
    }
    harm.loaded("derive").await?;
    harm.loaded("none").await?;
    let whole = |page: &Value| {
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.len() == 4 && items.iter().all(|item| item["problem"].is_null() && item["own"] == 1)
    };
    harm.server.wait_for("hostiles", whole).await?;
    Ok(())
}

fn write_more(file: &Path, name: &str) -> Result<()> {
    let folder = file.parent().context("folder")?.join("hostiles");
    Ok(std::fs::write(folder.join(format!("{name}.hostile")), name)?)
}
