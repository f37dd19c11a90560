//! Routes that tools call and that belong to no type.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::json;
use crate::library::Record;

/// Parts of a key's name that make it a secret.
const SECRET: [&str; 4] = ["api_key", "password", "token", "secret"];

/// GET `/api/lm/settings`: what was read, without secrets.
pub fn settings(call: &Call) -> Response {
    let contract = &call.app.settings.contract;
    let is_secret = |key: &str| SECRET.iter().any(|part| key.contains(part));
    let mut shown: Map<String, Value> = contract
        .iter()
        .filter(|(key, _)| !is_secret(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for key in ["civitai_api_key", "llm_api_key"] {
        shown.insert(format!("{key}_set"), Value::Bool(!contract.text(key, "").is_empty()));
    }
    let file = call.app.settings.sources.last().map(|path| path.display().to_string());
    shown.insert("settings_file".into(), file.map_or(Value::Null, Value::from));
    json(&json!({ "success": true, "settings": shown, "messages": [] }))
}

/// GET `/api/lm/settings/libraries`.
pub fn libraries(call: &Call) -> Response {
    let contract = &call.app.settings.contract;
    let libraries = contract
        .get("libraries")
        .filter(|libraries| libraries.is_object())
        .cloned();
    json(&json!({
        "success": true,
        "libraries": libraries.unwrap_or_else(|| json!({ "default": { "folder_paths": contract.get("folder_paths") } })),
        "active_library": contract.text("active_library", "default"),
    }))
}

fn id(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The versions of a provider's model that are here: the type, and one entry for each file.
fn versions(call: &Call, model_id: u64) -> (Option<String>, Vec<Value>) {
    let types = call.app.types.load();
    for slot in types.iter() {
        let Some(service) = slot.service() else { continue };
        let snapshot = service.library.snapshot();
        let mut own: Vec<&Record> = snapshot
            .records()
            .iter()
            .map(|(_, record)| &**record)
            .filter(|record| !record.exclude && record.remote.model_id == Some(model_id))
            .collect();
        own.sort_by_key(|record| std::cmp::Reverse(record.remote.id));
        if !own.is_empty() {
            let entry = |record: &&Record| {
                json!({
                    "versionId": record.remote.id,
                    "name": record.remote.name,
                    "fileName": record.file_name,
                    "hasBeenDownloaded": true,
                })
            };
            return (Some(slot.info.id().to_owned()), own.iter().map(entry).collect());
        }
    }
    (None, Vec::new())
}

fn version_ids(versions: &[Value]) -> Vec<Value> {
    versions
        .iter()
        .map(|version| version["versionId"].clone())
        .filter(|id| !id.is_null())
        .collect()
}

/// GET `/api/lm/check-model-exists`.
pub fn model_exists(call: &Call) -> Result<Response, ApiError> {
    let wanted = call.query.require("modelId", "Missing required parameter: modelId")?;
    let model_id = id(wanted).ok_or_else(|| ApiError::bad_request("Parameter modelId must be an integer"))?;
    let (model_type, versions) = versions(call, model_id);
    let Some(version) = call.query.get("modelVersionId").filter(|text| !text.is_empty()) else {
        let downloaded = version_ids(&versions);
        return Ok(json(&json!({
            "success": true, "exists": !versions.is_empty(), "modelType": model_type, "versions": versions, "downloadedVersionIds": downloaded,
        })));
    };
    let version = id(version).ok_or_else(|| ApiError::bad_request("Parameter modelVersionId must be an integer"))?;
    let files: Vec<Value> = versions
        .iter()
        .filter(|own| own["versionId"] == version)
        .map(|own| json!({ "fileId": null, "fileName": own["fileName"] }))
        .collect();
    let exists = !files.is_empty();
    Ok(json(&json!({
        "success": true, "exists": exists, "modelType": model_type.filter(|_| exists), "hasBeenDownloaded": exists, "downloadedFiles": files,
    })))
}

/// GET `/api/lm/check-models-exist`.
pub fn models_exist(call: &Call) -> Result<Response, ApiError> {
    let wanted = call.query.require("modelIds", "Missing required parameter: modelIds")?;
    let ids: Option<Vec<u64>> = wanted
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(id)
        .collect();
    let ids =
        ids.ok_or_else(|| ApiError::bad_request("Parameter modelIds must be a comma-separated list of integers"))?;
    let results: Vec<Value> = ids
        .into_iter()
        .map(|model_id| {
            let (model_type, versions) = versions(call, model_id);
            let downloaded = version_ids(&versions);
            json!({ "modelId": model_id, "modelType": model_type, "versions": versions, "downloadedVersionIds": downloaded })
        })
        .collect();
    Ok(json(&json!({ "success": true, "results": results })))
}
