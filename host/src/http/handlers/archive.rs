//! The archive of metadata on this machine: downloading it, removing it, and what there is of it. Source: contract appendix A.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::{json, settings};
use crate::use_cases::metadata_archive::{self, ArchiveError};

/// The setting that says whether it is asked.
const SETTING: &str = "enable_metadata_archive_db";

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        let status = match error {
            ArchiveError::Busy | ArchiveError::Own(_) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// POST `download-metadata-archive`: answers when it is there, and is asked from then on. It goes on when the client leaves.
/// With `download_id` progress goes to that download's socket, else to all.
pub async fn download(call: Call) -> Result<Response, ApiError> {
    let id = call
        .query
        .get("download_id")
        .filter(|id| !id.is_empty())
        .map(str::to_owned);
    let app = call.app.clone();
    let work = async move {
        let tell = |stage: &str, message: &str| {
            let told = json!({ "type": "metadata_archive_download", "stage": stage, "message": message }).to_string();
            match &id {
                Some(id) => app.downloads.board().send(id, told),
                None => app.hub.broadcast(told),
            }
        };
        metadata_archive::bring(&app, tell).await?;
        blocking(move || settings::switch(&app, SETTING, true)).await?
    };
    tokio::spawn(work).await.map_err(ApiError::internal)??;
    Ok(json(&json!({
        "success": true, "message": "Metadata archive database downloaded and extracted successfully",
    })))
}

/// POST `remove-metadata-archive`.
pub async fn remove(call: Call) -> Result<Response, ApiError> {
    metadata_archive::remove(&call.app).await?;
    let app = call.app.clone();
    blocking(move || settings::switch(&app, SETTING, false)).await??;
    Ok(json(
        &json!({ "success": true, "message": "Metadata archive database removed successfully" }),
    ))
}

/// GET `metadata-archive-status`.
pub async fn state(call: Call) -> Result<Response, ApiError> {
    let app = call.app.clone();
    let found = blocking(move || metadata_archive::find(&app)).await?;
    let is_enabled = call.app.active.load().contract.flag(SETTING, false);
    let path = found.as_ref().and_then(|(path, _)| crate::files::wire_path(path));
    Ok(json(&json!({
        "success": true,
        "isAvailable": found.is_some(),
        "isEnabled": is_enabled,
        "databaseSize": found.as_ref().map_or(0, |(_, size)| *size),
        "databasePath": path,
    })))
}
