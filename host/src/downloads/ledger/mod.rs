//! What is to be downloaded, what was, and which versions ever were: `downloads.sqlite` in the data folder.
//!
//! All of it blocks. Every change is on the disk when its function returns.

mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

use rows::{HISTORY, QUEUE};
pub use rows::{HistoryRow, QueueRow, Stats};

/// Name of the file.
const FILE: &str = "downloads.sqlite";

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be used: {source}. Mend the data folder's disk, or move the file away to begin with an empty queue and history", path.display())]
pub struct LedgerError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: rusqlite::Error,
}

/// How a download ended.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// `completed`, `failed`, `canceled`, `skipped`, or what a client wrote.
    pub status: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Where it lies.
    pub file_path: Option<String>,
    /// Bytes that came.
    pub bytes_downloaded: i64,
    /// Bytes of the whole.
    pub total_bytes: Option<i64>,
    /// Seconds since 1970; now without it.
    pub completed_at: Option<f64>,
}

/// A row by one of its two names.
#[derive(Debug, Clone)]
pub enum Which {
    /// The download's id.
    Download(String),
    /// Number of the row.
    Row(i64),
}

/// The file.
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the file, made where there is none. What ran when the server ended is queued again.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn open(data_folder: &Path) -> Result<Self, LedgerError> {
        let path = data_folder.join(FILE);
        let open = || {
            let mut connection = Connection::open(&path)?;
            schema::bring_forward(&mut connection)?;
            connection.execute(
                "UPDATE queue SET status = 'queued' WHERE status IN ('downloading', 'waiting')",
                [],
            )?;
            // One row for each file of a version; of several, the one that arrived.
            connection.execute(
                "DELETE FROM history WHERE id NOT IN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER (
                    PARTITION BY model_id, model_version_id, CASE WHEN json_valid(file_params) THEN json_extract(file_params, '$.id') END
                    ORDER BY CASE status WHEN 'completed' THEN 0 WHEN 'failed' THEN 1 ELSE 2 END, completed_at DESC, id DESC
                ) AS place FROM history) WHERE place = 1) AND model_version_id IS NOT NULL",
                [],
            )?;
            Ok(connection)
        };
        let connection = open().map_err(|source| LedgerError {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            connection: Mutex::new(connection),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let mut connection: MutexGuard<'_, Connection> = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|source| LedgerError {
            path: self.path.clone(),
            source,
        })
    }

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

    /// A download that came to its end.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn ended(&self, id: &str) -> Result<Option<HistoryRow>, LedgerError> {
        self.with(|connection| ended(connection, &Which::Download(id.to_owned())))
    }

    /// Takes a download out of the queue; whether it was there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn remove(&self, id: &str) -> Result<bool, LedgerError> {
        self.with(|connection| Ok(connection.execute("DELETE FROM queue WHERE download_id = ?", [id])? > 0))
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

    /// Empties the queue, or takes out what has one status; the ids.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn clear_queue(&self, status: Option<&str>) -> Result<Vec<String>, LedgerError> {
        self.with(|connection| {
            let mut query =
                connection.prepare_cached("DELETE FROM queue WHERE ?1 IS NULL OR status = ?1 RETURNING download_id")?;
            let ids = query.query_map([status], |row| row.get(0))?;
            ids.collect()
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
                thumbnail_url = CASE thumbnail_url WHEN '' THEN ?6 ELSE thumbnail_url END, file_path = ?7
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
                "INSERT OR IGNORE INTO history (download_id, model_id, model_version_id, model_name, version_name, thumbnail_url,
                    file_params, status, error, file_path, bytes_downloaded, total_bytes, completed_at, request)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                    row.request
                ],
            )?;
            step.commit()?;
            Ok(Some(row))
        })
    }

    /// A page of the history, newest first, and how many rows there are in all.
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
            let Some(row) = ended(&step, which)? else {
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

    /// Remembers versions of a type that are or were here, each with its model. `source` is `download`, `scan` or `manual`.
    /// A download makes undone what a person said; a scan does not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn note_downloaded(
        &self,
        model_type: &str,
        versions: &[(u64, Option<u64>)],
        source: &str,
    ) -> Result<(), LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            {
                let mut insert = step.prepare_cached(
                    "INSERT INTO downloaded_versions (model_type, version_id, model_id, source, noted_at) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET model_id = COALESCE(excluded.model_id, model_id),
                        is_deleted_override = CASE excluded.source WHEN 'scan' THEN is_deleted_override ELSE 0 END",
                )?;
                for (version, model) in versions {
                    insert.execute(params![model_type, version.cast_signed(), model.map(u64::cast_signed), source, now()])?;
                }
            }
            step.commit()
        })
    }

    /// Notes that a version counts as not downloaded, whatever was seen of it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn note_not_downloaded(&self, model_type: &str, version: u64) -> Result<(), LedgerError> {
        self.with(|connection| {
            connection.execute(
                "INSERT INTO downloaded_versions (model_type, version_id, source, noted_at, is_deleted_override) VALUES (?1, ?2, 'manual', ?3, 1)
                 ON CONFLICT DO UPDATE SET is_deleted_override = 1",
                params![model_type, version.cast_signed(), now()],
            )?;
            Ok(())
        })
    }

    /// Whether a version was ever here.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn was_downloaded(&self, model_type: &str, version: u64) -> Result<bool, LedgerError> {
        self.with(|connection| {
            let text =
                "SELECT 1 FROM downloaded_versions WHERE model_type = ? AND version_id = ? AND NOT is_deleted_override";
            let found = connection.query_row(text, params![model_type, version.cast_signed()], |_| Ok(()));
            Ok(found.optional()?.is_some())
        })
    }

    /// Versions of a model that were ever here: their types and ids.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn downloaded_of(&self, model: u64) -> Result<Vec<(String, u64)>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT model_type, version_id FROM downloaded_versions WHERE model_id = ? AND NOT is_deleted_override ORDER BY version_id DESC",
            )?;
            let rows = query.query_map([model.cast_signed()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            rows.collect()
        })
    }

    /// All versions of a type that were ever noted.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn noted(&self, model_type: &str) -> Result<Vec<u64>, LedgerError> {
        self.with(|connection| {
            let mut query =
                connection.prepare_cached("SELECT version_id FROM downloaded_versions WHERE model_type = ?")?;
            let rows = query.query_map([model_type], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?;
            rows.collect()
        })
    }
}

fn queued(connection: &Connection, id: &str) -> rusqlite::Result<Option<QueueRow>> {
    let text = format!("SELECT {QUEUE} FROM queue WHERE download_id = ?");
    connection.query_row(&text, [id], QueueRow::of).optional()
}

fn ended(connection: &Connection, which: &Which) -> rusqlite::Result<Option<HistoryRow>> {
    match which {
        Which::Download(id) => connection
            .query_row(
                &format!("SELECT {HISTORY} FROM history WHERE download_id = ?"),
                [id],
                HistoryRow::of,
            )
            .optional(),
        Which::Row(id) => connection
            .query_row(
                &format!("SELECT {HISTORY} FROM history WHERE id = ?"),
                [id],
                HistoryRow::of,
            )
            .optional(),
    }
}

fn insert(connection: &Connection, row: &QueueRow) -> rusqlite::Result<usize> {
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
    // Where the first try wrote: what has arrived is there.
    let place = "UPDATE queue SET file_path = ?2 WHERE download_id = ?1";
    connection.execute(place, params![again.download_id, row.file_path])?;
    connection.execute("DELETE FROM history WHERE id = ?", [row.id])?;
    queued(connection, &again.download_id)
}

/// A new id of a download: a random UUID.
pub fn new_id() -> String {
    let random: u128 = rand::random();
    let hex = format!(
        "{:032x}",
        (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    );
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
