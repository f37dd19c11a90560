//! An act on its way: each step is on the disk before it is done.

use std::path::{Path, PathBuf};

use super::act::{Act, Step};
use super::files::{digest, save, step_name};
use super::{History, HistoryError};
use crate::files::{atomic, rename};
use crate::library::trash;

/// An act that is being done.
pub struct Draft<'h> {
    pub(super) history: &'h History,
    pub(super) folder: PathBuf,
    pub(super) act: Act,
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
pub(super) fn roll_back(folder: &Path, step: &Step, place: usize) {
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
