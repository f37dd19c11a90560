//! The tables of `downloads.sqlite`. It holds what a person asked for and is no cache: it is only ever brought forward.

use rusqlite::Connection;

/// Each step brings the tables from the version of its place to the next.
const MIGRATIONS: [&str; 1] = ["
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
"];

/// Brings the tables forward.
///
/// # Errors
/// When the file can't be used, or is of a newer server.
pub fn bring_forward(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or_default();
    if version > MIGRATIONS.len() {
        return Err(rusqlite::Error::ToSqlConversionFailure(
            format!("it is of a newer version of this server (tables {version})").into(),
        ));
    }
    let step = connection.transaction()?;
    for migration in &MIGRATIONS[version..] {
        step.execute_batch(migration)?;
    }
    step.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    step.commit()
}
