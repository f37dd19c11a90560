//! What is to be downloaded, what was, and which versions ever were: `downloads.sqlite` in the data folder.
//!
//! All of it blocks. Every change is on the disk when its function returns.

mod history;
mod queue;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

pub use rows::{HistoryRow, QueueRow, Stats};

use crate::files::own::put_aside;
use crate::library::store::is_broken;
use crate::moment::now;

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
    Queued {
        /// Whether the call made it: nothing of this id was in the queue, nor ended without its file.
        is_new: bool,
    },
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

impl Place {
    /// Whether one of these is that file.
    pub fn is_of_any(places: &[Self], target: &Path) -> bool {
        places.iter().any(|place| Path::new(&place.path) == target)
    }
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
