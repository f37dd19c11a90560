//! What a library knows of its disk beyond the records, and how it is kept true to it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::collection::Library;
use super::history::History;
use super::io_profile::IoProfile;
use super::moves::Moves;
use super::record::{Record, Sha256, Stamp};
use super::roots::Root;
use super::scan::topology::Topology;
use super::scan::walk::covers;
use super::scan::{LeftOut, Scope, models_with_hash};
use super::trash;
use super::waiting::Waiting;
use super::watch::{self, Keeping, RootWatch, Watch};
use crate::plugins::Plugin;

/// Stamps of a file and of its sidecar, and what is wrong with that.
pub type BrokenSidecar = (Stamp, Option<Stamp>, String);

/// What scans and the watcher remember.
pub struct Upkeep {
    problems: ArcSwap<Vec<LeftOut>>,
    // Folders in the trash that the last scans saw.
    trash: ArcSwap<Vec<PathBuf>>,
    // Files whose sidecar can't be used, as they were then, so that it is read again only when it changed.
    broken: Mutex<HashMap<Box<str>, BrokenSidecar>>,
    /// How the folders hang together.
    pub topology: ArcSwap<Topology>,
    moves: Moves,
    waiting: Waiting,
    /// The library's end of its keeper.
    pub watch: Watch,
    closed: AtomicBool,
    // The plugin whose rules are in force, once another took the place of the first.
    rules: ArcSwapOption<Plugin>,
}

impl Upkeep {
    /// Nothing is known yet.
    pub fn new(roots: &[Root]) -> Self {
        Self {
            problems: ArcSwap::default(),
            trash: ArcSwap::default(),
            broken: Mutex::default(),
            topology: ArcSwap::default(),
            moves: Moves::default(),
            waiting: Waiting::default(),
            watch: Watch::new(roots),
            closed: AtomicBool::new(false),
            rules: ArcSwapOption::empty(),
        }
    }

    /// Whether no scan may begin any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Library {
    /// Begins to keep the library true to the disk: watches its folders, scans it once, and then whatever changes, on a
    /// thread of its own. It ends with [`Library::close`].
    pub fn keep(self: &Arc<Self>, plugin: Arc<Plugin>, keeping: Keeping) {
        self.upkeep.waiting.set_stable(keeping.stable);
        watch::start(self, plugin, keeping, tokio::runtime::Handle::current());
    }

    /// Has another version of the type's plugin give the rules from now on. Where that is another component, the scan that
    /// runs begins anew with it, and every record is derived again in the background.
    pub fn follow(&self, plugin: Arc<Plugin>, was: &Plugin) {
        let other = plugin.digest() != was.digest();
        self.upkeep.rules.store(Some(plugin));
        if other {
            self.cancel_scan();
            self.upkeep.watch.rules_changed();
        }
    }

    /// The plugin whose rules are in force, for whoever began with this one.
    pub fn rules_after(&self, plugin: &Arc<Plugin>) -> Arc<Plugin> {
        self.upkeep.rules.load_full().unwrap_or_else(|| plugin.clone())
    }

    /// The plugin that took the place of the first one, if any did.
    pub(super) fn newer_rules(&self) -> Option<Arc<Plugin>> {
        self.upkeep.rules.load_full()
    }

    /// Ends watching and the scan that runs, and lets no other begin. What is known stays readable. Does not wait: the
    /// scan ends within moments, but for a file that is being read.
    pub fn close(&self) {
        self.upkeep.closed.store(true, Ordering::Relaxed);
        self.upkeep.watch.close();
        self.cancel();
    }

    /// Files that the last scan left out, and those that wait for long until they are whole, each with the reason.
    pub fn left_out(&self) -> Vec<(String, String)> {
        let mut all = self.upkeep.waiting.told();
        let problems = self.upkeep.problems.load();
        all.extend(
            problems
                .iter()
                .map(|left_out| (left_out.path.clone(), left_out.reason.clone())),
        );
        all.sort();
        all
    }

    /// Folders in the trash of whose act the history knows nothing, as the last scan saw them: somebody removed the
    /// history, or another program deleted something.
    pub fn unknown_trash(&self, history: &History) -> Vec<PathBuf> {
        let trash = self.upkeep.trash.load();
        if trash.is_empty() {
            return Vec::new();
        }
        history.unknown_trash(&trash)
    }

    /// Removes the [`Library::unknown_trash`] for good: the bytes that became free. Blocks.
    pub fn empty_unknown_trash(&self, history: &History) -> u64 {
        let (mut freed, mut gone) = (0, HashSet::new());
        for folder in self.unknown_trash(history) {
            match trash::remove_unknown(&self.allowed(), &folder) {
                Ok(bytes) => freed += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "can't be taken out of the trash");
                    continue;
                }
            }
            gone.insert(folder);
        }
        self.upkeep.trash.rcu(|trash| {
            let left = trash.iter().filter(|folder| !gone.contains(*folder));
            left.cloned().collect::<Vec<_>>()
        });
        freed
    }

    pub(super) fn note_trash(&self, seen: &[PathBuf], scope: Scope<'_>) {
        let mut trash = seen.to_vec();
        if let Some((folders, topology)) = scope {
            let looked_at = |folder: &PathBuf| {
                let beside = folder.ancestors().nth(2);
                beside.is_none_or(|beside| covers(folders, beside, topology))
            };
            let before = self.upkeep.trash.load();
            trash.extend(before.iter().filter(|folder| !looked_at(folder)).cloned());
        }
        trash.sort();
        self.upkeep.trash.store(Arc::new(trash));
    }

    /// How the folders hang together, as the last scan of all found it.
    pub fn topology(&self) -> Arc<Topology> {
        self.upkeep.topology.load_full()
    }

    /// What is remembered of models that went and came.
    pub fn moves(&self) -> &Moves {
        &self.upkeep.moves
    }

    /// Files that wait until they are whole.
    pub fn waiting(&self) -> &Waiting {
        &self.upkeep.waiting
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.upkeep.watch
    }

    /// How each root is watched, by index.
    pub fn root_watches(&self) -> Arc<Vec<RootWatch>> {
        self.upkeep.watch.roots()
    }

    /// The I/O profile of a root, as it was when it was last there.
    pub fn io_profile(&self, root: u16) -> IoProfile {
        self.upkeep
            .watch
            .roots()
            .get(usize::from(root))
            .map_or(IoProfile::Fast, |root| root.profile)
    }

    /// Tells that a model has its whole hash now. When it is one that went elsewhere and left its history behind, its
    /// folder is looked at again, and then has that. Whether it is.
    ///
    /// Called by whatever computes hashes, once for each record, after the record was published.
    pub fn recognise_moved(&self, record: &Record) -> bool {
        let recognised = self.upkeep.moves.recognise(record);
        if recognised {
            self.look_at(std::iter::once(&*record.path));
        }
        recognised
    }

    /// Has the folders of these files looked at soon.
    pub(super) fn look_at<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        self.upkeep.watch.look_at(paths);
    }

    pub(super) fn note_departed(&self, gone: &[Arc<Record>]) {
        if gone.is_empty() || self.is_initializing() {
            return;
        }
        let snapshot = self.snapshot();
        let same = |hash: &Sha256| models_with_hash(&snapshot, hash);
        let mut worth = self.upkeep.moves.departed(gone, same);
        let unhashed = self.upkeep.moves.arrivals().into_iter().filter_map(|path| {
            let record = snapshot.by_path(&path)?;
            (record.sha256.is_none()).then(|| record.clone())
        });
        worth.extend(self.upkeep.moves.want_hashes(unhashed));
        self.look_at(worth.iter().map(|path| &**path));
    }

    /// What was wrong with a file's sidecar, if neither changed since.
    pub(super) fn broken_sidecar(&self, path: &str, stamp: Stamp, sidecar: Option<Stamp>) -> Option<String> {
        let broken = self.upkeep.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, beside, reason) = broken.get(path)?;
        (*own == stamp && *beside == sidecar).then(|| reason.clone())
    }

    /// Notes what is wrong with a file's sidecar, or that nothing is.
    pub(super) fn note_sidecar(&self, path: &str, wrong: Option<BrokenSidecar>) {
        let mut broken = self.upkeep.broken.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong {
            Some(wrong) => broken.insert(path.into(), wrong),
            None => broken.remove(path),
        };
    }

    /// Files that were read do not wait any more, nor do those that are gone: of what was looked at only `waits` wait.
    pub(super) fn note_waiting(&self, waits: &HashSet<&str>, scope: Scope<'_>) {
        if self.upkeep.waiting.is_empty() {
            return;
        }
        self.upkeep.waiting.retain(|path| {
            let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
            let looked_at = scope.is_none_or(|(folders, topology)| covers(folders, parent, topology));
            waits.contains(path) || !looked_at
        });
    }

    pub(super) fn note_problems(&self, mut problems: Vec<LeftOut>, scope: Scope<'_>) {
        let before = self.upkeep.problems.load();
        if let Some((folders, topology)) = scope {
            let elsewhere = before
                .iter()
                .filter(|left_out| !covers(folders, &left_out.folder, topology));
            problems.extend(elsewhere.cloned());
        }
        problems.sort();
        problems.dedup();
        for LeftOut { path, reason, .. } in problems.iter().filter(|problem| !before.contains(problem)) {
            tracing::warn!(path, reason, "left out");
        }
        self.upkeep.problems.store(Arc::new(problems));
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.upkeep.watch.close();
    }
}
