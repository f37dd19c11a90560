//! Deleting models, undoing that in the contract's words, and the trash.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::common::{id, of_version};
use super::editing::{act, body, failure, take_back, take_path};
use super::json;
use crate::files::client_path;
use crate::library::editing::EditError;
use crate::library::history::{HistoryError, Step};
use crate::model_types::TypeService;

/// POST `delete`. A listed model whose file is gone leaves the list, without a batch.
pub async fn delete(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let path = take_path(&mut body(&call)?, "Model path is required")?;
    let outcome = act(&call, &service, move |library, tools| library.delete(tools, &[path])).await?;
    for edited in outcome.models {
        edited.result?;
    }
    Ok(json(
        &json!({ "success": true, "deleted_files": [], "batch_id": outcome.undo_id, "undo_id": outcome.undo_id }),
    ))
}

/// POST `bulk-delete`.
pub async fn bulk_delete(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let paths: Vec<String> = match body(&call)?.get("file_paths") {
        Some(Value::Array(paths)) => paths
            .iter()
            .map(|path| path.as_str().map(client_path))
            .collect::<Option<_>>()
            .ok_or_else(|| ApiError::bad_request("`file_paths` must hold texts only."))?,
        _ => Vec::new(),
    };
    if paths.is_empty() {
        return Err(ApiError::bad_request("No file paths provided for deletion"));
    }
    let wanted = paths.clone();
    let (outcome, listed) = act(&call, &service, move |library, tools| {
        let listed: Vec<String> = wanted.iter().map(|path| library.walked(path)).collect();
        Ok((library.delete(tools, &wanted)?, listed))
    })
    .await?;
    let became: HashMap<&str, Option<&EditError>> = outcome
        .models
        .iter()
        .map(|edited| (edited.path.as_str(), edited.result.as_ref().err()))
        .collect();
    let results: Vec<Value> = paths
        .iter()
        .zip(&listed)
        .map(|(path, listed)| match became.get(listed.as_str()) {
            Some(None) => json!({ "file_path": path, "success": true, "deleted_files": [path] }),
            Some(Some(error)) => failure(path, error),
            None => json!({ "file_path": path, "success": false, "error": "No files deleted" }),
        })
        .collect();
    // A listed model whose file was gone left the list.
    let gone = listed.iter().any(|path| !became.contains_key(path.as_str()));
    let deleted = became.values().filter(|error| error.is_none()).count();
    let mut answer = json!({
        "success": deleted > 0 || gone, "status": "success", "total_deleted": deleted, "total_attempted": paths.len(),
        "cache_updated": deleted > 0, "results": results, "undo_id": outcome.undo_id,
    });
    // As the original has it: nothing was put aside, so there is no batch.
    if let Some(id) = outcome.undo_id {
        answer["batch_id"] = id.into();
    }
    let first = outcome.models.iter().find_map(|edited| edited.result.as_ref().err());
    if let (false, Some(error)) = (deleted > 0 || gone, first) {
        answer["error"] = error.to_string().into();
    }
    Ok(json(&answer))
}

/// GET `/api/lm/delete-model-version`: all files of one version of a provider's model. `undo_id` is ours.
pub async fn version(call: Call) -> Result<Response, ApiError> {
    let wanted = call
        .query
        .require("modelVersionId", "Missing required parameter: modelVersionId")?;
    let version = id(wanted).ok_or_else(|| ApiError::bad_request("Parameter modelVersionId must be an integer"))?;
    let types = call.app.types.load_full();
    let found =
        of_version(&types, version).and_then(|(slot, records)| Some((slot.info.id(), slot.service()?, records)));
    let (model_type, service, records) =
        found.ok_or_else(|| ApiError::not_found("Model version not found in any scanner cache"))?;
    let paths: Vec<String> = records.iter().map(|record| record.path.to_string()).collect();
    let outcome = act(&call, &service, move |library, tools| library.delete(tools, &paths)).await?;
    let deleted = outcome.models.iter().filter(|edited| edited.result.is_ok()).count();
    let failed = outcome.models.into_iter().find_map(|edited| edited.result.err());
    match failed {
        Some(error) if deleted == 0 => Err(error.into()),
        failed => {
            let mut answer = json!({
                "success": true, "modelType": model_type, "modelVersionId": version, "deletedFiles": deleted,
                "batch_id": outcome.undo_id, "undo_id": outcome.undo_id,
            });
            // Unlike `delete`, this route also says that the version is not wanted any more. Files are gone by now, so that
            // the answer has to say how they come back, whatever becomes of that.
            let error = match failed {
                Some(error) => Some(error.to_string()),
                None => forget(&call, model_type, version).await.err(),
            };
            if let Some(error) = error {
                answer["error"] = error.into();
            }
            Ok(json(&answer))
        }
    }
}

async fn forget(call: &Call, model_type: &str, version: i64) -> Result<(), String> {
    let (own, version) = (model_type.to_owned(), version.unsigned_abs());
    let downloads = &call.app.downloads;
    let noted = downloads.in_ledger(move |ledger| ledger.note_not_downloaded(&own, version));
    noted.await.map_err(|error| error.to_string())
}

/// POST `/api/lm/undo-delete` with `batch_id`. All files come back, or it is 404 as in the contract.
pub async fn undo(call: Call) -> Result<Response, ApiError> {
    let body = body(&call)?;
    let id = body.get("batch_id").and_then(Value::as_str).unwrap_or_default();
    if id.len() != 32 || !id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        // Clients of LoraManager match both texts.
        return Err(ApiError::bad_request(if id.is_empty() {
            "batch_id is required"
        } else {
            "Invalid batch_id"
        }));
    }
    let unknown = || ApiError::not_found(format!("Unknown batch id: {id}"));
    let act = call.app.history.act(id).map_err(|_| unknown())?;
    if let Some(path) = blocking(move || act.occupied().map(str::to_owned)).await? {
        return Err(ApiError::not_found(format!(
            "Target path occupied: {path} exists. Nothing was restored; move it away first."
        )));
    }
    let (outcome, act) = take_back(&call, id).await.map_err(|error| match error.status {
        StatusCode::CONFLICT | StatusCode::NOT_FOUND => unknown(),
        _ => error,
    })?;
    let failed = outcome.models.into_iter().find_map(|edited| edited.result.err());
    if let Some(error) = failed {
        let occupied = matches!(error, EditError::History(HistoryError::Occupied(_)));
        let status = if occupied {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        return Err(ApiError::new(status, error.to_string()));
    }
    let restored: Vec<&str> = act
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Renamed { from, .. } => Some(from.as_str()),
            _ => None,
        })
        .collect();
    Ok(json(
        &json!({ "success": true, "restored": restored, "kind": "model", "undo_id": outcome.undo_id }),
    ))
}

/// POST `/api/lm/trash/empty`: what was deleted leaves the disk, and can't be undone any more. With `unknown=true` also
/// what the history does not know of.
pub async fn empty_trash(call: Call) -> Result<Response, ApiError> {
    let history = call.app.history.clone();
    let (types, unknown) = (call.app.types.load_full(), call.query.flag("unknown", false));
    let bytes = blocking(move || {
        let services = types.iter().filter(|_| unknown).filter_map(|slot| slot.service());
        let unknown: u64 = services
            .map(|service| service.library.empty_unknown_trash(&history))
            .sum();
        history.empty_trash() + unknown
    })
    .await?;
    Ok(json(&json!({ "success": true, "freed_bytes": bytes })))
}
