//! The hashing service: what it does, pausing it, and asking for hashes.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::json;
use crate::library::hashing::HashingStatus;
use crate::model_types::TypeService;

#[derive(Serialize)]
struct Status {
    success: bool,
    #[serde(flatten)]
    status: HashingStatus,
    content_bytes_read: u64,
}

/// GET `hashing`.
pub fn status(call: &Call) -> Response {
    json(&Status {
        success: true,
        status: call.app.hashing.status(),
        content_bytes_read: crate::metrics::content_bytes(),
    })
}

/// POST `hashing/pause` and `hashing/resume`; both answer as `hashing` does.
pub async fn pause(call: Call, paused: bool) -> Result<Response, ApiError> {
    let hashing = call.app.hashing.clone();
    blocking(move || if paused { hashing.pause() } else { hashing.resume() }).await?;
    Ok(status(&call))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    file_paths: Option<Vec<String>>,
}

/// POST `hash`: asks for the hashes of the named models, or of all, where they are missing.
pub async fn hash(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let wanted: Wanted = if call.body.is_empty() {
        Wanted::default()
    } else {
        serde_json::from_slice(&call.body)
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, format!("The body can't be used: {error}")))?
    };
    let queued = blocking(move || {
        service
            .library
            .want_hashes(&service.plugin, wanted.file_paths.as_deref())
    })
    .await?;
    Ok(json(&json!({ "success": true, "queued": queued })))
}
