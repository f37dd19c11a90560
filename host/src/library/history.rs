//! What was done to the library, and what is needed to take it back.
//!
//! Each act is a folder below `<data>/history`, named by its id: `act.json`, and a file for each
//! step: a line that says what is done, and behind it what the changed file was before. Nothing of
//! it is in the store, which may be thrown away at any time. A step is written before it is done,
//! so that an act that a crash cut off is found: one that moved files is rolled back, and one that
//! changed contents, each whole in itself, stays and can be taken back.

mod act;
mod clock;
mod draft;
mod files;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

pub use self::act::{Act, ActKind, Step};
use self::clock::Clock;
pub use self::draft::Draft;
pub use self::files::{OF_THE_SERVER, digest};
use self::files::{end, load, save};
use super::trash;
use crate::access::effects::{self, Effect, Undeclared};
use crate::data_folder::{DataFolder, DataFolderError};
use crate::files::{fault, private_folder};
use crate::moment::now;

/// Why history can't be kept. The library is then not changed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The request that begins it may not change anything; a fault of the program.
    #[error(transparent)]
    Undeclared(#[from] Undeclared),
    /// The data folder vanished.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
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
    /// A folder can't be made or removed.
    #[error("can't make or remove the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
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

/// How names of folders end whose acts are forgotten.
const GONE: &str = ".gone";

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
    acts: Mutex<VecDeque<Arc<Act>>>,
    // Acts that are being taken back: nothing of them may go meanwhile.
    pinned: Mutex<HashSet<String>>,
    clock: Clock,
    // Looked at before each act.
    home: Option<Arc<DataFolder>>,
}

impl History {
    /// Opens the history of a data folder, forgets what is too old, and ends acts that a crash cut off.
    pub fn open(data_folder: &Path, settings: HistorySettings) -> Self {
        let _scope = fault::scope("recovery");
        let folder = data_folder.join("history");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let (gone, kept): (Vec<PathBuf>, Vec<PathBuf>) = entries
            .map(|entry| entry.path())
            .partition(|path| path.to_string_lossy().ends_with(GONE));
        for folder in gone {
            let _ = std::fs::remove_dir_all(folder);
        }
        let mut acts: Vec<Act> = kept.iter().filter_map(|folder| load(folder)).collect();
        // The newest first: acts that were cut off may have moved the same file one after the other.
        acts.sort_by(|a, b| b.clock().total_cmp(&a.clock()));
        let clock = Clock::open(data_folder, acts.first().map(Act::clock));
        let ended = acts.into_iter().filter_map(|act| end(&folder.join(&act.id), act));
        let mut acts: Vec<Arc<Act>> = ended.map(Arc::new).collect();
        acts.reverse();
        let history = Self {
            folder,
            settings,
            acts: Mutex::new(acts.into()),
            pinned: Mutex::default(),
            clock,
            home: None,
        };
        history.forget_old();
        history
    }

    /// Refuses acts once this folder is gone.
    #[must_use]
    pub fn guarded_by(mut self, home: Arc<DataFolder>) -> Self {
        self.home = Some(home);
        self
    }

    /// Begins an act.
    ///
    /// # Errors
    /// When its folder can't be written, the data folder is gone, or the request that begins it may not change anything.
    pub fn begin(&self, kind: ActKind, model_type: &str, undoes: Option<&str>) -> Result<Draft<'_>, HistoryError> {
        effects::require(Effect::Write)?;
        if let Some(home) = &self.home {
            home.check()?;
        }
        let undone = undoes.and_then(|id| self.lock().iter().find(|act| act.id == id).cloned());
        let act = Act {
            joint: kind == ActKind::Preview || undone.is_some_and(|undone| undone.is_joint()),
            id: format!("{:032x}", rand::random::<u128>()),
            at: now(),
            clock: Some(self.clock.now()),
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
            whole: true,
            sources: Vec::new(),
            done: false,
        })
    }

    /// When what was deleted at `at` leaves the trash, in seconds since 1970-01-01 UTC.
    pub fn trash_ends(&self, at: f64) -> u64 {
        (at + self.settings.trash_days as f64 * 86_400.0) as u64
    }

    /// Acts, newest first.
    pub fn acts(&self) -> Vec<Arc<Act>> {
        self.lock().iter().rev().cloned().collect()
    }

    /// An act that can be taken back.
    ///
    /// # Errors
    /// When there is none with this id, or it was taken back already.
    pub fn act(&self, id: &str) -> Result<Arc<Act>, HistoryError> {
        let act = self.lock().iter().find(|act| act.id == id).cloned();
        match act {
            None => Err(HistoryError::Unknown(id.to_owned())),
            Some(act) if act.undone_by.is_some() => Err(HistoryError::Undone(id.to_owned())),
            Some(act) => Ok(act),
        }
    }

    /// Those of these folders in the trash that no act has files in, be it kept or on its way.
    pub fn unknown_trash(&self, folders: &[PathBuf]) -> Vec<PathBuf> {
        let of_acts: HashSet<PathBuf> = self.lock().iter().flat_map(|act| trash::folders(act)).collect();
        // The folder of an act is there before its first file is in the trash.
        let is_on_its_way = |folder: &Path| folder.file_name().is_some_and(|id| self.folder.join(id).is_dir());
        let unknown = folders
            .iter()
            .filter(|folder| !of_acts.contains(*folder) && !is_on_its_way(folder));
        unknown.cloned().collect()
    }

    /// Keeps an act and its files in the trash from being forgotten, as long as the answer lives.
    ///
    /// # Errors
    /// As [`Self::act`].
    pub fn pin(&self, id: &str) -> Result<Pinned<'_>, HistoryError> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let act = self.act(id)?;
        pinned.insert(id.to_owned());
        Ok(Pinned { history: self, act })
    }

    /// The content that a file of an act had before; none where there was no file.
    ///
    /// # Errors
    /// When the copy can't be read.
    pub fn before(&self, act: &Act, place: usize) -> Result<Option<Vec<u8>>, HistoryError> {
        if !matches!(act.steps.get(place), Some(Step::Content { existed: true, .. })) {
            return Ok(None);
        }
        let folder = self.folder.join(&act.id);
        let read = files::before(&folder, place);
        read.map(Some).map_err(|source| HistoryError::Io {
            path: folder.join(files::step_name(place)),
            source,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Act>>> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an act that came to its end. One that took back only a part of another leaves that to be undone again.
    fn add(&self, act: Act, whole: bool) {
        if let Some(undone) = &act.undoes {
            self.note_undone(undone, whole.then_some(act.id.as_str()));
        }
        self.lock().push_back(Arc::new(act));
        self.forget_old();
    }

    /// Notes by whom an act was taken back, wholly.
    fn note_undone(&self, undone: &str, by: Option<&str>) {
        let mut acts = self.lock();
        if let Some(undone) = acts.iter_mut().find(|other| other.id == undone) {
            let undone = Arc::make_mut(undone);
            undone.undone_by = by.map(str::to_owned);
            undone.trash_bytes = trash::waiting_bytes(undone);
            if let Err(error) = save(&self.folder.join(&undone.id), undone) {
                tracing::warn!(%error, "history does not show that an act was undone");
            }
        }
    }

    /// Forgets what is older than settings say or over their bounds, and takes it out of the trash. Reads and removes files.
    pub fn forget_old(&self) {
        let now = self.clock.advance();
        let age = |days: u64| now - days as f64 * 86_400.0;
        let bound = self.settings.trash_gib.saturating_mul(1 << 30);
        let (mut plain, mut bytes, mut last) = (0, 0u64, true);
        // Newest first, so that what is over a bound is the oldest. What waits in the trash goes by the bounds of the
        // trash alone.
        self.forget(|act| {
            let is_last = std::mem::take(&mut last);
            if act.has_trash() {
                let over = bytes.saturating_add(act.trash_bytes) > bound || act.clock() < age(self.settings.trash_days);
                bytes += if over { 0 } else { act.trash_bytes };
                over && !is_last
            } else {
                plain += 1;
                plain > self.settings.acts.max(1) || act.clock() < age(self.settings.days)
            }
        });
    }

    /// Forgets every act whose files wait in the trash, and the files with them. Bytes that became free.
    pub fn empty_trash(&self) -> u64 {
        self.forget(Act::has_trash)
    }

    /// Forgets acts, asked about newest first, but those that are pinned and those of which something can't be removed
    /// now. Bytes that became free.
    fn forget(&self, mut is_over: impl FnMut(&Act) -> bool) -> u64 {
        // Held to the end, so that nothing is taken back meanwhile.
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Arc<Act>> = self.lock().iter().rev().filter(|act| is_over(act)).cloned().collect();
        let mut freed = 0;
        let mut forgotten = HashSet::new();
        for act in gone.iter().filter(|act| !pinned.contains(&act.id)) {
            let Some(bytes) = trash::empty(act) else { continue };
            freed += bytes;
            let models: BTreeSet<&str> = act.steps.iter().map(Step::model).collect();
            tracing::info!(
                operation = act.id, kind = ?act.kind, at = act.at, bytes, models = models.len(),
                first = models.first().copied().unwrap_or_default(), "an operation is forgotten, with its files in the trash"
            );
            // Under another name first, so that what a crash leaves of it is no act any more.
            let (folder, leaving) = (self.folder.join(&act.id), self.folder.join(format!("{}{GONE}", act.id)));
            let removed = std::fs::rename(&folder, &leaving).and_then(|()| std::fs::remove_dir_all(&leaving));
            if let Err(error) = removed {
                tracing::warn!(folder = %folder.display(), %error, "old history can't be removed");
            }
            forgotten.insert(act.id.as_str());
        }
        self.lock().retain(|act| !forgotten.contains(act.id.as_str()));
        freed
    }
}

/// An act that can't be forgotten while this lives.
pub struct Pinned<'h> {
    history: &'h History,
    /// The act.
    pub act: Arc<Act>,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        let mut pinned = self.history.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.remove(&self.act.id);
    }
}

#[cfg(test)]
mod tests;
