//! What is known of the plugins, and what a person may do with them. Ours.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::app::App;
use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::json;
use crate::roster::{self, Entry, Source, SwapError};

/// GET `/api/plugins`.
pub fn list(call: &Call) -> Response {
    let plugins: Vec<_> = call
        .app
        .roster
        .entries()
        .iter()
        .map(|entry| shown(&call.app, entry))
        .collect();
    json(&json!({ "success": true, "plugins": plugins }))
}

/// POST `/api/plugins/{id}/reload`: reads the component again and has it take the place of the one that runs.
pub async fn reload(call: Call) -> Result<Response, ApiError> {
    let entry = wanted(&call)?;
    let wasm = match entry.source.read().await {
        Ok(wasm) => wasm,
        Err(error) => {
            call.app
                .roster
                .note_failure(&call.app, &entry.source, error.to_string());
            return Err(SwapError::from(error).into());
        }
    };
    let swapped = roster::replace(&call.app, &entry.source, &wasm).await?;
    Ok(json(&json!({
        "success": true,
        "id": swapped.id,
        "digest": swapped.digest,
        "ms": swapped.took.as_secs_f64() * 1e3,
    })))
}

/// The plugin that the path names by its id, or by its source where no version of it was ever loaded.
fn wanted(call: &Call) -> Result<Entry, ApiError> {
    let name = call.param("id");
    let entries = call.app.roster.entries();
    let found = entries.iter().find(|entry| entry.id() == Some(name)).or_else(|| {
        entries
            .iter()
            .find(|entry| entry.id().is_none() && entry.source.to_string() == name)
    });
    found
        .cloned()
        .ok_or_else(|| ApiError::not_found(format!("There is no plugin `{name}`.")))
}

fn shown(app: &App, entry: &Entry) -> Value {
    let types = app.types.load();
    let slot = types.iter().find(|slot| Some(slot.info.id()) == entry.id());
    let state = match slot {
        Some(slot) if slot.service().is_some() => "serving",
        Some(_) => "starting",
        None => "failed",
    };
    let mut shown = json!({
        "state": state,
        "source": entry.source.to_string(),
        "built_in": matches!(entry.source, Source::BuiltIn(_)),
        "failure": entry.failure.as_ref().map(|failure| json!({
            "reason": failure.reason,
            "at": seconds(failure.at),
        })),
    });
    let (Some(plugin), Value::Object(fields)) = (&entry.plugin, &mut shown) else {
        return shown;
    };
    let descriptor = &plugin.info().descriptor;
    let routes: Vec<_> = plugin
        .routes()
        .iter()
        .map(|wish| json!({ "method": wish.method, "path": wish.template.replacen("{prefix}", &descriptor.prefix, 1) }))
        .collect();
    let more = [
        ("id", json!(descriptor.id)),
        ("prefix", json!(descriptor.prefix)),
        ("display_name", json!(descriptor.display_name)),
        ("version", json!(descriptor.version)),
        ("digest", json!(plugin.digest())),
        ("loaded_at", json!(entry.loaded.map(seconds))),
        ("routes", json!(routes)),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    shown
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl From<SwapError> for ApiError {
    fn from(error: SwapError) -> Self {
        let status = match &error {
            SwapError::Routes(_) | SwapError::PrefixTaken { .. } => StatusCode::CONFLICT,
            SwapError::Load(_) => StatusCode::UNPROCESSABLE_ENTITY,
            SwapError::Library(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}
