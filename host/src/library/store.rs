//! The store: SQLite in the data folder, so that a restart does not read the library again.
//!
//! It is a cache of the disk. What a person typed is in sidecars; a store that is missing,
//! torn or of another version costs a scan, and the hashes that only it knew, and nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension, params};

use super::descriptions;
use super::record::{Blake3, Record, Sha256};
use super::snapshot::Change;
use super::store_schema as schema;
use super::store_schema::{checksum, is_broken, put_aside};

const FILE: &str = "library.sqlite";
/// Rows in a transaction at most, so that the journal stays small.
const ROWS: usize = 10_000;
/// Rows for which a second thread is worth its start.
const PARALLEL: i64 = 2_000;

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's reason.
    #[error("the store {} can't be used: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It is not what was written. It is put aside.
    #[error("the store {} is damaged", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
    },
    /// Another server is at work there.
    #[error("the data folder {} is in use by another server; end it, or choose another folder with --data-dir", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's reason.
    #[error("the data folder {} can't be used: {source}; choose another with --data-dir", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What is stored of a type.
#[derive(Debug, Default)]
pub struct Stored {
    /// Its records.
    pub records: Vec<Record>,
    /// Digest of the plugin that derived them, once a scan came to its end.
    pub plugin_digest: Option<String>,
    /// What links inside its roots lead to.
    pub link_targets: Vec<PathBuf>,
}

/// What tells a file's content without reading it. Only disks whose inodes last have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// The file system's own id, the same after every start.
    pub disk: u64,
    /// Inode.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970-01-01 UTC.
    pub mtime_ns: i64,
}

/// The hashes of a file that this server computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// SHA-256.
    pub sha256: Sha256,
    /// BLAKE3.
    pub blake3: Blake3,
}

/// What waits to be written. Of several changes of one record only the last one is kept, so it
/// never grows beyond the library.
#[derive(Default)]
struct Pending {
    types: HashMap<String, TypePending>,
    hashes: HashMap<FileKey, Hashes>,
    // By the path of the model; may be HTML.
    descriptions: HashMap<Box<str>, String>,
    flushed: Vec<mpsc::Sender<()>>,
    start_again: bool,
    closed: bool,
}

#[derive(Default)]
struct TypePending {
    changes: HashMap<Box<str>, Change>,
    complete: Option<Complete>,
}

struct Complete {
    plugin_digest: String,
    link_targets: String,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.types.is_empty()
            && self.hashes.is_empty()
            && self.descriptions.is_empty()
            && self.flushed.is_empty()
            && !self.start_again
    }
}

struct Shared {
    path: PathBuf,
    pending: Mutex<Pending>,
    wake: Condvar,
    // Counts the databases of this run: a broken one is followed by a new one.
    database: AtomicU64,
    // Whether there may be hashes; spares a look-up for each file of a library that has its own.
    has_hashes: AtomicBool,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }
}

/// The store. Writing happens in a thread of its own, in batches.
pub struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    // For looking hashes up, with the number of the database that it is connected to.
    reader: Mutex<Option<(u64, Connection)>>,
    // Held for as long as the server runs.
    _lock: std::fs::File,
}

impl Store {
    /// Opens the store of a data folder, making it when it is missing, and putting aside one
    /// that is broken.
    ///
    /// # Errors
    /// When the folder can't be written, or SQLite can't open a new database in it.
    pub fn open(data_folder: &Path) -> Result<Self, StoreError> {
        crate::files::new_private_folder(data_folder).map_err(|source| StoreError::Folder {
            path: data_folder.to_owned(),
            source,
        })?;
        let lock = lock(data_folder)?;
        let path = data_folder.join(FILE);
        let sqlite = |source| StoreError::Sqlite {
            path: path.clone(),
            source,
        };
        let connection = match schema::connect(&path) {
            Ok(connection) => connection,
            Err(error) if is_broken(&error) => {
                put_aside(&path, "it is broken");
                schema::connect(&path).map_err(sqlite)?
            }
            Err(error) => return Err(sqlite(error)),
        };
        let has_hashes = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM hash)", [], |row| row.get(0))
            .unwrap_or(true);
        let shared = Arc::new(Shared {
            path,
            pending: Mutex::default(),
            wake: Condvar::new(),
            database: AtomicU64::new(0),
            has_hashes: AtomicBool::new(has_hashes),
        });
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn({
                let shared = shared.clone();
                move || {
                    super::parallel::lower_priority();
                    write(&shared, connection);
                }
            })
            .map_err(|source| StoreError::Folder {
                path: data_folder.to_owned(),
                source,
            })?;
        Ok(Self {
            shared,
            writer: Some(writer),
            reader: Mutex::default(),
            _lock: lock,
        })
    }

    /// Everything stored of a type. A database that turns out to be broken is put aside, and a new
    /// one begun.
    ///
    /// # Errors
    /// When it is broken, or can't be read.
    pub fn load(&self, model_type: &str) -> Result<Stored, StoreError> {
        let path = || self.shared.path.clone();
        let loaded = match load(&self.shared.path, model_type) {
            Ok(Some(stored)) => return Ok(stored),
            Ok(None) => Err(StoreError::Damaged { path: path() }),
            Err(source) if !is_broken(&source) => return Err(StoreError::Sqlite { path: path(), source }),
            Err(source) => Err(StoreError::Sqlite { path: path(), source }),
        };
        // What is loaded next must not come from the broken one.
        self.shared.change(|pending| pending.start_again = true);
        self.flush();
        loaded
    }

    /// Hands changes to the writing thread.
    pub fn save(&self, model_type: &str, changes: Vec<Change>) {
        self.shared.change(|pending| {
            let own = pending.types.entry(model_type.to_owned()).or_default();
            for change in changes {
                own.changes.insert(change.path().into(), change);
            }
        });
    }

    /// Hands descriptions of models to the writing thread, each with the model's path.
    pub fn describe(&self, descriptions: Vec<(Box<str>, String)>) {
        self.shared.change(|pending| pending.descriptions.extend(descriptions));
    }

    /// Keys of the models whose description matches a text (see [`descriptions::find`]).
    ///
    /// # Errors
    /// SQLite's.
    pub fn described(&self, text: &str) -> rusqlite::Result<Vec<u64>> {
        descriptions::find(&schema::reader(&self.shared.path)?, text)
    }

    /// Notes that a scan with this plugin came to its end.
    pub fn complete(&self, model_type: &str, plugin_digest: &str, link_targets: &[PathBuf]) {
        let complete = Complete {
            plugin_digest: plugin_digest.to_owned(),
            link_targets: serde_json::to_string(link_targets).unwrap_or_else(|_| "[]".into()),
        };
        self.shared.change(|pending| {
            pending.types.entry(model_type.to_owned()).or_default().complete = Some(complete);
        });
    }

    /// Remembers the hashes of a file, whatever becomes of its name, its sidecar or its record.
    pub fn remember(&self, file: FileKey, hashes: Hashes) {
        self.shared.change(|pending| {
            pending.hashes.insert(file, hashes);
        });
        self.shared.has_hashes.store(true, Ordering::Release);
    }

    /// Whether any hashes are remembered.
    pub fn has_hashes(&self) -> bool {
        self.shared.has_hashes.load(Ordering::Acquire)
    }

    /// The hashes of a file that were computed before.
    pub fn known(&self, file: &FileKey) -> Option<Hashes> {
        let waiting = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashes) = waiting.hashes.get(file) {
            return Some(*hashes);
        }
        drop(waiting);
        let database = self.shared.database.load(Ordering::Acquire);
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.as_ref().is_none_or(|(own, _)| *own != database) {
            *reader = Some((database, schema::reader(&self.shared.path).ok()?));
        }
        let (_, connection) = reader.as_ref()?;
        match known(connection, file) {
            Ok(hashes) => hashes,
            Err(error) => {
                *reader = None;
                if is_broken(&error) {
                    self.shared.change(|pending| pending.start_again = true);
                }
                None
            }
        }
    }

    /// Waits until all that was handed over is on disk.
    pub fn flush(&self) {
        let (sender, receiver) = mpsc::channel();
        self.shared.change(|pending| pending.flushed.push(sender));
        if self.writer.as_ref().is_some_and(|writer| !writer.is_finished()) {
            let _ = receiver.recv();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.change(|pending| pending.closed = true);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// None when rows are damaged or missing.
fn load(path: &Path, model_type: &str) -> rusqlite::Result<Option<Stored>> {
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
    stored.records = records(&connection, path, number)?;
    // SQLite does not notice turned bits in rows, and loses rows with some pages without a word.
    Ok((stored.records.len() as i64 == count).then_some(stored))
}

fn records(connection: &Connection, path: &Path, number: i64) -> rusqlite::Result<Vec<Record>> {
    let (first, last) = schema::ids(number);
    let end: Option<i64> = connection.query_row(
        "SELECT max(id) FROM record WHERE id BETWEEN ?1 AND ?2",
        [first, last],
        |row| row.get(0),
    )?;
    let Some(end) = end else {
        return Ok(Vec::new());
    };
    // Most of the time goes into making records of bytes, which several processors share.
    let threads = match end - first {
        ..PARALLEL => 1,
        _ => std::thread::available_parallelism().map_or(1, |count| count.get().min(8) as i64),
    };
    let step = (end - first) / threads + 1;
    let parts: Vec<rusqlite::Result<Vec<Record>>> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let from = first + part * step;
                scope.spawn(move || rows(path, from, (from + step - 1).min(end)))
            })
            .collect();
        let broke_off = || Err(rusqlite::Error::InvalidQuery);
        parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|_| broke_off()))
            .collect()
    });
    let mut records = Vec::new();
    for part in parts {
        records.append(&mut part?);
    }
    Ok(records)
}

/// The records of a stretch of rows, as far as they can be read.
fn rows(path: &Path, first: i64, last: i64) -> rusqlite::Result<Vec<Record>> {
    let connection = schema::reader(path)?;
    let mut statement = connection.prepare("SELECT body FROM record WHERE id BETWEEN ?1 AND ?2")?;
    let mut rows = statement.query([first, last])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.extend(row.get_ref(0)?.as_blob().ok().and_then(schema::open_body));
    }
    Ok(records)
}

fn known(connection: &Connection, file: &FileKey) -> rusqlite::Result<Option<Hashes>> {
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

/// What the checksum of a row of hashes covers.
fn hash_bytes(file: &FileKey, digests: &[u8]) -> Vec<u8> {
    let numbers = [file.disk, file.inode, file.size, file.mtime_ns as u64];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend_from_slice(digests);
    bytes
}

fn write(shared: &Shared, mut connection: Connection) {
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

/// Takes the data folder for this server.
fn lock(folder: &Path) -> Result<std::fs::File, StoreError> {
    let io = |source| StoreError::Folder {
        path: folder.to_owned(),
        source,
    };
    let file = std::fs::File::create(folder.join("lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: folder.to_owned(),
        }),
        // Some network file systems have no locks; there a person must take care.
        Err(std::fs::TryLockError::Error(error)) => {
            tracing::warn!(folder = %folder.display(), %error, "the data folder can't be locked; run only one server on it");
            Ok(file)
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
