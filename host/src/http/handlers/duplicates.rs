//! Copies of one file, and files of one name.

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::editing::{act, body, failure};
use super::{json, json_bytes};
use crate::cancel::Cancel;
use crate::files::client_path;
use crate::library::Record;
use crate::library::duplicates::{self as copies, DuplicateFilter};
use crate::library::editing::EditError;
use crate::library::item;
use crate::library::linking::{Shared, Sharing};
use crate::model_types::TypeService;

/// Writes `{"success": true, NAME: [{KEY: …, "models": […]}], "count": n}` from listed items.
fn render<'g>(
    name: &str,
    key: &str,
    groups: impl ExactSizeIterator<Item = (String, Vec<&'g Arc<Record>>)>,
    offline: &[bool],
) -> Vec<u8> {
    let count = groups.len();
    let mut out = format!("{{\"success\":true,\"{name}\":[").into_bytes();
    for (index, (value, records)) in groups.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("{{\"{key}\":{},\"models\":[", Value::from(value)).as_bytes());
        for (index, record) in records.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            item::close(
                &mut out,
                record,
                None,
                offline.get(usize::from(record.root)).copied().unwrap_or(false),
            );
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(format!("],\"count\":{count}}}").as_bytes());
    out
}

/// GET `find-duplicates`.
pub async fn duplicates(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let query = &call.query;
    let filter = DuplicateFilter {
        base_models: query.list("base_model"),
        tags_include: query.list("tag_include"),
        tags_exclude: query.list("tag_exclude"),
        sub_types: query
            .list("model_type")
            .into_iter()
            .map(|text| text.to_lowercase())
            .collect(),
        folder: query
            .get("folder")
            .filter(|folder| !folder.is_empty())
            .map(str::to_owned),
        favorites_only: query.flag("favorites_only", false),
    };
    let bytes = blocking(move || {
        let snapshot = service.library.snapshot();
        let groups = copies::duplicates(&snapshot, &filter)
            .into_iter()
            .map(|(hash, records)| (hash.hex(), records));
        render("duplicates", "hash", groups, &service.library.offline())
    });
    Ok(json_bytes(bytes.await?))
}

/// GET `find-filename-conflicts`.
pub async fn conflicts(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let off = service
        .plugin
        .info()
        .descriptor
        .filename_conflicts_off
        .as_ref()
        .is_some_and(|switch| call.app.active.load().contract.text(&switch.key, "") == switch.value);
    let bytes = blocking(move || {
        let snapshot = service.library.snapshot();
        let groups = if off {
            Vec::new()
        } else {
            copies::filename_conflicts(&snapshot)
        };
        let groups = groups.into_iter().map(|(name, records)| (name.to_owned(), records));
        render("conflicts", "filename", groups, &service.library.offline())
    });
    Ok(json_bytes(bytes.await?))
}

/// Most files of one request.
const MAX_FILES: usize = 10_000;

/// Ends blocking work when the client leaves.
struct Leaves(Cancel);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// POST `verify-duplicates`. Ends when the client leaves, and by `cancel-task`.
pub async fn verify(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let paths: Vec<String> = match body(&call)?.get("file_paths") {
        Some(Value::Array(paths)) => paths.iter().filter_map(|path| path.as_str().map(client_path)).collect(),
        _ => Vec::new(),
    };
    if paths.is_empty() || paths.len() > MAX_FILES {
        return Err(ApiError::bad_request(format!(
            "`file_paths` must name between 1 and {MAX_FILES} files."
        )));
    }
    let leaves = Leaves(Cancel::default());
    let cancel = leaves.0.clone();
    let asked = paths.iter().collect::<HashSet<_>>().len();
    let verified = act(&call, &service, move |library, tools| {
        library.verify(tools, &paths, &cancel)
    })
    .await?;
    if verified.cancelled {
        return Err(ApiError::new(StatusCode::CONFLICT, "The verification was cancelled."));
    }
    if let Some(first) = verified.missing.first().filter(|_| verified.missing.len() == asked) {
        return Err(EditError::NotFound(first.clone()).into());
    }
    let files: Vec<&str> = verified.mismatched.iter().map(|(path, _)| path.as_str()).collect();
    let hashes: Map<String, Value> = verified
        .mismatched
        .iter()
        .map(|(path, hash)| {
            let hash = hash.map_or_else(|| "error_calculating_hash".to_owned(), |hash| hash.hex());
            (path.clone(), hash.into())
        })
        .collect();
    Ok(json(&json!({
        "success": true, "verified_as_duplicates": files.is_empty() && verified.missing.is_empty(),
        "mismatched_files": files, "new_hash_map": hashes, "missing_files": verified.missing,
    })))
}

/// Body of `link-duplicates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    keep: String,
    replace: Vec<String>,
    method: Option<Sharing>,
    #[serde(default)]
    dry_run: bool,
}

/// POST `link-duplicates`: copies share the bytes of the one that is kept.
pub async fn link(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let wanted: Link = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("The body can't be used: {error}")))?;
    if wanted.replace.is_empty() || wanted.replace.len() > MAX_FILES {
        return Err(ApiError::bad_request(format!(
            "`replace` must name between 1 and {MAX_FILES} files."
        )));
    }
    let keep = client_path(&wanted.keep);
    let others: Vec<String> = wanted.replace.iter().map(|path| client_path(path)).collect();
    if wanted.dry_run {
        let plan = act(&call, &service, move |library, _| {
            library.plan_link(&keep, &others, wanted.method)
        })
        .await?;
        let results = plan.iter().map(|(path, result)| linked(path, result.as_ref()));
        return Ok(json(&summed(results.collect(), true, None)));
    }
    let leaves = Leaves(Cancel::default());
    let cancel = leaves.0.clone();
    let done = act(&call, &service, move |library, tools| {
        library.link(tools, &keep, &others, wanted.method, &cancel)
    })
    .await?;
    let none = Shared { how: None, bytes: 0 };
    let results = done.outcome.models.iter().zip(&done.shared).map(|(edited, shared)| {
        let result = edited.result.as_ref().map(|_| shared.as_ref().unwrap_or(&none));
        linked(&edited.path, result)
    });
    Ok(json(&summed(results.collect(), false, done.outcome.undo_id)))
}

fn linked(path: &str, result: Result<&Shared, &EditError>) -> Value {
    match result {
        Ok(shared) => {
            let method = shared.how.map_or(json!("already"), |how| json!(how));
            json!({ "file_path": path, "success": true, "method": method, "bytes_saved": shared.bytes })
        }
        Err(error) => failure(path, error),
    }
}

fn summed(results: Vec<Value>, dry_run: bool, undo_id: Option<String>) -> Value {
    let bytes: u64 = results.iter().filter_map(|result| result["bytes_saved"].as_u64()).sum();
    let failed = results.iter().filter(|result| result["success"] == false).count();
    let mut answer = json!({
        "success": failed < results.len(), "bytes_saved": bytes, "success_count": results.len() - failed,
        "failure_count": failed, "results": results,
    });
    if dry_run {
        answer["success"] = true.into();
        answer["dry_run"] = true.into();
    } else {
        answer["undo_id"] = undo_id.into();
        // Whoever only looks at `success` finds the reason where other answers have it.
        if failed == results.len() {
            answer["error"] = results.first().map_or(Value::Null, |result| result["error"].clone());
        }
    }
    answer
}
