//! What was done to the library, and what is needed to take it back.
//!
//! Each act is a folder below `<data>/history`, named by its id: `act.json`, and for each file a
//! copy of what it was before, behind a line that says which file it is. Nothing of it is in the
//! store, which may be thrown away at any time. A copy is written before its file is changed, so
//! that an act that a crash cut off is found and can be taken back too.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{atomic, hash, private_folder};

const ACT: &str = "act.json";

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
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActKind {
    /// Metadata was edited.
    Edit,
    /// Models were hidden.
    Exclude,
    /// Models were shown again.
    Unexclude,
    /// An earlier act was taken back.
    Undo,
}

/// A file that an act changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The model that the file belongs to.
    pub model: String,
    /// The file.
    pub path: String,
    /// Whether there was such a file before; its copy is named by its place in the list.
    pub existed: bool,
    /// SHA-256 of the file after the act, lower-case hex; empty until that is known.
    pub after: String,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// 32 lower-case hex digits.
    pub id: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: f64,
    /// What.
    pub kind: ActKind,
    /// Id of the model type.
    pub model_type: String,
    /// What it changed, in that order.
    pub files: Vec<Changed>,
    /// Whether it came to its end; while it is being done, the copies say what it changed.
    ended: bool,
    /// The act that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The act that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

/// How much is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistorySettings {
    /// Days after which an act is forgotten.
    pub days: u64,
    /// Acts that are kept; the oldest go first.
    pub acts: usize,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { days: 90, acts: 2_000 }
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
            files: Vec::new(),
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
        if act.files.get(place).is_none_or(|file| !file.existed) {
            return Ok(None);
        }
        let path = self.folder.join(&act.id).join(copy_name(place));
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

    fn add(&self, act: Act) {
        let undone = act.undoes.clone();
        let mut acts = self.lock();
        if let Some(undone) = undone.and_then(|id| acts.iter_mut().find(|other| other.id == id)) {
            undone.undone_by = Some(act.id.clone());
            if let Err(error) = save(&self.folder.join(&undone.id), undone) {
                tracing::warn!(%error, "history does not show that an act was undone");
            }
        }
        acts.push_back(act);
        drop(acts);
        self.forget_old();
    }

    fn forget_old(&self) {
        let oldest = now() - self.settings.days as f64 * 86_400.0;
        let mut gone = Vec::new();
        let mut acts = self.lock();
        while acts.len() > self.settings.acts || acts.front().is_some_and(|act| act.at < oldest) {
            gone.extend(acts.pop_front());
        }
        drop(acts);
        for act in gone {
            let folder = self.folder.join(&act.id);
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "old history can't be removed");
            }
        }
    }
}

/// An act that is being done.
pub struct Draft<'h> {
    history: &'h History,
    folder: PathBuf,
    act: Act,
}

impl Draft<'_> {
    /// Id of the act.
    pub fn id(&self) -> &str {
        &self.act.id
    }

    /// Keeps the content of a file that is about to change. Only when this is done may it be changed.
    ///
    /// # Errors
    /// When the copy can't be written; the file must not be changed then.
    pub fn keep(&mut self, model: &str, path: &str, before: Option<&[u8]>) -> Result<(), HistoryError> {
        let file = Changed {
            model: model.to_owned(),
            path: path.to_owned(),
            existed: before.is_some(),
            after: String::new(),
        };
        let copy = self.folder.join(copy_name(self.act.files.len()));
        let written = serde_json::to_vec(&file)
            .map_err(std::io::Error::from)
            .and_then(|mut content| {
                content.push(b'\n');
                content.extend_from_slice(before.unwrap_or_default());
                atomic::write(&copy, &content)
            });
        written.map_err(|source| HistoryError::Io { path: copy, source })?;
        self.act.files.push(file);
        Ok(())
    }

    /// Notes what the file that was kept last holds now.
    pub fn changed_to(&mut self, after: &[u8]) {
        if let Some(file) = self.act.files.last_mut() {
            file.after = digest(after);
        }
    }

    /// Forgets the file that was kept last: it was not changed after all.
    pub fn unchanged(&mut self) {
        self.act.files.pop();
        let _ = std::fs::remove_file(self.folder.join(copy_name(self.act.files.len())));
    }

    /// Ends the act; its id, or none when nothing was changed.
    pub fn end(mut self) -> Option<String> {
        if self.act.files.is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
            return None;
        }
        self.act.ended = true;
        if let Err(error) = save(&self.folder, &self.act) {
            tracing::error!(%error, "an act is done and can't be undone after a restart");
        }
        let id = self.act.id.clone();
        self.history.add(self.act);
        Some(id)
    }
}

/// SHA-256 of a content as acts note it.
pub fn digest(content: &[u8]) -> String {
    hash::hex(&Sha256::digest(content))
}

fn copy_name(place: usize) -> String {
    format!("{place}.before")
}

fn save(folder: &Path, act: &Act) -> Result<(), HistoryError> {
    let path = folder.join(ACT);
    serde_json::to_vec(act)
        .map_err(std::io::Error::from)
        .and_then(|bytes| atomic::write(&path, &bytes))
        .map_err(|source| HistoryError::Io { path, source })
}

/// An act from its folder; where it was cut off, the files as they are now count as its result.
fn load(folder: &Path) -> Option<Act> {
    let bytes = std::fs::read(folder.join(ACT)).ok()?;
    let mut act: Act = match serde_json::from_slice(&bytes) {
        Ok(act) => act,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "an act of the history can't be read and is passed over");
            return None;
        }
    };
    if !act.ended {
        act.files = (0..)
            .map_while(|place| {
                let copy = std::fs::read(folder.join(copy_name(place))).ok()?;
                let line = copy.split(|byte| *byte == b'\n').next()?;
                let mut file: Changed = serde_json::from_slice(line).ok()?;
                file.after = std::fs::read(&file.path)
                    .map(|bytes| digest(&bytes))
                    .unwrap_or_default();
                Some(file)
            })
            .collect();
        act.ended = true;
        if let Err(error) = save(folder, &act) {
            tracing::warn!(%error, "an act that was cut off can't be ended");
        }
    }
    Some(act)
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_and_its_copies_are_there_after_a_restart_and_old_ones_are_not() {
        let data = tempfile::tempdir().unwrap();
        let settings = HistorySettings { days: 1, acts: 2 };
        let history = History::open(data.path(), settings.clone());
        let mut ids = Vec::new();
        for number in 0..3 {
            let mut draft = history.begin(ActKind::Edit, "t", None).unwrap();
            draft.keep("m", "m.json", Some(&[number])).unwrap();
            draft.changed_to(b"new");
            ids.push(draft.end().unwrap());
        }
        assert!(history.begin(ActKind::Edit, "t", None).unwrap().end().is_none());
        drop(history);
        let history = History::open(data.path(), settings);
        let kept: Vec<String> = history.acts().into_iter().map(|act| act.id).collect();
        assert_eq!(kept, [ids[2].clone(), ids[1].clone()]);
        let act = history.act(&ids[2]).unwrap();
        assert_eq!(history.before(&act, 0).unwrap(), Some(vec![2]));
        assert_eq!(act.files[0].after, digest(b"new"));
        assert!(matches!(history.act(&ids[0]), Err(HistoryError::Unknown(_))));
        assert_eq!(std::fs::read_dir(data.path().join("history")).unwrap().count(), 2);
    }

    #[test]
    fn an_act_that_was_cut_off_is_ended_with_the_files_as_they_are() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("a.json");
        std::fs::write(&file, "new").unwrap();
        let history = History::open(data.path(), HistorySettings::default());
        let mut draft = history.begin(ActKind::Edit, "t", None).unwrap();
        draft.keep("m", file.to_str().unwrap(), Some(b"old")).unwrap();
        let id = draft.id().to_owned();
        drop(draft);
        drop(history);
        let history = History::open(data.path(), HistorySettings::default());
        let act = history.act(&id).unwrap();
        assert_eq!(act.files[0].after, digest(b"new"));
        assert_eq!(history.before(&act, 0).unwrap().as_deref(), Some(&b"old"[..]));
    }
}
