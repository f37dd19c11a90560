//! Replacing the preview of a model by a file, or by what is at an address.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::editing::{act, body};
use super::json;
use crate::downloads::preview::media;
use crate::files::client_path;
use crate::library::item;
use crate::library::preview;
use crate::library::previewing::{NewPreview, PreviewError};
use crate::model_types::TypeService;

impl From<PreviewError> for ApiError {
    fn from(error: PreviewError) -> Self {
        let status = match &error {
            PreviewError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            PreviewError::Format | PreviewError::Picture(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

/// Fields of the form.
#[derive(Default)]
struct Form {
    file: Option<(Vec<u8>, String)>,
    model: Option<String>,
    level: u32,
}

/// POST `replace-preview`: a form with `preview_file`, `model_path` and `nsfw_level`, in any order. `undo_id` is ours.
pub async fn replace(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let form = form(&call).await?;
    let (bytes, name) = form
        .file
        .ok_or_else(|| ApiError::bad_request("Expected 'preview_file' field"))?;
    let path = form
        .model
        .filter(|path| !path.is_empty())
        .ok_or_else(|| ApiError::bad_request("Expected 'model_path' field"))?;
    set(&call, &service, path, bytes, name, form.level).await
}

/// Reads the form.
async fn form(call: &Call) -> Result<Form, ApiError> {
    let kind = call.headers.get(header::CONTENT_TYPE).cloned();
    let kind = kind.filter(|kind| {
        kind.to_str()
            .is_ok_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"))
    });
    let kind = kind.ok_or_else(|| ApiError::bad_request("multipart/* content type expected"))?;
    let mut request = Request::new(Body::from(call.body.clone()));
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    // The body has been read within its bound already.
    DefaultBodyLimit::disable().apply(&mut request);
    let wrong = |error: &dyn std::fmt::Display| ApiError::bad_request(format!("The form can't be read: {error}"));
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|error| wrong(&error))?;
    let mut form = Form::default();
    while let Some(field) = parts.next_field().await.map_err(|error| wrong(&error))? {
        match field.name().unwrap_or_default() {
            "preview_file" => {
                let name = field.file_name().unwrap_or_default().to_owned();
                let bytes = field.bytes().await.map_err(|error| wrong(&error))?;
                form.file = Some((bytes.into(), name));
            }
            "model_path" => form.model = Some(field.text().await.map_err(|error| wrong(&error))?),
            "nsfw_level" => {
                let text = field.text().await.map_err(|error| wrong(&error))?;
                form.level = text.trim().parse().unwrap_or(0);
            }
            _ => {}
        }
    }
    Ok(form)
}

/// POST `set-preview-from-url` with `model_path`, `image_url` and `nsfw_level`. `undo_id` is ours.
pub async fn from_url(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let body = body(&call)?;
    let text = |key: &str, missing: &str| match body.get(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(ApiError::bad_request(missing)),
    };
    let path = text("model_path", "Model path is required")?;
    let address = text("image_url", "Image URL is required")?;
    let level = body.get("nsfw_level").and_then(Value::as_u64);
    let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(0);
    let is_video = preview::is_video(address.split('?').next().unwrap_or_default());
    let fetched = media(&call.app, &address, is_video).await;
    let fetched = fetched
        .map_err(|error| ApiError::new(StatusCode::BAD_GATEWAY, format!("Failed to download image: {error}")))?;
    set(&call, &service, path, fetched.bytes, fetched.name, level).await
}

async fn set(
    call: &Call,
    service: &Arc<TypeService>,
    path: String,
    bytes: Vec<u8>,
    name: String,
    level: u32,
) -> Result<Response, ApiError> {
    let path = client_path(&path);
    let preview = blocking(move || NewPreview::made_of(bytes, &name)).await??;
    let outcome = act(call, service, move |library, tools| {
        library.set_preview(tools, &path, &preview, level)
    })
    .await?;
    let record = outcome.models.into_iter().find_map(|edited| edited.result.ok()?);
    let (url, level) = record.map_or((String::new(), level), |record| {
        (item::preview_url(&record), record.preview_nsfw_level)
    });
    Ok(json(&json!({
        "success": true, "preview_url": url, "preview_nsfw_level": level, "undo_id": outcome.undo_id,
    })))
}
