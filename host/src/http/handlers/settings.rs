//! Settings: shown without secrets, and changed.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::common::{default_roots, without_secrets};
use super::editing::body;
use super::json;
use crate::app::App;
use crate::providers::{Options, ProviderError};
use crate::settings::{ActiveLibrary, SettingsError};

/// What only files and the command line can say: it decides what is open.
const FIXED: [&str; 4] = ["folder_paths", "extra_folder_paths", "libraries", "active_library"];
/// Lists, which clients also send as one text.
const LISTS: [&str; 3] = [
    "auto_organize_exclusions",
    "download_skip_base_models",
    "metadata_refresh_skip_paths",
];
/// Levels from which pages can blur. Source: contract section 4.9.
const BLUR_LEVELS: [&str; 4] = ["PG13", "R", "X", "XXX"];

/// GET `/api/lm/settings`: the contract's keys with their defaults, without secrets.
pub fn settings(call: &Call) -> Response {
    let active = call.app.active.load();
    let contract = &active.contract;
    let mut shown = contract.with_defaults();
    for key in LISTS {
        shown.insert(key.into(), contract.list(key).into());
    }
    // These have routes of their own.
    shown.retain(|key, _| !["folder_paths", "libraries", "active_library"].contains(&key.as_str()));
    without_secrets(&mut shown);
    let types = call.app.types.load();
    for slot in types.iter() {
        for (setting, root) in default_roots(call, slot) {
            shown.insert(setting, Value::from(root));
        }
    }
    let priority: Map<String, Value> = types
        .iter()
        .map(|slot| {
            (
                slot.info.id().to_owned(),
                Value::from(contract.priority_tags(slot.info.id())),
            )
        })
        .collect();
    shown.insert("priority_tags".into(), Value::Object(priority));
    for key in ["civitai_api_key", "llm_api_key", "proxy_password"] {
        shown.insert(format!("{key}_set"), Value::Bool(!contract.text(key, "").is_empty()));
    }
    let file = call.app.settings.sources.last().map(|path| path.display().to_string());
    shown.insert("settings_file".into(), file.map_or(Value::Null, Value::from));
    json(&json!({ "success": true, "settings": shown, "messages": [] }))
}

/// Why settings are not changed.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// POST `/api/lm/settings`: any keys, within the bounds of [`crate::settings::ChangedSettings`], else 400. What can't be used is answered with 200 and `success: false`, as clients know it,
/// and nothing is changed then.
pub async fn change(call: Call) -> Result<Response, ApiError> {
    let mut changes = body(&call)?;
    changes.retain(|key, _| !key.ends_with("_set") && key != "settings_file");
    let refused = |error: String| Ok(json(&json!({ "success": false, "error": error })));
    if let Some(key) = FIXED.iter().find(|key| changes.contains_key(**key)) {
        return refused(format!(
            "`{key}` can't be changed here: set it in settings.toml and start the server again."
        ));
    }
    if let Some(level) = changes.get_mut("mature_blur_level")
        && !level.as_str().is_some_and(|level| BLUR_LEVELS.contains(&level))
    {
        *level = "R".into();
    }
    let app = call.app.clone();
    if let Some(path) = relative_path(&changes) {
        return refused(format!(
            "`example_images_path` must be a path from the root of the disk on, and is {path:?}."
        ));
    }
    let done = blocking(move || apply(&app, &changes));
    match done.await? {
        Ok(()) => {
            tell(&call.app);
            Ok(json(&json!({ "success": true })))
        }
        Err(ChangeError::Settings(error @ SettingsError::TooMuch { .. })) => {
            Err(ApiError::bad_request(error.to_string()))
        }
        Err(error) => refused(error.to_string()),
    }
}

/// A folder that a change names and that depends on where the server was started. Whether it is there is not told: the
/// answer would tell whether any path of the disk exists.
fn relative_path(changes: &Map<String, Value>) -> Option<&str> {
    let path = changes.get("example_images_path")?.as_str()?;
    (!path.is_empty() && !std::path::Path::new(path).is_absolute()).then_some(path)
}

/// Switches a setting of the contract on or off. Blocks.
///
/// # Errors
/// Why it can't be kept.
pub fn switch(app: &App, key: &str, on: bool) -> Result<(), ApiError> {
    let changes = Map::from_iter([(key.to_owned(), Value::Bool(on))]);
    apply(app, &changes).map_err(ApiError::internal)?;
    tell(app);
    Ok(())
}

fn tell(app: &App) {
    app.hub.broadcast(json!({ "type": "settings_changed" }).to_string());
}

/// Brings changes into force. Requests on their way end with the settings that they began with.
fn apply(app: &App, changes: &Map<String, Value>) -> Result<(), ChangeError> {
    // A switch to another library must not bring older settings back.
    let _turn = app.switching.blocking_lock();
    let libraries = &app.settings.libraries;
    let name = app.active.load().name.clone();
    let mut next = None;
    let configure = |active: &ActiveLibrary| {
        // What could not be used before does not keep other settings from being changed.
        let is_about_it = changes
            .keys()
            .any(|key| key == "civitai_api_key" || key.starts_with("proxy_"));
        let (own, data) = (&app.settings.providers, &app.settings.data_folder);
        let options = match is_about_it {
            true => Options::new(own, &active.contract, data)?,
            false => Options::usable(own, &active.contract, data)?.0,
        };
        app.providers.configure(options)
    };
    let done = libraries.changed().change(&name, changes, || {
        let active = libraries
            .get(&name)
            .ok_or_else(|| ProviderError::Settings("the active library is gone".into()))?;
        configure(&active)?;
        next = Some(active);
        Ok::<(), ChangeError>(())
    });
    match (&done, next) {
        (Ok(()), Some(active)) => app.active.store(std::sync::Arc::new(active)),
        // Nothing is kept, so nothing is in force.
        _ => {
            let (own, data) = (&app.settings.providers, &app.settings.data_folder);
            let options = Options::usable(own, &app.active.load().contract, data)?.0;
            app.providers.configure(options)?;
        }
    }
    done
}
