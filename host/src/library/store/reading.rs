//! Reading the store: a type's records, by several threads, and the hashes of a file.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::schema::{self, checksum, hash_bytes};
use super::{FileKey, Hashes, Place, Stored};
use crate::library::record::{Blake3, Record, Sha256};

/// Rows for which a second thread is worth its start.
const PARALLEL: i64 = 2_000;

/// None when rows are damaged or missing.
pub fn load(path: &Path, model_type: &str, place: &Place<'_>) -> rusqlite::Result<Option<Stored>> {
    let connection = schema::reader(path)?;
    let mut stored = Stored::default();
    let scan: Option<(String, String)> = connection
        .query_row(
            "SELECT plugin_digest, link_targets FROM scan WHERE model_type = ?1",
            [model_type],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let Some((digest, targets)) = scan {
        stored.plugin_digest = Some(digest);
        stored.link_targets = serde_json::from_str(&targets).unwrap_or_default();
    }
    let number: Option<(i64, i64)> = connection
        .query_row(
            "SELECT number, records FROM type WHERE name = ?1",
            [model_type],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((number, count)) = number else {
        // No scan comes to its end without a number.
        return Ok(stored.plugin_digest.is_none().then_some(stored));
    };
    (stored.records, stored.elsewhere) = records(&connection, path, number, place)?;
    // SQLite does not notice turned bits in rows, and loses rows with some pages without a word.
    let all = stored.records.len() + stored.elsewhere;
    Ok((all as i64 == count).then_some(stored))
}

/// Records with a place, and how many have none.
type Placed = (Vec<Arc<Record>>, usize);

fn records(connection: &Connection, path: &Path, number: i64, place: &Place<'_>) -> rusqlite::Result<Placed> {
    let (first, last) = schema::ids(number);
    let end: Option<i64> = connection.query_row(
        "SELECT max(id) FROM record WHERE id BETWEEN ?1 AND ?2",
        [first, last],
        |row| row.get(0),
    )?;
    let Some(end) = end else {
        return Ok(Placed::default());
    };
    // Most of the time goes into making records of bytes, which several processors share.
    let threads = match end - first {
        ..PARALLEL => 1,
        _ => std::thread::available_parallelism().map_or(1, |count| count.get().min(8) as i64),
    };
    let step = (end - first) / threads + 1;
    let parts: Vec<rusqlite::Result<Placed>> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let from = first + part * step;
                scope.spawn(move || rows(path, from, (from + step - 1).min(end), place))
            })
            .collect();
        let broke_off = || Err(rusqlite::Error::InvalidQuery);
        parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|_| broke_off()))
            .collect()
    });
    let (mut records, mut elsewhere) = Placed::default();
    for part in parts {
        let (mut own, others) = part?;
        records.append(&mut own);
        elsewhere += others;
    }
    Ok((records, elsewhere))
}

/// The records of a stretch of rows, as far as they can be read.
fn rows(path: &Path, first: i64, last: i64, place: &Place<'_>) -> rusqlite::Result<Placed> {
    let connection = schema::reader(path)?;
    let mut statement = connection.prepare("SELECT body FROM record WHERE id BETWEEN ?1 AND ?2")?;
    let mut rows = statement.query([first, last])?;
    let (mut records, mut elsewhere) = Placed::default();
    while let Some(row) = rows.next()? {
        let Some(mut record) = row.get_ref(0)?.as_blob().ok().and_then(schema::open_body) else {
            continue;
        };
        if place(&mut record) {
            records.push(Arc::new(record));
        } else {
            elsewhere += 1;
        }
    }
    Ok((records, elsewhere))
}

/// The hashes of a file, where they are whole and of the same content.
pub fn known(connection: &Connection, file: &FileKey) -> rusqlite::Result<Option<Hashes>> {
    let row: Option<(i64, i64, Vec<u8>)> = connection
        .prepare_cached("SELECT size, mtime_ns, body FROM hash WHERE disk = ?1 AND inode = ?2")?
        .query_row(params![file.disk as i64, file.inode as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(row.and_then(|(size, mtime_ns, body)| {
        let same = size == file.size as i64 && mtime_ns == file.mtime_ns;
        let (digests, check) = body.split_at_checked(64)?;
        let sound = check == checksum(&hash_bytes(file, digests)).to_le_bytes();
        let (sha256, blake3) = digests.split_at_checked(32)?;
        (same && sound).then_some(Hashes {
            sha256: Sha256(sha256.try_into().ok()?),
            blake3: Blake3(blake3.try_into().ok()?),
        })
    }))
}
