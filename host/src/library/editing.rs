//! Changing what a person knows about models: sidecar, record, store and history together.
//!
//! For each model: the old sidecar is kept in the history, the new one written whole, and the
//! record made anew from the disk. Whatever happens in between, the sidecar is the old or the
//! new one, and the next scan finds out which.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::collection::Library;
use super::edit::Edit;
use super::history::{self, ActKind, Draft, History, HistoryError, Step};
use super::metadata;
use super::record::Record;
use super::scan;
use super::sidecar::{self, Sidecar, SidecarError};
use super::{trash, typed};
use crate::files::atomic;
use crate::files::foreign::{self, ForeignError, Links};
use crate::files::names::MAX_NAME;
use crate::files::rooted::RootedPathError;
use crate::plugins::Plugin;

/// Why a model was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The library has no such model.
    #[error("{0} is not a model of this library. Scan again if it is new")]
    NotFound(String),
    /// Two files that differ in their extension only share a sidecar, and it is about the other one.
    #[error("{path} shares its metadata file with {other}, which it is about; rename one of the two to change it")]
    Shared {
        /// The model.
        path: String,
        /// The other one.
        other: String,
    },
    /// The sidecar can't be read or written.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// The old content can't be kept.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The type's rule can't merge a provider's word into it.
    #[error("{path}: what the provider says of it can't be used: {reason}")]
    Merge {
        /// The model.
        path: String,
        /// What the rule said.
        reason: String,
    },
    /// The text can't be a file's name.
    #[error("{0:?} can't be a file name: {1}")]
    Name(String, &'static str),
    /// A file has the name that a model would get.
    #[error("A file with this name already exists: {}. Choose another name", .0.display())]
    NameTaken(PathBuf),
    /// A file has the place that a model would get.
    #[error("Target file already exists: {}", .0.display())]
    TargetTaken(PathBuf),
    /// Another model of the same operation gets the place that a model would get.
    #[error("{other} would get the same place: {}. Rename one of the two", place.display())]
    TargetShared {
        /// The place.
        place: PathBuf,
        /// The other model.
        other: String,
    },
    /// The plugin can't say where a model belongs.
    #[error("{0}")]
    NotFiled(String),
    /// A path from a request leads out of the library's folders.
    #[error("{0} is outside the library's folders")]
    Outside(String),
    /// Models in this folder would not be listed.
    #[error(
        "{0} is hidden, so that models in it would not be listed; choose a folder whose name does not start with a dot"
    )]
    Hidden(String),
    /// A root that was never read.
    #[error("{0} is not found: check the path of the folder")]
    NoRoot(String),
    /// The model is known, and its disk is not there.
    #[error("{0} is on a disk that is away; attach it and try again")]
    Away(String),
    /// A model or a file beside it can't be read: its disk is offline, or it is no file.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A name is longer than file systems take.
    #[error("{}: the name of this file would be longer than {MAX_NAME} bytes. Give the model a shorter name, then try again", .0.display())]
    TooLong(PathBuf),
    /// A path can't be looked at.
    #[error(transparent)]
    Open(#[from] RootedPathError),
    /// A file beside a model can't be written.
    #[error("can't write {}: {source}; nothing was changed. Make room or mend the folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The hash of a model is not known yet.
    #[error("{0} has not been hashed yet; wait until it is, or verify it")]
    NotHashed(String),
    /// Two models are not copies of each other.
    #[error("{0} does not have the content of {1} and is left as it is")]
    Differs(String, String),
    /// A path is a symbolic link.
    #[error("{0} is a symbolic link, which takes no room of its own")]
    IsLink(String),
    /// Two files can't share their bytes.
    #[error("{path} can't share its bytes, and is left as it is: {source}")]
    CantLink {
        /// The file that stays as it is.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file was changed after the act, so that taking the act back would lose that change.
    #[error("{0} was changed since and is left as it is")]
    ChangedSince(String),
}

impl EditError {
    /// Whether a name in the request is longer than file systems take.
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::TooLong(_) | Self::Open(RootedPathError::TooLong(_)))
    }
}

/// What became of one model.
pub struct Edited {
    /// Its path.
    pub path: String,
    /// Its record now, none where the model is gone, or why it was not changed.
    pub result: Result<Option<Arc<Record>>, EditError>,
}

/// What became of an act.
pub struct Outcome {
    /// Id for taking it back; none when nothing was changed.
    pub undo_id: Option<String>,
    /// Each model, in the order that was asked for.
    pub models: Vec<Edited>,
}

/// What edits need besides the library.
pub struct Tools<'a> {
    /// The type.
    pub plugin: &'a Plugin,
    /// Where acts are noted.
    pub history: &'a History,
    /// Where plugin calls are awaited.
    pub handle: &'a tokio::runtime::Handle,
}

/// A sidecar on the disk.
pub(super) struct Beside {
    /// Its path.
    pub path: PathBuf,
    /// Its content; none where there is no such file.
    pub bytes: Option<Vec<u8>>,
}

impl Beside {
    /// Reads it.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn read(path: PathBuf) -> Result<Self, SidecarError> {
        let bytes = foreign::read(&path, sidecar::MAX_BYTES)?;
        Ok(Self { path, bytes })
    }
}

/// A sidecar before and after edits.
pub(super) struct Prepared {
    beside: Beside,
    // Whether what is on the disk can be read as a sidecar, if anything is.
    usable: bool,
    pub(super) before: Sidecar,
    pub(super) after: Sidecar,
}

/// A field of a sidecar that edits change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its name.
    pub field: String,
    /// Its value now; null when it is missing.
    pub from: Value,
    /// Its value after the edits.
    pub to: Value,
}

fn differences(prepared: &Prepared) -> Vec<Difference> {
    let before = |field: &String| prepared.before.0.get(field).cloned().unwrap_or(Value::Null);
    let fields = prepared.after.0.iter();
    fields
        .map(|(field, to)| Difference {
            field: field.clone(),
            from: before(field),
            to: to.clone(),
        })
        // Marks are bookkeeping, nothing that a person changes.
        .filter(|difference| difference.from != difference.to && difference.field != typed::MARKS)
        .collect()
}

impl Library {
    /// Makes edits on each of these models. Blocks; one act at a time in a library.
    ///
    /// # Errors
    /// When a path leads out of the library's folders, or the history can't be written; nothing is changed then. What
    /// goes wrong with one model is in its result.
    pub fn edit(&self, tools: &Tools, kind: ActKind, paths: &[String], edits: &[Edit]) -> Result<Outcome, EditError> {
        self.admit(tools, paths)?;
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut draft = tools.history.begin(kind, self.info().id(), None)?;
        let mut seen = HashSet::new();
        let written: Vec<(String, Result<(), EditError>)> = paths
            .iter()
            .map(|path| self.listed(path))
            .filter(|path| seen.insert(path.clone()))
            .map(|path| {
                let edited = self.edit_one(&mut draft, &path, edits);
                (path, edited)
            })
            .collect();
        let touched = self.touched(&draft.act().steps);
        let undo_id = draft.end()?;
        Ok(Outcome {
            undo_id,
            models: self.take_up(tools, written, &touched),
        })
    }

    /// The path under which a model is listed, of one that may lead there over a linked folder.
    pub(super) fn listed(&self, path: &str) -> String {
        trash::noted(&self.topology().listed_path(Path::new(path)))
    }

    /// Refuses paths that are not in the library's folders by their text; whether they are models is another question.
    pub(super) fn check_inside(&self, paths: &[String]) -> Result<(), EditError> {
        let climbs = |path: &str| Path::new(path).components().any(|part| part == Component::ParentDir);
        let in_a_root = |path: &str| self.roots().iter().any(|root| root.relative(path).is_some());
        let is_outside = |path: &&String| climbs(path) || !in_a_root(path);
        let outside = paths.iter().find(is_outside);
        outside.map_or(Ok(()), |path| Err(EditError::Outside(path.clone())))
    }

    /// What edits would change, without changing it: of each model the fields that differ, as they are and as
    /// they would be.
    pub fn plan_edit(&self, paths: &[String], edits: &[Edit]) -> Vec<(String, Result<Vec<Difference>, EditError>)> {
        let plan = |path: &String| Ok(differences(&self.prepare(&self.listed(path), edits)?));
        paths.iter().map(|path| (path.clone(), plan(path))).collect()
    }

    /// A model's sidecar as it is, and as edits would make it.
    pub(super) fn prepare(&self, path: &str, edits: &[Edit]) -> Result<Prepared, EditError> {
        let not_found = || EditError::NotFound(path.to_owned());
        let snapshot = self.snapshot();
        let record = snapshot.by_path(path).ok_or_else(not_found)?;
        let folder = Path::new(path).parent().ok_or_else(not_found)?;
        // An offline model is no less a model, and says why it can't be changed.
        foreign::inspect(Path::new(path), Links::Follow)?.ok_or_else(not_found)?;
        let beside = sidecar::path_for(folder, &record.file_name);
        if beside.file_name().is_some_and(|name| name.len() > MAX_NAME) {
            return Err(EditError::TooLong(beside));
        }
        let beside = Beside::read(beside)?;
        let (before, usable) = match Sidecar::read(&beside.path) {
            Ok(Some(sidecar)) => (sidecar, true),
            Ok(None) => (metadata::of_record(record, self.info()), true),
            Err(SidecarError::Corrupt { .. }) => (metadata::of_record(record, self.info()), false),
            Err(error) => return Err(error.into()),
        };
        if metadata::is_anothers(record, &before) {
            return Err(EditError::Shared {
                path: path.to_owned(),
                other: before.text("file_path").to_owned(),
            });
        }
        let mut after = before.clone();
        edits.iter().for_each(|edit| edit.apply(&mut after));
        Ok(Prepared {
            beside,
            usable,
            before,
            after,
        })
    }

    fn edit_one(&self, draft: &mut Draft, path: &str, edits: &[Edit]) -> Result<(), EditError> {
        let _turn = sidecar::turn(Path::new(path));
        self.edit_held(draft, path, edits)
    }

    /// Makes edits on a model whose [`sidecar::turn`] the caller holds.
    pub(super) fn edit_held(&self, draft: &mut Draft, path: &str, edits: &[Edit]) -> Result<(), EditError> {
        write_prepared(draft, path, &self.prepare(path, edits)?)
    }

    /// Tells other programs of what an act put into the trash.
    pub(super) fn write_manifests(&self, tools: &Tools, draft: &Draft) {
        let act = draft.act();
        if let Err(error) = trash::write_manifests(act, self.info().prefix(), tools.history.trash_ends(act.at)) {
            tracing::warn!(%error, "the trash has no manifest for other programs");
        }
    }

    /// Paths of models that steps moved from or to, each with the record that it had at its other end.
    pub(super) fn touched(&self, steps: &[Step]) -> Vec<(String, Option<Arc<Record>>)> {
        let snapshot = self.snapshot();
        let ends = steps.iter().flat_map(|step| match step {
            Step::Renamed { from, to, .. } => vec![(from, None), (to, snapshot.by_path(from).cloned())],
            Step::Shared { path, .. } => vec![(path, None)],
            _ => Vec::new(),
        });
        ends.filter(|(path, _)| self.info().extension_of(path).is_some() && !trash::is_inside(Path::new(path)))
            .map(|(path, was)| (path.clone(), was))
            .collect()
    }

    /// Makes the records of changed models anew and shows them to readers.
    /// `touched` are further paths at which something came or went.
    pub(super) fn take_up(
        &self,
        tools: &Tools,
        changed: Vec<(String, Result<(), EditError>)>,
        touched: &[(String, Option<Arc<Record>>)],
    ) -> Vec<Edited> {
        let done = changed.iter().filter(|(_, result)| result.is_ok());
        let mut paths: BTreeMap<&str, Option<&Record>> = done.map(|(path, _)| (path.as_str(), None)).collect();
        for (path, was) in touched {
            let known = paths.entry(path).or_default();
            *known = known.or(was.as_deref());
        }
        if !paths.is_empty() {
            let paths: Vec<(&str, Option<&Record>)> = paths.into_iter().collect();
            // The request may have begun before another version of the plugin came.
            let newer = self.newer_rules();
            scan::reread(self, newer.as_deref().unwrap_or(tools.plugin), tools.handle, &paths);
            self.tell_changed();
        }
        let snapshot = self.snapshot();
        let models = changed.into_iter().map(|(path, result)| {
            let result = result.map(|()| snapshot.by_path(&path).cloned());
            Edited { path, result }
        });
        models.collect()
    }
}

/// Writes a sidecar that edits changed; its turn is held.
pub(super) fn write_prepared(draft: &mut Draft, path: &str, prepared: &Prepared) -> Result<(), EditError> {
    let beside = &prepared.beside;
    if prepared.usable && beside.bytes.is_some() && prepared.before == prepared.after {
        return Ok(());
    }
    if !prepared.usable {
        // What is there may be a person's; it stays beside the new one for whoever wants to mend it.
        put_aside(&beside.path, beside.bytes.as_deref().unwrap_or_default())?;
    }
    write_kept(draft, path, beside, &prepared.after)
}

/// Writes a model's sidecar, what it was being kept before.
pub(super) fn write_kept(draft: &mut Draft, model: &str, beside: &Beside, sidecar: &Sidecar) -> Result<(), EditError> {
    let io = |source| SidecarError::Io {
        path: beside.path.clone(),
        source,
    };
    let after = sidecar.content();
    draft.keep(
        model,
        &trash::noted(&beside.path),
        beside.bytes.as_deref(),
        Some(&after),
    )?;
    atomic::write(&beside.path, &after).map_err(|source| {
        draft.unchanged();
        EditError::from(io(source))
    })
}

/// Keeps the content of a sidecar that can't be used under another name.
///
/// # Errors
/// When it can't be written.
pub(crate) fn put_aside(sidecar: &Path, bytes: &[u8]) -> Result<(), SidecarError> {
    let aside = PathBuf::from(format!("{}.broken-{}", sidecar.display(), &history::digest(bytes)[..8]));
    if foreign::is_taken(&aside) {
        return Ok(());
    }
    tracing::warn!(sidecar = %sidecar.display(), kept_as = %aside.display(), "a metadata file that can't be used is put aside");
    atomic::write(&aside, bytes).map_err(|source| SidecarError::Io { path: aside, source })
}
