//! What clients ask of a model that they know by name.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::super::list_query;
use super::json;
use crate::compat::compat;
use crate::library::{item, relative_paths as paths};
use crate::model_types::TypeService;

const MAX_PATHS: i64 = 100;

/// The type's id with a capital, as it starts the contract's sentences.
pub fn capital(service: &TypeService) -> String {
    let id = service.plugin.info().id();
    let mut chars = id.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn name<'c>(call: &'c Call, service: &TypeService) -> Result<&'c str, ApiError> {
    call.query
        .require("name", &format!("{} file name is required", capital(service)))
}

/// GET `get-notes`.
pub fn notes(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let name = name(call, service)?;
    let snapshot = service.library.snapshot();
    let record = snapshot
        .by_name(name)
        .ok_or_else(|| ApiError::not_found(format!("{} not found in cache", capital(service))))?;
    Ok(json(
        &json!({ "success": true, "notes": record.notes, "file_path": record.path }),
    ))
}

/// GET `preview-url`.
pub fn preview_url(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let name = name(call, service)?;
    let snapshot = service.library.snapshot();
    let record = snapshot.by_reference(name);
    let url = record
        .map(|record| item::preview_url(record))
        .filter(|url| !url.is_empty());
    let mut answer = json!({ "success": true, "preview_url": url.unwrap_or_else(|| compat().placeholder_url()) });
    let with_flags = call.query.get("license_flags").is_some_and(|value| {
        ["1", "true", "yes", "on"]
            .iter()
            .any(|yes| value.eq_ignore_ascii_case(yes))
    });
    if with_flags {
        answer["use_new_license_icons"] =
            Value::Bool(call.app.active.load().contract.flag("use_new_license_icons", true));
        if let Some(record) = record.filter(|record| record.remote.has_model && record.remote.model_type.is_some()) {
            answer["license_flags"] = record.license_flags.into();
        }
    }
    Ok(json(&answer))
}

/// GET `civitai-url`.
pub fn civitai_url(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let name = name(call, service)?;
    let missing = || {
        ApiError::not_found(format!(
            "No Civitai data found for the specified {}",
            service.plugin.info().id()
        ))
    };
    let snapshot = service.library.snapshot();
    let record = snapshot.by_reference(name).ok_or_else(missing)?;
    let model_id = record.remote.model_id.filter(|id| *id != 0).ok_or_else(missing)?;
    let version_id = record.remote.id.filter(|id| *id != 0);
    let mut url = format!(
        "https://{}/models/{model_id}",
        call.app.active.load().contract.civitai_host()
    );
    if let Some(version) = version_id {
        url.push_str(&format!("?modelVersionId={version}"));
    }
    let text = |id: u64| id.to_string();
    Ok(json(
        &json!({ "success": true, "civitai_url": url, "model_id": text(model_id), "version_id": version_id.map(text) }),
    ))
}

/// GET `relative-paths`.
pub async fn relative_paths(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let query = &call.query;
    let limit = query.integer("limit", 15)?.clamp(0, MAX_PATHS) as usize;
    let offset = query.integer("offset", 0)?.max(0) as usize;
    let filters = [
        "folder",
        "recursive",
        "base_model",
        "model_type",
        "tag_include",
        "tag_exclude",
        "auto_tag_include",
        "auto_tag_exclude",
        "credit_required",
        "allow_selling_generated_content",
    ];
    let filter = if filters.iter().any(|name| query.get(name).is_some()) {
        let own = service.parse_query(&[], call.asker).await?;
        let mut filter = list_query::filter(query, own, &call.app.active.load().contract);
        // The text is matched against paths here, not against names.
        filter.search = None;
        Some(filter)
    } else {
        None
    };
    let search = query.get("search").unwrap_or_default().to_owned();
    let found =
        blocking(move || paths::find(&service.library.snapshot(), filter.as_ref(), &search, offset, limit)).await?;
    Ok(json(&json!({ "success": true, "relative_paths": found })))
}
