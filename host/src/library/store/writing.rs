//! Writing the store: the thread that takes what waits, and its transactions.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};

use super::schema::{self, checksum, hash_bytes, is_broken};
use super::{FileKey, Hashes, Pending, Shared};
use crate::files::own::put_aside;
use crate::library::descriptions;
use crate::library::snapshot::Change;

/// Rows in a transaction at most, so that the journal stays small.
const ROWS: usize = 10_000;

/// Writes what waits until the store is closed.
pub fn write(shared: &Shared, mut connection: Connection) {
    loop {
        let mut waiting = shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.is_empty() && !waiting.closed {
            waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.is_empty() {
            return;
        }
        // Whatever waits goes into the same transactions.
        let closed = waiting.closed;
        let mut batch = std::mem::take(&mut *waiting);
        waiting.closed = closed;
        drop(waiting);
        if batch.start_again {
            connection = begin_again(shared, connection);
        }
        let flushed = std::mem::take(&mut batch.flushed);
        if let Err(error) = write_batch(&mut connection, batch) {
            tracing::error!(%error, "changes can't be stored; the next start reads them from disk");
            if is_broken(&error) {
                connection = begin_again(shared, connection);
            }
        }
        for sender in flushed {
            let _ = sender.send(());
        }
    }
}

/// Puts the database aside and begins another.
fn begin_again(shared: &Shared, old: Connection) -> Connection {
    put_aside(&shared.path, "it is broken");
    match schema::connect(&shared.path) {
        Ok(new) => {
            shared.database.fetch_add(1, Ordering::Release);
            new
        }
        Err(error) => {
            tracing::error!(%error, "no new store can be begun; the next start reads from disk");
            old
        }
    }
}

fn write_batch(connection: &mut Connection, batch: Pending) -> rusqlite::Result<()> {
    let hashes: Vec<(FileKey, Hashes)> = batch.hashes.into_iter().collect();
    for part in hashes.chunks(ROWS) {
        let transaction = connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT OR REPLACE INTO hash (disk, inode, size, mtime_ns, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (file, hashes) in part {
                let mut body = [hashes.sha256.0, hashes.blake3.0].concat();
                let check = checksum(&hash_bytes(file, &body));
                body.extend_from_slice(&check.to_le_bytes());
                let (disk, inode, size) = (file.disk as i64, file.inode as i64, file.size as i64);
                put.execute(params![disk, inode, size, file.mtime_ns, body])?;
            }
        }
        transaction.commit()?;
    }
    // Before the records, so that no stored record lacks its description.
    let descriptions: Vec<(Box<str>, String)> = batch.descriptions.into_iter().collect();
    for part in descriptions.chunks(ROWS) {
        let transaction = connection.transaction()?;
        for (path, text) in part {
            descriptions::put(&transaction, path, text)?;
        }
        transaction.commit()?;
    }
    for (model_type, own) in batch.types {
        let number = schema::type_number(connection, &model_type)?;
        let changes: Vec<Change> = own.changes.into_values().collect();
        for part in changes.chunks(ROWS) {
            write_records(connection, number, part)?;
        }
        if let Some(complete) = own.complete {
            connection.execute(
                "INSERT OR REPLACE INTO scan (model_type, plugin_digest, link_targets) VALUES (?1, ?2, ?3)",
                params![model_type, complete.plugin_digest, complete.link_targets],
            )?;
        }
    }
    Ok(())
}

fn write_records(connection: &mut Connection, number: i64, changes: &[Change]) -> rusqlite::Result<()> {
    let (first, last) = schema::ids(number);
    let transaction = connection.transaction()?;
    {
        let highest: Option<i64> = transaction.query_row(
            "SELECT max(id) FROM record WHERE id BETWEEN ?1 AND ?2",
            [first, last],
            |row| row.get(0),
        )?;
        let mut next = highest.map_or(first, |highest| highest + 1);
        let mut grown: i64 = 0;
        let mut update = transaction.prepare_cached("UPDATE record SET body = ?3 WHERE type = ?1 AND path = ?2")?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO record (id, type, path, body) VALUES (?1, ?2, ?3, ?4)")?;
        let mut remove = transaction.prepare_cached("DELETE FROM record WHERE type = ?1 AND path = ?2")?;
        for change in changes {
            match change {
                Change::Put(record) => {
                    let Some(body) = schema::seal_body(record) else {
                        continue;
                    };
                    if update.execute(params![number, record.path, body])? == 0 {
                        insert.execute(params![next, number, record.path, body])?;
                        next += 1;
                        grown += 1;
                    }
                }
                Change::Remove(path) => {
                    descriptions::remove(&transaction, path)?;
                    grown -= remove.execute(params![number, path])? as i64;
                }
            }
        }
        transaction.execute(
            "UPDATE type SET records = records + ?2 WHERE number = ?1",
            params![number, grown],
        )?;
    }
    transaction.commit()
}
