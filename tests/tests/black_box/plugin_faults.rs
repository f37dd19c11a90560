//! Plugins that misbehave, and plugins from outside.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use modelshelf_tests::{Library, Model, Server, ServerOptions, names};
use serde_json::json;

/// A guest that `cargo xtask plugins --guests` built.
fn guest(name: &str) -> Result<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../target/guests/{name}.wasm"));
    ensure!(
        file.is_file(),
        "{} is not built: cargo xtask plugins --guests",
        file.display()
    );
    Ok(file)
}

/// A server with the faulty plugin and limits that are quick to reach.
async fn faulty(library: &Library, limits: &str) -> Result<Server> {
    let config = library.path().join("limits.toml");
    std::fs::write(&config, format!("[limits]\n{limits}\n"))?;
    let folder = library.path().join("faulties");
    std::fs::create_dir_all(&folder)?;
    let options = library.options().plugin(&guest("faulty")?).root("faulties", &folder);
    let server = options.argument("--config").argument(&config).serve().await?;
    server.wait_ready("faulties").await?;
    Ok(server)
}

/// Asserts that a route of the faulty plugin fails as it should: a 500 that tells a stranger nothing, the reason in the
/// log, and everything else works afterwards.
async fn contained(server: &Server, route: &str, reason: &[&str]) -> Result<()> {
    let reply = server.get(&format!("/api/lm/faulties/{route}")).await?;
    let answer = reply.json()?;
    ensure!(
        reply.status == 500 && answer["success"] == false,
        "{route}: {} {answer}",
        reply.status
    );
    let error = answer["error"].as_str().unwrap_or_default();
    ensure!(
        !error.contains("wasm") && !error.contains("asked to"),
        "{route} tells too much: {error}"
    );
    let log = server.log();
    ensure!(log.contains("faulty"), "the log does not name the plugin:\n{log}");
    ensure!(
        reason.iter().any(|reason| log.contains(reason)),
        "none of {reason:?} is in the log:\n{log}"
    );
    ensure!(
        server.get("/api/lm/faulties/ok").await?.json()? == json!({"success": true}),
        "after {route}"
    );
    ensure!(server.list("loras", &[]).await?["total"] == 1, "after {route}");
    Ok(())
}

fn library() -> Result<Library> {
    Library::of([Model::lora("amber")])
}
