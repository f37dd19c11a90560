//! The form of the store: its tables, how older ones become new ones, and what a row is.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::FileKey;
use crate::files::own::{open_database, put_aside};
use crate::library::descriptions;
use crate::library::record::Record;

/// Raised when the serialised form of a record changes: its rows are dropped then and read from
/// disk again, and nothing else in the store is.
const RECORD_FORM: i64 = 5;

/// What makes version `n` of the tables from version `n - 1`; a new database begins at 0. Never
/// changed, only added to. The tables of versions 1 to 3 differed only in the form of records.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE record (
         model_type TEXT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL,
         PRIMARY KEY (model_type, path));
     CREATE TABLE scan (
         model_type TEXT PRIMARY KEY, plugin_digest TEXT NOT NULL, link_targets TEXT NOT NULL);",
    "",
    "",
    // Rows of a type lie beside each other now, in the order of their ids.
    "DROP TABLE record;
     CREATE TABLE record (
         id INTEGER PRIMARY KEY, type INTEGER NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL,
         UNIQUE (type, path));
     CREATE TABLE type (
         number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, records INTEGER NOT NULL DEFAULT 0);
     CREATE TABLE form (what TEXT PRIMARY KEY, number INTEGER NOT NULL);
     CREATE TABLE hash (
         disk INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
         body BLOB NOT NULL, PRIMARY KEY (disk, inode)) WITHOUT ROWID;",
    descriptions::TABLES,
    descriptions::ONE_PREFIX,
    // Descriptions come with records that are read.
    "DELETE FROM record; DELETE FROM scan; UPDATE type SET records = 0;",
];

/// Version of the tables.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// Bytes of a page in a new database: some ten records.
const PAGE: i32 = 16_384;

/// Ids of one type's rows: the numbers of types are far enough apart.
pub fn ids(number: i64) -> (i64, i64) {
    const BITS: u32 = 40;
    (number << BITS, ((number + 1) << BITS) - 1)
}

/// Opens the database for writing, making or bringing forward its tables. One that a newer
/// server wrote is put aside.
///
/// # Errors
/// SQLite's.
pub fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = open_database(path)?;
    // Acts on new databases only.
    connection.pragma_update(None, "page_size", PAGE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The store is a cache: losing its last moments in a power cut costs a few file reads.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        // A newer server's: it keeps its database, this one begins its own.
        drop(connection);
        put_aside(path, "a newer version wrote it");
        return connect(path);
    }
    let transaction = connection.transaction()?;
    for step in MIGRATIONS.iter().skip(version.max(0) as usize) {
        transaction.execute_batch(step)?;
    }
    let form: Option<i64> = transaction
        .query_row("SELECT number FROM form WHERE what = 'record'", [], |row| row.get(0))
        .optional()?;
    if form != Some(RECORD_FORM) {
        transaction.execute_batch("DELETE FROM record; DELETE FROM scan; UPDATE type SET records = 0;")?;
        transaction.execute("INSERT OR REPLACE INTO form VALUES ('record', ?1)", [RECORD_FORM])?;
    }
    if version != VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Opens the database for reading only.
///
/// # Errors
/// SQLite's.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// The number of a type, which it keeps.
///
/// # Errors
/// SQLite's.
pub fn type_number(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.execute("INSERT OR IGNORE INTO type (name) VALUES (?1)", [name])?;
    connection.query_row("SELECT number FROM type WHERE name = ?1", [name], |row| row.get(0))
}

/// A record as bytes, with a checksum: SQLite does not notice a bit that turned inside a row.
pub fn seal_body(record: &Record) -> Option<Vec<u8>> {
    let mut body = postcard::to_stdvec(record).ok()?;
    let check = checksum(&body);
    body.extend_from_slice(&check.to_le_bytes());
    Some(body)
}

/// The record of a row; none when the row is not what was written.
pub fn open_body(body: &[u8]) -> Option<Record> {
    let (record, check) = body.split_last_chunk::<8>()?;
    if checksum(record) != u64::from_le_bytes(*check) {
        return None;
    }
    postcard::from_bytes(record).ok()
}

/// Any change within eight bytes gives another sum; others are missed once in 2^64.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let mut words = bytes.chunks_exact(8);
    let mut sum = bytes.len() as u64;
    for word in words.by_ref() {
        sum = mix(
            sum,
            word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        );
    }
    let rest = words.remainder().iter().rev();
    mix(sum, rest.fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// What the checksum of a row of hashes covers.
pub fn hash_bytes(file: &FileKey, digests: &[u8]) -> Vec<u8> {
    let numbers = [file.disk, file.inode, file.size, file.mtime_ns as u64];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend_from_slice(digests);
    bytes
}

/// Whether an error says that the file is no sound database, or has not the tables that its
/// version says it has.
pub fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase | Unknown)
    )
}
