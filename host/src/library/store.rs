//! The store: SQLite in the data folder, so that a restart does not read the library again.
//!
//! It is a cache of the disk. What a person typed is in sidecars; a store that is missing,
//! torn or of another version costs a scan, and the hashes that only it knew, and nothing else.

mod reading;
mod schema;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rusqlite::Connection;

pub(crate) use self::schema::is_broken;
use super::descriptions;
use super::record::{Blake3, Record, Sha256};
use super::snapshot::Change;
use crate::files::foreign::ForeignFile;
use crate::files::own::put_aside;
use crate::workers::Deadline;

/// Steps of SQLite between two looks at a deadline.
const SQLITE_STEPS: i32 = 10_000;
const FILE: &str = "library.sqlite";

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
    /// Its records that the loading library has a place for.
    pub records: Vec<Arc<Record>>,
    /// How many others there are.
    pub elsewhere: usize,
    /// Digest of the plugin that derived them, once a scan came to its end.
    pub plugin_digest: Option<String>,
    /// What links inside its roots lead to.
    pub link_targets: Vec<PathBuf>,
}

/// See [`Store::load`].
pub type Place<'a> = dyn Fn(&mut Record) -> bool + Sync + 'a;

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
                    writing::write(&shared, connection);
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

    /// Everything stored of a type. `place` prepares each record and says whether the library has a place for it;
    /// called on several threads. A database that turns out to be broken is put aside, and a new
    /// one begun.
    ///
    /// # Errors
    /// When it is broken, or can't be read.
    pub fn load(&self, model_type: &str, place: &Place<'_>) -> Result<Stored, StoreError> {
        let path = || self.shared.path.clone();
        let loaded = match reading::load(&self.shared.path, model_type, place) {
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
    /// SQLite's; also when the deadline is over.
    pub fn described(&self, text: &str, deadline: &Deadline) -> rusqlite::Result<Vec<u64>> {
        let mut reader = schema::reader(&self.shared.path)?;
        let deadline = deadline.clone();
        reader.progress_handler(SQLITE_STEPS, Some(move || deadline.is_over()))?;
        descriptions::find(&reader, text)
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

    /// A number of the database; another one when a broken one was followed by a new one.
    pub fn database(&self) -> u64 {
        self.shared.database.load(Ordering::Acquire)
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
        match reading::known(connection, file) {
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

/// Takes the data folder for this server.
fn lock(folder: &Path) -> Result<std::fs::File, StoreError> {
    let io = |source| StoreError::Folder {
        path: folder.to_owned(),
        source,
    };
    let created = ForeignFile::create(&folder.join("lock"));
    let file = created.map_err(|error| io(error.into()))?.into_file();
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
