//! The tables of `downloads.sqlite`. It holds what a person asked for and is no cache: it is only ever brought forward,
//! and put aside where that can't be.

use std::path::Path;

use rusqlite::Connection;

use crate::files::own::open_database;

/// Each step brings the tables from the version of its place to the next.
pub(super) const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE queue (
        download_id TEXT PRIMARY KEY,
        model_id INTEGER,
        model_version_id INTEGER,
        model_name TEXT NOT NULL DEFAULT '',
        version_name TEXT NOT NULL DEFAULT '',
        thumbnail_url TEXT NOT NULL DEFAULT '',
        source TEXT,
        file_params TEXT,
        status TEXT NOT NULL DEFAULT 'queued',
        priority INTEGER NOT NULL DEFAULT 0,
        progress INTEGER NOT NULL DEFAULT 0,
        bytes_downloaded INTEGER NOT NULL DEFAULT 0,
        total_bytes INTEGER,
        bytes_per_second REAL NOT NULL DEFAULT 0,
        error TEXT,
        file_path TEXT,
        added_at REAL NOT NULL,
        started_at REAL,
        completed_at REAL,
        request TEXT
    );
    CREATE INDEX queue_order ON queue (priority DESC, added_at);
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        download_id TEXT UNIQUE,
        model_id INTEGER,
        model_version_id INTEGER,
        model_name TEXT NOT NULL DEFAULT '',
        version_name TEXT NOT NULL DEFAULT '',
        thumbnail_url TEXT NOT NULL DEFAULT '',
        file_params TEXT,
        status TEXT NOT NULL,
        error TEXT,
        file_path TEXT,
        bytes_downloaded INTEGER NOT NULL DEFAULT 0,
        total_bytes INTEGER,
        completed_at REAL NOT NULL,
        is_already_exists INTEGER NOT NULL DEFAULT 0,
        request TEXT
    );
    CREATE INDEX history_time ON history (completed_at DESC);
    CREATE TABLE downloaded_versions (
        model_type TEXT NOT NULL,
        version_id INTEGER NOT NULL,
        model_id INTEGER,
        source TEXT NOT NULL,
        noted_at REAL NOT NULL,
        is_deleted_override INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (model_type, version_id)
    ) WITHOUT ROWID;
    CREATE INDEX downloaded_models ON downloaded_versions (model_id);
",
    // Where this server writes is not for clients to say, and they may name any `file_path`. Several tries may have one id.
    "
    ALTER TABLE queue ADD COLUMN written_to TEXT;
    UPDATE queue SET written_to = file_path;
    DROP INDEX history_time;
    ALTER TABLE history RENAME TO history_before;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        download_id TEXT,
        model_id INTEGER,
        model_version_id INTEGER,
        model_name TEXT NOT NULL DEFAULT '',
        version_name TEXT NOT NULL DEFAULT '',
        thumbnail_url TEXT NOT NULL DEFAULT '',
        file_params TEXT,
        status TEXT NOT NULL,
        error TEXT,
        file_path TEXT,
        bytes_downloaded INTEGER NOT NULL DEFAULT 0,
        total_bytes INTEGER,
        completed_at REAL NOT NULL,
        is_already_exists INTEGER NOT NULL DEFAULT 0,
        request TEXT,
        written_to TEXT
    );
    INSERT INTO history SELECT *, CASE WHEN request IS NOT NULL THEN file_path END FROM history_before;
    DROP TABLE history_before;
    CREATE INDEX history_time ON history (completed_at DESC);
    CREATE INDEX history_download ON history (download_id);
",
    // The preview that a download brought, until a model has it.
    "
    ALTER TABLE queue ADD COLUMN preview_to TEXT;
    ALTER TABLE queue ADD COLUMN preview_level INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE history ADD COLUMN preview_to TEXT;
    ALTER TABLE history ADD COLUMN preview_level INTEGER NOT NULL DEFAULT 0;
",
];

/// Why the file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It has tables that this server does not know.
    #[error("a newer version of this server wrote it (tables {0})")]
    Newer(i64),
    /// SQLite's.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Opens the file, with tables of this version. What ran when the server ended is queued again.
///
/// # Errors
/// When it can't be used, or is of a newer server.
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = open_database(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if usize::try_from(version).is_ok_and(|version| version > MIGRATIONS.len()) {
        return Err(OpenError::Newer(version));
    }
    bring_forward(&mut connection, version)?;
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
}

/// Empty tables that end with the server.
///
/// # Errors
/// SQLite's.
pub fn in_memory() -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    bring_forward(&mut connection, 0)?;
    Ok(connection)
}

fn bring_forward(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let step = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or_default()) {
        step.execute_batch(migration)?;
    }
    step.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    step.commit()
}
