//! The store: SQLite in the data folder, so that a restart does not read the library again.
//!
//! It is a cache of the disk. What a person typed is in sidecars; a store that is missing,
//! torn or of another version costs a scan and nothing else.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension, params};

use super::descriptions;
use super::record::Record;
use super::snapshot::Change;

/// Raised when the form of a stored record changes: older rows are then read from disk again.
const FORMAT: i32 = 3;
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

enum Message {
    Changes {
        model_type: String,
        changes: Vec<Change>,
    },
    Describe(Vec<(Box<str>, String)>),
    Complete {
        model_type: String,
        plugin_digest: String,
        link_targets: String,
    },
    Flush(mpsc::Sender<()>),
    StartAgain,
}

/// The store. Writing happens in a thread of its own, in batches.
pub struct Store {
    path: PathBuf,
    sender: Option<mpsc::Sender<Message>>,
    writer: Option<JoinHandle<()>>,
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
        let connection = match connect(&path) {
            Ok(connection) => connection,
            Err(error) if is_broken(&error) => {
                put_aside(&path, "it is broken");
                connect(&path).map_err(sqlite)?
            }
            Err(error) => return Err(sqlite(error)),
        };
        let (sender, receiver) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn({
                let path = path.clone();
                move || {
                    super::parallel::lower_priority();
                    write(&path, connection, &receiver);
                }
            })
            .map_err(|source| StoreError::Folder {
                path: data_folder.to_owned(),
                source,
            })?;
        Ok(Self {
            path,
            sender: Some(sender),
            writer: Some(writer),
            _lock: lock,
        })
    }

    /// Everything stored of a type. Rows that can't be read are left out; the next scan reads
    /// their files. A database that turns out to be broken is put aside, and a new one begun.
    ///
    /// # Errors
    /// SQLite's.
    pub fn load(&self, model_type: &str) -> Result<Stored, StoreError> {
        self.load_rows(model_type).map_err(|source| {
            if is_broken(&source) {
                self.send(Message::StartAgain);
            }
            StoreError::Sqlite {
                path: self.path.clone(),
                source,
            }
        })
    }

    fn load_rows(&self, model_type: &str) -> rusqlite::Result<Stored> {
        let connection = Connection::open(&self.path)?;
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
        let mut statement = connection.prepare("SELECT body FROM record WHERE model_type = ?1")?;
        let mut rows = statement.query([model_type])?;
        while let Some(row) = rows.next()? {
            match row.get_ref(0)?.as_blob().ok().map(postcard::from_bytes::<Record>) {
                Some(Ok(record)) => stored.records.push(record),
                _ => stored.plugin_digest = None,
            }
        }
        Ok(stored)
    }

    /// Hands changes to the writing thread.
    pub fn save(&self, model_type: &str, changes: Vec<Change>) {
        self.send(Message::Changes {
            model_type: model_type.to_owned(),
            changes,
        });
    }

    /// Hands descriptions of models to the writing thread, each with the model's path.
    pub fn describe(&self, descriptions: Vec<(Box<str>, String)>) {
        self.send(Message::Describe(descriptions));
    }

    /// Keys of the models whose description matches a text (see [`descriptions::find`]).
    ///
    /// # Errors
    /// SQLite's.
    pub fn described(&self, text: &str) -> rusqlite::Result<Vec<u64>> {
        descriptions::find(&Connection::open(&self.path)?, text)
    }

    /// Notes that a scan with this plugin came to its end.
    pub fn complete(&self, model_type: &str, plugin_digest: &str, link_targets: &[PathBuf]) {
        self.send(Message::Complete {
            model_type: model_type.to_owned(),
            plugin_digest: plugin_digest.to_owned(),
            link_targets: serde_json::to_string(link_targets).unwrap_or_else(|_| "[]".into()),
        });
    }

    /// Waits until all that was handed over is on disk.
    pub fn flush(&self) {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::Flush(sender));
        let _ = receiver.recv();
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender
            && sender.send(message).is_err()
        {
            tracing::error!("the store's thread has ended; the next start scans again");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.sender.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The store is a cache: losing its last moments in a power cut costs a few file reads.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let format: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format > FORMAT {
        // A newer server's: it keeps its database, this one begins its own.
        drop(connection);
        put_aside(path, "a newer version wrote it");
        return connect(path);
    }
    if format < FORMAT {
        connection.execute_batch("DROP TABLE IF EXISTS record; DROP TABLE IF EXISTS scan;")?;
    }
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS record (
             model_type TEXT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL,
             PRIMARY KEY (model_type, path));
         CREATE TABLE IF NOT EXISTS scan (
             model_type TEXT PRIMARY KEY, plugin_digest TEXT NOT NULL, link_targets TEXT NOT NULL);",
    )?;
    descriptions::create(&connection)?;
    if format < FORMAT {
        connection.pragma_update(None, "user_version", FORMAT)?;
    }
    Ok(connection)
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

/// Whether an error says that the file is no sound database.
fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Keeps a database that can't be used for whoever wants to look at it.
fn put_aside(path: &Path, reason: &str) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    for ending in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{ending}", path.display()));
        let to = PathBuf::from(format!("{}.aside-{seconds}{ending}", path.display()));
        if from.exists() && std::fs::rename(&from, &to).is_ok() {
            tracing::warn!(store = %from.display(), kept_as = %to.display(), reason, "the store is put aside; the library is read again");
        }
    }
}

fn write(path: &Path, mut connection: Connection, receiver: &mpsc::Receiver<Message>) {
    while let Ok(first) = receiver.recv() {
        // Whatever waits goes into the same transaction.
        let waiting: Vec<Message> = std::iter::once(first).chain(receiver.try_iter()).collect();
        if waiting.iter().any(|message| matches!(message, Message::StartAgain)) {
            put_aside(path, "it is broken");
            match connect(path) {
                Ok(new) => connection = new,
                Err(error) => tracing::error!(%error, "no new store can be begun; the next start reads from disk"),
            }
        }
        let mut flushed = Vec::new();
        if let Err(error) = write_batch(&mut connection, waiting, &mut flushed) {
            tracing::error!(%error, "changes can't be stored; the next start reads them from disk");
        }
        for sender in flushed {
            let _ = sender.send(());
        }
    }
}

fn write_batch(
    connection: &mut Connection,
    messages: Vec<Message>,
    flushed: &mut Vec<mpsc::Sender<()>>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for message in messages {
        match message {
            Message::Changes { model_type, changes } => {
                let mut put = transaction
                    .prepare_cached("INSERT INTO record (model_type, path, body) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = excluded.body")?;
                let mut remove =
                    transaction.prepare_cached("DELETE FROM record WHERE model_type = ?1 AND path = ?2")?;
                for change in changes {
                    match change {
                        Change::Put(record) => {
                            if let Ok(body) = postcard::to_stdvec(&*record) {
                                put.execute(params![model_type, record.path, body])?;
                            }
                        }
                        Change::Remove(path) => {
                            descriptions::remove(&transaction, &path)?;
                            remove.execute(params![model_type, path])?;
                        }
                    }
                }
            }
            Message::Describe(texts) => {
                for (path, text) in texts {
                    descriptions::put(&transaction, &path, &text)?;
                }
            }
            Message::Complete {
                model_type,
                plugin_digest,
                link_targets,
            } => {
                transaction.execute(
                    "INSERT OR REPLACE INTO scan (model_type, plugin_digest, link_targets) VALUES (?1, ?2, ?3)",
                    params![model_type, plugin_digest, link_targets],
                )?;
            }
            Message::Flush(sender) => flushed.push(sender),
            Message::StartAgain => {}
        }
    }
    transaction.commit()
}
