//! An act on the disk.

use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::HistoryError;
use super::act::{Act, Step};
use super::draft::roll_back;
use super::folders::KnownFolders;
use crate::files::rooted::AllowedFolders;
use crate::files::{atomic, hash};
use crate::library::trash;

const ACT: &str = "act.json";

/// Fields of a sidecar that the server finds out and writes by itself, at any time.
pub const OF_THE_SERVER: [&str; 3] = ["sha256", "hash_status", "autov3"];

/// SHA-256 of a content as acts note it: of a JSON object without [`OF_THE_SERVER`], so that a hash
/// that comes after an act is no change of somebody else's.
pub fn digest(content: &[u8]) -> String {
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(content) else {
        return hash::hex(&Sha256::digest(content));
    };
    OF_THE_SERVER.iter().for_each(|key| {
        object.shift_remove(*key);
    });
    hash::hex(&Sha256::digest(Value::Object(object).to_string()))
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

/// What the changed file of a step was before.
///
/// # Errors
/// When the step's file can't be read.
pub(super) fn before(folder: &Path, place: usize) -> std::io::Result<Vec<u8>> {
    let mut copy = std::fs::read(folder.join(step_name(place)))?;
    let line = copy.iter().position(|byte| *byte == b'\n');
    Ok(copy.split_off(line.map_or(copy.len(), |end| end + 1)))
}

/// The steps that were noted in a folder.
fn noted(folder: &Path) -> std::io::Result<Vec<Step>> {
    let mut steps = Vec::new();
    loop {
        let copy = match std::fs::read(folder.join(step_name(steps.len()))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(steps),
            read => read?,
        };
        let line = copy.split(|byte| *byte == b'\n').next().unwrap_or_default();
        steps.push(serde_json::from_slice(line)?);
    }
}

/// How many steps of an act that was cut off stay as they are. What went to other file systems took long, so that of
/// such an act only the model is taken back that was on its way.
fn whole_steps(steps: &[Step]) -> usize {
    if !steps
        .iter()
        .any(|step| matches!(step, Step::Renamed { copied: true, .. }))
    {
        return 0;
    }
    let last = steps
        .chunk_by(|a, b| a.model() == b.model())
        .next_back()
        .unwrap_or_default();
    // The originals are removed after everything else.
    let is_whole = last
        .iter()
        .any(|step| matches!(step, Step::Renamed { copied: true, .. }))
        && last.iter().all(|step| match step {
            Step::Renamed { from, to, .. } => !Path::new(from).exists() && Path::new(to).exists(),
            _ => true,
        });
    if is_whole {
        steps.len()
    } else {
        steps.len() - last.len()
    }
}

/// An act from its folder, as it was left.
pub(super) fn load(folder: &Path) -> Option<Act> {
    let read = || -> std::io::Result<Act> {
        let mut act: Act = serde_json::from_slice(&std::fs::read(folder.join(ACT))?)?;
        if !act.ended {
            act.steps = noted(folder)?;
        }
        Ok(act)
    };
    match read() {
        Ok(act) => Some(act),
        // It was cut off before it began.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !folder.join(step_name(0)).exists() => {
            let _ = std::fs::remove_dir_all(folder);
            None
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "an act of the history can't be read and is passed over");
            None
        }
    }
}

/// Ends an act. One that was cut off is rolled back when its steps belong together, but for [`whole_steps`]; else what was done of
/// it stays, and can be taken back.
pub(super) fn end(known: &KnownFolders, folder: &Path, mut act: Act) -> Option<Act> {
    if act.ended {
        return Some(act);
    }
    let allowed = known.allowed_for(&act);
    act.folders().iter().for_each(|folder| tidy(&allowed, folder));
    if act.is_joint() || act.steps.is_empty() {
        let whole = whole_steps(&act.steps);
        let steps = act.steps.iter().enumerate().skip(whole).rev();
        if steps.fold(true, |all, (place, step)| {
            roll_back(&allowed, folder, step, place) && all
        }) {
            tracing::info!(act = act.id, kind = ?act.kind, "an act that was cut off is rolled back");
            trash::tidy(&allowed, &act);
            if whole == 0 {
                let _ = std::fs::remove_dir_all(folder);
                return None;
            }
            for place in whole..act.steps.len() {
                let _ = std::fs::remove_file(folder.join(step_name(place)));
            }
            act.steps.truncate(whole);
        } else {
            // A disk may be away: what was moved can be taken back like any other act, once it is there.
            tracing::warn!(act = act.id, kind = ?act.kind, "an act that was cut off can't be rolled back now; undo it from the history");
        }
    }
    act.ended = true;
    if let Err(error) = save(folder, &act) {
        tracing::warn!(%error, "an act that was cut off can't be ended");
    }
    Some(act)
}

/// Removes what a crash left of unfinished files in a folder.
fn tidy(allowed: &AllowedFolders, folder: &Path) {
    // A name in it tells how it is opened: in the trash no link is followed.
    let Ok(any) = trash::entry(allowed, &folder.join("any")) else {
        return;
    };
    let names = any.folder().names().unwrap_or_default().into_iter();
    for name in names.filter(|name| name.to_str().is_some_and(atomic::is_temporary)) {
        let _ = any.sibling(name).remove_file();
    }
}
