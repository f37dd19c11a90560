//! Metadata from providers: one model, all models, versions.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::downloads;
use super::editing::{body, take_path};
use super::{json, json_bytes};
use crate::compat::compat;
use crate::files::client_path;
use crate::library::item;
use crate::library::record::Record;
use crate::model_types::TypeService;
use crate::providers::{Object, ProviderError, id_of, objects, sha256_of};
use crate::use_cases::bulk_refresh::{self, Ended};
use crate::use_cases::metadata::{self, MetadataError};

/// POST `fetch-civitai`. `undo_id` is ours. That providers have nothing is no error of the request: 200 with `success: false`.
pub async fn fetch_one(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let path = take_path(&mut body(&call)?, "File path is required")?;
    let offline = |error: &MetadataError| matches!(error, MetadataError::Provider(ProviderError::Offline { .. }));
    match metadata::fetch(&call.app, &service, &path).await {
        Ok(refreshed) => {
            let mut bytes = b"{\"success\":true,\"metadata\":".to_vec();
            item::close(&mut bytes, &refreshed.record, None, false);
            bytes.extend_from_slice(format!(",\"undo_id\":{}}}", json!(refreshed.undo_id)).as_bytes());
            Ok(json_bytes(bytes))
        }
        Err(MetadataError::Provider(error)) if !offline(&error.clone().into()) => {
            let record = service.library.snapshot().by_path(&path).cloned();
            let sha256 = record.map_or_else(String::new, |record| record.sha256_hex());
            let error = metadata::failure_text(&path, &sha256, &error);
            Ok(json(&json!({ "success": false, "error": error })))
        }
        Err(MetadataError::NotInLibrary) => Err(ApiError::not_found("Model not found in cache")),
        Err(MetadataError::NoHash) => Err(ApiError::bad_request("No SHA256 hash found")),
        Err(error) => Err(error.into()),
    }
}

impl From<MetadataError> for ApiError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::NotInLibrary => Self::not_found(error.to_string()),
            MetadataError::NoHash => Self::bad_request(error.to_string()),
            MetadataError::Provider(error) => error.into(),
            MetadataError::Edit(error) => error.into(),
            MetadataError::Broken(_) => Self::internal(error),
        }
    }
}

/// POST `relink-civitai`.
pub async fn relink(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let missing = "Both file_path and model_id are required";
    let mut fields = body(&call)?;
    let path = take_path(&mut fields, missing)?;
    let given = |key: &str| {
        fields
            .get(key)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    };
    let number = |key: &str| match given(key) {
        None => Ok(None),
        some => match id_of(some) {
            Some(id) => Ok(Some(id)),
            None => Err(ApiError::bad_request(format!("{key} must be an integer"))),
        },
    };
    let model = number("model_id")?.ok_or_else(|| ApiError::bad_request(missing))?;
    let version = number("model_version_id")?.filter(|id| *id != 0);
    let linked = match metadata::relink(&call.app, &service, &path, model, version).await {
        Ok(linked) => linked,
        Err(MetadataError::Provider(error)) if error.is_final() => {
            let id = version.unwrap_or(model);
            return Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("Model version not found on CivitAI for ID: {id}"),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let which = version.map_or_else(String::new, |version| format!(" version {version}"));
    Ok(json(&json!({
        "success": true,
        "message": format!("Model successfully re-linked to Civitai model {model}{which}"),
        "hash": linked.record.sha256_hex(),
        "undo_id": linked.undo_id,
    })))
}

/// POST `fetch-all-civitai`. `file_paths` in the body is ours: only these, whatever is known of them. The work goes on
/// when the client leaves.
pub async fn fetch_all(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let only = serde_json::from_slice::<Map<String, Value>>(&call.body)
        .ok()
        .and_then(|body| {
            let paths = body.get("file_paths")?.as_array()?.iter();
            Some(paths.filter_map(|path| Some(client_path(path.as_str()?))).collect())
        });
    let (app, prefix) = (call.app.clone(), service.plugin.info().prefix().to_owned());
    let run = tokio::spawn(async move { bulk_refresh::run(&app, &service, only).await });
    let summary = run
        .await
        .map_err(ApiError::internal)?
        .map_err(|busy| ApiError::new(StatusCode::CONFLICT, busy.to_string()))?;
    // Clients expect the last message before the answer.
    call.app.hub.delivered().await;
    let message = match summary.ended {
        Some(Ended::Cancelled) => "The refresh was cancelled".to_owned(),
        Some(Ended::RateLimited | Ended::Failed) => summary
            .error
            .clone()
            .unwrap_or_else(|| "The refresh ended early".into()),
        _ => format!(
            "Successfully updated {} of {} processed {prefix} (total: {})",
            summary.updated, summary.processed, summary.total
        ),
    };
    Ok(json(&json!({
        "success": summary.ended == Some(Ended::Completed),
        "message": message,
        "processed": summary.processed,
        "updated": summary.updated,
        "total": summary.total,
        "failures": summary.named(),
        "failure_count": summary.failure_count,
        "skipped_count": summary.skipped + summary.without_hash,
        "elapsed_seconds": summary.elapsed,
    })))
}

/// GET `fetch-all-civitai-progress`; ours: the polling twin of the socket.
pub fn fetch_all_progress(call: &Call, service: &TypeService) -> Response {
    let last = call.app.refreshes.last(service.plugin.info().prefix());
    json(&json!({ "success": true, "progress": last }))
}

/// GET `civitai/versions/{model_id}`: the provider's versions, with what of them is here.
pub async fn versions(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let not_found = || ApiError::not_found("Model not found");
    let id: u64 = call.param("model_id").trim().parse().map_err(|_| not_found())?;
    let model = match call.app.providers.model(id).await {
        Ok(found) => found.value,
        Err(error) if error.is_final() => return Err(not_found()),
        Err(error) => return Err(error.into()),
    };
    let kind = model.get("type").and_then(Value::as_str).unwrap_or_default();
    service.plugin.validate_remote_type(kind.to_owned()).await?;
    let ids = objects(model.get("modelVersions")).filter_map(|version| id_of(version.get("id")));
    let words = downloads::words_on(&call, &service, ids.collect()).await?;
    let snapshot = service.library.snapshot();
    let versions = objects(model.get("modelVersions")).map(|version| {
        let slots = id_of(version.get("id")).map(|id| snapshot.keys().version_id(id).collect::<Vec<_>>());
        let here: Vec<Arc<Record>> = slots
            .unwrap_or_default()
            .into_iter()
            .filter_map(|slot| snapshot.get(slot).cloned())
            .collect();
        let word = id_of(version.get("id")).and_then(|id| words.get(&id).copied());
        with_local(version.clone(), &here, word)
    });
    Ok(json(&versions.collect::<Vec<_>>()))
}

/// A version with what of it is here; `word` is whether it counts as downloaded, as far as that is noted. Source: contract
/// section 1.5.
fn with_local(mut version: Object, here: &[Arc<Record>], word: Option<bool>) -> Object {
    let file_of = |record: &Record| {
        let sha256 = record.sha256_hex();
        let stem = |file: &&Object| {
            let name = file.get("name").and_then(Value::as_str).unwrap_or_default();
            name.rsplit_once('.').map_or(name, |(stem, _)| stem) == &*record.file_name
        };
        let files = || objects(version.get("files"));
        // By the hash, where there is one; a file that was changed here is still found by its name.
        let same = |file: &&Object| !sha256.is_empty() && sha256_of(file).as_deref() == Some(&sha256);
        let file = files().find(same).or_else(|| files().find(stem));
        file.and_then(|file| Some((id_of(file.get("id"))?, file.get("name").cloned().unwrap_or_default())))
    };
    let mut seen = std::collections::HashSet::new();
    let mut downloaded = Vec::new();
    for record in here {
        if let Some((id, name)) = file_of(record)
            && seen.insert(id)
        {
            downloaded.push(json!({ "fileId": id, "fileName": name, "filePath": record.path }));
        }
    }
    let is_weights = |file: &&Object| {
        file.get("primary") == Some(&Value::Bool(true))
            && file
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| compat().providers.weights.iter().any(|own| own == kind))
    };
    let size = objects(version.get("files"))
        .find(is_weights)
        .and_then(|file| file.get("sizeKB").cloned());
    version.insert("existsLocally".into(), (!here.is_empty()).into());
    version.insert("hasBeenDownloaded".into(), word.unwrap_or(!here.is_empty()).into());
    if let Some(record) = here.first() {
        version.insert("localPath".into(), Value::from(&*record.path));
    }
    version.insert("downloadedFiles".into(), downloaded.into());
    version.insert("modelSizeKB".into(), size.unwrap_or(Value::Null));
    version
}

/// A provider's version as clients get it: images without the workflows in their data, which are large.
fn shown(mut version: Object) -> Response {
    let images = version.get_mut("images").and_then(Value::as_array_mut);
    for image in images.into_iter().flatten() {
        if let Some(data) = image.get_mut("meta").and_then(Value::as_object_mut) {
            data.remove("comfy");
        }
    }
    json(&version)
}

/// GET `civitai/model/version/{modelVersionId}`. Source of the statuses: contract section 1.5.
pub async fn version(call: Call) -> Result<Response, ApiError> {
    let id = call.param("modelVersionId").trim();
    let id: u64 = id
        .parse()
        .map_err(|_| ApiError::not_found(format!("Model version {id} not found")))?;
    match call.app.providers.version(None, Some(id)).await {
        Ok(found) => Ok(shown(found.value)),
        Err(error) if error.is_final() => Err(ApiError::not_found(error.to_string())),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// GET `civitai/model/hash/{hash}`: 404 whatever went wrong, as clients know it; the text says what.
pub async fn by_hash(call: Call) -> Result<Response, ApiError> {
    let hash = call.param("hash").trim().to_lowercase();
    let is_hash = (8..=64).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash {
        return Err(ApiError::not_found("Model not found"));
    }
    match call.app.providers.version_by_hash(&hash).await {
        Ok(found) => Ok(shown(found.value)),
        Err(error) => Err(ApiError::not_found(error.to_string())),
    }
}

/// GET `/api/lm/providers`; ours: who is asked, and whether they can be reached.
pub fn state(call: &Call) -> Response {
    json(&state_of(&call.app))
}

/// The state of providers as pages are told it.
pub fn state_of(app: &crate::app::App) -> Value {
    let hosts = app.providers.hosts();
    json!({
        "success": true,
        "offline": hosts.iter().any(|host| host.offline),
        "order": app.providers.order().iter().map(|source| source.as_str()).collect::<Vec<_>>(),
        "has_key": app.providers.client().has_key(),
        "hosts": hosts,
    })
}
