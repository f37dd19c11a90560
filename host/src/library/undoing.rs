//! Taking acts back.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde_json::{Map, Value};

use super::collection::Library;
use super::editing::{Beside, EditError, Outcome, Tools};
use super::history::{self, Act, ActKind, Draft, History, HistoryError, Step};
use super::linking;
use super::sidecar::{self, Sidecar, SidecarError};
use super::trash;
use crate::cancel::Cancel;
use crate::files::fault;

impl Library {
    /// Takes an act back. A file that was changed since is left as it is.
    ///
    /// # Errors
    /// When the history can't be written or read; nothing is changed then.
    pub fn undo(&self, tools: &Tools, act: &Act) -> Result<Outcome, EditError> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let pinned = tools.history.pin(&act.id)?;
        let act = &*pinned.act;
        let mut draft = tools
            .history
            .begin(ActKind::Undo, self.info().id(), Some(&act.id), &self.allowed())?;
        let mut written: Vec<(String, Result<(), EditError>)> = Vec::new();
        let places: Vec<usize> = (0..act.steps.len()).rev().collect();
        let model = |place: &usize| act.steps.get(*place).map_or("", Step::model);
        // The steps of a model are taken back together or not at all.
        for own in places.chunk_by(|a, b| model(a) == model(b)) {
            let mark = draft.mark();
            let _turns = sidecar::turns(own.iter().filter_map(|place| act.steps.get(*place)).flat_map(models_of));
            let undone = own
                .iter()
                .try_for_each(|place| self.undo_step(tools.history, &mut draft, act, *place))
                .and_then(|()| Ok(draft.settle()?));
            if undone.is_err() {
                draft.back_to(mark);
                draft.is_partial();
            }
            // What an earlier, partial undo took back is not told again.
            let is_model = !own.first().map_or("", model).is_empty();
            if is_model && (undone.is_err() || draft.mark() > mark) {
                written.push((own.first().map_or("", model).to_owned(), undone));
            }
        }
        trash::tidy(draft.allowed(), act);
        self.write_manifests(tools, &draft);
        let touched = self.touched(&draft.act().steps);
        let undo_id = draft.end()?;
        Ok(Outcome {
            undo_id,
            models: self.take_up(tools, written, &touched),
        })
    }
    fn undo_step(&self, history: &History, draft: &mut Draft, act: &Act, place: usize) -> Result<(), EditError> {
        match act.steps.get(place) {
            None => Ok(()),
            Some(Step::FolderMade { model, path }) => {
                // What was copied out of it is still there until then.
                draft.settle()?;
                // It may stay: nothing is lost by a folder too many.
                if let Err(error) = draft.remove_folder(model, Path::new(path)) {
                    tracing::warn!(%error, "a folder that an act made stays");
                }
                Ok(())
            }
            Some(Step::FolderRemoved { model, path }) => Ok(draft.make_folders(model, Path::new(path))?),
            Some(Step::Renamed { model, from, to, .. }) => {
                let (now, then) = (Path::new(to), Path::new(from));
                match (now.symlink_metadata(), then.symlink_metadata()) {
                    (Err(_), Ok(_)) => return Ok(()),
                    // A preview that somebody took away must not keep its model from coming back.
                    (Err(_), Err(_)) if from != model && to != model => {
                        tracing::warn!(file = to, "is gone, and can't come back with its model");
                        return Ok(());
                    }
                    _ => {}
                }
                if trash::is_inside(then) {
                    // Deleted again: the folder went when the files came back.
                    let parent = then.parent().unwrap_or(then);
                    let outer = parent.ancestors().nth(2).unwrap_or(parent);
                    let own = parent.file_name().unwrap_or_default().to_string_lossy();
                    trash::folder_for(draft.allowed(), outer, &own).map_err(|source| HistoryError::Io {
                        path: parent.to_owned(),
                        source,
                    })?;
                } else if let Some(parent) = then.parent() {
                    self.check_there(parent)?;
                    draft.make_folders(model, parent)?;
                }
                Ok(draft.relocate(model, now, then, &Cancel::default())?)
            }
            Some(Step::Shared {
                model,
                path,
                with,
                how,
                begins,
                looks,
            }) => {
                let (keep, path) = (Path::new(with), Path::new(path));
                if *begins {
                    return linking::end_sharing(draft, model, keep, path, *how, *looks);
                }
                linking::begin_sharing(draft, model, keep, path, Some(*how), &Cancel::default()).map(|_| ())
            }
            Some(Step::Content { model, path, after, .. }) => {
                let before = history.before(act, place)?;
                let now = Beside::read(PathBuf::from(path))?;
                if now.bytes == before {
                    return Ok(());
                }
                if now.bytes.as_deref().map(history::digest).unwrap_or_default() != *after {
                    return Err(EditError::ChangedSince(path.clone()));
                }
                let before = before.map(|before| with_hashes(before, now.bytes.as_deref().unwrap_or_default()));
                let io = |source| SidecarError::Io {
                    path: now.path.clone(),
                    source,
                };
                let file = draft.allowed().target_entry(&now.path).map_err(io)?;
                draft.keep(model, path, now.bytes.as_deref(), before.as_deref())?;
                let written = match &before {
                    Some(bytes) => file.write_if(now.bytes.as_deref(), bytes),
                    // The history has the content that goes.
                    None => file.remove_file().map(|()| true),
                };
                fault::step();
                match written {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        draft.unchanged();
                        Err(EditError::ChangedSince(path.clone()))
                    }
                    Err(source) => {
                        draft.unchanged();
                        Err(io(source).into())
                    }
                }
            }
        }
    }
}

/// Paths of models whose sidecars a step concerns.
fn models_of(step: &Step) -> Vec<&Path> {
    match step {
        Step::Renamed { model, from, to, .. } if from == model || to == model => [from, to].map(Path::new).into(),
        step => vec![Path::new(step.model())],
    }
}

/// An earlier content of a sidecar with the hashes that the server put into it since.
fn with_hashes(before: Vec<u8>, now: &[u8]) -> Vec<u8> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).ok().map(Sidecar);
    let (Some(mut old), Some(new)) = (parse(&before), parse(now)) else {
        return before;
    };
    if !old.text("sha256").is_empty() || new.text("sha256").is_empty() {
        return before;
    }
    for key in history::OF_THE_SERVER {
        if let Some(value) = new.0.get(key) {
            old.0.insert(key.to_owned(), value.clone());
        }
    }
    serde_json::to_vec_pretty(&old.0).unwrap_or(before)
}
