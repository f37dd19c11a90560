//! What must be the same after every change: the disk, the sidecars, what the server answers, and what a freshly
//! started server of the same folders answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::model::{sha256, wire};
use crate::server::{Server, ServerOptions};

/// The folder in which deleted files wait.
const TRASH: &str = ".lm-pending-delete";

/// Endings of a type's model files.
fn endings(prefix: &str) -> &'static [&'static str] {
    match prefix {
        "loras" => &[".safetensors"],
        "checkpoints" => &[".safetensors", ".ckpt", ".gguf"],
        _ => &[".safetensors", ".pt", ".bin"],
    }
}

/// All files below a folder with their bytes, those in the trash too.
///
/// # Errors
/// When the disk refuses.
pub fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for path in paths(folder, true)? {
        files.insert(wire(&path), std::fs::read(&path)?);
    }
    Ok(files)
}

/// All folders below a folder but the trash, sorted.
///
/// # Errors
/// When the disk refuses.
pub fn folders(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != TRASH {
                found.push(wire(&entry.path()));
                waiting.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn paths(folder: &Path, with_trash: bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| wire(&folder))? {
            let path = entry?.path();
            if !path.is_dir() {
                paths.push(path);
            } else if with_trash || path.file_name().is_none_or(|name| name != TRASH) {
                waiting.push(path);
            }
        }
    }
    Ok(paths)
}

/// Compares all views of a type: the files below its roots, their sidecars, this server's answers, and those of a server
/// that is started with `fresh` (the same folders, and a data folder of its own). Gives the items by path.
///
/// # Errors
/// Says which two views differ, and in what.
pub async fn agree(server: &Server, fresh: ServerOptions, prefix: &str) -> Result<BTreeMap<String, Value>> {
    let shown = items(server, prefix, "list").await?;
    let excluded = items(server, prefix, "excluded").await?;
    on_disk(server, prefix, &shown, &excluded).await?;
    let other = fresh.serve().await?;
    for (what, own) in [("list", &shown), ("excluded", &excluded)] {
        let theirs = items(&other, prefix, what).await?;
        ensure!(
            own.keys().eq(theirs.keys()),
            "{what}: this server has {:?}, a fresh one {:?}",
            own.keys(),
            theirs.keys()
        );
        for (path, item) in own {
            ensure!(
                Some(item) == theirs.get(path),
                "{what}: this server says {item}, a fresh one {:?}",
                theirs.get(path)
            );
        }
    }
    for route in [
        "folders",
        "top-tags",
        "base-models",
        "find-duplicates",
        "find-filename-conflicts",
    ] {
        let path = format!("/api/lm/{prefix}/{route}");
        let (own, theirs) = (server.get_json(&path, &[]).await?, other.get_json(&path, &[]).await?);
        ensure!(own == theirs, "{route}: this server says {own}, a fresh one {theirs}");
    }
    Ok(shown)
}

/// The disk and the sidecars against what a server shows.
async fn on_disk(
    server: &Server,
    prefix: &str,
    shown: &BTreeMap<String, Value>,
    excluded: &BTreeMap<String, Value>,
) -> Result<()> {
    let roots = server.get_json(&format!("/api/lm/{prefix}/roots"), &[]).await?;
    let mut models = Vec::new();
    for root in roots["roots"].as_array().into_iter().flatten() {
        models.extend(paths(Path::new(root.as_str().unwrap_or_default()), false)?);
    }
    models.retain(|path| endings(prefix).iter().any(|ending| wire(path).ends_with(ending)));
    let known = shown.len() + excluded.len();
    ensure!(
        models.len() == known,
        "{} models on the disk, {known} known: {models:?}",
        models.len()
    );
    for path in models {
        let path = wire(&path);
        let item = shown.get(&path).or_else(|| excluded.get(&path));
        let item = item.with_context(|| format!("{path} is on the disk and not listed"))?;
        beside(&path, item).with_context(|| format!("{path}: {item}"))?;
    }
    Ok(())
}

/// A sidecar against its file and its item.
fn beside(path: &str, item: &Value) -> Result<()> {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let sidecar: Value = serde_json::from_slice(&std::fs::read(format!("{stem}.metadata.json"))?)?;
    let own = |field: &str| sidecar[field].as_str().unwrap_or_default().to_owned();
    if own("file_path") != path {
        // Another model of the same name has it.
        ensure!(
            Path::new(&own("file_path")).exists(),
            "the sidecar names {}",
            own("file_path")
        );
        return Ok(());
    }
    ensure!(
        stem.ends_with(&format!("/{}", own("file_name"))),
        "it says file_name {}",
        own("file_name")
    );
    for field in [
        "model_name",
        "base_model",
        "tags",
        "notes",
        "favorite",
        "exclude",
        "sha256",
    ] {
        let (said, shown) = (&sidecar[field], &item[field]);
        // What a sidecar lacks has a default.
        ensure!(
            said == shown || said.is_null(),
            "{field} is {said} in the sidecar and {shown} in the API"
        );
    }
    let hash = own("sha256");
    ensure!(
        hash.is_empty() || hash == sha256(&std::fs::read(path)?),
        "the sidecar's hash is another file's"
    );
    let preview = own("preview_url");
    if !preview.is_empty() {
        ensure!(Path::new(&preview).exists(), "the preview {preview} is not there");
        ensure!(
            !item["preview_url"].as_str().unwrap_or_default().is_empty(),
            "the preview is not shown"
        );
    }
    Ok(())
}

/// The items of a listing by path.
async fn items(server: &Server, prefix: &str, route: &str) -> Result<BTreeMap<String, Value>> {
    let mut items = BTreeMap::new();
    for page in 1.. {
        let path = format!("/api/lm/{prefix}/{route}");
        let number = page.to_string();
        let answer = server
            .get_json(&path, &[("page", &number), ("page_size", "100")])
            .await?;
        for item in answer["items"].as_array().context("items")? {
            let path = item["file_path"].as_str().context("file_path")?.to_owned();
            if items.insert(path.clone(), item.clone()).is_some() {
                bail!("{path} is listed twice");
            }
        }
        if answer["total_pages"].as_u64().unwrap_or_default() <= page {
            break;
        }
    }
    Ok(items)
}
