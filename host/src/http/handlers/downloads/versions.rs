//! Whether a version was ever here, and saying so. Source: contract section 6.2 and appendix A.

use std::collections::HashMap;

use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::super::dispatch::Call;
use super::super::super::error::ApiError;
use super::super::editing::body;
use super::super::json;
use crate::model_types::TypeService;

/// The type that a client names: by its id, or by what a provider calls it.
fn type_named(call: &Call, name: &str) -> Result<String, ApiError> {
    let name = name.trim().to_lowercase();
    let types = call.app.types.load();
    let is_meant = |info: &crate::plugins::TypeInfo| info.id() == name || info.descriptor.remote_types.contains(&name);
    let slot = types.iter().find(|slot| is_meant(&slot.info));
    slot.map(|slot| slot.info.id().to_owned())
        .ok_or_else(|| ApiError::bad_request("Parameter modelType is required"))
}

fn version(text: &str) -> Result<i64, ApiError> {
    let number = text.trim().parse();
    number.map_err(|_| ApiError::bad_request("Parameter modelVersionId must be an integer"))
}

/// Which of these versions count as downloaded, as far as that is noted.
///
/// # Errors
/// When the ledger can't be read.
pub async fn words_on(call: &Call, service: &TypeService, versions: Vec<u64>) -> Result<HashMap<u64, bool>, ApiError> {
    let id = service.plugin.info().id().to_owned();
    let asked = call
        .app
        .downloads
        .in_ledger(move |ledger| ledger.words_on(&id, versions.into_iter()));
    asked.await.map_err(ApiError::internal)
}

/// GET `model-version-download-status`.
pub async fn status(call: Call) -> Result<Response, ApiError> {
    let model_type = type_named(&call, call.query.get("modelType").unwrap_or_default())?;
    let version = version(
        call.query
            .require("modelVersionId", "Missing required parameter: modelVersionId")?,
    )?;
    let own = model_type.clone();
    let downloaded = match u64::try_from(version) {
        Ok(version) => call
            .app
            .downloads
            .in_ledger(move |ledger| ledger.was_downloaded(&own, version))
            .await
            .map_err(ApiError::internal)?,
        Err(_) => false,
    };
    Ok(told(&model_type, version, downloaded))
}

/// POST `model-version-download-status` and GET `set-model-version-download-status`.
pub async fn set(call: Call) -> Result<Response, ApiError> {
    let fields: Map<String, Value> = if call.method == Method::POST {
        body(&call)?
    } else {
        let pairs = call.query.pairs().iter();
        pairs
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect()
    };
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    };
    let model_type = type_named(&call, &text("modelType"))?;
    let version = version(&text("modelVersionId"))?;
    let downloaded = match text("downloaded").trim().to_lowercase().as_str() {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => return Err(ApiError::bad_request("Parameter downloaded must be a boolean")),
    };
    let id =
        u64::try_from(version).map_err(|_| ApiError::bad_request("Parameter modelVersionId must be an integer"))?;
    let model = text("modelId").trim().parse().ok();
    let own = model_type.clone();
    let noted = call.app.downloads.in_ledger(move |ledger| {
        if downloaded {
            ledger.note_downloaded(&own, &[(id, model)], "manual")
        } else {
            ledger.note_not_downloaded(&own, id)
        }
    });
    noted.await.map_err(ApiError::internal)?;
    Ok(told(&model_type, version, downloaded))
}

fn told(model_type: &str, version: i64, downloaded: bool) -> Response {
    json(&json!({
        "success": true, "modelType": model_type, "modelVersionId": version, "hasBeenDownloaded": downloaded,
    }))
}
