//! Answers that clients of LoraManager need from routes whose features Modelshelf does not have: empty results that are
//! true, and errors that these clients know.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::super::pages;
use super::json;

/// GET `version-info`.
pub fn version_info() -> Response {
    json(&json!({ "success": true, "version": pages::version(), "has_git": false }))
}

/// GET `check-updates`: the running version, which is the newest that this server knows of. It asks nobody.
pub fn check_updates(call: &Call) -> Response {
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let commit = env!("MODELSHELF_COMMIT");
    json(&json!({
        "success": true,
        "current_version": version,
        "latest_version": version,
        "update_available": false,
        "message": "Modelshelf does not look for newer versions of itself.",
        "changelog": [],
        "git_info": { "commit_hash": commit, "short_hash": commit, "branch": "unknown", "commit_date": "unknown" },
        "nightly": call.query.flag("nightly", false),
        "has_git": false,
        "releases": [],
        "behind_by": 0,
        "commit_date": "",
    }))
}

/// GET `supporters`: nobody is listed.
pub fn supporters() -> Response {
    json(&json!({ "success": true, "supporters": { "specialThanks": [], "allSupporters": [], "totalCount": 0 } }))
}

/// GET `custom-words/search`: there are no lists of words.
pub fn custom_words() -> Response {
    json(&json!({ "success": true, "words": [] }))
}

/// GET `wildcards/search`: there are no wildcard files.
pub fn wildcards() -> Response {
    json(&json!({
        "success": true,
        "words": [],
        "meta": { "has_wildcards": false, "wildcards_dir": "", "supported_formats": [] },
    }))
}

/// GET `example-workflows`: there are none.
pub fn example_workflows() -> Response {
    json(&json!({ "success": true, "workflows": [] }))
}

/// GET `agent/skills`: there are none.
pub fn agent_skills() -> Response {
    json(&json!({ "skills": [] }))
}

/// GET `example-images-status`: none are being downloaded.
pub fn example_images_status() -> Response {
    json(&json!({
        "success": true,
        "is_downloading": false,
        "status": {
            "total": 0, "completed": 0, "current_model": "", "status": "idle", "errors": [], "last_error": null,
            "start_time": null, "end_time": null, "processed_models": [], "refreshed_models": [],
            "failed_models": [], "reprocessed_models": [], "rate_limited_models": [],
        },
    }))
}

/// POST `check-example-images-needed`: none will be downloaded.
pub fn example_images_needed() -> Response {
    json(&json!({
        "success": true, "is_downloading": false, "total_models": 0, "pending_count": 0, "processed_count": 0,
        "failed_count": 0, "needs_download": false,
    }))
}

/// GET `example-image-files`: Modelshelf keeps none.
///
/// # Errors
/// 400 without `model_hash`.
pub fn example_image_files(call: &Call) -> Result<Response, ApiError> {
    call.query.require("model_hash", "Missing model_hash parameter")?;
    Ok(json(&json!({ "success": true, "files": [] })))
}

/// GET `has-example-images`: Modelshelf keeps none.
///
/// # Errors
/// 400 without `model_hash`.
pub fn has_example_images(call: &Call) -> Result<Response, ApiError> {
    call.query.require("model_hash", "Missing model_hash parameter")?;
    Ok(json(&json!({ "has_images": false })))
}

/// What needs a running ComfyUI: `get-registry` and the routes of its nodes. The body is the one of LoraManager's
/// stand-alone server.
pub fn without_comfyui() -> Response {
    let body = json!({
        "success": false,
        "error": "Standalone Mode Active",
        "message": "Modelshelf is not part of ComfyUI and can't reach its workflows.",
    });
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

/// POST `open-file-location`: the path for the client's clipboard. A server opens no windows.
///
/// # Errors
/// 400 without `file_path`, 404 for a file that is no model.
pub fn file_location(call: &Call) -> Result<Response, ApiError> {
    let body: Map<String, Value> = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("The body is no JSON object: {error}")))?;
    let path = body.get("file_path").and_then(Value::as_str).unwrap_or_default();
    if path.is_empty() {
        return Err(ApiError::bad_request("Missing file_path parameter"));
    }
    let types = call.app.types.load();
    let services = types.iter().filter_map(|slot| slot.service());
    let found = services
        .into_iter()
        .find_map(|service| service.library.snapshot().by_path(path).cloned());
    let record = found.ok_or_else(|| ApiError::not_found("File does not exist"))?;
    Ok(clipboard(&record.path))
}

/// POST `settings/open-location`: the path of the settings file for the client's clipboard.
///
/// # Errors
/// 404 when no settings file was read, or it is gone.
pub async fn settings_location(call: Call) -> Result<Response, ApiError> {
    let Some(file) = call.app.settings.sources.last().cloned() else {
        return Err(ApiError::not_found("Settings file not found"));
    };
    blocking(move || {
        if file.is_file() {
            Ok(clipboard(&file.display().to_string()))
        } else {
            Err(ApiError::not_found("Settings file does not exist"))
        }
    })
    .await?
}

fn clipboard(path: &str) -> Response {
    json(&json!({
        "success": true,
        "message": "The server opens no windows. The path can be copied.",
        "path": path,
        "mode": "clipboard",
    }))
}
