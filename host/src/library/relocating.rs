//! Giving the files of a model other names or places, so that its sidecar says so.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::collection::Library;
use super::editing::{Beside, EditError, try_again, write_kept};
use super::history::{Draft, HistoryError};
use super::metadata;
use super::record::Record;
use super::sidecar::{self, Sidecar, SidecarError};
use super::trash::noted;
use crate::cancel::Cancel;

impl Library {
    /// Moves files of a model, itself first, and has its sidecar say where they are; their new paths. Nothing is replaced.
    /// On an error the caller takes the draft back to where it was.
    ///
    /// # Errors
    /// When a place is taken, or a file can't be moved.
    pub(super) fn relocate(
        &self,
        draft: &mut Draft,
        record: &Record,
        moves: &[(PathBuf, PathBuf)],
        cancel: &Cancel,
    ) -> Result<Vec<String>, EditError> {
        let path = &*record.path;
        let ends = moves.iter().take(1).map(|(_, to)| to.as_path());
        let _turns = sidecar::turns(ends.chain([Path::new(path)]));
        for (from, to) in moves {
            let moved = if leads_from_here(from) && from.parent() != to.parent() {
                // It would lead elsewhere from another folder.
                draft.copy(path, from, to, cancel)
            } else {
                draft.relocate(path, from, to, cancel)
            };
            moved.map_err(|error| match error {
                HistoryError::Occupied(taken) => EditError::NameTaken(taken),
                error => error.into(),
            })?;
        }
        let moved: Vec<String> = moves.iter().map(|(_, to)| noted(to)).collect();
        if let Some((_, to)) = moves.first() {
            try_again(|| self.tell_sidecar(draft, record, to, moves))?;
        }
        draft.settle()?;
        Ok(moved)
    }

    /// Has the sidecar beside a model's new place say where the model is.
    fn tell_sidecar(
        &self,
        draft: &mut Draft,
        record: &Record,
        model: &Path,
        moves: &[(PathBuf, PathBuf)],
    ) -> Result<(), EditError> {
        let folder = model.parent().unwrap_or(Path::new("/"));
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        let extension = self.info().extension_of(&name).unwrap_or_default();
        let stem = name.strip_suffix(extension).unwrap_or(&name);
        let beside = sidecar::path_for(folder, stem);
        // First: what is read next is not older.
        let there = Beside::read(beside.clone())?;
        let mut sidecar = match Sidecar::read(&beside) {
            // A model that shared its sidecar with another one gets its own.
            Ok(sidecar) => sidecar.unwrap_or_else(|| metadata::of_record(record, self.info())),
            // It stays as it is for whoever wants to mend it.
            Err(SidecarError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        sidecar.0.insert("file_name".into(), json!(stem));
        sidecar.0.insert("file_path".into(), json!(noted(model)));
        let preview = sidecar.text("preview_url").to_owned();
        if let Some((_, to)) = moves.iter().find(|(from, _)| noted(from) == preview) {
            sidecar.0.insert("preview_url".into(), json!(noted(to)));
        }
        write_kept(draft, &record.path, &there, &sidecar)
    }
}

/// Whether something is a link that says how to go from its own folder.
fn leads_from_here(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|target| target.is_relative())
}
