//! One scan of a library from start to end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::Cancel;
use super::folder::is_emptied;
use super::plan::{Plan, Scope};
use super::process;
use super::reading::{self, Reading};
use super::reread::{Again, reread_outdated};
use super::topology::Topology;
use super::walk::{Folders, Walk, Walker, normalised};
use crate::files::{atomic, disks};
use crate::library::collection::Library;
use crate::library::publishing::{Base, Over, Proposal};
use crate::library::record::{HashStatus, Record};
use crate::plugins::Plugin;

/// How thorough a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanKind {
    /// Only what changed by size, time or inode is read.
    Changes,
    /// Every sidecar and header is read again.
    Everything,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was cancelled on its way.
    pub cancelled: bool,
    /// Files that were read.
    pub read: usize,
    /// Records that are new or changed.
    pub changed: usize,
    /// Records that are gone.
    pub removed: usize,
    /// Files there are in what was looked at.
    pub files: usize,
    /// Whether a root came or went.
    pub roots_changed: bool,
}

/// Where a scan is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stage {
    /// Walking folders.
    Walking,
    /// So many files must be read.
    Counted(usize),
    /// This share of the work is done.
    Working(f64),
}

/// A scan that is to run.
pub struct Job {
    /// The library.
    pub library: Arc<Library>,
    /// The type's rules.
    pub plugin: Arc<Plugin>,
    /// How thorough it is.
    pub kind: ScanKind,
    /// Ends it early.
    pub cancel: Cancel,
    /// Where plugin calls are awaited.
    pub handle: tokio::runtime::Handle,
}

impl Job {
    /// Scans all of the library, or only some folders. Runs on a blocking thread.
    ///
    /// Published along the way, so that a page fills while a large library is read. Folders lead to a scan of all where
    /// they can't be told apart from the rest: when links changed, or a root is away or empty.
    pub fn run(&self, folders: Option<Folders>, progress: &mut dyn FnMut(Stage)) -> Outcome {
        let started = Instant::now();
        progress(Stage::Walking);
        // Before the walk, so that what comes meanwhile is not taken for gone, and is not written over.
        let base = self.library.base();
        let topology = self.library.topology();
        let folders = folders.map(|folders| normalised(&folders, &topology));
        let part = folders
            .as_ref()
            .and_then(|folders| Some((folders, self.walk_part(folders, &topology)?)));
        let (outcome, scope) = match part {
            Some((folders, walk)) => (self.work(base, &walk, Some((folders, &topology)), progress), "folders"),
            None => (self.work(base, &self.walk_all(), None, progress), "all"),
        };
        if folders.is_none() || outcome.changed + outcome.removed > 0 {
            tracing::info!(
                model_type = self.plugin.info().id(),
                scope,
                files = outcome.files,
                changed = outcome.changed,
                removed = outcome.removed,
                cancelled = outcome.cancelled,
                ms = started.elapsed().as_millis() as u64,
                "scanned"
            );
        }
        outcome
    }

    fn walker(&self) -> Walker {
        Walker {
            roots: self.library.shared_roots(),
            info: self.plugin.info().clone(),
            cancel: self.cancel.clone(),
        }
    }

    fn walk_all(&self) -> Walk {
        let mut walk = self.walker().whole();
        // A root that is there but holds nothing at all, while it had models before, is most likely a mount point
        // without its disk.
        let roots = self.library.roots();
        let disks: Vec<_> = roots.iter().map(|root| root.disk.clone()).collect();
        let emptied = disks::each(&disks, None, is_emptied);
        for (index, (root, emptied)) in roots.iter().zip(emptied).enumerate() {
            // One that stopped answering may be so.
            if emptied.unwrap_or(true) && self.library.had_models(&root.path) {
                walk.offline.insert(index as u16);
                walk.unreadable.push(root.wire.to_string());
            }
        }
        walk
    }

    fn walk_part(&self, folders: &Folders, topology: &Topology) -> Option<Walk> {
        let offline = self.library.offline();
        for (index, root) in self.library.roots().iter().enumerate() {
            let concerned = folders.keys().any(|folder| folder.starts_with(&root.path));
            let is_away = || offline.get(index).copied().unwrap_or(false);
            let path = root.path.clone();
            let is_emptied = || root.disk.run_blocking(move || is_emptied(&path)).unwrap_or(true);
            if concerned && (is_away() || (is_emptied() && self.library.had_models(&root.path))) {
                return None;
            }
        }
        self.walker()
            .partial(folders, topology, &|root| self.library.io_profile(root))
    }

    fn work(&self, base: Base, walk: &Walk, scope: Scope<'_>, progress: &mut dyn FnMut(Stage)) -> Outcome {
        let Self { library, plugin, .. } = self;
        let mut outcome = Outcome {
            files: walk.found.len(),
            cancelled: walk.cancelled,
            ..Outcome::default()
        };
        if walk.cancelled {
            return outcome;
        }
        for file in &walk.temporary {
            if let Ok(_section) = library.section(&file.to_string_lossy()) {
                atomic::sweep(file);
            }
        }
        library.note_trash(&walk.trash, scope);
        if scope.is_none() {
            outcome.roots_changed = library.note_walk(walk);
        }
        let is_first = library.is_initializing();
        // Descriptions are in the store alone, so that a new one needs all metadata to be read.
        let new_database = library.new_database().filter(|_| scope.is_none());
        let plan = Plan::new(
            library,
            &base,
            walk,
            scope,
            self.kind == ScanKind::Everything || new_database.is_some(),
            plugin.digest_number(),
        );
        let gone = plan.gone.iter();
        let gone = gone.map(|(over, record)| Proposal::remove(over.clone(), &record.path));
        let published = library.publish(gone.collect());
        outcome.removed = published.changed;
        // Files of which somebody knows more by now than this scan.
        let mut later = published.replaced;
        progress(Stage::Counted(plan.to_read.len()));

        // A moved model leaves its old place in the moment in which it is at the new one.
        let moved = plan.to_read.iter().filter(|task| task.leaves).filter_map(|task| {
            let was = task.was.clone()?;
            Some((task.found.path.clone(), (base.over(&was.path), was)))
        });
        let mut moved: HashMap<Box<str>, (Over, Arc<Record>)> = moved.collect();
        // What is read keeps what it needs of it.
        drop(base);
        if !is_first {
            let alone = |task: &&super::plan::Task| task.was.is_none() && task.found.sidecar.is_none();
            let snapshot = library.snapshot();
            let new = plan.to_read.iter().filter(alone).map(|task| &*task.found.path);
            library
                .moves()
                .arrived(new.filter(|path| snapshot.by_path(path).is_none()));
        }
        let reading = Reading {
            library: library.clone(),
            plugin: plugin.clone(),
            cancel: self.cancel.clone(),
            handle: self.handle.clone(),
            describe_all: new_database.is_some(),
        };
        let mut problems = walk.problems.clone();
        problems.extend(plan.still_broken);
        let mut wanted = plan.unhashed;
        let mut again: Vec<Again> = Vec::new();
        reading.read_all(plan.to_read, &mut problems, &mut |share, mut batch| {
            again.append(&mut batch.outdated);
            outcome.read += batch.read.len();
            let mut proposals = Vec::with_capacity(batch.read.len());
            for fresh in &batch.read {
                if let Some((over, was)) = moved.remove(&fresh.record.path) {
                    proposals.push(Proposal::remove(over, &was.path));
                }
                proposals.push(fresh.proposal.clone());
            }
            let published = library.publish(proposals);
            outcome.changed += published.changed;
            for fresh in batch.read {
                let path = &fresh.record.path;
                if published.replaced.contains(path) {
                    let (path, was) = (path.clone(), fresh.was);
                    again.push(Again { path, was });
                    continue;
                }
                library.recognise_moved(&fresh.record);
                if fresh.record.hash_status == HashStatus::Calculating {
                    wanted.push(fresh.record);
                }
            }
            progress(Stage::Working(share));
        });
        if !self.cancel.is_set() {
            // What can't be read at its new place is gone from the old one all the same, unless the new one's disk went
            // silent: then it is known where it was.
            let lost = moved.into_iter().filter(|(path, _)| library.section(path).is_ok());
            let lost = lost.map(|(_, lost)| lost);
            let lost = lost.map(|(over, was)| Proposal::remove(over, &was.path)).collect();
            let published = library.publish(lost);
            outcome.removed += published.changed;
            later.extend(published.replaced);
            later.extend(self.realias(&reading, plan.realiased, &mut outcome));
            library.note_problems(problems, scope);
            library.note_waiting(&plan.waits, scope);
            reread_outdated(library, plugin, &self.handle, &again);
            outcome.changed += again.len();
        }
        library.look_at(later.iter().map(|path| &**path));
        let departed = plan.gone.into_iter().map(|(_, record)| record);
        library.note_departed(&departed.filter(|gone| !later.contains(&gone.path)).collect::<Vec<_>>());

        outcome.cancelled = self.cancel.is_set();
        if !outcome.cancelled {
            library.hash_queue().add(library.roots(), wanted, false);
        }
        if !outcome.cancelled && scope.is_none() {
            if let Some(database) = new_database {
                library.store_anew(database);
            }
            library.note_complete(plugin.digest());
        }
        outcome
    }

    /// Publishes records whose other paths changed; the paths of those that changed otherwise meanwhile.
    fn realias(&self, reading: &Reading, realiased: Vec<(Over, Record)>, outcome: &mut Outcome) -> HashSet<Box<str>> {
        let mut replaced = HashSet::new();
        for some in realiased.chunks(reading::PUBLISH) {
            let (overs, mut records): (Vec<Over>, Vec<Record>) = some.iter().cloned().unzip();
            if reading
                .unless_cancelled(process::serialise(&self.plugin, &mut records))
                .is_none()
            {
                break;
            }
            let proposals = overs.into_iter().zip(records);
            let proposals = proposals.map(|(over, record)| Proposal::put(over, Arc::new(record)));
            let published = self.library.publish(proposals.collect());
            outcome.changed += published.changed;
            replaced.extend(published.replaced);
        }
        replaced
    }
}
