//! What was done to the library, and what is needed to take it back.
//!
//! Each act is a folder below `<data>/history`, named by its id: `act.json`, and a file for each
//! step: a line that says what is done, and behind it what the changed file was before. Nothing of
//! it is in the store, which may be thrown away at any time. A step is written before it is done,
//! so that an act that a crash cut off is found: one that moved files is rolled back, and one that
//! changed contents, each whole in itself, stays and can be taken back.

mod act;
mod draft;
mod files;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

pub use self::act::{Act, ActKind, Step};
pub use self::draft::Draft;
pub use self::files::digest;
use self::files::{load, save, step_name};
use super::trash;
use crate::files::private_folder;

/// Why history can't be kept. The library is then not changed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file can't be written or read.
    #[error("can't keep what is needed for an undo in {}: {source}; nothing more was changed. Make room or mend the folder", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No act has this id, or it is too long ago.
    #[error("Unknown undo id: {0}. It may have been done too long ago")]
    Unknown(String),
    /// It was taken back before.
    #[error("{0} was undone already")]
    Undone(String),
    /// Another file is where a file would go.
    #[error("{} exists already; move it away first", .0.display())]
    Occupied(PathBuf),
    /// A file can't be moved.
    #[error("can't move {} to {}: {source}", from.display(), to.display())]
    Move {
        /// Where it is.
        from: PathBuf,
        /// Where it should go.
        to: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How much is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistorySettings {
    /// Days after which an act is forgotten.
    pub days: u64,
    /// Acts that are kept; the oldest go first.
    pub acts: usize,
    /// Days after which what was deleted leaves the trash, and with it the disk.
    pub trash_days: u64,
    /// Bound of the trash in GiB; the oldest goes first. 0 keeps nothing but the last act.
    pub trash_gib: u64,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            days: 90,
            acts: 2_000,
            trash_days: 14,
            trash_gib: 100,
        }
    }
}

/// All acts that are kept.
pub struct History {
    folder: PathBuf,
    settings: HistorySettings,
    // Oldest first.
    acts: Mutex<VecDeque<Act>>,
}

impl History {
    /// Opens the history of a data folder, forgets what is too old, and ends acts that a crash cut off.
    pub fn open(data_folder: &Path, settings: HistorySettings) -> Self {
        let folder = data_folder.join("history");
        let mut acts: Vec<Act> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| load(&entry.ok()?.path()))
            .collect();
        acts.sort_by(|a, b| a.at.total_cmp(&b.at));
        let history = Self {
            folder,
            settings,
            acts: Mutex::new(acts.into()),
        };
        history.forget_old();
        history
    }

    /// Begins an act.
    ///
    /// # Errors
    /// When its folder can't be written.
    pub fn begin(&self, kind: ActKind, model_type: &str, undoes: Option<&str>) -> Result<Draft<'_>, HistoryError> {
        let act = Act {
            id: format!("{:032x}", rand::random::<u128>()),
            at: now(),
            kind,
            model_type: model_type.to_owned(),
            steps: Vec::new(),
            trash_bytes: 0,
            ended: false,
            undoes: undoes.map(str::to_owned),
            undone_by: None,
        };
        let folder = self.folder.join(&act.id);
        private_folder(&self.folder)
            .and_then(|()| private_folder(&folder))
            .map_err(|source| HistoryError::Io {
                path: folder.clone(),
                source,
            })?;
        save(&folder, &act)?;
        Ok(Draft {
            history: self,
            folder,
            act,
        })
    }

    /// When what was deleted at `at` leaves the trash, in seconds since 1970-01-01 UTC.
    pub fn trash_ends(&self, at: f64) -> u64 {
        (at + self.settings.trash_days as f64 * 86_400.0) as u64
    }

    /// Acts, newest first.
    pub fn acts(&self) -> Vec<Act> {
        self.lock().iter().rev().cloned().collect()
    }

    /// An act that can be taken back.
    ///
    /// # Errors
    /// When there is none with this id, or it was taken back already.
    pub fn act(&self, id: &str) -> Result<Act, HistoryError> {
        let act = self.lock().iter().find(|act| act.id == id).cloned();
        match act {
            None => Err(HistoryError::Unknown(id.to_owned())),
            Some(act) if act.undone_by.is_some() => Err(HistoryError::Undone(id.to_owned())),
            Some(act) => Ok(act),
        }
    }

    /// The content that a file of an act had before; none where there was no file.
    ///
    /// # Errors
    /// When the copy can't be read.
    pub fn before(&self, act: &Act, place: usize) -> Result<Option<Vec<u8>>, HistoryError> {
        if !matches!(act.steps.get(place), Some(Step::Content { existed: true, .. })) {
            return Ok(None);
        }
        let path = self.folder.join(&act.id).join(step_name(place));
        let copy = std::fs::read(&path).map_err(|source| HistoryError::Io { path, source })?;
        let line = copy
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(copy.len(), |end| end + 1);
        Ok(copy.get(line..).map(<[u8]>::to_vec))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Act>> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, act: Act) {
        let undone = act.undoes.clone();
        let mut acts = self.lock();
        if let Some(undone) = undone.and_then(|id| acts.iter_mut().find(|other| other.id == id)) {
            undone.undone_by = Some(act.id.clone());
            undone.trash_bytes = 0;
            if let Err(error) = save(&self.folder.join(&undone.id), undone) {
                tracing::warn!(%error, "history does not show that an act was undone");
            }
        }
        acts.push_back(act);
        drop(acts);
        self.forget_old();
    }

    fn forget_old(&self) {
        let now = now();
        let age = |days: u64| now - days as f64 * 86_400.0;
        let bound = self.settings.trash_gib.saturating_mul(1 << 30);
        let mut acts = self.lock();
        let mut kept = VecDeque::with_capacity(acts.len());
        let (mut gone, mut bytes) = (Vec::new(), 0u64);
        // Newest first, so that what is over a bound is the oldest.
        while let Some(act) = acts.pop_back() {
            bytes = bytes.saturating_add(act.trash_bytes);
            let over = kept.len() >= self.settings.acts.max(1) || act.at < age(self.settings.days);
            let last = kept.is_empty();
            let trash_over = act.trash_bytes > 0 && !last && (bytes > bound || act.at < age(self.settings.trash_days));
            if over || trash_over {
                gone.push(act);
            } else {
                kept.push_front(act);
            }
        }
        *acts = kept;
        drop(acts);
        for act in gone {
            trash::empty(&act);
            let folder = self.folder.join(&act.id);
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "old history can't be removed");
            }
        }
    }

    /// Forgets every act whose files wait in the trash, and the files with them. Bytes that became free.
    pub fn empty_trash(&self) -> u64 {
        let mut acts = self.lock();
        let (gone, kept): (Vec<Act>, Vec<Act>) = acts.drain(..).partition(|act| act.trash_bytes > 0);
        acts.extend(kept);
        drop(acts);
        for act in &gone {
            trash::empty(act);
            let _ = std::fs::remove_dir_all(self.folder.join(&act.id));
        }
        gone.iter().map(|act| act.trash_bytes).sum()
    }
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
