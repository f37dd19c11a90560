//! Filing a library by its template: each model goes where the template says, below the root in which it lies, and empty
//! folders go. One act, with one undo. Source: contract section 6.3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::collection::Library;
use super::editing::{EditError, Tools};
use super::history::{ActKind, HistoryError};
use super::moving::{Clash, Moving, Planned, Survey};
use super::path_template::{self, PathTemplate};
use super::record::Record;
use super::trash::{self, noted};

/// Models between two messages.
const BATCH: usize = 50;
/// Base model of a file about which nothing is known.
const UNKNOWN: &str = "Unknown";

/// Models that stay where they are.
#[derive(Debug, Clone, Default)]
pub struct Exclusions(GlobSet);

impl Exclusions {
    /// Shell patterns (`*` stands for `/` too); empty ones are passed over, and one that is none means itself.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns
            .into_iter()
            .map(str::trim)
            .filter(|pattern| !pattern.is_empty())
        {
            // Braces mean nothing in shell patterns of the contract.
            let plain = pattern.replace('{', "[{]").replace('}', "[}]");
            let glob = Glob::new(&plain).or_else(|_| Glob::new(&globset::escape(pattern)));
            glob.into_iter().for_each(|glob| {
                set.add(glob);
            });
        }
        Self(set.build().unwrap_or_default())
    }

    /// Whether a model's file name, path below its root, or whole path is meant.
    fn hold(&self, record: &Record) -> bool {
        let name = record.path.rsplit('/').next().unwrap_or_default();
        [name, record.relative_path(), &record.path]
            .iter()
            .any(|text| self.0.is_match(text))
    }
}

/// What is to be filed.
pub struct Wish {
    /// These models; none for all.
    pub paths: Option<Vec<String>>,
    /// But not these.
    pub exclusions: Exclusions,
    /// Where each belongs.
    pub template: PathTemplate,
    /// Whether models about which nothing is known are filed, too: without base model, tags and a provider's version. A
    /// template has a folder for them, but a person may have put them where they are.
    pub without_metadata: bool,
}

impl Wish {
    fn leaves(&self, record: &Record) -> bool {
        !self.without_metadata && !self.template.is_flat() && !has_metadata(record)
    }
}

fn has_metadata(record: &Record) -> bool {
    let base_model = record.base_model.trim();
    record.remote.id.is_some() || !record.tags.is_empty() || !(base_model.is_empty() || base_model == UNKNOWN)
}

/// How many models were looked at, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub total: usize,
    /// Looked at so far.
    pub processed: usize,
    /// Moved.
    pub success: usize,
    /// That can't be moved.
    pub failures: usize,
    /// That stay: they are where they belong, or nothing says where that is.
    pub skipped: usize,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It begins.
    Started,
    /// Models are moved.
    Processing,
    /// Empty folders are removed.
    Cleaning,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Organised {
    /// Whether it was cancelled; what was moved until then stays.
    pub cancelled: bool,
    /// Numbers.
    pub counts: Counts,
    /// Models that were not moved though they are not where they belong: name and error; without an error nothing says
    /// where they belong.
    pub left: Vec<(String, Option<EditError>)>,
    /// Folders under which empty ones were looked for, with how many were removed.
    pub cleaned: BTreeMap<String, usize>,
    /// Id for taking it back; none when nothing was changed.
    pub undo_id: Option<String>,
}

/// What filing would do.
#[derive(Debug)]
pub struct OrganisePlan {
    /// Models that would be moved, or can't be.
    pub models: Vec<Planned>,
    /// All models that were looked at.
    pub total: usize,
    /// Those that stay where they are.
    pub skipped: usize,
    /// Those of them that stay since nothing says where they belong.
    pub without_metadata: usize,
}

/// Where a model belongs.
enum Place {
    /// In this folder.
    Folder(String),
    /// Nothing says where.
    Unknown,
}

impl Library {
    /// Files models. Blocks; `tell` hears how far it is. Other acts in this library have their turn between two models.
    ///
    /// # Errors
    /// When the history can't be written: what was moved is back then.
    pub fn organise(&self, tools: &Tools, wish: &Wish, tell: &dyn Fn(Stage, Counts)) -> Result<Organised, EditError> {
        let running = self.acting.begin();
        let candidates = self.candidates(wish);
        let mut organised = Organised::default();
        let unknown = self.unknown(wish);
        organised.counts.total = candidates.len() + unknown.len();
        for path in unknown {
            organised.counts.processed += 1;
            organised.counts.failures += 1;
            let reason = EditError::NotFound(path.clone()).to_string();
            organised.left.push((path, reason));
        }
        tell(Stage::Started, organised.counts);
        let mut moving = Moving::new(self, tools, ActKind::Organise)?;
        let mut sources = BTreeSet::new();
        // Places of the models that were moved, without extension, with the path that each had.
        let mut arrived: HashMap<String, String> = HashMap::new();
        for batch in candidates.chunks(BATCH) {
            for (record, place) in batch.iter().zip(self.places(tools, wish, batch)) {
                if running.cancel.is_set() {
                    break;
                }
                let counts = &mut organised.counts;
                counts.processed += 1;
                let moved = match place {
                    Ok(Place::Folder(folder)) => {
                        let moved = moving.one(&record.path, &folder, Clash::Refuse, &running.cancel);
                        let place = format!("{folder}/{}", record.file_name);
                        match moved {
                            Err(EditError::TargetTaken(taken)) if arrived.contains_key(&place) => {
                                let other = arrived.get(&place).cloned().unwrap_or_default();
                                Err(EditError::TargetShared { place: taken, other })
                            }
                            Ok(path) if path != *record.path => {
                                arrived.insert(place, record.path.to_string());
                                Ok(path)
                            }
                            moved => moved,
                        }
                    }
                    Ok(Place::Unknown) => {
                        counts.skipped += 1;
                        organised.left.push((record.model_name.to_string(), None));
                        continue;
                    }
                    Err(error) => Err(error),
                };
                match moved {
                    Ok(path) if *path == *record.path => counts.skipped += 1,
                    Ok(_) => {
                        counts.success += 1;
                        sources.extend(Path::new(&*record.path).parent().map(Path::to_owned));
                    }
                    Err(_) if running.cancel.is_set() => counts.processed -= 1,
                    Err(error) => {
                        counts.failures += 1;
                        organised.left.push((record.model_name.to_string(), Some(error)));
                    }
                }
            }
            if running.cancel.is_set() {
                break;
            }
            tell(Stage::Processing, organised.counts);
        }
        if candidates.is_empty() {
            tell(Stage::Processing, organised.counts);
        }
        organised.cancelled = running.cancel.is_set();
        if !organised.cancelled {
            tell(Stage::Cleaning, organised.counts);
            let tops = match wish.paths {
                // The deepest first, so that each folder has its own number.
                Some(_) => sources.into_iter().rev().collect(),
                None if candidates.is_empty() => Vec::new(),
                None => self.roots().iter().map(|root| root.path.clone()).collect(),
            };
            for top in tops {
                match self.remove_empty(&mut moving, &top) {
                    Ok(removed) => organised.cleaned.insert(noted(&top), removed),
                    Err(error) => {
                        moving.take_back();
                        return Err(error);
                    }
                };
            }
        }
        organised.undo_id = moving.end()?;
        Ok(organised)
    }

    /// What [`Self::organise`] would do, without doing it.
    pub fn plan_organise(&self, tools: &Tools, wish: &Wish) -> OrganisePlan {
        let candidates = self.candidates(wish);
        let (mut models, mut skipped, mut without_metadata) = (Vec::new(), 0, 0);
        let unknown = self.unknown(wish).into_iter();
        let unknown: Vec<Planned> = unknown
            .map(|path| (path.clone(), Err(EditError::NotFound(path))))
            .collect();
        let mut survey = Survey::of_many();
        for batch in candidates.chunks(BATCH) {
            for (record, place) in batch.iter().zip(self.places(tools, wish, batch)) {
                let plan = match place {
                    Ok(Place::Folder(folder)) => self.plan_move(&record.path, &folder, Clash::Refuse, &mut survey),
                    Ok(Place::Unknown) => {
                        skipped += 1;
                        without_metadata += 1;
                        continue;
                    }
                    Err(error) => Err(error),
                };
                match &plan {
                    Ok(plan) if plan.files.is_empty() => {
                        skipped += 1;
                        continue;
                    }
                    Ok(plan) => survey.add(plan),
                    Err(_) => {}
                }
                models.push((record.path.to_string(), plan));
            }
        }
        OrganisePlan {
            total: candidates.len() + unknown.len(),
            models: unknown.into_iter().chain(models).collect(),
            skipped,
            without_metadata,
        }
    }

    /// Paths that were asked for and are no models.
    fn unknown(&self, wish: &Wish) -> Vec<String> {
        let snapshot = self.snapshot();
        let paths = wish.paths.iter().flatten();
        let unknown = paths.filter(|path| snapshot.by_path(&self.listed(path)).is_none());
        unknown.cloned().collect()
    }

    /// The models that are to be filed, by path.
    fn candidates(&self, wish: &Wish) -> Vec<Arc<Record>> {
        let snapshot = self.snapshot();
        let mut records: Vec<Arc<Record>> = match &wish.paths {
            Some(paths) => {
                let paths: BTreeSet<String> = paths.iter().map(|path| self.listed(path)).collect();
                paths
                    .iter()
                    .filter_map(|path| snapshot.by_path(path))
                    .cloned()
                    .collect()
            }
            None => snapshot.records().iter().map(|(_, record)| record.clone()).collect(),
        };
        records.retain(|record| !record.exclude && !wish.exclusions.hold(record));
        records.sort_by(|a, b| a.path.cmp(&b.path));
        records
    }

    /// Where models belong.
    fn places(&self, tools: &Tools, wish: &Wish, records: &[Arc<Record>]) -> Vec<Result<Place, EditError>> {
        let root = |record: &Record| {
            let root = self.roots().get(usize::from(record.root));
            root.map_or_else(String::new, |root| root.wire.to_string())
        };
        if wish.template.is_flat() {
            return records.iter().map(|record| Ok(Place::Folder(root(record)))).collect();
        }
        let inputs = records.iter().map(|record| wish.template.of_record(record)).collect();
        let filed = tools
            .handle
            .block_on(path_template::file(tools.plugin, &wish.template, inputs));
        let place = |(record, filed): (&Arc<Record>, Result<path_template::Filed, String>)| match filed {
            Ok(_) if wish.leaves(record) => Ok(Place::Unknown),
            Ok(filed) if filed.folder.is_empty() => Ok(Place::Unknown),
            Ok(filed) => Ok(Place::Folder(format!(
                "{}/{}",
                root(record).trim_end_matches('/'),
                filed.folder
            ))),
            Err(reason) => Err(EditError::NotFiled(reason)),
        };
        records.iter().zip(filed).map(place).collect()
    }

    /// Removes empty folders below a folder, and itself when it is no root; how many.
    fn remove_empty(&self, moving: &mut Moving, top: &Path) -> Result<usize, EditError> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        let mut waiting = vec![top.to_owned()];
        while let Some(folder) = waiting.pop() {
            waiting.extend(folders_in(&folder));
            found.push(folder);
        }
        let mut removed = 0;
        // Each folder after those that lie in it.
        for folder in found.into_iter().rev() {
            let is_root = self.roots().iter().any(|root| root.path == folder);
            let is_empty = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none());
            if !is_empty || is_root {
                continue;
            }
            match moving.draft.remove_folder("", &folder) {
                Ok(gone) => removed += usize::from(gone),
                // A mount point, or a folder of somebody else: it stays, and what was moved too.
                Err(error @ HistoryError::Folder { .. }) => tracing::warn!(%error, "an empty folder stays"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }
}

/// The folders in a folder that may be empty: no links, and not the trash.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let own = own.filter(|entry| entry.file_name() != trash::STAGING);
    own.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use globset::GlobSet;

    use super::Exclusions;

    #[test]
    fn patterns_are_shell_patterns_and_a_broken_one_means_itself() {
        let matches = |pattern: &str, text: &str| {
            let Exclusions(set): Exclusions = Exclusions::new([pattern]);
            let set: GlobSet = set;
            set.is_match(text)
        };
        for (pattern, text) in [
            ("*.safetensors", "a/b.safetensors"),
            ("keep/*", "keep/a/b"),
            ("m?", "m1"),
            ("[!a]b", "cb"),
            ("[a", "[a"),
            ("{a,b}", "{a,b}"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "A"), ("keep", "keep/a"), ("{a,b}", "a"), ("", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
