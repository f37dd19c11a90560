//! The routes that plugins added.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use crate::access::Scope;
use crate::model_types::TypeService;
use crate::plugins::bindings::GuestRequest;
use crate::plugins::imports::{LibraryView, Reach};

/// Pair that the host adds to every query: randomness for a guest that has none of its own.
const SEED: &str = "_seed";

/// Content types that plugins may answer with; any other becomes plain text.
const SERVED: [&str; 9] = [
    "application/json",
    "text/plain",
    "text/csv",
    "application/octet-stream",
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "video/mp4",
];

/// Hands a request to the plugin.
pub async fn handle(handler: String, call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let mut query: Vec<_> = call
        .query
        .pairs()
        .iter()
        .filter(|(name, _)| name != SEED)
        .cloned()
        .collect();
    query.push((SEED.to_owned(), rand::random::<u64>().to_string()));
    let identity = call.caller.identity.as_ref();
    let may_edit = call.effects.write && identity.is_some_and(|identity| identity.scopes.allows(Scope::Write));
    let content_type = call
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let request = GuestRequest {
        method: call.method.to_string(),
        path: call.path,
        path_params: call.params,
        query,
        content_type: content_type.split(';').next().unwrap_or_default().trim().to_lowercase(),
        body: call.body.to_vec(),
    };
    let view = LibraryView::of(&service.library);
    let roster = &call.app.roster;
    let reach = Reach::request(
        &service.plugin,
        view,
        service.settings.clone(),
        roster.outside.clone(),
        roster.grants(&call.app, service.plugin.info().id()),
        may_edit,
    );
    let answer = service.plugin.handle(handler, request, reach, call.asker).await?;
    let status = StatusCode::from_u16(answer.status)
        .ok()
        .filter(|status| status.as_u16() >= 200 && status.as_u16() < 600);
    let status = status.ok_or_else(|| ApiError::internal(format!("plugin answered with status {}", answer.status)))?;
    // A page or a script of a plugin's own could do whatever our pages can.
    let essence = answer
        .content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    let content_type = SERVED
        .iter()
        .find(|served| **served == essence)
        .unwrap_or(&"text/plain");
    let content_type = match *content_type {
        text @ ("text/plain" | "text/csv" | "application/json") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    Ok((status, headers, answer.body).into_response())
}
