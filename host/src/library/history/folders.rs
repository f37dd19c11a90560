//! The folders in which acts changed files, for what is rolled back or emptied before their libraries are open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::HistoryError;
use super::act::Act;
use crate::files::atomic;
use crate::files::rooted::AllowedFolders;
use crate::library::trash;

/// Name of the file in the data folder.
const FILE: &str = "history_folders.json";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Folders {
    /// As configured.
    written: BTreeSet<PathBuf>,
    /// Real paths of those, and of what links in them lead to.
    real: BTreeSet<PathBuf>,
}

/// All folders that libraries ever had while an act began.
#[derive(Debug)]
pub struct KnownFolders {
    path: PathBuf,
    folders: Mutex<Folders>,
    // Those that were noted last.
    noted: Mutex<Vec<Weak<AllowedFolders>>>,
}

impl KnownFolders {
    /// Reads the file of a data folder; one that is missing or broken knows of none.
    pub fn open(data_folder: &Path) -> Self {
        let path = data_folder.join(FILE);
        let folders = match std::fs::read(&path).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(folders)) => folders,
            Ok(Err(error)) => {
                tracing::warn!(file = %path.display(), %error, "can't be read, and is written again");
                Folders::default()
            }
            Err(_) => Folders::default(),
        };
        Self {
            path,
            folders: Mutex::new(folders),
            noted: Mutex::default(),
        }
    }

    /// Notes the folders of an act that is about to begin.
    ///
    /// # Errors
    /// When they are new and can't be written.
    pub fn note(&self, allowed: &Arc<AllowedFolders>) -> Result<(), HistoryError> {
        let own = Arc::downgrade(allowed);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|other| other.strong_count() > 0);
        if noted.iter().any(|other| other.ptr_eq(&own)) {
            return Ok(());
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let before = folders.written.len() + folders.real.len();
        // Others can't be written as JSON, and no act names them.
        let nameable = |path: &&Path| path.to_str().is_some();
        folders
            .written
            .extend(allowed.written_folders().filter(nameable).map(Path::to_owned));
        folders
            .real
            .extend(allowed.real_folders().filter(nameable).map(Path::to_owned));
        if folders.written.len() + folders.real.len() != before {
            let bytes = serde_json::to_vec(&*folders).map_err(std::io::Error::from);
            let saved = bytes.and_then(|bytes| atomic::write(&self.path, &bytes));
            saved.map_err(|source| HistoryError::Io {
                path: self.path.clone(),
                source,
            })?;
        }
        noted.push(own);
        Ok(())
    }

    /// Folders in which an act changed files: of the known ones those that its files lie in, so that no other disk is
    /// asked. An act from before they were noted is allowed the folders that it names.
    pub fn allowed_for(&self, act: &Act) -> AllowedFolders {
        let own = act.folders();
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |root: &&PathBuf| own.iter().any(|folder| folder.starts_with(root));
        let mut written: Vec<PathBuf> = folders.written.iter().filter(holds).cloned().collect();
        let mut real: Vec<PathBuf> = folders.real.iter().cloned().collect();
        drop(folders);
        if written.is_empty() {
            let outer = own.iter().map(|folder| match trash::is_inside(&folder.join("any")) {
                true => folder.ancestors().nth(2).unwrap_or(folder).to_owned(),
                false => folder.clone(),
            });
            written.extend(outer);
        }
        real.extend(written.iter().filter_map(|root| root.canonicalize().ok()));
        AllowedFolders::new(written, real)
    }
}
