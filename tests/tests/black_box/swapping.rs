//! Plugins that are replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Call, Library, Model, Server, component, names};
use serde_json::{Value, json};

/// A server with a plugin in a file of its own, which the test may change.
async fn with_plugin(library: &Library, guest: &str, root: &str) -> Result<(Server, PathBuf)> {
    let file = library.path().join(format!("{guest}.wasm"));
    std::fs::copy(component::guest(guest)?, &file)?;
    let folder = library.path().join(root);
    std::fs::create_dir_all(&folder)?;
    let server = library.options().plugin(&file).root(root, &folder).serve().await?;
    server.wait_ready(root).await?;
    Ok((server, file))
}

async fn known(server: &Server, id: &str) -> Result<Value> {
    let answer = server.get_json("/api/plugins", &[]).await?;
    let plugins = answer["plugins"].as_array().context("plugins")?;
    plugins
        .iter()
        .find(|plugin| plugin["id"] == id)
        .cloned()
        .with_context(|| format!("{id} is not in {answer}"))
}

fn write(file: &Path, wasm: Vec<u8>) -> Result<()> {
    Ok(std::fs::write(file, wasm)?)
}

#[tokio::test]
async fn another_version_takes_over_and_derives_every_record_again() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    for name in ["good", "trap-me"] {
        Model::new("faulties", name).extension("faulty").write(library.path())?;
    }
    let (server, file) = with_plugin(&library, "faulty", "faulties").await?;
    assert!(server.item("faulties", "trap-me").await?["problem"].is_string());
    let before = known(&server, "faulty").await?;
    assert_eq!(
        (&before["state"], &before["failure"]),
        (&json!("serving"), &Value::Null)
    );
    assert!(
        before["routes"]
            .as_array()
            .is_some_and(|routes| routes.contains(&json!({"method": "GET", "path": "/api/lm/faulties/ok"}))),
        "{before}"
    );
    let mut socket = server.socket("/ws/fetch-progress").await?;

    // The version that traps on no file.
    let wasm = std::fs::read(&file)?;
    write(&file, component::patched(&wasm, "trap-me", "trap-no")?)?;
    let answer = server.post_json("/api/plugins/faulty/reload", &json!({})).await?;
    assert_ne!(answer["digest"], before["digest"]);
    assert_eq!(known(&server, "faulty").await?["digest"], answer["digest"]);
    socket.find(|message| message["type"] == "plugins_changed").await?;
    let mended = |page: &Value| {
        let items = page["items"].as_array().into_iter().flatten();
        items.filter(|item| item["problem"].is_string()).count() == 0
    };
    let page = server.wait_for("faulties", mended).await?;
    assert_eq!(names(&page), ["good", "trap-me"]);
    // The socket is the same one.
    server.get("/api/lm/loras/scan").await?;
    Ok(())
}

#[tokio::test]
async fn a_version_that_can_not_be_loaded_leaves_the_last_good_one_in_service() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    Model::new("minimals", "one").extension("mini").write(library.path())?;
    let (server, file) = with_plugin(&library, "minimal", "minimals").await?;
    let before = known(&server, "minimal").await?;
    let good = std::fs::read(&file)?;
    let bad: [(Vec<u8>, u16, &str); 3] = [
        (b"\0asm\x01\0\0\0".to_vec(), 422, "no model type for this host"),
        // The URL prefix of another type.
        (component::patched(&good, "minimals", "loras\0\0\0")?, 422, "prefix"),
        (Vec::new(), 422, "minimal.wasm"),
    ];
    for (wasm, status, reason) in bad {
        write(&file, wasm)?;
        let reply = server
            .send(&Call::post("/api/plugins/minimal/reload", &json!({})))
            .await?;
        ensure!(reply.status == status, "{reason}: {} {}", reply.status, reply.text());
        assert!(reply.text().contains(reason), "{}", reply.text());
        let now = known(&server, "minimal").await?;
        assert_eq!((&now["state"], &now["digest"]), (&json!("serving"), &before["digest"]));
        assert!(
            now["failure"]["reason"]
                .as_str()
                .is_some_and(|text| text.contains(reason)),
            "{now}"
        );
        assert_eq!(names(&server.list("minimals", &[]).await?), ["one"]);
    }
    write(&file, component::altered(&good, 1))?;
    server.post_json("/api/plugins/minimal/reload", &json!({})).await?;
    assert_eq!(known(&server, "minimal").await?["failure"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_prefix_of_another_type_is_refused_as_a_conflict() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let file = library.path().join("minimal.wasm");
    let good = std::fs::read(component::guest("minimal")?)?;
    write(&file, good.clone())?;
    let server = library
        .options()
        .plugin(&component::guest("faulty")?)
        .plugin(&file)
        .serve()
        .await?;
    let before = known(&server, "minimal").await?;
    write(&file, component::patched(&good, "minimals", "faulties")?)?;
    let reply = server
        .send(&Call::post("/api/plugins/minimal/reload", &json!({})))
        .await?;
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert!(
        reply.text().contains("which is the one of `faulty`"),
        "{}",
        reply.text()
    );
    assert_eq!(known(&server, "minimal").await?["digest"], before["digest"]);
    Ok(())
}

#[tokio::test]
async fn a_component_that_turns_into_another_type_leaves_nothing_of_the_old_one() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    Model::new("minimals", "one").extension("mini").write(library.path())?;
    let (server, file) = with_plugin(&library, "minimal", "minimals").await?;
    let source = known(&server, "minimal").await?["source"].clone();
    let good = std::fs::read(&file)?;

    // Another id, which ends where the prefix does, and the same prefix: the old type is not in its way.
    let another = component::patched(&good, "minimals", "MINIMALS")?;
    let another = component::patched(&another, "minimal", "maximal")?;
    write(&file, component::patched(&another, "MINIMALS", "minimals")?)?;
    server.post_json("/api/plugins/minimal/reload", &json!({})).await?;
    assert_eq!(known(&server, "maximal").await?["state"], "serving");
    server.wait_for_names("minimals", &["one"]).await?;

    // Another id and another prefix: the old pages are gone.
    write(&file, component::patched(&another, "MINIMALS", "maximals")?)?;
    server.post_json("/api/plugins/maximal/reload", &json!({})).await?;
    write(&file, component::patched(&good, "minimal", "optimal")?)?;
    server.post_json("/api/plugins/maximal/reload", &json!({})).await?;
    assert_eq!(known(&server, "optimal").await?["state"], "serving");
    assert_eq!(server.get("/optimals").await?.status, 200);
    for prefix in ["minimals", "maximals"] {
        assert_eq!(server.get(&format!("/api/lm/{prefix}/list")).await?.status, 404);
    }
    let all = server.get_json("/api/plugins", &[]).await?;
    let own = all["plugins"].as_array().into_iter().flatten();
    assert_eq!(own.filter(|plugin| plugin["source"] == source).count(), 1, "{all}");
    Ok(())
}

/// The built-in type of embeddings, which a test changes.
fn embeddings() -> Result<Vec<u8>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/embedding.wasm");
    Ok(std::fs::read(file)?)
}

#[tokio::test]
async fn a_built_in_type_comes_back_when_the_component_in_its_place_turns_into_another() -> Result<()> {
    let library = Library::of([Model::new("embeddings", "amber").extension("pt")])?;
    let file = library.path().join("own.wasm");
    write(&file, component::altered(&embeddings()?, 1))?;
    let server = library.options().plugin(&file).serve().await?;
    assert_eq!(known(&server, "embedding").await?["built_in"], false);

    write(&file, component::patched(&embeddings()?, "embedding", "embeddiny")?)?;
    server.post_json("/api/plugins/embedding/reload", &json!({})).await?;
    let back = known(&server, "embedding").await?;
    assert_eq!((&back["built_in"], &back["state"]), (&json!(true), &json!("serving")));
    assert_eq!(known(&server, "embeddiny").await?["state"], "serving");
    server.wait_for_names("embeddings", &["amber"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_built_in_type_stays_when_the_component_for_its_place_can_not_be_served() -> Result<()> {
    let library = Library::of([Model::new("embeddings", "amber").extension("pt")])?;
    let file = library.path().join("own.wasm");
    // The prefix is the start of a fixed route.
    write(&file, component::patched(&embeddings()?, "embeddings", "set-hf-url")?)?;
    let server = library.options().plugin(&file).serve().await?;
    let own = known(&server, "embedding").await?;
    assert_eq!(
        (&own["built_in"], &own["state"], &own["failure"]),
        (&json!(true), &json!("serving"), &Value::Null)
    );
    server.wait_for_names("embeddings", &["amber"]).await?;
    let all = server.get_json("/api/plugins", &[]).await?;
    let mut plugins = all["plugins"].as_array().into_iter().flatten();
    let failed = plugins.find(|plugin| plugin["source"] == file.display().to_string());
    let reason = failed.map(|failed| failed["failure"]["reason"].to_string());
    assert!(
        reason.is_some_and(|reason| reason.contains("of `embedding` clashes with")),
        "{all}"
    );
    Ok(())
}

#[tokio::test]
async fn a_version_with_other_files_gets_a_library_of_its_own() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    Model::new("minimals", "one").extension("mini").write(library.path())?;
    Model::new("minimals", "two").extension("maxi").write(library.path())?;
    let (server, file) = with_plugin(&library, "minimal", "minimals").await?;
    assert_eq!(names(&server.list("minimals", &[]).await?), ["one"]);
    write(&file, component::patched(&std::fs::read(&file)?, ".mini", ".maxi")?)?;
    server.post_json("/api/plugins/minimal/reload", &json!({})).await?;
    server.wait_for_names("minimals", &["two"]).await?;
    Ok(())
}

#[tokio::test]
async fn requests_and_sockets_live_through_many_swaps() -> Result<()> {
    let library = Library::of((0..30).map(|index| Model::lora(&format!("model-{index}"))))?;
    Model::new("minimals", "one").extension("mini").write(library.path())?;
    let (server, file) = with_plugin(&library, "minimal", "minimals").await?;
    let (server, good) = (Arc::new(server), std::fs::read(&file)?);
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (server, over) = (server.clone(), over.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    let target = ["/api/lm/minimals/list", "/api/lm/loras/list", "/minimals"][client % 3];
                    let reply = server.get(target).await?;
                    ensure!(reply.status == 200, "{target}: {} {}", reply.status, reply.text());
                    asked += 1;
                }
                Ok(asked)
            })
        })
        .collect();
    for version in 0..25 {
        write(&file, component::altered(&good, version % 2))?;
        server.post_json("/api/plugins/minimal/reload", &json!({})).await?;
    }
    over.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for client in clients {
        asked += client.await??;
    }
    assert!(asked > 25, "{asked} requests");
    for _ in 0..25 {
        socket.find(|message| message["type"] == "plugins_changed").await?;
    }
    assert_eq!(names(&server.list("minimals", &[]).await?), ["one"]);
    Ok(())
}

#[tokio::test]
async fn only_the_servers_own_pages_may_reload_a_plugin() -> Result<()> {
    let server = Library::of([Model::lora("amber")])?.serve().await?;
    let call = Call::post("/api/plugins/lora/reload", &json!({})).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&call).await?.status, 403);
    let call = Call::post("/api/plugins/nobody/reload", &json!({}));
    assert_eq!(server.send(&call).await?.status, 404);
    Ok(())
}
