//! What a person chose on the page of plugins: `plugins.json` in the data folder, which the server owns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::files::foreign::ForeignError;
use crate::files::{atomic, own};

/// Why a choice can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum ChoicesError {
    /// The file can't be read or written.
    #[error("what was chosen of plugins can't be read or kept in {}: {source}. Free or mend the disk of the data folder", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It may be whole, and can't be read now.
    #[error("plugin preferences can't be read: {0}")]
    File(#[from] ForeignError),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    disabled: BTreeSet<String>,
    // Hosts by plugin.
    remote_hosts: BTreeMap<String, BTreeSet<String>>,
}

/// See the module.
pub struct Choices {
    path: PathBuf,
    stored: Mutex<Stored>,
}

impl Choices {
    /// Reads the file, if there is one; one that can't be used is put aside with a warning.
    ///
    /// # Errors
    /// When it may be whole and can't be read now.
    pub fn open(path: PathBuf) -> Result<Self, ChoicesError> {
        let stored: Stored = own::read_json(&path)?.unwrap_or_default();
        Ok(Self {
            path,
            stored: Mutex::new(stored),
        })
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a plugin is switched off.
    pub fn is_disabled(&self, id: &str) -> bool {
        self.stored().disabled.contains(id)
    }

    /// The hosts that a plugin was granted.
    pub fn hosts(&self, id: &str) -> Vec<String> {
        let stored = self.stored();
        stored.remote_hosts.get(id).into_iter().flatten().cloned().collect()
    }

    /// Switches a plugin off or on. Blocks.
    ///
    /// # Errors
    /// When that can't be kept; nothing is different then.
    pub fn disable(&self, id: &str, disabled: bool) -> Result<(), ChoicesError> {
        self.change(|stored| {
            if disabled {
                stored.disabled.insert(id.to_owned());
            } else {
                stored.disabled.remove(id);
            }
        })
    }

    /// Grants a host, or takes it back. Blocks.
    ///
    /// # Errors
    /// When that can't be kept; nothing is different then.
    pub fn grant(&self, id: &str, host: &str, granted: bool) -> Result<(), ChoicesError> {
        self.change(|stored| {
            let hosts = stored.remote_hosts.entry(id.to_owned()).or_default();
            if granted {
                hosts.insert(host.to_owned());
            } else {
                hosts.remove(host);
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Stored)) -> Result<(), ChoicesError> {
        let mut stored = self.stored();
        let mut next = stored.clone();
        change(&mut next);
        let written = serde_json::to_vec_pretty(&next).map_err(std::io::Error::from);
        let written = written.and_then(|bytes| atomic::write(&self.path, &bytes));
        written.map_err(|source| ChoicesError::Io {
            path: self.path.clone(),
            source,
        })?;
        *stored = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_outlive_the_server_and_a_broken_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins.json");
        let choices = Choices::open(path.clone()).unwrap();
        choices.disable("a", true).unwrap();
        choices.grant("b", "x.example", true).unwrap();
        choices.grant("b", "y.example", true).unwrap();
        choices.grant("b", "x.example", false).unwrap();
        let again = Choices::open(path.clone()).unwrap();
        assert!(again.is_disabled("a") && !again.is_disabled("b"));
        assert_eq!(again.hosts("b"), ["y.example"]);
        std::fs::write(&path, "{").unwrap();
        assert!(!Choices::open(path.clone()).unwrap().is_disabled("a"));
        assert!(!path.exists() && std::fs::read_dir(folder.path()).unwrap().count() == 1);
    }
}
