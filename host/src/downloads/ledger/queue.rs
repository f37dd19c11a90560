//! What is to be downloaded, runs or stands still.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::history::{keep_place, newest};
use super::rows::{HistoryRow, QUEUE, QueueRow};
use super::{Ledger, LedgerError, Place, Start, TakenUp, Which, now};

/// Status of a download whose file arrived.
const COMPLETED: &str = "completed";

impl Ledger {
    /// Puts a download at the end of the queue; one that is there stays as it is. The row; none when a download of this id
    /// came to its end already.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn add(&self, row: &QueueRow) -> Result<Option<QueueRow>, LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            let ended = step
                .query_row(
                    "SELECT 1 FROM history WHERE download_id = ?",
                    [&row.download_id],
                    |_| Ok(()),
                )
                .optional()?;
            if ended.is_some() {
                return Ok(None);
            }
            insert(&step, row)?;
            let added = queued(&step, &row.download_id)?;
            step.commit()?;
            Ok(added)
        })
    }

    /// Has the row of a download ask for what a call asks for: the call is the later word. A download that came to its end
    /// without its file is queued again, and goes on with what arrived of it. `has_arrived` says of one that ended well
    /// whether it brought what the call asks for, and that is still there; else it keeps its row, and this try has another.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn take_up(&self, row: &QueueRow, has_arrived: impl Fn(&HistoryRow) -> bool) -> Result<TakenUp, LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            let id = &row.download_id;
            let before = newest(&step, &Which::Download(id.clone()))?;
            if let Some(before) = before.as_ref().filter(|before| before.status == COMPLETED)
                && has_arrived(before)
            {
                return Ok(TakenUp::Completed(before.file_path.clone().unwrap_or_default()));
            }
            let was_queued = insert(&step, row)? == 0;
            let before = before.filter(|before| before.status != COMPLETED);
            if let Some(before) = &before {
                step.execute("DELETE FROM history WHERE id = ?", [before.id])?;
                keep_place(&step, id, before)?;
            }
            // What the row says of another model is not true any more.
            step.execute(
                "UPDATE queue SET model_name = '', version_name = '', thumbnail_url = ''
                 WHERE download_id = ?1 AND request IS NOT ?4
                    AND (model_id IS NOT ?2 AND ?2 IS NOT NULL OR model_version_id IS NOT ?3 AND ?3 IS NOT NULL)",
                params![id, row.model_id, row.model_version_id, row.request],
            )?;
            step.execute(
                "UPDATE queue SET model_id = ?2, model_version_id = ?3, source = ?4, file_params = ?5, request = ?6
                 WHERE download_id = ?1 AND request IS NOT ?6",
                params![
                    id,
                    row.model_id,
                    row.model_version_id,
                    row.source,
                    row.file_params,
                    row.request
                ],
            )?;
            step.execute("UPDATE queue SET status = 'queued' WHERE download_id = ?", [id])?;
            step.commit()?;
            Ok(TakenUp::Queued {
                is_new: !was_queued && before.is_none(),
            })
        })
    }

    /// Notes that a download begins, unless it is not to.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn start(&self, id: &str) -> Result<Start, LedgerError> {
        self.with(|connection| {
            let started = connection.execute(
                "UPDATE queue SET status = 'downloading', started_at = COALESCE(started_at, ?2)
                 WHERE download_id = ?1 AND status <> 'paused'",
                params![id, now()],
            )?;
            if started > 0 {
                return Ok(Start::Go);
            }
            Ok(match queued(connection, id)? {
                Some(_) => Start::Paused,
                None => Start::Gone,
            })
        })
    }

    /// Where other downloads write, or left what they have; cancelled ones left nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn places_of_others(&self, id: &str) -> Result<Vec<Place>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT written_to, request FROM queue WHERE download_id <> ?1 AND written_to IS NOT NULL
                 UNION ALL
                 SELECT written_to, request FROM history
                 WHERE download_id IS NOT ?1 AND written_to IS NOT NULL AND status NOT IN ('completed', 'canceled')",
            )?;
            let places = query.query_map([id], |row| {
                Ok(Place {
                    path: row.get(0)?,
                    request: row.get(1)?,
                })
            })?;
            places.collect()
        })
    }

    /// The queue, the next one first.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn queue(&self) -> Result<Vec<QueueRow>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(&format!(
                "SELECT {QUEUE} FROM queue ORDER BY priority DESC, added_at, rowid"
            ))?;
            let rows = query.query_map([], QueueRow::of)?;
            rows.collect()
        })
    }

    /// A row of the queue.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn queued(&self, id: &str) -> Result<Option<QueueRow>, LedgerError> {
        self.with(|connection| queued(connection, id))
    }

    /// Takes a download out of the queue; its row, none when it was not there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn remove(&self, id: &str) -> Result<Option<QueueRow>, LedgerError> {
        self.with(|connection| {
            let text = format!("DELETE FROM queue WHERE download_id = ? RETURNING {QUEUE}");
            connection.query_row(&text, [id], QueueRow::of).optional()
        })
    }

    /// Puts a download before all others, or behind them; whether it is in the queue.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn shift(&self, id: &str, first: bool) -> Result<bool, LedgerError> {
        let place = if first {
            "(SELECT COALESCE(MAX(priority), 0) + 1 FROM queue)"
        } else {
            "(SELECT COALESCE(MIN(priority), 0) - 1 FROM queue)"
        };
        let text = format!("UPDATE queue SET priority = {place} WHERE download_id = ?");
        self.with(|connection| Ok(connection.execute(&text, [id])? > 0))
    }

    /// Empties the queue, or takes out what has one status; the rows.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn clear_queue(&self, status: Option<&str>) -> Result<Vec<QueueRow>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(&format!(
                "DELETE FROM queue WHERE ?1 IS NULL OR status = ?1 RETURNING {QUEUE}"
            ))?;
            let rows = query.query_map([status], QueueRow::of)?;
            rows.collect()
        })
    }

    /// Sets a status; whether the download is in the queue.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn set_status(&self, id: &str, status: &str) -> Result<bool, LedgerError> {
        self.with(|connection| {
            let changed = connection.execute(
                "UPDATE queue SET status = ?2,
                    started_at = CASE WHEN ?2 = 'downloading' THEN COALESCE(started_at, ?3) ELSE started_at END,
                    completed_at = CASE WHEN ?2 IN ('completed', 'failed', 'canceled') THEN ?3 ELSE completed_at END
                 WHERE download_id = ?1",
                params![id, status, now()],
            )?;
            Ok(changed > 0)
        })
    }

    /// Notes how far a download is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn set_progress(&self, id: &str, progress: i64, here: i64, total: Option<i64>) -> Result<(), LedgerError> {
        self.with(|connection| {
            let set = "UPDATE queue SET progress = ?2, bytes_downloaded = ?3, total_bytes = ?4 WHERE download_id = ?1";
            connection.execute(set, params![id, progress, here, total])?;
            Ok(())
        })
    }

    /// Notes the preview that a download brings, before it is written, and its NSFW level; none once it is gone.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn set_preview(&self, id: &str, preview: Option<(&Path, i64)>) -> Result<(), LedgerError> {
        let (path, level) = preview.unzip();
        let path = path.and_then(crate::files::wire_path);
        self.with(|connection| {
            let set = "UPDATE queue SET preview_to = ?2, preview_level = ?3 WHERE download_id = ?1";
            connection.execute(set, params![id, path, level.unwrap_or_default()])?;
            Ok(())
        })
    }

    /// Notes what is downloaded, and where to: what was not known when it was queued.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn describe(&self, row: &QueueRow) -> Result<(), LedgerError> {
        self.with(|connection| {
            let set =
                "UPDATE queue SET model_id = COALESCE(model_id, ?2), model_version_id = COALESCE(model_version_id, ?3),
                model_name = CASE model_name WHEN '' THEN ?4 ELSE model_name END,
                version_name = CASE version_name WHEN '' THEN ?5 ELSE version_name END,
                thumbnail_url = CASE thumbnail_url WHEN '' THEN ?6 ELSE thumbnail_url END,
                file_path = ?7, written_to = ?7
                WHERE download_id = ?1";
            connection.execute(
                set,
                params![
                    row.download_id,
                    row.model_id,
                    row.model_version_id,
                    row.model_name,
                    row.version_name,
                    row.thumbnail_url,
                    row.file_path
                ],
            )?;
            Ok(())
        })
    }
}

pub(super) fn queued(connection: &Connection, id: &str) -> rusqlite::Result<Option<QueueRow>> {
    let text = format!("SELECT {QUEUE} FROM queue WHERE download_id = ?");
    connection.query_row(&text, [id], QueueRow::of).optional()
}

pub(super) fn insert(connection: &Connection, row: &QueueRow) -> rusqlite::Result<usize> {
    connection.execute(
        "INSERT OR IGNORE INTO queue (download_id, model_id, model_version_id, model_name, version_name, thumbnail_url, source,
            file_params, added_at, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.download_id,
            row.model_id,
            row.model_version_id,
            row.model_name,
            row.version_name,
            row.thumbnail_url,
            row.source,
            row.file_params,
            now(),
            row.request
        ],
    )
}
