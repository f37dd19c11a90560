//! What there is of tags, base models and sub-types, with counts.

use axum::response::Response;
use serde_json::{Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::super::query::Zero;
use super::json;
use crate::library::text::folded;
use crate::model_types::TypeService;

/// Values by count, most frequent first, ties by name; `limit` of them.
fn ranked<'v>(values: impl Iterator<Item = (&'v str, u64)>, limit: usize, name: &str) -> Vec<Value> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    values
        .into_iter()
        .take(limit)
        .map(|(value, count)| json!({ name: value, "count": count }))
        .collect()
}

fn tags(service: &TypeService, keep: impl Fn(&str) -> bool, limit: usize) -> Response {
    let snapshot = service.library.snapshot();
    let counts = snapshot
        .properties()
        .tag_counts
        .iter()
        .map(|(tag, count)| (&**tag, u64::from(*count)));
    json(&json!({ "success": true, "tags": ranked(counts.filter(|(tag, _)| keep(tag)), limit, "tag") }))
}

/// GET `top-tags`.
pub fn top_tags(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    Ok(tags(service, |_| true, call.query.limit(20, 200, Zero::All)?))
}

/// GET `search-tags`.
pub fn search_tags(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let wanted = call.query.get("q").unwrap_or_default().trim();
    let wanted = folded(wanted);
    let zero = if wanted.is_empty() { Zero::Default } else { Zero::All };
    let limit = call.query.limit(20, 200, zero)?;
    Ok(tags(service, |tag| folded(tag).contains(&wanted), limit))
}

/// GET `base-models`.
pub fn base_models(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let limit = call.query.limit(20, 100, Zero::All)?;
    let snapshot = service.library.snapshot();
    let counts = snapshot
        .properties()
        .base_models
        .iter()
        .map(|(name, slots)| (&**name, slots.len()));
    let named = counts.filter(|(name, _)| !name.is_empty());
    Ok(json(
        &json!({ "success": true, "base_models": ranked(named, limit, "name") }),
    ))
}

/// GET `model-types`.
pub fn model_types(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let limit = call.query.limit(20, 100, Zero::Default)?;
    let snapshot = service.library.snapshot();
    let descriptor = &service.plugin.info().descriptor;
    let listed = |name: &str| !descriptor.sub_types_closed || descriptor.sub_types.iter().any(|own| own.id == name);
    let counts = snapshot
        .properties()
        .sub_types
        .iter()
        .map(|(name, slots)| (&**name, slots.len()));
    Ok(json(
        &json!({ "success": true, "model_types": ranked(counts.filter(|(name, _)| listed(name)), limit, "type") }),
    ))
}
