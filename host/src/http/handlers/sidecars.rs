//! What is read from a model's sidecar when it is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::json;
use crate::files::rooted::{AllowedFolders, RootedPath};
use crate::library::sidecar::{self, Sidecar};
use crate::library::trained_words;
use crate::model_types::TypeService;
use crate::safe_html;

/// Keys of the provider's object that `metadata` answers.
const METADATA_KEYS: [&str; 13] = [
    "id",
    "modelId",
    "name",
    "createdAt",
    "updatedAt",
    "publishedAt",
    "trainedWords",
    "baseModel",
    "description",
    "model",
    "images",
    "customImages",
    "creator",
];

/// GET `/api/lm/trained-words`.
pub async fn trained_words(call: Call) -> Result<Response, ApiError> {
    let path = call
        .query
        .require("file_path", "Missing file_path parameter")?
        .replace('\\', "/");
    let (allowed, own) = (allowed(&call), path.clone());
    let found = on_disk_of(&call, &own, move || {
        let opened = allowed.iter().find_map(|allowed| RootedPath::open(allowed, &path).ok());
        let opened = opened.ok_or_else(|| ApiError::not_found("File not found"))?;
        let is_known = path
            .rsplit('.')
            .next()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
        if !is_known {
            return Err(ApiError::bad_request("File must be a safetensors file"));
        }
        Ok(trained_words::read(opened.as_path()))
    });
    let found = found.await??;
    Ok(json(&json!({
        "success": true, "trained_words": found.words, "class_tokens": found.class_tokens,
    })))
}

/// Does something with a file of a model, on the threads of its disk.
async fn on_disk_of<T: Send + 'static>(
    call: &Call,
    path: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let types = call.app.types.load_full();
    let mut services = types.iter().filter_map(|slot| slot.service());
    match services.find_map(|service| service.library.disk_of(path).cloned()) {
        Some(disk) => Ok(disk.run(work).await?),
        None => blocking(work).await,
    }
}

/// Folders of all types.
fn allowed(call: &Call) -> Vec<Arc<AllowedFolders>> {
    let types = call.app.types.load();
    types
        .iter()
        .filter_map(|slot| Some(slot.service()?.library.allowed()))
        .collect()
}

/// The sidecar of the model that `file_path` names, of whatever type; 404 with `missing`.
async fn read(call: &Call, service: &TypeService, missing: &str) -> Result<Sidecar, ApiError> {
    let path = call
        .query
        .require("file_path", "File path is required")?
        .replace('\\', "/");
    let not_found = || ApiError::not_found(format!("{} {missing}", capital(service)));
    let (allowed, own) = (allowed(call), path.clone());
    let sidecar = on_disk_of(call, &own, move || {
        let model = PathBuf::from(&path);
        let stem = model.file_stem()?.to_str()?.to_owned();
        let beside = sidecar::path_for(model.parent().unwrap_or(Path::new("/")), &stem);
        let beside = beside.to_str()?.to_owned();
        let opened = allowed
            .iter()
            .find_map(|allowed| RootedPath::open(allowed, &beside).ok())?;
        Sidecar::read(opened.as_path()).ok()?
    });
    sidecar.await?.ok_or_else(not_found)
}

fn capital(service: &TypeService) -> String {
    super::names::capital(service)
}

/// GET `metadata`.
pub async fn metadata(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let sidecar = read(&call, &service, "not found or no CivitAI metadata available").await?;
    let civitai = sidecar.civitai();
    let subset: Map<String, Value> = METADATA_KEYS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), civitai?.get(*key)?.clone())))
        .collect();
    Ok(json(&json!({ "success": true, "metadata": subset })))
}

/// GET `model-description`. `safe_html` is an addition of Modelshelf: the description with everything taken out that could
/// run, load or restyle, fit to be put into a page. Of a very long description both have the beginning, and `truncated` is
/// true.
pub async fn description(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let sidecar = read(&call, &service, "not found or no description available").await?;
    let description = sidecar.text("modelDescription");
    let shown = &description[..description.floor_char_boundary(safe_html::MAX_BYTES)];
    let safe_html = call.app.safe_html.of(&call.app.workers, shown).await?;
    Ok(json(&json!({
        "success": true, "description": shown, "safe_html": &*safe_html, "truncated": shown.len() < description.len(),
    })))
}
