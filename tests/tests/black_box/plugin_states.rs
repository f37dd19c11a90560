//! Plugins that are disabled, enabled and quarantined.

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Call, Library, Model, Server, ServerOptions, component, names};
use serde_json::{Value, json};

fn library() -> Result<Library> {
    let library = Library::of([Model::lora("amber")])?;
    Model::new("capables", "one")
        .extension("capable")
        .write(library.path())?;
    Ok(library)
}

fn options(library: &Library, settings: &str) -> Result<ServerOptions> {
    let config = library.path().join("settings.toml");
    std::fs::write(
        &config,
        format!("{settings}\n[scan]\nwatch = false\nstable_seconds = 0.0\n"),
    )?;
    let options = library.options().plugin(&component::guest("capable")?);
    Ok(options
        .root("capables", &library.root("capables"))
        .argument("--config")
        .argument(&config))
}

async fn known(server: &Server) -> Result<Value> {
    let answer = server.get_json("/api/plugins", &[]).await?;
    let plugins = answer["plugins"].as_array().context("plugins")?;
    let own = plugins.iter().find(|plugin| plugin["id"] == "capable");
    own.cloned().context("capable")
}

/// Asserts that a type is out of service in the way of the contract, and that the page says why.
async fn is_off(server: &Server, reason: &str) -> Result<()> {
    for target in ["/api/lm/capables/list", "/api/lm/capables/keys"] {
        let reply = server.get(target).await?;
        ensure!(
            reply.status == 503 && reply.json()? == json!({"success": false, "error": "Service not ready"}),
            "{target}: {} {}",
            reply.status,
            reply.text()
        );
    }
    let page = server.get("/capables").await?;
    ensure!(page.status == 503 && page.text().contains(reason), "{}", page.text());
    ensure!(server.list("loras", &[]).await?["total"] == 1);
    ensure!(server.get("/readyz").await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn a_disabled_plugin_is_out_of_service_until_it_is_enabled_also_after_a_restart() -> Result<()> {
    let (library, data) = (library()?, tempfile::tempdir()?);
    let server = options(&library, "")?.data_dir(data.path()).serve().await?;
    server.wait_ready("capables").await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    server.post_json("/api/plugins/capable/disable", &json!({})).await?;
    socket.find(|message| message["type"] == "plugins_changed").await?;
    assert_eq!(known(&server).await?["state"], "disabled");
    is_off(&server, "disabled").await?;
    // Another version does not bring it back.
    server.post_json("/api/plugins/capable/reload", &json!({})).await?;
    is_off(&server, "disabled").await?;
    server.stop().await?;

    let server = options(&library, "")?.data_dir(data.path()).serve().await?;
    assert_eq!(known(&server).await?["state"], "disabled");
    is_off(&server, "disabled").await?;
    server.post_json("/api/plugins/capable/enable", &json!({})).await?;
    server.wait_ready("capables").await?;
    assert_eq!(known(&server).await?["state"], "serving");
    assert_eq!(names(&server.list("capables", &[]).await?), ["one"]);
    server.post_json("/api/plugins/capable/enable", &json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_traps_too_often_is_quarantined_and_comes_back_by_a_reload() -> Result<()> {
    let library = library()?;
    let server = options(&library, "[limits]\nquarantine_traps = 3\nquarantine_seconds = 3600")?
        .serve()
        .await?;
    server.wait_ready("capables").await?;
    for _ in 0..3 {
        assert_eq!(server.get("/api/lm/capables/trap").await?.status, 500);
    }
    is_off(&server, "quarantined").await?;
    let now = known(&server).await?;
    assert_eq!(now["state"], "quarantined");
    assert!(
        now["reason"]
            .as_str()
            .is_some_and(|text| text.contains("3 times within 3600 s") && text.contains("asked to trap")),
        "{now}"
    );
    assert_eq!(now["usage"]["traps"], 3);
    server.post_json("/api/plugins/capable/reload", &json!({})).await?;
    server.wait_ready("capables").await?;
    assert_eq!(names(&server.list("capables", &[]).await?), ["one"]);
    let now = known(&server).await?;
    assert_eq!((&now["state"], &now["reason"]), (&json!("serving"), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn pages_of_other_sites_never_quarantine_a_plugin() -> Result<()> {
    let library = library()?;
    let server = options(
        &library,
        "[limits]\nquarantine_traps = 3\nquarantine_seconds = 3600\nfault_pause_ms = 0",
    )?
    .serve()
    .await?;
    server.wait_ready("capables").await?;
    for site in ["cross-site", "same-site"] {
        for _ in 0..20 {
            let call = Call::get("/api/lm/capables/trap").header("Sec-Fetch-Site", site);
            ensure!(server.send(&call).await?.status >= 400);
        }
    }
    assert_eq!(known(&server).await?["state"], "serving");
    assert_eq!(names(&server.list("capables", &[]).await?), ["one"]);
    // The person's own requests still count.
    for _ in 0..3 {
        server.get("/api/lm/capables/trap").await?;
    }
    assert_eq!(known(&server).await?["state"], "quarantined");
    Ok(())
}

#[tokio::test]
async fn what_a_plugin_used_and_may_use_is_told() -> Result<()> {
    let library = library()?;
    let settings = "[limits]\ncall_ms = 4000\n[plugins.capable.limits]\nmemory_mib = 32\n[plugins.capable]\nown = 1";
    let server = options(&library, settings)?.serve().await?;
    server.wait_ready("capables").await?;
    for _ in 0..5 {
        assert_eq!(server.get("/api/lm/capables/keys").await?.status, 200);
    }
    let now = known(&server).await?;
    assert_eq!((&now["version"], &now["prefix"]), (&json!("1.2.3"), &json!("capables")));
    assert_eq!(now["limits"]["memory_mib"], 32);
    assert_eq!(now["limits"]["call_ms"], 4000);
    let exports = now["usage"]["exports"].as_array().context("exports")?;
    let handle = exports
        .iter()
        .find(|export| export["export"] == "handle")
        .context("handle")?;
    assert_eq!((&handle["calls"], &handle["failed"]), (&json!(5), &json!(0)));
    assert!(handle["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{handle}");
    assert!(exports.iter().any(|export| export["export"] == "derive"));
    Ok(())
}

#[tokio::test]
async fn only_as_many_calls_run_at_a_time_as_may() -> Result<()> {
    let library = library()?;
    let settings = "[plugins.capable.limits]\ninstances_each = 1";
    let server = options(&library, settings)?.serve().await?;
    server.wait_ready("capables").await?;
    let calls = (0..40).map(|_| server.get("/api/lm/capables/keys"));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply?.status, 200);
    }
    let now = known(&server).await?;
    assert!(
        now["usage"]["waited"].as_u64().is_some_and(|waited| waited > 0),
        "{now}"
    );
    Ok(())
}

#[tokio::test]
async fn the_place_of_a_call_that_trapped_has_a_pause() -> Result<()> {
    for (pause, waited) in [(0, 0), (2_000, 1)] {
        let library = library()?;
        let settings = format!("[limits]\ninstances_each = 1\nfault_pause_ms = {pause}");
        let server = options(&library, &settings)?.serve().await?;
        server.wait_ready("capables").await?;
        // What traps is answered at once; whoever comes next waits.
        assert_eq!(server.get("/api/lm/capables/trap").await?.status, 500);
        assert_eq!(known(&server).await?["usage"]["waited"], 0);
        assert_eq!(server.get("/api/lm/capables/keys").await?.status, 200);
        assert_eq!(
            known(&server).await?["usage"]["waited"],
            waited,
            "a pause of {pause} ms"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_page_changes_no_plugin() -> Result<()> {
    let library = library()?;
    let server = options(&library, "")?.serve().await?;
    let host = json!({"remote_host": "models.example", "granted": true});
    for (route, body) in [
        ("reload", json!({})),
        ("enable", json!({})),
        ("disable", json!({})),
        ("grants", host),
    ] {
        let call = Call::post(&format!("/api/plugins/capable/{route}"), &body).header("Sec-Fetch-Site", "cross-site");
        assert_eq!(server.send(&call).await?.status, 403, "{route}");
    }
    assert_eq!(known(&server).await?["state"], "serving");
    Ok(())
}
