//! The queue and the history.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::super::dispatch::Call;
use super::super::super::error::ApiError;
use super::super::json;
use super::text;
use crate::downloads::ledger::{Ending, Ledger, LedgerError, QueueRow, Which, new_id};
use crate::downloads::{Wanted, params_text};

/// Rows of the history unless another number is asked for, and at most.
const ROWS: (i64, i64) = (50, 500);

async fn ask<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, ApiError> {
    call.app.downloads.in_ledger(work).await.map_err(ApiError::internal)
}

fn required(call: &Call) -> Result<String, ApiError> {
    call.query
        .require("download_id", "download_id is required")
        .map(str::to_owned)
}

fn given(call: &Call, name: &str) -> Option<String> {
    call.query
        .get(name)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

/// A whole number; none when it is not given.
fn number(call: &Call, name: &str) -> Result<Option<i64>, ApiError> {
    match given(call, name) {
        None => Ok(None),
        Some(_) => call.query.integer(name, 0).map(Some),
    }
}

/// GET `downloads/queue`: rows as they are now, also those that run.
pub async fn queue(call: Call) -> Result<Response, ApiError> {
    let (mut rows, stats) = ask(&call, |ledger| Ok((ledger.queue()?, ledger.stats()?))).await?;
    let board = call.app.downloads.board();
    for row in &mut rows {
        if let Some(progress) = board.get(&row.download_id) {
            row.progress = i64::from(progress.percent);
            if let Some(flow) = progress.flow {
                row.bytes_downloaded = flow.here.cast_signed();
                row.total_bytes = flow.total.map(u64::cast_signed);
                row.bytes_per_second = flow.rate;
            }
        }
    }
    Ok(json(&json!({ "success": true, "queue": rows, "stats": stats })))
}

/// GET `downloads/queue/add`.
pub async fn add(call: Call) -> Result<Response, ApiError> {
    let params = match given(&call, "file_params") {
        None => None,
        Some(text) => {
            let value: Value = serde_json::from_str(&text)
                .map_err(|error| ApiError::bad_request(format!("The parameter `file_params` is no JSON: {error}")))?;
            let is_empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
            params_text(&value).filter(|_| !is_empty)
        }
    };
    let row = QueueRow {
        download_id: given(&call, "download_id").unwrap_or_else(new_id),
        model_id: number(&call, "model_id")?,
        model_version_id: number(&call, "model_version_id")?,
        model_name: given(&call, "model_name").unwrap_or_default(),
        version_name: given(&call, "version_name").unwrap_or_default(),
        thumbnail_url: given(&call, "thumbnail_url").unwrap_or_default(),
        source: given(&call, "source"),
        file_params: params,
        ..QueueRow::default()
    };
    let added = ask(&call, move |ledger| ledger.add(&row)).await?;
    call.app.downloads.tell(&call.app);
    let item = added.map_or_else(|| json!({}), |row| json!(row));
    Ok(json(&json!({ "success": true, "item": item })))
}

/// A download that is asked for with `queued`: puts it into the queue and answers at once. Browsers have six connections to
/// a server, so a page can't wait for the end of each of its downloads. However it ends, the history says so.
pub async fn enqueue(
    call: &Call,
    fields: &Map<String, Value>,
    wanted: &Wanted,
    id: String,
) -> Result<Response, ApiError> {
    let mut row = wanted.row(&id);
    // What a client knows already is shown until the provider is asked.
    for (name, own) in [
        ("model_name", &mut row.model_name),
        ("version_name", &mut row.version_name),
    ] {
        let given = text(fields, name);
        if !given.is_empty() {
            *own = given;
        }
    }
    let added = ask(call, move |ledger| ledger.add(&row)).await?;
    call.app.downloads.tell(&call.app);
    Ok(json(
        &json!({ "success": true, "queued": added.is_some(), "download_id": id }),
    ))
}

/// GET `downloads/queue/remove`.
pub async fn remove(call: Call) -> Result<Response, ApiError> {
    let id = required(&call)?;
    let removed = ask(&call, move |ledger| ledger.remove(&id)).await?;
    call.app.downloads.drop_rows(&call.app, removed.as_slice()).await;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": removed.is_some() })))
}

/// GET `downloads/queue/move-to-top` and `move-to-end`.
pub async fn shift(call: Call, first: bool) -> Result<Response, ApiError> {
    let id = required(&call)?;
    let moved = ask(&call, move |ledger| ledger.shift(&id, first)).await?;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": moved })))
}

/// GET `downloads/queue/clear`.
pub async fn clear(call: Call) -> Result<Response, ApiError> {
    let status = given(&call, "status");
    let rows = ask(&call, move |ledger| ledger.clear_queue(status.as_deref())).await?;
    call.app.downloads.drop_rows(&call.app, &rows).await;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": true, "cleared": rows.len() })))
}

/// GET `downloads/queue/complete`: a client has downloaded it by itself.
pub async fn complete(call: Call) -> Result<Response, ApiError> {
    let id = required(&call)?;
    let completed_at = match given(&call, "completed_at") {
        None => None,
        Some(text) => Some(
            text.trim()
                .parse::<f64>()
                .ok()
                .filter(|time| time.is_finite())
                .ok_or_else(|| {
                    ApiError::bad_request(format!("The parameter `completed_at` must be a number, not {text:?}."))
                })?,
        ),
    };
    let ending = Ending {
        status: given(&call, "status").unwrap_or_else(|| "completed".into()),
        error: given(&call, "error"),
        file_path: given(&call, "file_path"),
        // As in the original, what is no number is 0.
        bytes_downloaded: call.query.integer("bytes_downloaded", 0).unwrap_or_default(),
        total_bytes: number(&call, "total_bytes")?,
        completed_at,
    };
    let own = id.clone();
    let row = ask(&call, move |ledger| ledger.finish(&own, &ending)).await?;
    let row = row.ok_or_else(|| ApiError::not_found("Download not found in queue"))?;
    call.app.downloads.drop_job(&id).await;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": true, "item": row })))
}

/// GET `downloads/queue/status`.
pub async fn status(call: Call) -> Result<Response, ApiError> {
    let (Some(id), Some(status)) = (given(&call, "download_id"), given(&call, "status")) else {
        return Err(ApiError::bad_request("download_id and status are required"));
    };
    let changed = ask(&call, move |ledger| ledger.set_status(&id, &status)).await?;
    if !changed {
        return Err(ApiError::not_found("Download not found in queue"));
    }
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": true })))
}

/// GET `downloads/history`.
pub async fn history(call: Call) -> Result<Response, ApiError> {
    let limit = call.query.integer("limit", ROWS.0)?.min(ROWS.1);
    let offset = call.query.integer("offset", 0)?;
    let status = given(&call, "status");
    let (rows, total) = ask(&call, move |ledger| {
        ledger.history(limit, offset.max(0), status.as_deref())
    })
    .await?;
    Ok(json(
        &json!({ "success": true, "items": rows, "total": total, "limit": limit, "offset": offset }),
    ))
}

/// GET `downloads/history/clear`.
pub async fn clear_history(call: Call) -> Result<Response, ApiError> {
    let status = given(&call, "status");
    let cleared = ask(&call, move |ledger| ledger.clear_history(status.as_deref())).await?;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": true, "cleared": cleared })))
}

fn which(call: &Call) -> Result<Which, ApiError> {
    match (given(call, "download_id"), number(call, "id")?) {
        (Some(id), _) => Ok(Which::Download(id)),
        (None, Some(row)) => Ok(Which::Row(row)),
        (None, None) => Err(ApiError::bad_request("id or download_id is required")),
    }
}

/// GET `downloads/history/delete`.
pub async fn delete_history(call: Call) -> Result<Response, ApiError> {
    let which = which(&call)?;
    let deleted = ask(&call, move |ledger| ledger.forget(&which)).await?;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": deleted })))
}

/// GET `downloads/history/retry`.
pub async fn retry(call: Call) -> Result<Response, ApiError> {
    let which = which(&call)?;
    let row = ask(&call, move |ledger| ledger.retry(&which)).await?;
    let row = row.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "History item not found or not retryable"))?;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": true, "item": row })))
}

/// GET `downloads/history/retry-all`.
pub async fn retry_all(call: Call) -> Result<Response, ApiError> {
    let count = ask(&call, Ledger::retry_all).await?;
    call.app.downloads.tell(&call.app);
    Ok(json(&json!({ "success": true, "retry_count": count })))
}

/// GET `downloads/stats`.
pub async fn stats(call: Call) -> Result<Response, ApiError> {
    let stats = ask(&call, Ledger::stats).await?;
    Ok(json(&json!({ "success": true, "stats": stats })))
}
