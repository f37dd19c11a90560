//! An act on its way: each step is on the disk before it is done.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::act::{Act, Step};
use super::files::{before, digest, save, step_name};
use super::{History, HistoryError};
use crate::cancel::Cancel;
use crate::files::entry::Entry;
use crate::files::rooted::AllowedFolders;
use crate::files::{atomic, fault, transfer};
use crate::library::linking::{Looks, Sharing};
use crate::library::trash;

/// Largest file whose content a step keeps, in bytes: sidecars and previews.
const MAX_CONTENT: u64 = 1 << 30;

/// An act that is being done.
pub struct Draft<'h> {
    pub(super) history: &'h History,
    pub(super) folder: PathBuf,
    // Folders in which it may change something.
    pub(super) allowed: Arc<AllowedFolders>,
    pub(super) act: Act,
    // Whether an undo took back all of its act.
    pub(super) whole: bool,
    // Files whose copies are in place, and which are still to be removed.
    pub(super) sources: Vec<(PathBuf, PathBuf)>,
    // Whether it came to its end; what did not is taken back.
    pub(super) done: bool,
}

impl Draft<'_> {
    /// Id of the act.
    pub fn id(&self) -> &str {
        &self.act.id
    }

    /// Keeps the content of a file that is about to become `after`, or to be removed. Only when this is done may it be changed.
    ///
    /// # Errors
    /// When the copy can't be written; the file must not be changed then.
    pub fn keep(
        &mut self,
        model: &str,
        path: &str,
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<(), HistoryError> {
        let step = Step::Content {
            model: model.to_owned(),
            path: path.to_owned(),
            existed: before.is_some(),
            after: after.map(digest).unwrap_or_default(),
        };
        self.note(step, before.unwrap_or_default())
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
            copied: false,
        };
        self.note(step, &[])?;
        let moved = self.entry(from).and_then(|from| from.rename_to_new(&self.entry(to)?));
        moved.map_err(|source| {
            self.unchanged();
            trash::tidy_behind(&self.allowed, to);
            not_moved(from, to, source)
        })
    }

    /// Gives a file another place, on whatever file system; never over another file. What it leaves behind on another file
    /// system goes with [`Self::settle`].
    ///
    /// # Errors
    /// When the step can't be noted, or the file not be moved; it is then where it was.
    pub fn relocate(&mut self, model: &str, from: &Path, to: &Path, cancel: &Cancel) -> Result<(), HistoryError> {
        match self.rename(model, from, to) {
            Err(HistoryError::Move { source, .. }) if source.kind() == ErrorKind::CrossesDevices => {
                self.copy(model, from, to, cancel)
            }
            result => result,
        }
    }

    /// Puts a copy of a file, which is read once more, at another place; never over another file. The file itself stays
    /// until [`Self::settle`].
    ///
    /// # Errors
    /// When the step can't be noted, the file not be copied, or the copy is not the same; there is no copy then.
    pub fn copy(&mut self, model: &str, from: &Path, to: &Path, cancel: &Cancel) -> Result<(), HistoryError> {
        let place = self.act.steps.len();
        let step = Step::Renamed {
            model: model.to_owned(),
            from: trash::noted(from),
            to: trash::noted(to),
            copied: true,
        };
        self.note(step, &[])?;
        let copied = self.entry(from).and_then(|source| {
            let target = self.entry(to)?;
            copy_whole(&source, &target, &unfinished(&self.folder, place), cancel)
        });
        if let Err(source) = copied {
            self.unchanged();
            return Err(not_moved(from, to, source));
        }
        self.sources.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Removes the files whose copies are in place, the first one last. To be called when all is done for a model.
    ///
    /// # Errors
    /// When one can't be removed: it is there, with its copy.
    pub fn settle(&mut self) -> Result<(), HistoryError> {
        while let Some((from, to)) = self.sources.pop() {
            fault::step();
            let removed = self.entry(&from).and_then(|source| source.remove_file());
            removed.map_err(|source| not_moved(&from, &to, source))?;
        }
        Ok(())
    }

    /// Makes a folder and those that it lies in, where they are not there.
    ///
    /// # Errors
    /// When a step can't be noted, or a folder not be made.
    pub fn make_folders(&mut self, model: &str, folder: &Path) -> Result<(), HistoryError> {
        let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev() {
            self.note(
                Step::FolderMade {
                    model: model.to_owned(),
                    path: trash::noted(path),
                },
                &[],
            )?;
            match self.allowed.entry(path).and_then(|new| new.create_folder()) {
                Ok(()) => fault::step(),
                // Somebody else was first.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => self.unchanged(),
                Err(source) => {
                    self.unchanged();
                    return Err(HistoryError::Folder {
                        path: path.to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// Removes a folder when it is empty; whether it is gone.
    ///
    /// # Errors
    /// When the step can't be noted, or the folder not be removed for another reason.
    pub fn remove_folder(&mut self, model: &str, folder: &Path) -> Result<bool, HistoryError> {
        self.note(
            Step::FolderRemoved {
                model: model.to_owned(),
                path: trash::noted(folder),
            },
            &[],
        )?;
        let removed = self.allowed.entry(folder).and_then(|folder| folder.remove_folder());
        let Err(source) = removed else {
            fault::step();
            return Ok(true);
        };
        self.unchanged();
        match source.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound => Ok(false),
            _ => Err(HistoryError::Folder {
                path: folder.to_owned(),
                source,
            }),
        }
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
        looks: Option<Looks>,
    ) -> Result<(), HistoryError> {
        let step = Step::Shared {
            model: model.to_owned(),
            path: trash::noted(path),
            with: trash::noted(with),
            how,
            begins,
            looks,
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
        // They are where they were.
        self.sources.clear();
        while self.act.steps.len() > mark {
            let place = self.act.steps.len() - 1;
            let back = self
                .act
                .steps
                .last()
                .is_none_or(|step| roll_back(&self.allowed, &self.folder, step, place));
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

    /// Folders in which it may change something.
    pub fn allowed(&self) -> &Arc<AllowedFolders> {
        &self.allowed
    }

    /// A file of the library, through the open handle of its folder.
    ///
    /// # Errors
    /// As [`trash::entry`].
    pub fn entry(&self, path: &Path) -> std::io::Result<Entry> {
        trash::entry(&self.allowed, path)
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
            // Somebody else took it back already: it is not offered any more.
            if let Some(undone) = self.act.undoes.as_deref().filter(|_| self.whole) {
                self.history.note_undone(undone, Some(&self.act.id));
            }
            return Ok(None);
        }
        self.settle()?;
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

fn not_moved(from: &Path, to: &Path, source: std::io::Error) -> HistoryError {
    match source.kind() {
        ErrorKind::AlreadyExists => HistoryError::Occupied(to.to_owned()),
        _ => HistoryError::Move {
            from: from.to_owned(),
            to: to.to_owned(),
            source,
        },
    }
}

/// Name under which the copy of a step grows in the folder of its target; it says which step it belongs to.
fn unfinished(folder: &Path, place: usize) -> String {
    let act = folder.file_name().unwrap_or_default().to_string_lossy();
    atomic::unfinished_name(&format!("{act}-{place}"))
}

/// Copies a file under another name first, so that the target is whole when it has its name.
fn copy_whole(from: &Entry, to: &Entry, unfinished: &str, cancel: &Cancel) -> std::io::Result<()> {
    let growing = to.sibling(unfinished);
    let copied = transfer::copy(from, &growing, cancel).and_then(|()| growing.rename_to_new(to));
    if copied.is_err() {
        let _ = growing.remove_file();
    }
    copied.inspect(|()| to.folder().sync())
}

/// Takes a move to another file system back.
fn copied_back(allowed: &AllowedFolders, unfinished: &str, from: &Path, to: &Path) -> std::io::Result<()> {
    let absent = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
    let target = match trash::entry(allowed, to) {
        // With its folder the copy is gone.
        Err(error) if absent(&error) => None,
        entry => Some(entry?),
    };
    let growing = target.as_ref().map(|target| target.sibling(unfinished));
    match growing.map_or(Ok(()), |growing| growing.remove_file()) {
        Err(error) if !absent(&error) => return Err(error),
        _ => {}
    }
    let target = target.filter(Entry::is_taken);
    let source = trash::entry(allowed, from)?;
    match (source.is_taken(), target) {
        // Only what is the same is the copy.
        (true, Some(target)) if transfer::is_copy(&source, &target)? => target.remove_file(),
        (true, _) => Ok(()),
        (false, Some(target)) => {
            copy_whole(&target, &source, unfinished, &Cancel::default())?;
            target.remove_file()
        }
        (false, None) => Err(ErrorKind::NotFound.into()),
    }
}

/// Gives a file its content before a step again, where it has the step's. Another one is somebody's who came after it.
fn content_back(
    allowed: &AllowedFolders,
    folder: &Path,
    place: usize,
    path: &Path,
    existed: bool,
    after: &str,
) -> std::io::Result<()> {
    let old = existed.then(|| before(folder, place)).transpose()?;
    let file = allowed.target_entry(path)?;
    let now = file.content(MAX_CONTENT)?;
    if now == old {
        return Ok(());
    }
    let changed_since = || {
        tracing::warn!(file = %path.display(), "was changed since, and stays as it is while its operation is undone");
        Ok(())
    };
    if now.as_deref().map(digest).unwrap_or_default() != after {
        return changed_since();
    }
    match old {
        Some(content) if !file.write_if(now.as_deref(), &content)? => changed_since(),
        Some(_) => Ok(()),
        None => file.remove_file(),
    }
}

/// Gives a moved file its earlier name.
fn moved_back(allowed: &AllowedFolders, from: &Path, to: &Path) -> std::io::Result<()> {
    let taken = |path: &Path| trash::entry(allowed, path).ok().filter(Entry::is_taken);
    match (taken(from), taken(to)) {
        (Some(_), _) => Ok(()),
        (None, Some(now)) => {
            let back = trash::entry(allowed, from).and_then(|then| now.rename_to_new(&then));
            trash::tidy_behind(allowed, to);
            back
        }
        (None, None) => Err(ErrorKind::NotFound.into()),
    }
}

/// Takes a step back as far as it was done. False when it is not back: the disk may be away.
pub(super) fn roll_back(allowed: &AllowedFolders, folder: &Path, step: &Step, place: usize) -> bool {
    let done = match step {
        Step::Renamed {
            from, to, copied: true, ..
        } => copied_back(allowed, &unfinished(folder, place), Path::new(from), Path::new(to)),
        Step::Renamed { from, to, .. } => moved_back(allowed, Path::new(from), Path::new(to)),
        // Its bytes are the same either way.
        Step::Shared { .. } => Ok(()),
        Step::Content {
            path, existed, after, ..
        } => content_back(allowed, folder, place, Path::new(path), *existed, after),
        Step::FolderMade { path, .. } => {
            match allowed.entry(Path::new(path)).and_then(|folder| folder.remove_folder()) {
                // Whatever somebody put there stays, and with it the folder.
                Err(error) if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
                    Err(error)
                }
                _ => Ok(()),
            }
        }
        Step::FolderRemoved { path, .. } => allowed.make_folders(Path::new(path)),
    };
    if let Err(error) = &done {
        tracing::error!(?step, %error, "a step can't be undone; its file is where the step put it");
    }
    done.is_ok()
}
