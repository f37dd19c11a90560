//! What was done to the library, and what is needed to take it back.
//!
//! Each act is a folder below `<data>/history`, named by its id: `act.json`, and a file for each
//! step: a line that says what is done, and behind it what the changed file was before. Nothing of
//! it is in the store, which may be thrown away at any time. A step is written before it is done,
//! so that an act that a crash cut off is found: one that moved files is rolled back, and one that
//! changed contents, each whole in itself, stays and can be taken back.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::trash;
use crate::files::{atomic, hash, private_folder, rename};

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
    /// Models were put into the trash.
    Delete,
    /// A model got another file name.
    Rename,
    /// An earlier act was taken back.
    Undo,
}

/// One step of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A file got another content. What it was before is kept beside the act, by the step's place.
    Content {
        /// The model that the file belongs to.
        model: String,
        /// The file.
        path: String,
        /// Whether there was such a file before.
        existed: bool,
        /// SHA-256 of the file after the step, lower-case hex; empty until that is known.
        #[serde(default)]
        after: String,
    },
    /// A file got another name or place.
    Renamed {
        /// The model that the file belongs to.
        model: String,
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
    },
}

impl Step {
    /// The model that the step belongs to.
    pub fn model(&self) -> &str {
        match self {
            Self::Content { model, .. } | Self::Renamed { model, .. } => model,
        }
    }
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
    /// What was done, in that order.
    pub steps: Vec<Step>,
    /// Bytes that wait in the trash for its undo; 0 once it was undone.
    #[serde(default)]
    pub trash_bytes: u64,
    /// Whether it came to its end; while it is being done, the files of its steps say what was done.
    ended: bool,
    /// The act that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The act that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

impl Act {
    /// A file that is where an undo would put one.
    pub fn occupied(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Renamed { from, .. } if Path::new(from).symlink_metadata().is_ok() => Some(from.as_str()),
            _ => None,
        })
    }
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

    fn add(&self, act: Act) {
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
        let step = Step::Content {
            model: model.to_owned(),
            path: path.to_owned(),
            existed: before.is_some(),
            after: String::new(),
        };
        self.note(step, before.unwrap_or_default())
    }

    /// Notes what the file that was kept last holds now.
    pub fn changed_to(&mut self, content: &[u8]) {
        if let Some(Step::Content { after, .. }) = self.act.steps.last_mut() {
            *after = digest(content);
        }
    }

    /// Gives a file another name or place on its file system; never over another file.
    ///
    /// # Errors
    /// When the step can't be noted, or the file not be moved; it is then where it was.
    pub fn rename(&mut self, model: &str, from: &Path, to: &Path) -> Result<(), HistoryError> {
        let step = Step::Renamed {
            model: model.to_owned(),
            from: trash::noted(from),
            to: trash::noted(to),
        };
        self.note(step, &[])?;
        rename::to_new(from, to).map_err(|source| {
            self.unchanged();
            match source.kind() {
                std::io::ErrorKind::AlreadyExists => HistoryError::Occupied(to.to_owned()),
                _ => HistoryError::Move {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    source,
                },
            }
        })
    }

    /// Forgets the last step: it was not done after all.
    pub fn unchanged(&mut self) {
        self.act.steps.pop();
        let _ = std::fs::remove_file(self.folder.join(step_name(self.act.steps.len())));
    }

    /// How many steps there are, for [`Self::back_to`].
    pub fn mark(&self) -> usize {
        self.act.steps.len()
    }

    /// Takes the steps after a mark back.
    pub fn back_to(&mut self, mark: usize) {
        while self.act.steps.len() > mark {
            let place = self.act.steps.len() - 1;
            if let Some(step) = self.act.steps.last() {
                roll_back(&self.folder, step, place);
            }
            self.unchanged();
        }
    }

    /// Notes bytes that wait in the trash.
    pub fn add_trash(&mut self, bytes: u64) {
        self.act.trash_bytes += bytes;
    }

    /// What was done so far.
    pub fn act(&self) -> &Act {
        &self.act
    }

    fn note(&mut self, step: Step, before: &[u8]) -> Result<(), HistoryError> {
        let path = self.folder.join(step_name(self.act.steps.len()));
        let written = serde_json::to_vec(&step)
            .map_err(std::io::Error::from)
            .and_then(|mut content| {
                content.push(b'\n');
                content.extend_from_slice(before);
                atomic::write(&path, &content)
            });
        written.map_err(|source| HistoryError::Io { path, source })?;
        self.act.steps.push(step);
        Ok(())
    }

    /// Ends the act; its id, or none when nothing was changed.
    pub fn end(mut self) -> Option<String> {
        if self.act.steps.is_empty() {
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

/// Takes a step back as far as it was done.
fn roll_back(folder: &Path, step: &Step, place: usize) {
    let done = match step {
        Step::Renamed { from, to, .. } => {
            if Path::new(to).exists() && !Path::new(from).exists() {
                rename::to_new(Path::new(to), Path::new(from))
            } else {
                Ok(())
            }
        }
        Step::Content {
            path, existed: true, ..
        } => std::fs::read(folder.join(step_name(place))).and_then(|copy| {
            let line = copy
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(copy.len(), |end| end + 1);
            atomic::write(Path::new(path), copy.get(line..).unwrap_or_default())
        }),
        Step::Content { path, .. } => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    if let Err(error) = done {
        tracing::error!(?step, %error, "a step can't be taken back; its file is where the step put it");
    }
}

/// SHA-256 of a content as acts note it.
pub fn digest(content: &[u8]) -> String {
    hash::hex(&Sha256::digest(content))
}

fn step_name(place: usize) -> String {
    format!("{place}.step")
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
    if act.ended {
        return Some(act);
    }
    act.steps = (0..)
        .map_while(|place| {
            let copy = std::fs::read(folder.join(step_name(place))).ok()?;
            serde_json::from_slice(copy.split(|byte| *byte == b'\n').next()?).ok()
        })
        .collect();
    let moves = act.steps.iter().any(|step| matches!(step, Step::Renamed { .. }));
    if moves || act.steps.is_empty() {
        for (place, step) in act.steps.iter().enumerate().rev() {
            roll_back(folder, step, place);
        }
        tracing::info!(act = act.id, kind = ?act.kind, "an act that was cut off is rolled back");
        trash::tidy(&act);
        let _ = std::fs::remove_dir_all(folder);
        return None;
    }
    for step in &mut act.steps {
        if let Step::Content { path, after, .. } = step {
            *after = std::fs::read(&*path).map(|bytes| digest(&bytes)).unwrap_or_default();
        }
    }
    act.ended = true;
    if let Err(error) = save(folder, &act) {
        tracing::warn!(%error, "an act that was cut off can't be ended");
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
        let settings = HistorySettings {
            days: 1,
            acts: 2,
            ..HistorySettings::default()
        };
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
        assert!(matches!(&act.steps[0], Step::Content { after, .. } if *after == digest(b"new")));
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
        assert!(matches!(&act.steps[0], Step::Content { after, .. } if *after == digest(b"new")));
        assert_eq!(history.before(&act, 0).unwrap().as_deref(), Some(&b"old"[..]));
    }

    #[test]
    fn an_act_that_moved_files_and_was_cut_off_is_rolled_back() {
        let data = tempfile::tempdir().unwrap();
        let file = |name: &str| data.path().join(name);
        std::fs::write(file("a"), "a").unwrap();
        std::fs::write(file("b"), "b").unwrap();
        let history = History::open(data.path(), HistorySettings::default());
        let mut draft = history.begin(ActKind::Delete, "t", None).unwrap();
        draft.rename("m", &file("a"), &file("a2")).unwrap();
        draft.keep("m", file("b").to_str().unwrap(), Some(b"b")).unwrap();
        std::fs::write(file("b"), "changed").unwrap();
        assert!(matches!(
            draft.rename("m", &file("a2"), &file("b")),
            Err(HistoryError::Occupied(_))
        ));
        drop(draft);
        drop(history);
        let history = History::open(data.path(), HistorySettings::default());
        assert!(history.acts().is_empty());
        assert_eq!(std::fs::read(file("a")).unwrap(), b"a");
        assert_eq!(std::fs::read(file("b")).unwrap(), b"b");
        assert!(!file("a2").exists());
    }
}
