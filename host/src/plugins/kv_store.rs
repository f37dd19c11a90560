//! Small state of plugins: one SQLite file for all of them, which outlives calls, versions and restarts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::files::own::open_database;

/// Longest key in bytes.
pub const MAX_KEY: usize = 256;
/// Largest value in bytes.
pub const MAX_VALUE: usize = 64 << 10;
/// Most keys in a list.
const MAX_LIST: u32 = 1_000;

/// Why state can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The plugin has as much as it may.
    #[error("it would be {size} bytes in all, more than {limit}")]
    Full {
        /// Bytes with the new value.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The file can't be used.
    #[error("the plugins' state in {} can't be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// The state of all plugins. Every method blocks.
pub struct KvStore {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    connection: Connection,
    // Bytes of each plugin that was asked for.
    sizes: HashMap<String, usize>,
}

impl KvStore {
    /// State in this file, which is made when the first value is stored.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Mutex::default(),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn get(&self, plugin: &str, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        let sql = "SELECT value FROM kv WHERE plugin = ?1 AND key = ?2";
        self.with(|open| {
            let mut statement = open.connection.prepare_cached(sql)?;
            statement.query_row(params![plugin, key], |row| row.get(0)).optional()
        })
    }

    /// Stores a value, unless there would be more than `limit` bytes; how many there are now.
    ///
    /// # Errors
    /// When there would be more, or the file can't be written. The old value stays then.
    pub fn set(&self, plugin: &str, key: &str, value: &[u8], limit: usize) -> Result<usize, KvError> {
        let sized = self.with(|open| {
            let before = open.size_of(plugin)?;
            let sql = "SELECT length(value) FROM kv WHERE plugin = ?1 AND key = ?2";
            let mut statement = open.connection.prepare_cached(sql)?;
            let was: Option<u32> = statement.query_row(params![plugin, key], |row| row.get(0)).optional()?;
            let size = before - was.map_or(0, |was| was as usize + key.len()) + key.len() + value.len();
            if size > limit {
                return Ok(Err(size));
            }
            let sql = "INSERT OR REPLACE INTO kv (plugin, key, value) VALUES (?1, ?2, ?3)";
            open.connection
                .prepare_cached(sql)?
                .execute(params![plugin, key, value])?;
            drop(statement);
            open.sizes.insert(plugin.to_owned(), size);
            Ok(Ok(size))
        })?;
        sized.map_err(|size| KvError::Full { size, limit })
    }

    /// Forgets a key; how many bytes there are now.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn delete(&self, plugin: &str, key: &str) -> Result<usize, KvError> {
        self.with(|open| {
            let sql = "DELETE FROM kv WHERE plugin = ?1 AND key = ?2";
            open.connection.prepare_cached(sql)?.execute(params![plugin, key])?;
            open.sizes.remove(plugin);
            open.size_of(plugin)
        })
    }

    /// The first keys that start with this text, sorted.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn keys(&self, plugin: &str, prefix: &str) -> Result<Vec<String>, KvError> {
        let sql = "SELECT key FROM kv WHERE plugin = ?1 AND key >= ?2 AND substr(key, 1, length(?2)) = ?2
                   ORDER BY key LIMIT ?3";
        self.with(|open| {
            let mut statement = open.connection.prepare_cached(sql)?;
            let keys = statement.query_map(params![plugin, prefix, MAX_LIST], |row| row.get(0))?;
            keys.collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> rusqlite::Result<T>) -> Result<T, KvError> {
        let mut open = self.locked();
        let result = match &mut *open {
            Some(open) => work(open),
            none => open_file(&self.path).and_then(|new| work(none.insert(new))),
        };
        result.map_err(|source| KvError::File {
            path: self.path.clone(),
            source,
        })
    }

    fn locked(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn size_of(&mut self, plugin: &str) -> rusqlite::Result<usize> {
        if let Some(size) = self.sizes.get(plugin) {
            return Ok(*size);
        }
        let sql = "SELECT coalesce(sum(length(CAST(key AS BLOB)) + length(value)), 0) FROM kv WHERE plugin = ?1";
        let size: u32 = self.connection.query_row(sql, [plugin], |row| row.get(0))?;
        let size = size as usize;
        self.sizes.insert(plugin.to_owned(), size);
        Ok(size)
    }
}

fn open_file(path: &Path) -> rusqlite::Result<Open> {
    let connection = open_database(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS kv (
             plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (plugin, key)) WITHOUT ROWID;",
    )?;
    Ok(Open {
        connection,
        sizes: HashMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plugin_has_its_own_values_which_outlive_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = KvStore::new(path.clone());
        store.set("a", "key", b"1", 100).unwrap();
        store.set("b", "key", b"2", 100).unwrap();
        store.set("a", "key", b"3", 100).unwrap();
        drop(store);
        let store = KvStore::new(path);
        assert_eq!(store.get("a", "key").unwrap().as_deref(), Some(&b"3"[..]));
        assert_eq!(store.get("b", "key").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(store.get("a", "other").unwrap(), None);
    }

    #[test]
    fn nothing_is_stored_beyond_the_limit_and_what_is_forgotten_counts_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = KvStore::new(folder.path().join("state.sqlite"));
        assert_eq!(store.set("a", "k", &[0; 9], 20).unwrap(), 10);
        assert!(matches!(
            store.set("a", "l", &[0; 10], 20),
            Err(KvError::Full { size: 21, limit: 20 })
        ));
        assert_eq!(store.get("a", "l").unwrap(), None);
        assert_eq!(store.set("a", "k", &[0; 19], 20).unwrap(), 20);
        assert_eq!(store.delete("a", "k").unwrap(), 0);
        assert_eq!(store.delete("a", "k").unwrap(), 0);
        assert_eq!(store.set("a", "ü", &[], 20).unwrap(), 2);
    }

    #[test]
    fn keys_are_found_by_their_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = KvStore::new(folder.path().join("state.sqlite"));
        for key in ["b", "a%1", "a_2", "a1", "A"] {
            store.set("x", key, b"", 1000).unwrap();
        }
        assert_eq!(store.keys("x", "a").unwrap(), ["a%1", "a1", "a_2"]);
        assert_eq!(store.keys("x", "a_").unwrap(), ["a_2"]);
        assert_eq!(store.keys("x", "").unwrap().len(), 5);
        assert!(store.keys("y", "").unwrap().is_empty());
    }
}
