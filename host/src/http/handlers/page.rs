//! The page of a type.

use axum::http::header;
use axum::response::Response;
use minijinja::Value;
use serde_json::json;

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::super::pages;
use crate::model_types::TypeService;

/// GET `/{prefix}`.
pub fn page(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let active = call.app.active.load();
    let settings = &active.contract;
    let descriptor = &service.plugin.info().descriptor;
    let types = navigation(call, Some(&descriptor.prefix));
    let language = language(call);
    let label = |own: &str| call.app.pages.label(language.as_deref(), own);
    let sub_types: Vec<_> = descriptor
        .sub_types
        .iter()
        .map(|own| json!({ "id": own.id, "label": label(&own.label) }))
        .collect();
    let facets: Vec<_> = descriptor
        .facets
        .iter()
        .map(|own| json!({ "kind": own.kind, "label": label(&own.label) }))
        .collect();
    let columns: Vec<_> = descriptor
        .columns
        .iter()
        .map(|own| json!({ "field": own.field, "label": label(&own.label) }))
        .collect();
    let values = json!({
        "version": pages::version(),
        "types": types,
        "type": {
            "id": descriptor.id,
            "prefix": descriptor.prefix,
            "display_name": descriptor.display_name,
            "sub_types": sub_types,
            "facets": facets,
            "columns": columns,
        },
        "libraries": call.app.settings.libraries.names().collect::<Vec<_>>(),
        "active_library": active.name,
        "is_initializing": service.library.is_initializing(),
        "settings": {
            "blur_mature_content": settings.flag("blur_mature_content", true),
            "mature_blur_level": settings.blur_level(),
            "show_only_sfw": settings.show_only_sfw(),
            "model_name_display": settings.text("model_name_display", "model_name"),
        },
    });
    render(call, "page.html", values)
}

/// GET `/plugins`.
pub fn plugins(call: &Call) -> Result<Response, ApiError> {
    let active = call.app.active.load();
    let values = json!({
        "version": pages::version(),
        "types": navigation(call, None),
        "libraries": call.app.settings.libraries.names().collect::<Vec<_>>(),
        "active_library": active.name,
    });
    render(call, "plugins.html", values)
}

/// GET `/access`.
pub fn access(call: &Call) -> Result<Response, ApiError> {
    let values = json!({
        "version": pages::version(),
        "types": navigation(call, None),
    });
    render(call, "access.html", values)
}

/// GET `/login`.
pub fn login(call: &Call) -> Result<Response, ApiError> {
    let access = &call.app.access;
    let state = access.state();
    let values = json!({
        // A one-time link still logs in when there is neither.
        "by_password": state.password.is_some(),
    });
    render(call, "login.html", values)
}

/// The types for the navigation.
fn navigation(call: &Call, current: Option<&str>) -> Vec<serde_json::Value> {
    let types = call.app.types.load();
    types
        .iter()
        .map(|slot| {
            json!({
                "id": slot.info.id(),
                "prefix": slot.info.prefix(),
                "display_name": slot.info.descriptor.display_name,
                "current": current == Some(slot.info.prefix()),
            })
        })
        .collect()
}

/// The languages that the person wants: those of the settings, else the browser's.
fn language(call: &Call) -> Option<String> {
    let active = call.app.active.load();
    let accepted = call.headers.get(header::ACCEPT_LANGUAGE);
    let set = active.contract.get("language").and_then(|language| language.as_str());
    set.or(accepted.and_then(|value| value.to_str().ok()))
        .map(str::to_owned)
}

/// A page in the person's language.
fn render(call: &Call, template: &str, values: serde_json::Value) -> Result<Response, ApiError> {
    let language = language(call);
    let values = Value::from(minijinja::value::Serde(values));
    call.app.pages.render(template, language.as_deref(), values)
}
