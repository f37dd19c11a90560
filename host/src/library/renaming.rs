//! Renaming a model: all files that go with it get the new name, and its sidecar says so.

use std::path::Path;
use std::sync::PoisonError;

use super::collection::Library;
use super::editing::{EditError, Outcome, Tools};
use super::history::ActKind;
use super::moving::{FileMove, MovePlan};
use crate::cancel::Cancel;
use crate::files::FORBIDDEN;
use crate::files::rooted::MAX_NAME;

/// Room for the longest ending that a file beside a model may have, in bytes.
const ENDINGS: usize = ".metadata.json.bak".len();

/// What became of a rename.
pub struct Renamed {
    /// Id for taking it back, and the model's record under its new name.
    pub outcome: Outcome,
    /// Path of the model now.
    pub path: String,
    /// Paths of all files under their new names, the model first.
    pub files: Vec<String>,
}

impl Library {
    /// Gives a model another file name, without extension. Blocks; one act at a time in a library.
    ///
    /// # Errors
    /// When the name can't be a file's or is taken, or there is no such model; nothing is changed then.
    pub fn rename(&self, tools: &Tools, path: &str, name: &str) -> Result<Renamed, EditError> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = self.plan_rename(path, name)?;
        let snapshot = self.snapshot();
        let record = snapshot
            .by_path(&plan.path)
            .ok_or_else(|| EditError::NotFound(plan.path.clone()))?;
        let mut draft = tools
            .history
            .begin(ActKind::Rename, self.info().id(), None, &self.allowed())?;
        // A draft that does not come to its end takes back what was done.
        let files = self.relocate(&mut draft, record, &plan.moves(), &Cancel::default())?;
        let touched = self.touched(&draft.act().steps);
        let undo_id = draft.end()?;
        let new_path = files.first().cloned().unwrap_or_default();
        let models = self.take_up(tools, vec![(new_path.clone(), Ok(()))], &touched);
        Ok(Renamed {
            outcome: Outcome { undo_id, models },
            path: new_path,
            files,
        })
    }

    /// What [`Self::rename`] would do, without doing it.
    ///
    /// # Errors
    /// As that one's.
    pub fn plan_rename(&self, path: &str, name: &str) -> Result<MovePlan, EditError> {
        if let Some(reason) = unfit(name) {
            return Err(EditError::Name(name.to_owned(), reason));
        }
        self.check_inside(&[path.to_owned()])?;
        let path = self.listed(path);
        let snapshot = self.snapshot();
        let record = snapshot.by_path(&path).filter(|_| Path::new(&path).is_file());
        let record = record.ok_or_else(|| EditError::NotFound(path.clone()))?;
        let folder = Path::new(&path).parent().unwrap_or(Path::new("/"));
        let mut files = self.files_of(&path);
        let backup = folder.join(format!("{}.metadata.json.bak", record.file_name));
        if files.len() > 1 && backup.symlink_metadata().is_ok() {
            files.push(backup);
        }
        let new_name = |file: &Path| {
            let ending = file.file_name()?.to_str()?.strip_prefix(&*record.file_name)?;
            Some(folder.join(format!("{name}{ending}")))
        };
        let files: Vec<FileMove> = files
            .into_iter()
            .filter_map(|from| {
                let bytes = from.symlink_metadata().map_or(0, |metadata| metadata.len());
                new_name(&from).map(|to| FileMove { from, to, bytes })
            })
            .collect();
        let places = self.places_of(folder, name).into_iter();
        let mut places = places.chain(files.iter().map(|file| file.to.clone()));
        if let Some(taken) = places.find(|path| path.symlink_metadata().is_ok()) {
            return Err(EditError::NameTaken(taken));
        }
        Ok(MovePlan {
            folder: folder.to_owned(),
            files,
            clash: None,
            copies: false,
            path,
        })
    }
}

/// Why a text can't be a file's name.
fn unfit(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        return Some("it is empty");
    }
    if name.contains(FORBIDDEN) || name.chars().any(char::is_control) {
        return Some("it must hold none of / \\ : * ? \" < > | and no control characters");
    }
    if name.starts_with('.') {
        return Some("a name that starts with a dot is hidden on many systems");
    }
    if name.len() > MAX_NAME - ENDINGS {
        return Some("it is too long");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::unfit;

    #[test]
    fn names_that_some_system_refuses_are_refused() {
        let long = "x".repeat(240);
        for name in [
            "", " ", "a/b", "a\\b", "a:b", "a*", "a?", "\"a\"", "<a>", "a|b", "a\nb", "..", ".a", &long,
        ] {
            assert!(unfit(name).is_some(), "{name:?}");
        }
        for name in ["a", "re.v1.0", "😀 ü", &long[..200]] {
            assert!(unfit(name).is_none(), "{name:?}");
        }
    }
}
