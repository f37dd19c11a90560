//! An act on its way: each step is on the disk before it is done.

use std::path::{Path, PathBuf};

use super::act::{Act, Step};
use super::files::{before, digest, save, step_name};
use super::{History, HistoryError};
use crate::files::{atomic, rename};
use crate::library::linking::Sharing;
use crate::library::trash;

/// An act that is being done.
pub struct Draft<'h> {
    pub(super) history: &'h History,
    pub(super) folder: PathBuf,
    pub(super) act: Act,
    // Whether an undo took back all of its act.
    pub(super) whole: bool,
    // Whether it came to its end; what did not is taken back.
    pub(super) done: bool,
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
            trash::tidy_behind(to);
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

    /// Notes that a file begins or ceases to share its bytes with another. Only when this is done may it be replaced.
    ///
    /// # Errors
    /// When the step can't be noted; the file must not be replaced then.
    pub fn share(
        &mut self,
        model: &str,
        path: &Path,
        with: &Path,
        how: Sharing,
        begins: bool,
    ) -> Result<(), HistoryError> {
        let step = Step::Shared {
            model: model.to_owned(),
            path: trash::noted(path),
            with: trash::noted(with),
            how,
            begins,
        };
        self.note(step, &[])
    }

    /// Notes how the file of the last step shares its bytes after all.
    pub fn shared_as(&mut self, now: Sharing) {
        if let Some(Step::Shared { how, .. }) = self.act.steps.last_mut() {
            *how = now;
        }
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

    /// Takes the steps after a mark back; whether all could be. One that could not stays noted.
    pub fn back_to(&mut self, mark: usize) -> bool {
        while self.act.steps.len() > mark {
            let place = self.act.steps.len() - 1;
            let back = self
                .act
                .steps
                .last()
                .is_none_or(|step| roll_back(&self.folder, step, place));
            if !back {
                return false;
            }
            self.unchanged();
        }
        true
    }

    /// Notes that an undo left something of its act as it is.
    pub fn is_partial(&mut self) {
        self.whole = false;
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
    ///
    /// # Errors
    /// When that can't be written: all its steps are taken back then.
    pub fn end(mut self) -> Result<Option<String>, HistoryError> {
        if self.act.steps.is_empty() {
            return Ok(None);
        }
        self.act.ended = true;
        self.act.trash_bytes = trash::waiting_bytes(&self.act);
        save(&self.folder, &self.act)?;
        self.done = true;
        let steps = std::mem::take(&mut self.act.steps);
        let act = Act {
            steps,
            ..self.act.clone()
        };
        let id = act.id.clone();
        self.history.add(act, self.whole);
        Ok(Some(id))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.done {
            // Nothing is done by halves, whatever ended it. What can't be taken back now is tried at the next start.
            if self.back_to(0) {
                let _ = std::fs::remove_dir_all(&self.folder);
            }
        }
    }
}

/// Takes a step back as far as it was done. False when it is not back: the disk may be away.
pub(super) fn roll_back(folder: &Path, step: &Step, place: usize) -> bool {
    let done = match step {
        Step::Renamed { from, to, .. } => {
            let there = |path: &str| Path::new(path).symlink_metadata().is_ok();
            match (there(from), there(to)) {
                (true, _) => Ok(()),
                (false, true) => {
                    let back = rename::to_new(Path::new(to), Path::new(from));
                    trash::tidy_behind(Path::new(to));
                    back
                }
                (false, false) => Err(std::io::ErrorKind::NotFound.into()),
            }
        }
        // Its bytes are the same either way.
        Step::Shared { .. } => Ok(()),
        Step::Content {
            path, existed: true, ..
        } => before(folder, place).and_then(|content| atomic::write(Path::new(path), &content)),
        Step::Content { path, .. } => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    if let Err(error) = &done {
        tracing::error!(?step, %error, "a step can't be taken back; its file is where the step put it");
    }
    done.is_ok()
}
