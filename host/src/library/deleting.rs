//! Deleting models: all their files go into the trash, from where an undo brings them back.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::PoisonError;

use super::collection::Library;
use super::editing::{EditError, Outcome, Tools};
use super::history::{ActKind, Draft, HistoryError};
use super::linking::is_one;
use super::preview;
use super::roots;
use super::sidecar::{self, Sidecar};
use super::trash;
use crate::files::rooted::{RootedPath, RootedPathError};

impl Library {
    /// Puts models into the trash, with their sidecars and previews. Blocks; one act at a time in a library.
    /// A listed model whose file is gone is only taken out of the list, and is not among the models of the outcome.
    ///
    /// # Errors
    /// When a path leads out of the library's folders, or the history can't be written; nothing is changed then.
    pub fn delete(&self, tools: &Tools, paths: &[String]) -> Result<Outcome, EditError> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let (allowed, snapshot, offline) = (self.allowed(), self.snapshot(), self.offline());
        let (mut there, mut missing, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            let plain: PathBuf = Path::new(path).components().collect();
            let path = self.walked(path);
            if plain.components().any(|part| part == Component::ParentDir) {
                return Err(EditError::Outside(path));
            }
            let record = snapshot.by_path(&path);
            if record.is_some_and(|record| offline.get(usize::from(record.root)) == Some(&true)) {
                return Err(EditError::Away(path));
            }
            match RootedPath::open(&allowed, &path) {
                Ok(_)
                    if self.info().extension_of(&path).is_some()
                        && !trash::is_inside(&plain)
                        && !roots::hide(self.roots(), &path) =>
                {
                    there.push(path);
                }
                Ok(_) => unknown.push(path),
                Err(RootedPathError::Foreign(error)) => return Err(EditError::Foreign(error)),
                // Still listed: it leaves the list.
                Err(RootedPathError::Missing(_) | RootedPathError::NotAFile(_)) if record.is_some() => {
                    missing.push((path, None));
                }
                Err(RootedPathError::Missing(_) | RootedPathError::NotAFile(_)) => unknown.push(path),
                Err(RootedPathError::Outside(_)) => return Err(EditError::Outside(path)),
                Err(error @ (RootedPathError::Io { .. } | RootedPathError::TooLong(_))) => {
                    return Err(EditError::Open(error));
                }
            }
        }
        let mut draft = tools.history.begin(ActKind::Delete, self.info().id(), None)?;
        let mut seen = HashSet::new();
        let mut changed = Vec::with_capacity(there.len());
        changed.extend(
            unknown
                .into_iter()
                .map(|path| (path.clone(), Err(EditError::NotFound(path)))),
        );
        for path in there.into_iter().filter(|path| seen.insert(path.clone())) {
            let mark = draft.mark();
            let done = self.delete_one(&mut draft, &path);
            if done.is_err() {
                draft.back_to(mark);
            }
            changed.push((path, done));
        }
        self.write_manifests(tools, &draft);
        let mut touched = self.touched(&draft.act().steps);
        touched.append(&mut missing);
        let undo_id = draft.end()?;
        let models = self.take_up(tools, changed, &touched);
        Ok(Outcome { undo_id, models })
    }

    /// The path that a walk finds a file by, of one in any notation, over linked folders too. Records are known by it, and
    /// outcomes name models so.
    pub fn walked(&self, path: &str) -> String {
        let plain: PathBuf = Path::new(path).components().collect();
        self.listed(&trash::noted(&plain))
    }

    fn delete_one(&self, draft: &mut Draft, path: &str) -> Result<(), EditError> {
        let model = Path::new(path);
        let _turn = sidecar::turn(model);
        let folder = model.parent().unwrap_or(Path::new("/"));
        let trash = trash::folder_for(folder, draft.id()).map_err(|source| HistoryError::Io {
            path: folder.join(trash::STAGING),
            source,
        })?;
        for file in self.files_of(path) {
            let Some(name) = file.file_name() else { continue };
            draft.rename(path, &file, &trash.join(name))?;
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
        let look = |ending: &str| folder.join(format!("{stem}{ending}")).symlink_metadata().ok();
        let own = look(extension);
        let is_other = |ending: &str| {
            let found = look(ending).filter(|_| ending != extension);
            // Where case does not count, it is the model itself.
            found.is_some_and(|found| own.as_ref().is_none_or(|own| !is_one(own, &found)))
        };
        let mut endings = self.info().extensions();
        if endings.any(|ending| is_other(ending) || is_other(&ending.to_uppercase())) {
            // The sidecar goes with the model that it is about.
            let beside = sidecar::path_for(folder, stem);
            let owner = Sidecar::read(&beside).ok().flatten();
            files.extend(owner.filter(|own| own.text("file_path") == path).map(|_| beside));
            return files;
        }
        let beside = preview::ENDINGS
            .iter()
            .map(|ending| folder.join(format!("{stem}{ending}")));
        let all = std::iter::once(sidecar::path_for(folder, stem)).chain(beside);
        files.extend(all.filter(|file| file.symlink_metadata().is_ok()));
        let sidecar = Sidecar::read(&sidecar::path_for(folder, stem)).ok().flatten();
        let declared = sidecar.and_then(|sidecar| preview::declared(folder, stem, &sidecar));
        files.extend(declared.filter(|declared| !files.contains(declared)));
        files
    }
}
