//! `access.json` of the data folder: the password, tokens and sessions, readable by the server's user alone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::SESSION_IDLE;
use super::error::AccessError;
use super::scope::Scopes;
use super::secret::Digest;
use crate::files::foreign::{self, ForeignError, ForeignFile, Links};
use crate::files::{atomic, new_private_folder};

const FILE: &str = "access.json";
/// Held while the file is changed: `host token` may run beside the server.
const LOCK: &str = "access.lock";
/// Largest file that is read.
const LARGEST: u64 = 8 << 20;

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Public part.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Digest of its text.
    pub digest: Digest,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it was last used.
    #[serde(default)]
    pub last_used: Option<i64>,
}

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Public part.
    pub id: String,
    /// Digest of the cookie's value.
    pub digest: Digest,
    /// When it began, in seconds since 1970.
    pub created: i64,
    /// When it was last used.
    pub last_used: i64,
    /// The browser's User-Agent at the login.
    #[serde(default)]
    pub client: String,
}

impl Session {
    /// Whether it was unused for too long.
    pub fn has_ended(&self, last_used: i64) -> bool {
        now().saturating_sub(last_used) > SESSION_IDLE.as_secs().cast_signed()
    }
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Tells this server's cookie from that of others on the same host.
    pub instance: String,
    /// argon2id of the password.
    pub password: Option<String>,
    /// Tokens.
    pub tokens: Vec<Token>,
    /// Sessions.
    pub sessions: Vec<Session>,
}

impl State {
    /// Notes when a session or token was last used.
    pub fn note_use(&mut self, id: &str, at: i64) {
        for session in self.sessions.iter_mut().filter(|session| session.id == id) {
            session.last_used = session.last_used.max(at);
        }
        for token in self.tokens.iter_mut().filter(|token| token.id == id) {
            token.last_used = token.last_used.max(Some(at));
        }
    }
}

/// Size, time and inode of the file that was read last.
type Seen = Option<(u64, SystemTime, u64)>;

/// The file.
pub struct AccessFile {
    folder: PathBuf,
    seen: Mutex<Seen>,
    fallback_instance: String,
}

impl AccessFile {
    /// The file of a data folder; reads nothing yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            seen: Mutex::default(),
            fallback_instance: format!("{:08x}", rand::random::<u32>()),
        }
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Reads it; a missing one is empty.
    ///
    /// # Errors
    /// When it can't be read or is broken.
    pub fn read(&self) -> Result<State, AccessError> {
        let path = self.path();
        let io = |source| AccessError::Io {
            path: path.clone(),
            source,
        };
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = stamp(&path);
        let broken = |reason: String| AccessError::Broken {
            path: path.clone(),
            reason,
        };
        let unusable = |error: ForeignError| match error {
            ForeignError::Io { source, .. } => io(source),
            error => broken(error.to_string()),
        };
        let mut state = match ForeignFile::open(&path, Links::Refuse).map_err(unusable)? {
            None => State::default(),
            Some(mut file) => {
                let bytes = file.read_at_most(LARGEST).map_err(unusable)?;
                // An array would fit the structure, too, and its defaults let everybody in.
                let fields: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
                serde_json::from_value(fields.into()).map_err(|error| broken(error.to_string()))?
            }
        };
        if state.instance.is_empty() {
            state.instance.clone_from(&self.fallback_instance);
        }
        Ok(state)
    }

    /// Reads it when it is another one than was read or written last.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_if_changed(&self) -> Result<Option<State>, AccessError> {
        let seen = *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if stamp(&self.path()) == seen {
            return Ok(None);
        }
        self.read().map(Some)
    }

    /// Reads the file, changes what it holds and writes it, while no other program does.
    ///
    /// # Errors
    /// Those of `change`, and when the file can't be read or written; it is as it was then.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, AccessError>,
    ) -> Result<(State, T), AccessError> {
        let io = |path: &Path, source| AccessError::Io {
            path: path.to_owned(),
            source,
        };
        new_private_folder(&self.folder).map_err(|source| io(&self.folder, source))?;
        let lock_path = self.folder.join(LOCK);
        let lock = private(&lock_path).map_err(|source| io(&lock_path, source))?;
        lock.lock().map_err(|source| io(&lock_path, source))?;
        let mut state = self.read()?;
        let result = change(&mut state)?;
        let path = self.path();
        let text = serde_json::to_vec_pretty(&state).map_err(|error| io(&path, error.into()))?;
        self.replace(&path, &text).map_err(|source| io(&path, source))?;
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = stamp(&path);
        Ok((state, result))
    }

    /// Puts a whole new file in the place of the old one. Temporary files are for their owner alone, and stay so.
    fn replace(&self, path: &Path, text: &[u8]) -> std::io::Result<()> {
        let mut file = atomic::temporary(&self.folder)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        foreign::sync_folder(&self.folder);
        Ok(())
    }
}

/// Opens a file that its owner alone may read and write, and makes it so.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = ForeignFile::open_with(&mut options, path, Links::Refuse)?
        .ok_or(std::io::ErrorKind::NotFound)?
        .into_file();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn stamp(path: &Path) -> Seen {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.len(), metadata.modified().ok()?, inode))
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().cast_signed()
}
