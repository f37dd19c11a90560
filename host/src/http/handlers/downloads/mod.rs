//! Downloads over HTTP: starting and steering them, their queue and history, and files of repositories.
//! Source of paths and answers: contract section 1.7.

mod queue;
mod repositories;
mod versions;

pub use versions::words_on;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::super::routes::DownloadRoute;
use super::editing::body;
use super::json;
use crate::downloads::ledger::new_id;
use crate::downloads::transfer::TransferError;
use crate::downloads::{self, ControlError, DownloadError, Outcome, Place, Stop, Wanted};
use crate::providers::{id_of, objects};

/// Answers a route of downloads.
///
/// # Errors
/// The handler's.
pub async fn answer(route: DownloadRoute, call: Call) -> Result<Response, ApiError> {
    match route {
        DownloadRoute::Model => model(call).await,
        DownloadRoute::ModelGet => model_get(call).await,
        DownloadRoute::Plan => plan(call).await,
        DownloadRoute::Cancel => stop(call, Stop::Cancel).await,
        DownloadRoute::Skip => stop(call, Stop::Skip).await,
        DownloadRoute::Pause => pause(call, true).await,
        DownloadRoute::Resume => pause(call, false).await,
        DownloadRoute::Progress => progress(&call),
        DownloadRoute::Queue => queue::queue(call).await,
        DownloadRoute::Add => queue::add(call).await,
        DownloadRoute::Remove => queue::remove(call).await,
        DownloadRoute::MoveToTop => queue::shift(call, true).await,
        DownloadRoute::MoveToEnd => queue::shift(call, false).await,
        DownloadRoute::Clear => queue::clear(call).await,
        DownloadRoute::Complete => queue::complete(call).await,
        DownloadRoute::Status => queue::status(call).await,
        DownloadRoute::History => queue::history(call).await,
        DownloadRoute::ClearHistory => queue::clear_history(call).await,
        DownloadRoute::DeleteHistory => queue::delete_history(call).await,
        DownloadRoute::Retry => queue::retry(call).await,
        DownloadRoute::RetryAll => queue::retry_all(call).await,
        DownloadRoute::Stats => queue::stats(call).await,
        DownloadRoute::WasDownloaded => versions::status(call).await,
        DownloadRoute::SetDownloaded | DownloadRoute::SetDownloadedGet => versions::set(call).await,
        DownloadRoute::RepoFiles => repositories::files(call).await,
        DownloadRoute::RepoFile => repositories::download(call).await,
        DownloadRoute::SetRepo => repositories::link(call).await,
    }
}

impl From<DownloadError> for ApiError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Plugin(error) => error.into(),
            DownloadError::Folder(error) if error.is_too_long() => error.into(),
            error @ DownloadError::NotReady(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            error if error.is_early_access() => Self::new(StatusCode::UNAUTHORIZED, error.to_string()),
            error => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

/// An id in any of the forms in which clients send one; none when it is absent or empty.
fn id(fields: &Map<String, Value>, name: &str) -> Result<Option<u64>, ApiError> {
    let value = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::Number(number)) => number
            .as_u64()
            .or_else(|| number.as_f64().filter(|value| *value >= 0.0).map(|value| value as u64)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let value = value.ok_or_else(|| ApiError::bad_request(format!("Invalid {name}: Must be an integer")))?;
    Ok(Some(value).filter(|id| *id > 0))
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    match fields.get(name) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// What a body asks for, and under which id.
fn wanted(fields: &Map<String, Value>) -> Result<(String, Wanted), ApiError> {
    let (model_id, version_id) = (id(fields, "model_id")?, id(fields, "model_version_id")?);
    if model_id.is_none() && version_id.is_none() {
        return Err(ApiError::bad_request(
            "Missing required parameter: Please provide either 'model_id' or 'model_version_id'",
        ));
    }
    let wanted = Wanted {
        model_id,
        version_id,
        source: Some(text(fields, "source")).filter(|source| !source.is_empty()),
        file_params: fields.get("file_params").and_then(Value::as_object).cloned(),
        hugging_face: None,
        place: place(fields),
    };
    Ok((download_id(fields), wanted))
}

fn place(fields: &Map<String, Value>) -> Place {
    Place {
        model_root: text(fields, "model_root"),
        relative_path: text(fields, "relative_path"),
        use_default_paths: flag(fields, "use_default_paths"),
        use_save_dir_as_root: flag(fields, "use_save_dir_as_root"),
    }
}

fn download_id(fields: &Map<String, Value>) -> String {
    let given = text(fields, "download_id");
    if given.is_empty() { new_id() } else { given }
}

/// POST `download-model`.
async fn model(call: Call) -> Result<Response, ApiError> {
    let fields = body(&call)?;
    let (id, wanted) = wanted(&fields)?;
    if flag(&fields, "queued") {
        return queue::enqueue(&call, &fields, &wanted, id).await;
    }
    Ok(download(&call, &id, wanted).await)
}

/// GET `download-model-get`.
async fn model_get(call: Call) -> Result<Response, ApiError> {
    call.query
        .require("model_id", "Missing required parameter: Please provide 'model_id'")?;
    let mut fields: Map<String, Value> = call
        .query
        .pairs()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    // What is no JSON is passed over.
    let params = call
        .query
        .get("file_params")
        .and_then(|text| serde_json::from_str(text).ok());
    fields.insert("file_params".into(), params.unwrap_or_default());
    let (id, wanted) = wanted(&fields)?;
    Ok(download(&call, &id, wanted).await)
}

async fn download(call: &Call, id: &str, wanted: Wanted) -> Response {
    let (app, downloads, own) = (call.app.clone(), call.app.downloads.clone(), id.to_owned());
    // It goes on when the client leaves.
    let ended = tokio::spawn(async move { downloads.download(&app, &own, wanted).await }).await;
    match ended {
        Ok(Ok(outcome)) => told(id, &outcome),
        Ok(Err(error)) => failed(id, &error),
        Err(error) => ApiError::internal(error).into_response(),
    }
}

/// How a download ended.
fn told(id: &str, outcome: &Outcome) -> Response {
    match outcome {
        Outcome::Completed(_) => json(&json!({ "success": true, "download_id": id })),
        Outcome::Stopped => json(&json!({ "success": true, "cancelled": true, "download_id": id })),
        Outcome::Skipped(skip) => {
            let mut answer = json!({
                "success": true, "skipped": true, "status": "skipped", "reason": skip.reason, "message": skip.message,
                "file_name": skip.file_name, "download_id": id,
            });
            match &skip.base_model {
                Some(base_model) => answer["base_model"] = base_model.as_str().into(),
                None => answer["model_version_id"] = skip.version_id.into(),
            }
            json(&answer)
        }
        Outcome::Failed(error) => failed(id, error),
    }
}

fn failed(id: &str, error: &DownloadError) -> Response {
    if error.is_early_access() {
        return ApiError::new(StatusCode::UNAUTHORIZED, error.to_string()).into_response();
    }
    let mut answer = json!({ "success": false, "error": error.to_string(), "download_id": id });
    if let Some(reason) = error.reason() {
        answer["reason"] = reason.into();
    }
    if let DownloadError::Transfer(TransferError::WrongHash { kept, .. }) = error {
        answer["kept_as"] = kept.display().to_string().into();
    }
    let mut response = json(&answer);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn asked_for(call: &Call) -> Result<String, ApiError> {
    call.query
        .require("download_id", "Download ID is required")
        .map(str::to_owned)
}

/// GET `cancel-download-get` and `skip-download`.
async fn stop(call: Call, why: Stop) -> Result<Response, ApiError> {
    let id = asked_for(&call)?;
    let (app, downloads) = (call.app.clone(), call.app.downloads.clone());
    let stopped = tokio::spawn(async move { downloads.stop(&app, &id, why).await });
    match stopped.await.map_err(ApiError::internal)? {
        Ok(()) => {
            let word = if why == Stop::Cancel { "cancelled" } else { "skipped" };
            Ok(json(
                &json!({ "success": true, "message": format!("Download {word} successfully") }),
            ))
        }
        Err(ControlError::Ledger(error)) => Err(ApiError::internal(error)),
        Err(error) => Ok(json(&json!({ "success": false, "error": error.to_string() }))),
    }
}

/// GET `pause-download` and `resume-download`.
async fn pause(call: Call, paused: bool) -> Result<Response, ApiError> {
    let id = asked_for(&call)?;
    match call.app.downloads.set_paused(&call.app, &id, paused).await {
        Ok(()) => {
            let word = if paused { "paused" } else { "resumed" };
            Ok(json(
                &json!({ "success": true, "message": format!("Download {word} successfully") }),
            ))
        }
        Err(ControlError::Ledger(error)) => Err(ApiError::internal(error)),
        Err(error) => Err(ApiError::bad_request(error.to_string())),
    }
}

/// GET `download-progress/{download_id}`.
fn progress(call: &Call) -> Result<Response, ApiError> {
    let known = call.app.downloads.board().get(call.param("download_id"));
    let progress = known.ok_or_else(|| ApiError::not_found("Download ID not found"))?;
    Ok(json(&progress.answer()))
}

/// POST `downloads/plan`: the versions of a model, the files of one, and where the chosen one would go. Downloads nothing.
async fn plan(call: Call) -> Result<Response, ApiError> {
    let fields = body(&call)?;
    let (_, wanted) = wanted(&fields)?;
    let app = &call.app;
    let failed = |error: DownloadError| match error {
        DownloadError::Metadata(error) => {
            let status = if error.is_final() {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::BAD_GATEWAY
            };
            ApiError::new(status, error.to_string())
        }
        DownloadError::Type(_) | DownloadError::Outside => ApiError::bad_request(error.to_string()),
        DownloadError::NoFile => ApiError::not_found(error.to_string()),
        error => error.into(),
    };
    let planned = downloads::plan(app, &wanted).await.map_err(failed)?;
    let chosen = &planned.chosen;
    let (service, version, file) = (&chosen.service, &chosen.version, &chosen.file);
    let snapshot = service.library.snapshot();
    let is_here = |id: u64| snapshot.keys().version_id(id).next().is_some();
    let versions = planned.versions.iter().map(|own| {
        let id = id_of(own.get("id"));
        json!({
            "id": id, "name": own.get("name"), "baseModel": own.get("baseModel"), "publishedAt": own.get("publishedAt"),
            "inLibrary": id.is_some_and(is_here),
        })
    });
    let files = objects(version.get("files")).map(|file| {
        json!({
            "id": file.get("id"), "name": file.get("name"), "type": file.get("type"), "sizeKB": file.get("sizeKB"),
            "metadata": file.get("metadata"), "primary": file.get("primary"),
        })
    });
    let roots: Vec<&str> = service.library.roots().iter().map(|root| &*root.wire).collect();
    let wire = |path: &std::path::PathBuf| crate::files::wire_path(path);
    Ok(json(&json!({
        "success": true,
        "model_id": planned.model_id,
        "model_version_id": id_of(version.get("id")),
        "model_name": version.get("model").and_then(|model| model.get("name")),
        "model_type": service.plugin.info().id(),
        "versions": versions.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "file_id": file.get("id"),
        "roots": roots,
        "default_root": planned.default_root.as_ref().and_then(wire),
        "folder": planned.folder.as_ref().and_then(wire),
        "file_name": chosen.name,
    })))
}
