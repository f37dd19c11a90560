//! What is to be downloaded, what was, and which versions ever were: `downloads.sqlite` in the data folder.
//!
//! All of it blocks. Every change is on the disk when its function returns.

mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

use rows::{HISTORY, QUEUE};
pub use rows::{HistoryRow, QueueRow, Stats};

use crate::library::store::{is_broken, put_aside};

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

/// What a call for a download finds.
#[derive(Debug, Clone, PartialEq)]
pub enum TakenUp {
    /// Its row is in the queue, and asks for what the call does.
    Queued,
    /// It arrived before, at this path.
    Completed(String),
}

/// Whether a download may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It is noted as begun.
    Go,
    /// Somebody has it stand still.
    Paused,
    /// Its row left the queue.
    Gone,
}

/// Where another download writes, or left what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of its file.
    pub path: String,
    /// All that was asked for, as JSON text.
    pub request: Option<String>,
}

/// The file.
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the file, made where there is none. What ran when the server ended is queued again. A file that is broken, or a
    /// newer server's, is put aside and another begun; where none can be had, all is kept in memory until the server ends.
    ///
    /// # Errors
    /// When there is no memory either.
    pub fn open(data_folder: &Path) -> Result<Self, LedgerError> {
        let path = data_folder.join(FILE);
        let opened = schema::open(&path).or_else(|error| match error {
            schema::OpenError::Newer(_) => {
                put_aside(&path, &error.to_string());
                schema::open(&path)
            }
            schema::OpenError::Sqlite(source) if is_broken(&source) => {
                put_aside(&path, &source.to_string());
                schema::open(&path)
            }
            error => Err(error),
        });
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "the queue and history of downloads can't be kept; they last until the server ends. Mend the data folder and start again");
                schema::in_memory().map_err(|source| LedgerError {
                    path: path.clone(),
                    source,
                })?
            }
        };
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

    /// Has the row of a download ask for what a call asks for: the call is the later word. A download that came to its end
    /// without its file is queued again, and goes on with what arrived of it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn take_up(&self, row: &QueueRow) -> Result<TakenUp, LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            let id = &row.download_id;
            let before = ended(&step, &Which::Download(id.clone()))?;
            if let Some(before) = before.as_ref().filter(|before| before.status == "completed") {
                return Ok(TakenUp::Completed(before.file_path.clone().unwrap_or_default()));
            }
            insert(&step, row)?;
            if let Some(before) = before {
                step.execute("DELETE FROM history WHERE id = ?", [before.id])?;
                keep_place(&step, id, &before)?;
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
            step.execute(
                "UPDATE queue SET status = 'queued' WHERE download_id = ? AND status = 'paused'",
                [id],
            )?;
            step.commit()?;
            Ok(TakenUp::Queued)
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

    /// Where other downloads write, or left what they have.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn places_of_others(&self, id: &str) -> Result<Vec<Place>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT file_path, request FROM queue WHERE download_id <> ?1 AND file_path IS NOT NULL
                 UNION ALL
                 SELECT file_path, request FROM history
                 WHERE download_id IS NOT ?1 AND file_path IS NOT NULL AND status <> 'completed'",
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
    keep_place(connection, &again.download_id, row)?;
    connection.execute("DELETE FROM history WHERE id = ?", [row.id])?;
    queued(connection, &again.download_id)
}

/// Notes where the try before wrote: what has arrived is there. Of a row that this server did not make, nobody knows what
/// the path is.
fn keep_place(connection: &Connection, id: &str, before: &HistoryRow) -> rusqlite::Result<()> {
    let path = before.file_path.as_deref().filter(|_| before.request.is_some());
    let set = "UPDATE queue SET file_path = ?2 WHERE download_id = ?1";
    connection.execute(set, params![id, path]).map(drop)
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
