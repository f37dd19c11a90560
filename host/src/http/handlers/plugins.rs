//! What is known of the plugins, and what a person may do with them. Ours.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::json;
use crate::app::App;
use crate::model_types::Off;
use crate::plugins::Plugin;
use crate::plugins::account::Usage;
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
    let entry = wanted_entry(&call)?;
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

/// POST `/api/plugins/{id}/enable`.
pub async fn enable(call: Call) -> Result<Response, ApiError> {
    roster::enable(&call.app, call.param("id")).await?;
    Ok(json(&json!({ "success": true })))
}

/// POST `/api/plugins/{id}/disable`: its routes answer 503, its records stay.
pub async fn disable(call: Call) -> Result<Response, ApiError> {
    roster::disable(&call.app, call.param("id")).await?;
    Ok(json(&json!({ "success": true })))
}

/// Body of `grants`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    remote_host: String,
    granted: bool,
}

/// POST `/api/plugins/{id}/grants`: lets the plugin reach a host that it asks for, or no longer.
pub async fn grant(call: Call) -> Result<Response, ApiError> {
    let wanted: Grant = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("The body can't be used: {error}")))?;
    let plugin = wanted_entry(&call)?.plugin;
    let plugin = plugin.ok_or_else(|| ApiError::not_found("This plugin was never loaded."))?;
    let (id, host) = (plugin.info().id().to_owned(), wanted.remote_host);
    let by_settings = call
        .app
        .settings
        .grants
        .get(&id)
        .is_some_and(|grants| grants.allows(&host));
    if by_settings && !wanted.granted {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("The host {host} is granted in settings.toml, in [plugins.{id}.grants]; take it out there."),
        ));
    }
    if wanted.granted && !plugin.info().descriptor.capabilities.remote_hosts.contains(&host) {
        return Err(ApiError::bad_request(format!(
            "The plugin does not ask for the host {host:?}."
        )));
    }
    let app = call.app.clone();
    blocking(move || app.roster.choices.grant(&id, &host, wanted.granted))
        .await?
        .map_err(SwapError::from)?;
    call.app.hub.broadcast(json!({ "type": "plugins_changed" }).to_string());
    Ok(json(&json!({ "success": true })))
}

/// The plugin that the path names by its id, or by its source where no version of it was ever loaded.
fn wanted_entry(call: &Call) -> Result<Entry, ApiError> {
    let name = call.param("id");
    let entries = call.app.roster.entries();
    let found = entries.iter().find(|entry| entry.id() == Some(name)).or_else(|| {
        let mut unloaded = entries.iter().filter(|entry| entry.id().is_none());
        unloaded.find(|entry| entry.source.to_string() == name)
    });
    found
        .cloned()
        .ok_or_else(|| ApiError::not_found(format!("There is no plugin `{name}`.")))
}

/// `serving`, `starting`, `disabled`, `quarantined`, `building` or `failed`, and why.
fn state(app: &App, entry: &Entry) -> (&'static str, Option<String>) {
    let types = app.types.load();
    let slot = types.iter().find(|slot| Some(slot.info.id()) == entry.id());
    let failed = || entry.failure.as_ref().map(|failure| failure.reason.clone());
    match slot.map(|slot| (slot.off(), slot.service())) {
        Some((Some(Off::Disabled), _)) => ("disabled", None),
        Some((Some(Off::Quarantined(reason)), _)) => ("quarantined", Some(reason.to_string())),
        Some((None, Some(_))) => ("serving", None),
        Some((None, None)) => ("starting", None),
        None if entry.plugin.is_none() && entry.failure.is_none() => ("building", None),
        None => ("failed", failed()),
    }
}

fn shown(app: &App, entry: &Entry) -> Value {
    let (state, reason) = state(app, entry);
    let mut shown = json!({
        "state": state,
        "reason": reason,
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
        ("capabilities", capabilities(app, plugin)),
        ("limits", json!(plugin.account().limits())),
        ("usage", usage(&plugin.account().usage())),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    shown
}

fn capabilities(app: &App, plugin: &Plugin) -> Value {
    let (id, asked) = (plugin.info().id(), &plugin.info().descriptor.capabilities);
    let (grants, settings) = (app.roster.grants(app, id), app.settings.grants.get(id));
    let hosts: Vec<_> = asked
        .remote_hosts
        .iter()
        .map(|host| {
            json!({
                "host": host,
                "granted": grants.allows(host),
                "by_settings": settings.is_some_and(|grants| grants.allows(host)),
            })
        })
        .collect();
    json!({
        "remote_hosts": hosts,
        "private_addresses": grants.private_addresses,
        "kv": asked.kv,
        "events": asked.events,
    })
}

fn usage(usage: &Usage) -> Value {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let exports: Vec<_> = usage
        .calls
        .iter()
        .map(|calls| {
            json!({
                "export": calls.export,
                "calls": calls.calls,
                "failed": calls.failed,
                "median_ms": ms(calls.median),
                "p99_ms": ms(calls.p99),
            })
        })
        .collect();
    json!({
        "calls": usage.calls.iter().map(|calls| calls.calls).sum::<u64>(),
        "exports": exports,
        "traps": usage.traps,
        "limits_reached": usage.limits,
        "last_failure": usage.last_failure.as_ref().map(|last| json!({
            "export": last.export,
            "reason": last.reason,
            "at": seconds(last.at),
        })),
        "running": usage.running,
        "waited": usage.waited,
        "peak_memory_bytes": usage.peak_memory,
        "stored_bytes": usage.stored,
        "requests": usage.requests,
        "requests_in_minute": usage.requests_in_minute,
    })
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl From<SwapError> for ApiError {
    fn from(error: SwapError) -> Self {
        let status = match &error {
            SwapError::Unknown(_) => StatusCode::NOT_FOUND,
            SwapError::Routes(_) | SwapError::PrefixTaken { .. } | SwapError::IdTaken { .. } => StatusCode::CONFLICT,
            SwapError::Load(_) => StatusCode::UNPROCESSABLE_ENTITY,
            SwapError::Library(_) | SwapError::Choices(_) | SwapError::BrokeOff(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}
