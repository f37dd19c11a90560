//! An act on the disk.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::HistoryError;
use super::act::{Act, Step};
use super::draft::roll_back;
use crate::files::{atomic, hash};
use crate::library::trash;

const ACT: &str = "act.json";

/// SHA-256 of a content as acts note it.
pub fn digest(content: &[u8]) -> String {
    hash::hex(&Sha256::digest(content))
}

/// Name of the file of a step.
pub(super) fn step_name(place: usize) -> String {
    format!("{place}.step")
}

/// Writes `act.json`.
///
/// # Errors
/// When it can't be written.
pub(super) fn save(folder: &Path, act: &Act) -> Result<(), HistoryError> {
    let path = folder.join(ACT);
    serde_json::to_vec(act)
        .map_err(std::io::Error::from)
        .and_then(|bytes| atomic::write(&path, &bytes))
        .map_err(|source| HistoryError::Io { path, source })
}

/// An act from its folder; where it was cut off, the files as they are now count as its result.
pub(super) fn load(folder: &Path) -> Option<Act> {
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
