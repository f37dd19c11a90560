//! Model types in languages whose runtime needs WASI: they get an empty one, within the same limits.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Library, Model, Server, component, skip};
use serde_json::{Value, json};

use super::authoring::{checked, found};

/// A whole interpreter is compiled to native code, on a busy machine.
const COMPILING: Duration = Duration::from_secs(300);

/// The component in Python; none where it could not be built, which `cargo xtask plugins --guests` says.
fn python() -> Option<PathBuf> {
    let file = component::guest("python").ok();
    if file.is_none() {
        skip("there is no component in Python; `cargo xtask plugins --guests` says why");
    }
    file
}

#[tokio::test]
async fn a_component_that_imports_what_nobody_has_hears_what() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("foreign.wasm");
    let wasm = std::fs::read(component::guest("minimal")?)?;
    std::fs::write(
        &file,
        component::patched(&wasm, "modelshelf:plugin/", "elsewhere1:plugin/")?,
    )?;
    let (report, passed) = checked(&file).await?;
    assert!(!passed);
    let load = found(&report, "load");
    assert!(load.contains("imports `elsewhere1:plugin/"), "{load}");
    assert!(load.contains("wasi:cli"), "{load}");
    Ok(())
}

#[tokio::test]
async fn a_component_of_the_first_published_interface_that_no_sdk_made_is_served_beside_others() -> Result<()> {
    let library = Library::of([Model::new("bares", "one").extension("bare")])?;
    let options = library.options().plugin(&component::guest("bare")?);
    let options = options.plugin(&component::guest("minimal")?);
    let server = options.root("bares", &library.root("bares")).serve().await?;
    for prefix in ["bares", "minimals"] {
        server.wait_ready(prefix).await?;
    }
    assert_eq!(server.list("bares", &[]).await?["total"], 1);
    assert_eq!(
        server.get_json("/api/lm/bares/hello", &[]).await?,
        json!({"success": true, "hello": "bare"})
    );
    assert_eq!(server.list("minimals", &[]).await?["total"], 0);
    Ok(())
}

#[tokio::test]
async fn a_type_in_python_passes_the_kit_and_is_served_with_an_empty_machine() -> Result<()> {
    let Some(file) = python() else { return Ok(()) };
    let (report, passed) = checked(&file).await?;
    assert!(passed, "{report:#}");
    // That it imports the whole world is its tool's doing.
    assert_eq!(found(&report, "capabilities"), "[]");

    let library = Library::of([Model::lora("amber")])?;
    let folder = library.path().join("motion");
    std::fs::create_dir(&folder)?;
    write_motion(&folder.join("slow.safetensors"), 24)?;
    let server = serve(&library, &file).await?;
    let whole = |page: &Value| page["items"][0]["frames"] == 24;
    let page = server.wait_for("motions", whole).await?;
    assert_eq!(page["total"], 1);
    assert_eq!(
        server.get_json("/api/lm/motions/frames/slow", &[]).await?,
        json!({"success": true, "frames": 24})
    );
    assert_eq!(server.get("/api/lm/motions/frames/none").await?.status, 404);
    assert_eq!(server.get("/motions").await?.status, 200);

    let seen = server.get_json("/api/lm/motions/within", &[]).await?;
    for (what, nothing) in [
        ("environment", json!({})),
        ("arguments", json!([])),
        ("files", Value::Null),
        ("reading", Value::Null),
        ("sockets", Value::Null),
        ("names", Value::Null),
    ] {
        assert_eq!(seen[what], nothing, "{what}: {seen}");
    }
    let again = server.get_json("/api/lm/motions/within", &[]).await?;
    assert_ne!(seen["random"], again["random"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let told = again["now"].as_f64().context("now")?;
    assert!((told - now).abs() < 600.0, "{told} is not {now}");

    // The limits are those of every component, for a guest that only waits, too.
    for (what, limit) in [("sleep", "time"), ("allocate", "memory")] {
        ensure!(
            server.get(&format!("/api/lm/motions/do/{what}")).await?.status == 500,
            "{what}"
        );
        let usage = &known(&server).await?["usage"];
        ensure!(usage["limits_reached"][limit] == 1, "{what}: {usage}");
    }
    // What it prints is in the log, and a traceback with the failure.
    assert_eq!(server.get("/api/lm/motions/do/print").await?.status, 200);
    assert!(server.log().contains("printed by the guest"), "{}", server.log());
    assert_eq!(server.get("/api/lm/motions/do/raise").await?.status, 500);
    let last = &known(&server).await?["usage"]["last_failure"];
    let reason = last["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("ValueError: asked to raise") && reason.contains("app.py"),
        "{reason}"
    );
    // As many at a time as there may be, each with all the modules that an interpreter is made of.
    let calls = (0..40).map(|_| server.get("/api/lm/motions/frames/slow"));
    for reply in futures_util::future::join_all(calls).await {
        let reply = reply?;
        ensure!(reply.status == 200, "{}", reply.text());
    }
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}

async fn serve(library: &Library, file: &Path) -> Result<Server> {
    let options = library.options().settings("[limits]\nquarantine_traps = 0");
    let options = options.plugin(file).root("motion", &library.path().join("motion"));
    // It compiles for a while, unless the checks have had it compiled.
    let server = options.start().await?;
    let ready = async {
        while server.get("/api/lm/motions/status").await?.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server.wait_ready("motions").await
    };
    tokio::time::timeout(COMPILING, ready)
        .await
        .with_context(|| server.log())??;
    Ok(server)
}

async fn known(server: &Server) -> Result<Value> {
    let answer = server.get_json("/api/plugins", &[]).await?;
    let plugins = answer["plugins"].as_array().context("plugins")?;
    let own = plugins.iter().find(|plugin| plugin["id"] == "motion");
    own.cloned().context("motion")
}

/// A safetensors file with positions for this many frames.
fn write_motion(file: &Path, frames: usize) -> Result<()> {
    let bytes = frames * 2;
    let header = json!({
        "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe":
            {"dtype": "F16", "shape": [1, frames, 1], "data_offsets": [0, bytes]},
    });
    let header = header.to_string();
    let mut whole = (header.len() as u64).to_le_bytes().to_vec();
    whole.extend(header.as_bytes());
    whole.resize(whole.len() + bytes, 0);
    Ok(std::fs::write(file, whole)?)
}
