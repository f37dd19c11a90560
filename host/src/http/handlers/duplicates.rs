//! Copies of one file, and files of one name.

use std::sync::Arc;

use axum::response::Response;
use serde_json::Value;

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::super::types::TypeService;
use super::json_bytes;
use crate::library::Record;
use crate::library::duplicates::{self as copies, DuplicateFilter};
use crate::library::item;

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
