//! What a scan has to do: what a walk saw, compared with what is known.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::folder::{self, Found};
use super::known::slots_in;
use super::topology::Topology;
use super::walk::{Folders, LeftOut, Walk, covers};
use crate::library::collection::Library;
use crate::library::moves::Revisit;
use crate::library::publishing::{Base, Over};
use crate::library::record::{HashStatus, Preview, Record, Stamp};
use crate::library::roots::Root;
use crate::library::snapshot::Snapshot;

/// The folders that a scan is about; none for a scan of everything.
pub type Scope<'a> = Option<(&'a Folders, &'a Topology)>;

/// A file that is to be read.
pub struct Task {
    /// The file.
    pub found: Arc<Found>,
    /// What was listed at its path before the walk.
    pub over: Over,
    /// The model that it was elsewhere, before it was moved.
    pub was: Option<Arc<Record>>,
    /// Whether that model is still listed at its old place, and leaves it now.
    pub leaves: bool,
    /// Whether its hash is wanted whatever its type says.
    pub hash: bool,
}

/// What is to be done.
#[derive(Default)]
pub struct Plan<'w> {
    /// Files to read.
    pub to_read: Vec<Task>,
    /// Records whose other paths changed, and nothing else.
    pub realiased: Vec<(Over, Record)>,
    /// Records that only lack a hash: the scan that read them was cut off, or the file could not be read to its end.
    pub unhashed: Vec<Arc<Record>>,
    /// Records whose files are gone.
    pub gone: Vec<(Over, Arc<Record>)>,
    /// Files with an unusable sidecar that did not change since that was found out, each with the reason.
    pub still_broken: Vec<LeftOut>,
    /// Files that wait until they are whole.
    pub waits: HashSet<&'w str>,
}

impl<'w> Plan<'w> {
    /// Compares with what was known before the walk: what came since may be what the walk could not see yet. With
    /// `everything` all files are read.
    pub fn new(
        library: &Library,
        base: &Base,
        walk: &'w Walk,
        scope: Scope<'_>,
        everything: bool,
        derived_by: u64,
    ) -> Self {
        let before = base.snapshot();
        let seen: HashSet<&str> = walk.found.iter().map(|found| &*found.path).collect();
        let is_gone = |record: &Record| !seen.contains(&*record.path) && is_known_gone(library, walk, record);
        let gone = match scope {
            None => {
                let records = before.records().iter().map(|(_, record)| record);
                records.filter(|record| is_gone(record)).cloned().collect()
            }
            Some((folders, topology)) => {
                let mut records = inside(library, before, folders, topology);
                records.retain(|record| is_gone(record));
                records
            }
        };
        // Two files of one stamp are hard links of each other; either will do.
        let mut gone_by_stamp: HashMap<Stamp, usize> = gone
            .iter()
            .enumerate()
            .filter(|(_, record)| record.stamp.inode != 0)
            .map(|(index, record)| (record.stamp, index))
            .collect();
        let mut moved: HashSet<usize> = HashSet::new();
        let mut plan = Self::default();
        for found in &walk.found {
            let known = before.by_path(&found.path);
            let revisit = library.moves().take_revisit(&found.path);
            if let (Some(record), false, None) = (known, everything, &revisit) {
                let root = library.roots().get(usize::from(found.root));
                if record.derived_by == derived_by
                    && root.is_some_and(|root| is_unchanged(library, record, found, root))
                {
                    if record.aliases != found.aliases {
                        let realiased = Record {
                            aliases: found.aliases.clone(),
                            ..Record::clone(record)
                        };
                        plan.realiased.push((base.over(&found.path), realiased));
                    } else if record.hash_status == HashStatus::Calculating
                        // Each try writes to the sidecar, which the watcher sees: only a scan of all tries again.
                        || (record.hash_status == HashStatus::Failed && scope.is_none())
                    {
                        plan.unhashed.push(record.clone());
                    }
                    continue;
                }
            }
            if !everything && let Some(reason) = library.broken_sidecar(&found.path, found.stamp, found.sidecar) {
                // A listed model has its reason with it.
                if known.is_none() {
                    plan.still_broken.push(found.left_out(reason));
                }
                continue;
            }
            let mut task = Task {
                found: found.clone(),
                over: base.over(&found.path),
                was: None,
                leaves: false,
                hash: false,
            };
            match revisit {
                Some(Revisit::Was(record)) => task.was = Some(record),
                Some(Revisit::Hash) => task.hash = true,
                None if known.is_none() => {
                    if let Some(index) = gone_by_stamp.remove(&found.stamp)
                        && on_one_device(library, &gone[index].path, &found.path)
                    {
                        moved.insert(index);
                        task.was = Some(gone[index].clone());
                        task.leaves = true;
                    } else {
                        task.was = library.moves().take_by_stamp(&found.stamp);
                    }
                }
                None => {}
            }
            let is_new_content = known.is_none_or(|record| record.stamp != found.stamp) && task.was.is_none();
            if is_new_content
                && !library
                    .waiting()
                    .is_whole(&found.path, &found.stamp, found.unfinished.as_deref())
            {
                plan.waits.insert(&found.path);
                continue;
            }
            task.hash |= is_new_content && library.moves().may_have_come(found.stamp.size);
            plan.to_read.push(task);
        }
        let gone = gone.into_iter().enumerate().filter(|(index, _)| !moved.contains(index));
        plan.gone = gone.map(|(_, record)| (base.over(&record.path), record)).collect();
        plan
    }
}

/// The records in these folders, excluded ones too.
fn inside(library: &Library, snapshot: &Snapshot, folders: &Folders, topology: &Topology) -> Vec<Arc<Record>> {
    let mut slots = snapshot.excluded().clone();
    for (folder, depth) in folders {
        slots |= slots_in(snapshot, library.roots(), folder, *depth);
    }
    let records = slots.iter().filter_map(|slot| snapshot.get(slot));
    let is_inside = |record: &&Arc<Record>| {
        let parent = Path::new(&*record.path).parent();
        parent.is_some_and(|parent| covers(folders, parent, topology))
    };
    records.filter(is_inside).cloned().collect()
}

fn is_unchanged(library: &Library, record: &Record, found: &Found, root: &Root) -> bool {
    record.stamp == found.stamp
        && record.sidecar == found.sidecar
        && same_preview(library, record, found)
        && record.root == found.root
        // The same file may have come under another root, or the root may be of another kind now.
        && record.folder == found.folder
        && record.root_key == root.key
}

/// The preview that a sidecar names may be another than the one that a walk finds by its name.
fn same_preview(library: &Library, record: &Record, found: &Found) -> bool {
    let own = |preview: &Preview| match library.section(&preview.path) {
        Ok(_section) => folder::stamp(Path::new(&*preview.path)).is_ok_and(|stamp| stamp == preview.stamp),
        // Nobody knows while its disk does not answer.
        Err(_) => true,
    };
    match (&record.preview, &found.preview) {
        (Some(known), Some(seen)) if known.path == seen.path => known.stamp == seen.stamp,
        (Some(known), _) => own(known),
        (None, seen) => seen.is_none(),
    }
}

/// Whether a file that the walk did not see is gone, and not merely out of sight.
fn is_known_gone(library: &Library, walk: &Walk, record: &Record) -> bool {
    if walk.offline.contains(&record.root) || library.roots().get(usize::from(record.root)).is_none() {
        return false;
    }
    let below = |folder: &String| {
        record
            .path
            .strip_prefix(folder.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !walk.unreadable.iter().any(below)
}

/// Whether a place where a file was and one where it is are on one device, as far as can be told.
fn on_one_device(library: &Library, was: &str, is: &str) -> bool {
    let (Ok(_was), Ok(_is)) = (library.section(was), library.section(is)) else {
        return false;
    };
    let device = |path: &Path| folder::id(path).map(|(device, _)| device);
    let was = Path::new(was).ancestors().skip(1).find_map(device);
    let is = device(Path::new(is));
    was.is_none() || is.is_none() || was == is
}
