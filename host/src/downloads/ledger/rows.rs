//! Rows of the queue and of the history, as clients see them. Source of the fields: contract section 1.7.

use rusqlite::Row;
use serde::Serialize;

/// Columns of [`QueueRow`], in its order.
pub const QUEUE: &str = "download_id, model_id, model_version_id, model_name, version_name, thumbnail_url, source, file_params, status, \
    priority, progress, bytes_downloaded, total_bytes, bytes_per_second, error, file_path, added_at, started_at, completed_at, request, written_to, preview_to, \
    preview_level";
/// Columns of [`HistoryRow`], in its order.
pub const HISTORY: &str = "id, download_id, model_id, model_version_id, model_name, version_name, thumbnail_url, file_params, status, \
    error, file_path, bytes_downloaded, total_bytes, completed_at, is_already_exists, request, written_to, preview_to, preview_level";

/// A download that is to come, runs or stands still.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QueueRow {
    /// Its id.
    pub download_id: String,
    /// The provider's model.
    pub model_id: Option<i64>,
    /// The provider's version.
    pub model_version_id: Option<i64>,
    /// For people.
    pub model_name: String,
    /// For people.
    pub version_name: String,
    /// For people.
    pub thumbnail_url: String,
    /// Who is asked first; `civarchive` or what a client wrote.
    pub source: Option<String>,
    /// Which file, as JSON text.
    pub file_params: Option<String>,
    /// `queued`, `downloading`, `paused`, `waiting`, or what a client wrote.
    pub status: String,
    /// Higher is sooner.
    pub priority: i64,
    /// Percent.
    pub progress: i64,
    /// Bytes that are here.
    pub bytes_downloaded: i64,
    /// Bytes of the whole.
    pub total_bytes: Option<i64>,
    /// Rate.
    pub bytes_per_second: f64,
    /// What went wrong.
    pub error: Option<String>,
    /// Where it lies, or will.
    pub file_path: Option<String>,
    /// Seconds since 1970.
    pub added_at: f64,
    /// The same.
    pub started_at: Option<f64>,
    /// The same.
    pub completed_at: Option<f64>,
    /// All that was asked for, as JSON text; for this server alone.
    #[serde(skip)]
    pub request: Option<String>,
    /// Where this server writes it, or wrote: a path that no client named.
    #[serde(skip)]
    pub written_to: Option<String>,
    /// The preview that it brought, while no model has it.
    #[serde(skip)]
    pub preview_to: Option<String>,
    /// Its NSFW level.
    #[serde(skip)]
    pub preview_level: i64,
}

impl QueueRow {
    /// From a row with the columns [`QUEUE`].
    ///
    /// # Errors
    /// When a value is of another kind.
    pub fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            download_id: row.get(0)?,
            model_id: row.get(1)?,
            model_version_id: row.get(2)?,
            model_name: row.get(3)?,
            version_name: row.get(4)?,
            thumbnail_url: row.get(5)?,
            source: row.get(6)?,
            file_params: row.get(7)?,
            status: row.get(8)?,
            priority: row.get(9)?,
            progress: row.get(10)?,
            bytes_downloaded: row.get(11)?,
            total_bytes: row.get(12)?,
            bytes_per_second: row.get(13)?,
            error: row.get(14)?,
            file_path: row.get(15)?,
            added_at: row.get(16)?,
            started_at: row.get(17)?,
            completed_at: row.get(18)?,
            request: row.get(19)?,
            written_to: row.get(20)?,
            preview_to: row.get(21)?,
            preview_level: row.get(22)?,
        })
    }
}

/// A download that came to its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HistoryRow {
    /// Number of the row.
    pub id: i64,
    /// The download's id.
    pub download_id: Option<String>,
    /// The provider's model.
    pub model_id: Option<i64>,
    /// The provider's version.
    pub model_version_id: Option<i64>,
    /// For people.
    pub model_name: String,
    /// For people.
    pub version_name: String,
    /// For people.
    pub thumbnail_url: String,
    /// Which file, as JSON text.
    pub file_params: Option<String>,
    /// `completed`, `failed`, `canceled` or `skipped`.
    pub status: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Where it lies.
    pub file_path: Option<String>,
    /// Bytes that came.
    pub bytes_downloaded: i64,
    /// Bytes of the whole.
    pub total_bytes: Option<i64>,
    /// Seconds since 1970.
    pub completed_at: f64,
    /// Always 0 here: what exists already is a failure with its text.
    pub is_already_exists: i64,
    /// All that was asked for, as JSON text; for this server alone.
    #[serde(skip)]
    pub request: Option<String>,
    /// Where this server writes it, or wrote: a path that no client named.
    #[serde(skip)]
    pub written_to: Option<String>,
    /// The preview that it brought, while no model has it.
    #[serde(skip)]
    pub preview_to: Option<String>,
    /// Its NSFW level.
    #[serde(skip)]
    pub preview_level: i64,
}

impl HistoryRow {
    /// From a row with the columns [`HISTORY`].
    ///
    /// # Errors
    /// When a value is of another kind.
    pub fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            download_id: row.get(1)?,
            model_id: row.get(2)?,
            model_version_id: row.get(3)?,
            model_name: row.get(4)?,
            version_name: row.get(5)?,
            thumbnail_url: row.get(6)?,
            file_params: row.get(7)?,
            status: row.get(8)?,
            error: row.get(9)?,
            file_path: row.get(10)?,
            bytes_downloaded: row.get(11)?,
            total_bytes: row.get(12)?,
            completed_at: row.get(13)?,
            is_already_exists: row.get(14)?,
            request: row.get(15)?,
            written_to: row.get(16)?,
            preview_to: row.get(17)?,
            preview_level: row.get(18)?,
        })
    }
}

/// Counts by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// In the queue.
    pub queued: i64,
    /// In the queue.
    pub downloading: i64,
    /// In the queue.
    pub paused: i64,
    /// In the history.
    pub completed: i64,
    /// In the history.
    pub failed: i64,
    /// In the history.
    pub canceled: i64,
}
