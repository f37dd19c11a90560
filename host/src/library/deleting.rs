//! Deleting models: all their files go into the trash, from where an undo brings them back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::collection::Library;
use super::editing::{EditError, Outcome, Tools};
use super::history::{ActKind, Draft, HistoryError};
use super::preview;
use super::sidecar;
use super::trash;
use crate::files::rooted::{RootedPath, RootedPathError};

impl Library {
    /// Puts models into the trash, with their sidecars and previews. Blocks; one act at a time in a library.
    /// A file that is not there is no error: its result has no record, as that of a deleted one, and `existed` says so.
    ///
    /// # Errors
    /// When a path leads out of the library's folders, or the history can't be written; nothing is changed then.
    pub fn delete(&self, tools: &Tools, paths: &[String]) -> Result<(Outcome, HashSet<String>), EditError> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = self.allowed();
        let mut there = Vec::new();
        for path in paths {
            match RootedPath::open(&allowed, path) {
                Ok(_) if self.info().extension_of(path).is_some() => there.push(path),
                Ok(_) => return Err(EditError::NotFound(path.clone())),
                Err(RootedPathError::Missing(_) | RootedPathError::NotAFile(_)) => {}
                Err(_) => return Err(EditError::Outside(path.clone())),
            }
        }
        let mut draft = tools.history.begin(ActKind::Delete, self.info().id(), None)?;
        let (mut seen, mut deleted) = (HashSet::new(), HashSet::new());
        let mut changed = Vec::with_capacity(there.len());
        for path in there.into_iter().filter(|path| seen.insert(path.as_str())) {
            let mark = draft.mark();
            let done = self.delete_one(&mut draft, path);
            match &done {
                Ok(()) => {
                    deleted.insert(path.clone());
                }
                Err(_) => draft.back_to(mark),
            }
            changed.push((path.clone(), done));
        }
        let expires_at = tools.history.trash_ends(draft.act().at);
        if let Err(error) = trash::write_manifests(draft.act(), self.info().prefix(), expires_at) {
            tracing::warn!(%error, "the trash has no manifest for other programs");
        }
        let touched = self.touched(draft.act());
        let undo_id = draft.end();
        let models = self.take_up(tools, changed, &touched);
        Ok((Outcome { undo_id, models }, deleted))
    }

    fn delete_one(&self, draft: &mut Draft, path: &str) -> Result<(), EditError> {
        let model = Path::new(path);
        let folder = model.parent().unwrap_or(Path::new("/"));
        let trash = trash::folder_for(folder, draft.id()).map_err(|source| HistoryError::Io {
            path: folder.join(trash::STAGING),
            source,
        })?;
        for file in self.files_of(path) {
            let Some(name) = file.file_name() else { continue };
            let bytes = std::fs::symlink_metadata(&file).map_or(0, |metadata| metadata.len());
            draft.rename(path, &file, &trash.join(name))?;
            draft.add_trash(bytes);
        }
        Ok(())
    }

    /// The files that go with a model, itself first: its sidecar and previews, unless another model
    /// of the same name beside it has them too.
    pub(super) fn files_of(&self, path: &str) -> Vec<PathBuf> {
        let model = Path::new(path);
        let folder = model.parent().unwrap_or(Path::new("/"));
        let name = model.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = self.info().extension_of(name).unwrap_or_default();
        let stem = name.strip_suffix(extension).unwrap_or(name);
        let mut files = vec![model.to_owned()];
        let mut others = self
            .info()
            .extensions()
            .filter(|other| !extension.eq_ignore_ascii_case(other));
        if others.any(|other| folder.join(format!("{stem}{other}")).exists()) {
            return files;
        }
        let beside = preview::ENDINGS
            .iter()
            .map(|ending| folder.join(format!("{stem}{ending}")));
        let all = std::iter::once(sidecar::path_for(folder, stem)).chain(beside);
        files.extend(all.filter(|file| file.symlink_metadata().is_ok()));
        files
    }
}
