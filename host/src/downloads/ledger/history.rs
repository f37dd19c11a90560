//! What came to its end, and trying it again.

use rusqlite::{Connection, OptionalExtension, params};

use super::queue::{insert, queued};
use super::rows::{HISTORY, HistoryRow, QueueRow, Stats};
use super::{Ending, Ledger, LedgerError, Which, new_id, now};

impl Ledger {
    /// Moves a download from the queue to the history; the row as it was in the queue, none when it was not there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn finish(&self, id: &str, ending: &Ending) -> Result<Option<QueueRow>, LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            let Some(row) = queued(&step, id)? else {
                return Ok(None);
            };
            step.execute("DELETE FROM queue WHERE download_id = ?", [id])?;
            step.execute(
                "INSERT INTO history (download_id, model_id, model_version_id, model_name, version_name, thumbnail_url,
                    file_params, status, error, file_path, bytes_downloaded, total_bytes, completed_at, request, written_to,
                    preview_to, preview_level)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    row.download_id,
                    row.model_id,
                    row.model_version_id,
                    row.model_name,
                    row.version_name,
                    row.thumbnail_url,
                    row.file_params,
                    ending.status,
                    ending.error,
                    ending.file_path,
                    ending.bytes_downloaded,
                    ending.total_bytes,
                    ending.completed_at.unwrap_or_else(now),
                    row.request,
                    row.written_to,
                    row.preview_to,
                    row.preview_level
                ],
            )?;
            step.commit()?;
            Ok(Some(row))
        })
    }

    /// A page of the history, newest first, and how many rows there are in all. A limit below 0 is none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn history(
        &self,
        limit: i64,
        offset: i64,
        status: Option<&str>,
    ) -> Result<(Vec<HistoryRow>, i64), LedgerError> {
        self.with(|connection| {
            let wanted = "WHERE ?1 IS NULL OR status = ?1";
            let total = connection.query_row(&format!("SELECT COUNT(*) FROM history {wanted}"), [status], |row| {
                row.get(0)
            })?;
            let mut query = connection.prepare_cached(&format!(
                "SELECT {HISTORY} FROM history {wanted} ORDER BY completed_at DESC, id DESC LIMIT ?2 OFFSET ?3"
            ))?;
            let rows = query.query_map(params![status, limit, offset], HistoryRow::of)?;
            Ok((rows.collect::<rusqlite::Result<_>>()?, total))
        })
    }

    /// A download that came to its end.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn ended(&self, id: &str) -> Result<Option<HistoryRow>, LedgerError> {
        self.with(|connection| newest(connection, &Which::Download(id.to_owned())))
    }

    /// Empties the history, or takes out what has one status; how many rows.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn clear_history(&self, status: Option<&str>) -> Result<usize, LedgerError> {
        self.with(|connection| connection.execute("DELETE FROM history WHERE ?1 IS NULL OR status = ?1", [status]))
    }

    /// Takes a row out of the history; whether it was there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn forget(&self, which: &Which) -> Result<bool, LedgerError> {
        self.with(|connection| {
            let changed = match which {
                Which::Download(id) => connection.execute("DELETE FROM history WHERE download_id = ?", [id])?,
                Which::Row(id) => connection.execute("DELETE FROM history WHERE id = ?", [id])?,
            };
            Ok(changed > 0)
        })
    }

    /// Queues a failed or cancelled download again under a new id, and takes it out of the history; none when there is no
    /// such row.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn retry(&self, which: &Which) -> Result<Option<QueueRow>, LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            let Some(row) = newest(&step, which)? else {
                return Ok(None);
            };
            let again = queue_again(&step, &row)?;
            step.commit()?;
            Ok(again)
        })
    }

    /// As [`retry`](Self::retry), for all; how many.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn retry_all(&self) -> Result<usize, LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            let rows: Vec<HistoryRow> = {
                let mut query = step.prepare(&format!(
                    "SELECT {HISTORY} FROM history WHERE status IN ('failed', 'canceled') ORDER BY id"
                ))?;
                let rows = query.query_map([], HistoryRow::of)?;
                rows.collect::<rusqlite::Result<_>>()?
            };
            for row in &rows {
                queue_again(&step, row)?;
            }
            step.commit()?;
            Ok(rows.len())
        })
    }

    /// Counts by status.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn stats(&self) -> Result<Stats, LedgerError> {
        self.with(|connection| {
            let count = |table: &str, status: &str| {
                let text = format!("SELECT COUNT(*) FROM {table} WHERE status = ?");
                connection.query_row(&text, [status], |row| row.get(0))
            };
            Ok(Stats {
                queued: count("queue", "queued")?,
                downloading: count("queue", "downloading")?,
                paused: count("queue", "paused")?,
                completed: count("history", "completed")?,
                failed: count("history", "failed")?,
                canceled: count("history", "canceled")?,
            })
        })
    }
}

/// The row; of several tries of one id the last.
pub(super) fn newest(connection: &Connection, which: &Which) -> rusqlite::Result<Option<HistoryRow>> {
    let select = |by: &str| format!("SELECT {HISTORY} FROM history WHERE {by} = ? ORDER BY history.id DESC LIMIT 1");
    let found = match which {
        Which::Download(id) => connection.query_row(&select("download_id"), [id], HistoryRow::of),
        Which::Row(id) => connection.query_row(&select("id"), [id], HistoryRow::of),
    };
    found.optional()
}

fn queue_again(connection: &Connection, row: &HistoryRow) -> rusqlite::Result<Option<QueueRow>> {
    if !["failed", "canceled"].contains(&row.status.as_str()) {
        return Ok(None);
    }
    let again = QueueRow {
        download_id: new_id(),
        model_id: row.model_id,
        model_version_id: row.model_version_id,
        model_name: row.model_name.clone(),
        version_name: row.version_name.clone(),
        thumbnail_url: row.thumbnail_url.clone(),
        source: Some("retry".into()),
        file_params: row.file_params.clone(),
        request: row.request.clone(),
        ..QueueRow::default()
    };
    insert(connection, &again)?;
    keep_place(connection, &again.download_id, row)?;
    connection.execute("DELETE FROM history WHERE id = ?", [row.id])?;
    queued(connection, &again.download_id)
}

/// Notes where the try before wrote: what has arrived is there.
pub(super) fn keep_place(connection: &Connection, id: &str, before: &HistoryRow) -> rusqlite::Result<()> {
    let set = "UPDATE queue SET written_to = ?2, preview_to = ?3, preview_level = ?4 WHERE download_id = ?1";
    let place = params![id, before.written_to, before.preview_to, before.preview_level];
    connection.execute(set, place).map(drop)
}
