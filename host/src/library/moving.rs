//! Moving models into other folders: all files that go with them travel, on whatever file system the folder is. Source of
//! what travels and of names that are taken: contract section 4.4.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::collection::Library;
use super::editing::{EditError, Tools};
use super::history::{ActKind, Draft, History};
use super::path_template::{self, PathTemplate};
use super::preview;
use super::record::Record;
use super::roots::{self, Root};
use super::scan::folder::is_emptied;
use super::sidecar::{self, Sidecar};
use super::trash::{self, noted};
use crate::cancel::Cancel;
use crate::compat::compat;
use crate::files::foreign::{self, Links};
use crate::files::names::{MAX_NAME, with_suffix};
use crate::files::rooted::{RootedPath, RootedPathError};

/// Models that are made visible together, at most this many or this long apart.
const BATCH: usize = 50;
/// See [`BATCH`].
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Names that are tried for a model whose own is taken.
const MAX_NAMES: u32 = 10_000;

/// Where models are to go.
pub struct Destination<'d> {
    /// A folder of the library, which may be made.
    pub folder: &'d str,
    /// When given, each model goes where the template files it below that folder.
    pub template: Option<&'d PathTemplate>,
}

/// What to do where a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// Take another name.
    Rename,
    /// Leave the model where it is.
    Refuse,
}

/// A file that is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMove {
    /// Where it is.
    pub from: PathBuf,
    /// Where it goes.
    pub to: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// What a move does to one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovePlan {
    /// The model's path now.
    pub path: String,
    /// The folder it goes to.
    pub folder: PathBuf,
    /// Its files, itself first; none when it is there already.
    pub files: Vec<FileMove>,
    /// The file that has the model's own name, when it gets another one.
    pub clash: Option<PathBuf>,
    /// Whether the folder is on another file system, so that bytes are copied.
    pub copies: bool,
}

impl MovePlan {
    /// The model's path afterwards.
    pub fn new_path(&self) -> String {
        self.files
            .first()
            .map_or_else(|| self.path.clone(), |file| noted(&file.to))
    }

    /// Its files as pairs of places.
    pub(super) fn moves(&self) -> Vec<(PathBuf, PathBuf)> {
        self.files
            .iter()
            .map(|file| (file.from.clone(), file.to.clone()))
            .collect()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// A model's path, and what would happen to it.
pub type Planned = (String, Result<MovePlan, EditError>);

/// What became of one model.
pub struct Moved {
    /// Its path before.
    pub path: String,
    /// Its path now and its record, or why it was not moved.
    pub result: Result<(String, Option<Arc<Record>>), EditError>,
}

/// What became of a move.
pub struct Moves {
    /// Id for taking it back; none when nothing was moved.
    pub undo_id: Option<String>,
    /// The models, in the order that was asked for; fewer when it was cancelled.
    pub models: Vec<Moved>,
}

impl Library {
    /// Moves models. Blocks; other acts in this library have their turn between two models.
    ///
    /// # Errors
    /// When the folder is not one of the library's, or the history can't be written: what was moved is back then. What goes
    /// wrong with one model is in its result.
    pub fn move_models(&self, tools: &Tools, paths: &[String], to: &Destination) -> Result<Moves, EditError> {
        self.target(to.folder)?;
        self.list_new(tools, paths);
        let running = self.acting.begin();
        let targets = self.targets(tools, paths, to);
        let mut moving = Moving::new(self, tools, ActKind::Move)?;
        let mut models = Vec::with_capacity(paths.len());
        for (path, target) in paths.iter().zip(targets) {
            if running.cancel.is_set() {
                break;
            }
            let moved = target.and_then(|target| moving.one(path, &target, Clash::Rename, &running.cancel));
            models.push((path.clone(), moved));
        }
        let undo_id = moving.end()?;
        let snapshot = self.snapshot();
        let models = models.into_iter().map(|(path, moved)| Moved {
            path,
            result: moved.map(|path| {
                let record = snapshot.by_path(&path).cloned();
                (path, record)
            }),
        });
        Ok(Moves {
            undo_id,
            models: models.collect(),
        })
    }

    /// What [`Self::move_models`] would do, without doing it.
    ///
    /// # Errors
    /// When the folder is not one of the library's.
    pub fn plan_moves(&self, tools: &Tools, paths: &[String], to: &Destination) -> Result<Vec<Planned>, EditError> {
        self.target(to.folder)?;
        self.list_new(tools, paths);
        let mut survey = Survey::of_many();
        let targets = self.targets(tools, paths, to);
        let plans = paths.iter().zip(targets).map(|(path, target)| {
            let plan = target.and_then(|target| self.plan_move(path, &target, Clash::Rename, &mut survey));
            if let Ok(plan) = &plan {
                survey.add(plan);
            }
            (path.clone(), plan)
        });
        Ok(plans.collect())
    }

    /// The folder that each model is to go to, as its text.
    fn targets(&self, tools: &Tools, paths: &[String], to: &Destination) -> Vec<Result<String, EditError>> {
        let plain = || Ok(to.folder.to_owned());
        let Some(template) = to.template.filter(|template| !template.is_flat()) else {
            return paths.iter().map(|_| plain()).collect();
        };
        let snapshot = self.snapshot();
        let records: Vec<_> = paths.iter().map(|path| snapshot.by_path(&self.listed(path))).collect();
        let inputs = records.iter().flatten().map(|record| template.of_record(record));
        let filed = path_template::file(tools.plugin, template, inputs.collect());
        let mut filed = tools.handle.block_on(filed).into_iter();
        let target = |record: Option<&Arc<Record>>| match record.and_then(|_| filed.next()) {
            Some(Ok(filed)) if filed.folder.is_empty() => plain(),
            Some(Ok(filed)) => Ok(format!("{}/{}", to.folder.trim_end_matches('/'), filed.folder)),
            Some(Err(reason)) => Err(EditError::NotFiled(reason)),
            // What is no model is told of when it would be moved.
            None => plain(),
        };
        records.into_iter().map(target).collect()
    }

    /// A folder that models may be put into, under the path that a walk finds; it may not be there yet.
    ///
    /// # Errors
    /// When it is outside the library's folders, before or after links are resolved.
    pub(crate) fn target(&self, folder: &str) -> Result<PathBuf, EditError> {
        let outside = || EditError::Outside(folder.to_owned());
        let plain: PathBuf = Path::new(folder).components().collect();
        let climbs = plain.components().any(|part| part == Component::ParentDir);
        let is_trash = plain.components().any(|part| part.as_os_str() == trash::STAGING);
        let wire = noted(&plain);
        let in_a_root = |path: &str| {
            self.roots()
                .iter()
                .any(|root| *root.wire == *path || root.relative(path).is_some())
        };
        if climbs || is_trash || !in_a_root(&wire) {
            return Err(outside());
        }
        let index = roots::find_folder(self.roots(), &wire).map(usize::from);
        if let Some(index) = index.filter(|index| self.missing_roots().contains(index)) {
            return Err(EditError::NoRoot(
                self.roots().get(index).map_or(wire, |root| root.wire.to_string()),
            ));
        }
        if roots::hide(self.roots(), &wire) {
            return Err(EditError::Hidden(folder.to_owned()));
        }
        match RootedPath::open_folder(&self.allowed(), &wire) {
            Ok(()) => {
                let listed = self.topology().listed_path(&plain);
                self.check_there(&listed)?;
                Ok(listed)
            }
            Err(RootedPathError::Outside(_)) => Err(outside()),
            Err(error) => Err(EditError::Open(error)),
        }
    }

    /// Refuses a path on a disk that is away: its mount point may be there, and what is put into it is hidden when the disk
    /// is back.
    pub(super) fn check_there(&self, path: &Path) -> Result<(), EditError> {
        let wire = noted(path);
        let Some(index) = roots::find_folder(self.roots(), &wire).map(usize::from) else {
            return Ok(());
        };
        let is_away = || self.offline().get(index) == Some(&true);
        let is_without_disk = |root: &Root| is_emptied(&root.path) && self.had_models(&root.path);
        match self.roots().get(index) {
            Some(root) if is_away() || is_without_disk(root) => Err(EditError::Away(wire)),
            _ => Ok(()),
        }
    }

    /// What moving a model does. `survey` knows the places that models before it will have.
    pub(super) fn plan_move(
        &self,
        path: &str,
        target: &str,
        clash: Clash,
        survey: &mut Survey,
    ) -> Result<MovePlan, EditError> {
        let given = path;
        let path = self.listed(path);
        self.check_inside(std::slice::from_ref(&path))?;
        let snapshot = self.snapshot();
        let not_found = || EditError::NotFound(given.to_owned());
        let record = snapshot.by_path(&path).ok_or_else(not_found)?;
        self.check_there(Path::new(&path))?;
        let model = Path::new(&path);
        foreign::inspect(model, Links::Follow)?.ok_or_else(not_found)?;
        let folder = self.target(target)?;
        let source = model.parent().unwrap_or(Path::new("/"));
        let mut plan = MovePlan {
            path: path.clone(),
            files: Vec::new(),
            clash: None,
            copies: !same_file_system(source, &folder),
            folder,
        };
        if is_same_folder(source, &plan.folder) {
            plan.copies = false;
            return Ok(plan);
        }
        let files = self.travelling(record, source, survey);
        let is_free = |stem: &str| -> Result<(), PathBuf> {
            let own = files
                .iter()
                .map(|(_, ending)| plan.folder.join(format!("{stem}{ending}")));
            let mut places = self.places_of(&plan.folder, stem).into_iter().chain(own);
            let taken = places.find(|place| survey.claimed.contains_key(place) || place.symlink_metadata().is_ok());
            taken.map_or(Ok(()), Err)
        };
        let mut stem = record.file_name.to_string();
        if let Err(taken) = is_free(&stem) {
            if clash == Clash::Refuse {
                return Err(match survey.claimed.get(&taken) {
                    Some(other) => EditError::TargetShared {
                        place: taken,
                        other: other.to_string(),
                    },
                    None => EditError::TargetTaken(taken),
                });
            }
            let hash = record
                .sha256
                .map_or_else(|| "0000".to_owned(), |hash| hash.hex()[..4].to_owned());
            let first = with_suffix(&record.file_name, &format!("-{hash}"));
            let numbered = (1..MAX_NAMES).map(|number| with_suffix(&record.file_name, &format!("-{hash}-{number}")));
            let mut names = std::iter::once(first.clone()).chain(numbered);
            let free = names.find(|name| is_free(name).is_ok());
            stem = free.ok_or_else(|| EditError::TargetTaken(taken.clone()))?;
            plan.clash = Some(taken);
        }
        plan.files = files
            .into_iter()
            .map(|(from, ending)| FileMove {
                bytes: from.symlink_metadata().map_or(0, |metadata| metadata.len()),
                to: plan.folder.join(format!("{stem}{ending}")),
                from,
            })
            .collect();
        let long = |file: &&FileMove| file.to.file_name().is_some_and(|name| name.len() > MAX_NAME);
        match plan.files.iter().find(long) {
            Some(file) => Err(EditError::TooLong(file.to.clone())),
            None => Ok(plan),
        }
    }

    /// Places of files that would belong to a model of this name: another one's must not become its own.
    pub(super) fn places_of(&self, folder: &Path, stem: &str) -> Vec<PathBuf> {
        let endings = self.info().extensions().chain(preview::ENDINGS.iter().copied());
        let beside = endings.map(|ending| folder.join(format!("{stem}{ending}")));
        beside.chain([sidecar::path_for(folder, stem)]).collect()
    }

    /// The files that travel with a model, itself first, each with the rest of its name: all whose names start with the
    /// model's and a dot, unless they are another model's.
    fn travelling(&self, record: &Record, folder: &Path, survey: &mut Survey) -> Vec<(PathBuf, String)> {
        let stem = &*record.file_name;
        let own = Path::new(&*record.path);
        let names = survey.names(folder, &format!("{stem}."));
        let model_stem = |name: &str| {
            let extension = self.info().extension_of(name)?;
            name.strip_suffix(extension).map(str::to_owned)
        };
        // What is being downloaded is a model that is not whole yet.
        let unfinished = |name: &str| {
            let whole = name.strip_suffix(".state").unwrap_or(name);
            let endings = compat().unfinished_endings.iter();
            endings
                .filter_map(|ending| whole.strip_suffix(ending.as_str()))
                .find_map(model_stem)
        };
        // The model's own name may be the start of another model's.
        let longer: Vec<String> = names
            .iter()
            .filter_map(|name| model_stem(name).or_else(|| unfinished(name)))
            .filter(|other| other != stem)
            .collect();
        let of_another = |name: &str| {
            let starts = |other: &String| {
                name.strip_prefix(other.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            longer.iter().any(starts)
        };
        let own_name = own.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let shared = names
            .iter()
            .any(|name| name != own_name && model_stem(name).as_deref() == Some(stem));
        let sidecar_name = format!("{stem}.metadata.json");
        let goes = |name: &&String| {
            if *name == own_name || of_another(name) || model_stem(name).is_some() || unfinished(name).is_some() {
                return false;
            }
            // With two models of one name only the sidecar goes along that is about this one.
            !shared || (**name == sidecar_name && is_about(&folder.join(name), &record.path))
        };
        let beside = names.iter().filter(goes).map(String::as_str);
        std::iter::once(own_name)
            .chain(beside)
            .map(|name| {
                (
                    folder.join(name),
                    name.strip_prefix(stem).unwrap_or_default().to_owned(),
                )
            })
            .collect()
    }
}

/// What plans of several models need of each other.
#[derive(Debug, Default)]
pub(super) struct Survey {
    // Places that were given away, with the model that gets each.
    claimed: HashMap<PathBuf, Arc<str>>,
    // Whether folders stay as they are meanwhile.
    keeps: bool,
    // Names in the folder that was asked about last, sorted: models of one folder come together.
    names: Option<(PathBuf, Vec<String>)>,
}

impl Survey {
    /// For plans that nothing is done between.
    pub fn of_many() -> Self {
        Self {
            keeps: true,
            ..Self::default()
        }
    }

    /// Gives the places of a model away.
    pub fn add(&mut self, plan: &MovePlan) {
        let model: Arc<str> = plan.path.as_str().into();
        let places = plan.files.iter().map(|file| (file.to.clone(), model.clone()));
        self.claimed.extend(places);
    }

    /// Names of the files in a folder that start with a text.
    fn names(&mut self, folder: &Path, start: &str) -> Vec<String> {
        let known = self.names.take().filter(|(of, _)| self.keeps && of == folder);
        let (_, names) = self
            .names
            .insert(known.unwrap_or_else(|| (folder.to_owned(), file_names(folder))));
        let first = names.partition_point(|name| name.as_str() < start);
        let own = names.iter().skip(first).take_while(|name| name.starts_with(start));
        own.cloned().collect()
    }
}

/// Names of the files in a folder that a client could write, sorted.
fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// An act that moves models one after the other.
pub(super) struct Moving<'m> {
    library: &'m Library,
    tools: &'m Tools<'m>,
    /// The act.
    pub draft: Draft<'m>,
    // How many steps are visible to readers.
    shown: usize,
    // Models that are not yet, and since when.
    waiting: usize,
    since: Instant,
}

impl<'m> Moving<'m> {
    /// Begins it.
    ///
    /// # Errors
    /// When the history can't be written.
    pub fn new(library: &'m Library, tools: &'m Tools<'m>, kind: ActKind) -> Result<Self, EditError> {
        let history: &'m History = tools.history;
        Ok(Self {
            draft: history.begin(kind, library.info().id(), None)?,
            library,
            tools,
            shown: 0,
            waiting: 0,
            since: Instant::now(),
        })
    }

    /// Moves a model; its path then.
    ///
    /// # Errors
    /// Why it is where it was.
    pub fn one(&mut self, path: &str, target: &str, clash: Clash, cancel: &Cancel) -> Result<String, EditError> {
        let turn = self.library.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = self.library.plan_move(path, target, clash, &mut Survey::default())?;
        if plan.files.is_empty() {
            return Ok(plan.path);
        }
        let mark = self.draft.mark();
        let done = self.carry_out(&plan, cancel);
        if done.is_err() {
            self.draft.back_to(mark);
        }
        drop(turn);
        let path = done?;
        self.waiting += 1;
        if self.waiting >= BATCH || self.since.elapsed() > SHOW_EVERY {
            self.show();
        }
        Ok(path)
    }

    fn carry_out(&mut self, plan: &MovePlan, cancel: &Cancel) -> Result<String, EditError> {
        let snapshot = self.library.snapshot();
        let record = snapshot
            .by_path(&plan.path)
            .ok_or_else(|| EditError::NotFound(plan.path.clone()))?;
        self.draft.make_folders(&plan.path, &plan.folder)?;
        let moved = self.library.relocate(&mut self.draft, record, &plan.moves(), cancel)?;
        Ok(moved.into_iter().next().unwrap_or_default())
    }

    /// Shows readers what was moved.
    pub fn show(&mut self) {
        let steps = self.draft.act().steps.get(self.shown..).unwrap_or_default();
        let touched = self.library.touched(steps);
        self.shown = self.draft.mark();
        self.waiting = 0;
        self.since = Instant::now();
        if !touched.is_empty() {
            self.library.take_up(self.tools, Vec::new(), &touched);
        }
    }

    /// Ends the act; its id, or none when nothing was moved.
    ///
    /// # Errors
    /// When that can't be written: everything is back then.
    pub fn end(mut self) -> Result<Option<String>, EditError> {
        self.show();
        let _turn = self.library.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.draft.act().steps.clone();
        let ended = self.draft.end();
        if ended.is_err() {
            // What was shown before is where it was.
            let touched = self.library.touched(&all);
            self.library.take_up(self.tools, Vec::new(), &touched);
        }
        Ok(ended?)
    }

    /// Takes everything back, for readers too.
    pub fn take_back(self) {
        let _turn = self.library.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.draft.act().steps.clone();
        drop(self.draft);
        let touched = self.library.touched(&all);
        self.library.take_up(self.tools, Vec::new(), &touched);
    }
}

/// Whether a sidecar is about this model.
fn is_about(sidecar: &Path, model: &str) -> bool {
    let read = Sidecar::read(sidecar).ok().flatten();
    read.is_some_and(|sidecar| sidecar.text("file_path") == model)
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    one == other
        || one
            .canonicalize()
            .is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// Whether a file can be renamed from one folder into another, which may not be there yet, as far as the system tells.
fn same_file_system(from: &Path, to: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = |folder: &Path| folder.ancestors().find_map(|path| Some(path.metadata().ok()?.dev()));
        device(from) == device(to)
    }
    #[cfg(not(unix))]
    {
        from.components().next() == to.components().next()
    }
}
