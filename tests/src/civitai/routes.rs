//! The API's routes.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Asked, Inner, Shared, archive, faults};

pub(crate) fn router(shared: Shared) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let mut asked = Asked {
        method: method.to_string(),
        target: uri.to_string(),
        authorization: text(header::AUTHORIZATION).map(str::to_owned),
        tag: text(header::IF_NONE_MATCH).map(str::to_owned),
        user_agent: text(header::USER_AGENT).unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).ok(),
        status: 0,
    };
    let mut inner = shared.lock();
    let mut response = match faults::meet(&mut inner.faults, &asked.target) {
        Some(response) => response,
        None => route(&inner, &uri, &asked),
    };
    // The same question while nothing changed has the same tag.
    if let Some(tag) = response.headers().get(header::ETAG)
        && tag.to_str().ok() == asked.tag.as_deref()
    {
        response = (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.clone())]).into_response();
    }
    asked.status = response.status().as_u16();
    inner.asked.push(asked);
    response
}

/// Whether the request may have what needs a key: the refusal where not.
fn refused(inner: &Inner, asked: &Asked) -> Option<Response> {
    let keys = inner.keys.as_ref()?;
    let given = asked
        .authorization
        .as_deref()
        .and_then(|text| text.strip_prefix("Bearer "));
    let good = given.is_some_and(|given| keys.iter().any(|key| key == given));
    (!good).then(|| (StatusCode::UNAUTHORIZED, Json(json!({ "error": "Unauthorized" }))).into_response())
}

fn route(inner: &Inner, uri: &Uri, asked: &Asked) -> Response {
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let (api, storage) = (inner.api.as_str(), inner.storage.as_str());
    let versions = || {
        let all = inner.models.values();
        all.flat_map(|model| model.versions.iter().map(move |version| (model, version)))
    };
    let query: Vec<(String, String)> = form(uri.query().unwrap_or_default());
    let given = |name: &str| {
        query
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    match parts.as_slice() {
        ["api", "v1", rest @ ..] => {
            if let Some(refusal) = refused(inner, asked) {
                return refusal;
            }
            match rest {
                ["models"] => {
                    let wanted: Option<Vec<u64>> =
                        given("ids").map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect());
                    let user = given("username");
                    let models = inner.models.values();
                    let items: Vec<Value> = models
                        .filter(|model| wanted.as_ref().is_none_or(|wanted| wanted.contains(&model.id)))
                        .filter(|model| user.is_none_or(|user| user == model.creator))
                        .take(100)
                        .map(|model| model.json(api, storage))
                        .collect();
                    tagged(&json!({ "items": items, "metadata": {} }))
                }
                ["models", id] => match id.parse().ok().and_then(|id: u64| inner.models.get(&id)) {
                    Some(model) => tagged(&model.json(api, storage)),
                    None => missing(&format!("No model with id {id}")),
                },
                ["model-versions", "by-hash"] => {
                    let wanted: Vec<String> =
                        asked
                            .body
                            .as_ref()
                            .and_then(Value::as_array)
                            .map_or_else(Vec::new, |list| {
                                list.iter()
                                    .filter_map(|hash| Some(hash.as_str()?.to_lowercase()))
                                    .collect()
                            });
                    if wanted.len() > 100 {
                        let error = json!({ "error": "At most 100 hashes" });
                        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
                    }
                    let found = versions()
                        .filter(|(_, version)| version.files.iter().any(|file| wanted.contains(&file.sha256)));
                    let found: Vec<Value> = found
                        .map(|(model, version)| model.version_json(version, api, storage))
                        .collect();
                    Json(found).into_response()
                }
                ["model-versions", "by-hash", hash] => {
                    let hash = hash.to_lowercase();
                    let mut found =
                        versions().filter(|(_, version)| version.files.iter().any(|file| file.sha256 == hash));
                    match found.next() {
                        Some((model, version)) => tagged(&model.version_json(version, api, storage)),
                        None => missing("Model not found"),
                    }
                }
                ["model-versions", id] => {
                    let id: Option<u64> = id.parse().ok();
                    match versions().find(|(_, version)| Some(version.id) == id) {
                        Some((model, version)) => tagged(&model.version_json(version, api, storage)),
                        None => missing("Model not found"),
                    }
                }
                _ => missing("no such route"),
            }
        }
        ["api", "download", "models", id] => {
            let id: Option<u64> = id.parse().ok();
            let Some((_, version)) = versions().find(|(_, version)| Some(version.id) == id) else {
                return missing("Model not found");
            };
            if let Some(refusal) = refused(inner, asked) {
                return refusal;
            }
            if version.early_access {
                let error = json!({ "error": "Early access", "message": "This asset is in Early Access" });
                return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
            }
            let file = match given("id").and_then(|id| id.parse::<u64>().ok()) {
                Some(id) => version.files.iter().find(|file: &&super::CatalogFile| file.id == id),
                None => version.files.first(),
            };
            file.map_or_else(
                || missing("No such file"),
                |file| {
                    Redirect::temporary(&format!(
                        "{storage}/files/{}/{}?signature={}",
                        file.id,
                        file.name,
                        inner.served.sign()
                    ))
                    .into_response()
                },
            )
        }
        ["archive", "api", rest @ ..] => archive::route(inner, rest, given("modelVersionId")),
        _ => missing("no such route"),
    }
}

/// Pairs of a query string.
fn form(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

pub(crate) fn missing(error: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

/// JSON with a tag of its content.
fn tagged(value: &Value) -> Response {
    let body = value.to_string();
    let tag: String = Sha256::digest(&body)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (
        [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::ETAG, format!("\"{tag}\"")),
        ],
        body,
    )
        .into_response()
}
