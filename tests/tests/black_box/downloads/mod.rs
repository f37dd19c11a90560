//! Downloads from a stand-in provider, on its good and bad days.

mod arriving;
mod bad_servers;
mod control;
mod hugging_face;
mod names;
mod queue;
mod refusals;
mod unproved;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use modelshelf_tests::civitai::{CatalogFile, CatalogModel, CatalogVersion, Civitai, Storage};
use modelshelf_tests::{Call, Library, Server, ServerOptions};
use serde_json::{Value, json};

/// Settings that make a server download from the stand-in without long waits.
pub fn settings(civitai: &Civitai, more: &str) -> String {
    format!(
        "{}\n[scan]\nwatch = false\nstable_seconds = 0.0\n[downloads]\nretry_seconds = 0.005\n{more}",
        civitai.settings()
    )
}

pub fn options(library: &Library, civitai: &Civitai, more: &str) -> Result<ServerOptions> {
    options_with(library, civitai, "", more)
}

pub fn options_with(library: &Library, civitai: &Civitai, keys: &str, more: &str) -> Result<ServerOptions> {
    let config = library.path().join("settings.toml");
    std::fs::write(&config, format!("{keys}\n{}", settings(civitai, more)))?;
    Ok(library
        .options()
        .data_dir(&library.path().join("data"))
        .argument("--config")
        .argument(config))
}

pub fn lora(id: u64) -> CatalogModel {
    CatalogModel::new(id, &format!("Model {id}"), "LORA")
}

/// Of one file with this size.
pub fn sized(id: u64, size: u64) -> CatalogModel {
    let mut version = CatalogVersion::new(id * 10, "v1");
    version.files = vec![CatalogFile::new(id * 100, &format!("file{id}.safetensors"), size)];
    lora(id).versions([version])
}

pub async fn download(server: &Server, body: Value) -> Result<(u16, Value)> {
    let reply = server.send(&Call::post("/api/lm/download-model", &body)).await?;
    Ok((reply.status, reply.json()?))
}

pub fn by_default(id: u64) -> Value {
    json!({ "model_id": id, "use_default_paths": true })
}

pub async fn get(server: &Server, path: &str, query: &[(&str, &str)]) -> Result<(u16, Value)> {
    let reply = server
        .send(
            &Call::get(&format!("/api/lm/{path}"))
                .query(query)
                .header("Origin", &origin(server)),
        )
        .await?;
    Ok((reply.status, reply.json()?))
}

pub fn origin(server: &Server) -> String {
    format!("http://{}", server.address())
}

pub async fn wait_for_end(server: &Server, count: usize) -> Result<Vec<Value>> {
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

pub fn names(folder: &Path) -> Result<Vec<String>> {
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

/// Waits until the library has a file of this name, wherever.
pub async fn wait_for_file(library: &Library, name: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let there = names(&library.root("loras"))?;
        if there.iter().any(|own| own == name) {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{name} is not there: {there:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a server sends so slowly that tests can do something meanwhile.
pub fn slow() -> Storage {
    Storage {
        rate: Some(1 << 20),
        ..Storage::default()
    }
}

/// Puts a model at the end of the queue under this id, as clients do.
pub async fn enqueue(server: &Server, model: &str, id: &str) -> Result<()> {
    let (status, answer) = get(
        server,
        "downloads/queue/add",
        &[("model_id", model), ("download_id", id)],
    )
    .await?;
    anyhow::ensure!(status == 200, "{answer}");
    Ok(())
}

/// Waits until the queue has so many rows.
pub async fn wait_for_rows(server: &Server, count: usize) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while rows(server).await?.0.len() < count {
        anyhow::ensure!(Instant::now() < end, "{:?}", rows(server).await?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The rows of the queue, and how many there are in the history.
pub async fn rows(server: &Server) -> Result<(Vec<Value>, u64)> {
    let (_, queue) = get(server, "downloads/queue", &[]).await?;
    let (_, history) = get(server, "downloads/history", &[]).await?;
    let rows = queue["queue"].as_array().context("queue")?.clone();
    Ok((rows, history["total"].as_u64().context("total")?))
}

/// Starts a download as a call of its own.
pub fn begin(server: &Server, body: Value) -> tokio::task::JoinHandle<Result<(u16, Value)>> {
    let address = server.address();
    tokio::spawn(async move {
        let reply = Call::post("/api/lm/download-model", &body).send(address).await?;
        Ok((reply.status, reply.json()?))
    })
}
