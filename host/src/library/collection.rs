//! The library of one model type: the only owner of its records.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::progress::{InitProgress, ProgressSink};
use super::roots::{self, Root};
use super::scan::{self, Cancel, Outcome, ScanKind, Stage, Walk};
use super::search::Search;
use super::snapshot::{Change, Snapshot};
use super::store::Store;
use crate::files::rooted::AllowedFolders;
use crate::plugins::{Plugin, TypeInfo};

/// The models of one type.
pub struct Library {
    info: Arc<TypeInfo>,
    roots: Vec<Root>,
    store: Arc<Store>,
    sink: Arc<dyn ProgressSink>,
    snapshot: ArcSwap<Snapshot>,
    // Held while the next snapshot is made.
    writing: Mutex<()>,
    // Held by the scan that runs; a second one waits.
    scanning: tokio::sync::Mutex<()>,
    running: Mutex<Option<Cancel>>,
    // Held by the act that changes sidecars; a second one waits.
    pub(super) editing: Mutex<()>,
    offline: ArcSwap<Vec<bool>>,
    allowed: ArcSwap<AllowedFolders>,
    link_targets: ArcSwap<Vec<PathBuf>>,
    problems: ArcSwap<Vec<(String, String)>>,
    initializing: AtomicBool,
}

impl Library {
    /// A library of these roots with what the store knows of them, or empty.
    pub fn open(info: Arc<TypeInfo>, roots: Vec<Root>, store: Arc<Store>, sink: Arc<dyn ProgressSink>) -> Self {
        let stored = store.load(info.id()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the library is read again");
            super::store::Stored::default()
        });
        let mut inside = Vec::with_capacity(stored.records.len());
        for mut record in stored.records {
            // Records of a root that is not configured now stay in the store for its return.
            let Some(root) = roots::find(&roots, &record.path) else {
                continue;
            };
            record.root = root;
            inside.push(Change::Put(Arc::new(record)));
        }
        let snapshot = Snapshot::default().apply(inside);
        let offline = roots
            .iter()
            .map(|root| std::fs::read_dir(&root.path).is_err())
            .collect::<Vec<_>>();
        let allowed = AllowedFolders::new(roots.iter().map(|root| root.path.clone()), stored.link_targets.clone());
        let known = stored.plugin_digest.is_some();
        Self {
            info,
            roots,
            store,
            sink,
            snapshot: ArcSwap::from_pointee(snapshot),
            writing: Mutex::new(()),
            scanning: tokio::sync::Mutex::new(()),
            running: Mutex::new(None),
            editing: Mutex::new(()),
            offline: ArcSwap::from_pointee(offline),
            allowed: ArcSwap::from_pointee(allowed),
            link_targets: ArcSwap::from_pointee(stored.link_targets),
            problems: ArcSwap::default(),
            initializing: AtomicBool::new(!known),
        }
    }

    /// The type.
    pub fn info(&self) -> &Arc<TypeInfo> {
        &self.info
    }

    /// Its roots.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Roots that are there, or were there when they were last looked at.
    pub fn known_roots(&self) -> impl Iterator<Item = &Root> {
        let (offline, snapshot) = (self.offline.load_full(), self.snapshot.load_full());
        self.roots.iter().enumerate().filter_map(move |(index, root)| {
            let away = offline.get(index).copied().unwrap_or(false);
            let known = !away
                || snapshot
                    .records()
                    .iter()
                    .any(|(_, record)| usize::from(record.root) == index);
            known.then_some(root)
        })
    }

    /// The library as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Which roots are absent, by index.
    pub fn offline(&self) -> Arc<Vec<bool>> {
        self.offline.load_full()
    }

    /// Folders inside which requests may open files.
    pub fn allowed(&self) -> Arc<AllowedFolders> {
        self.allowed.load_full()
    }

    /// Files that the last scan left out, each with the reason.
    pub fn left_out(&self) -> Arc<Vec<(String, String)>> {
        self.problems.load_full()
    }

    /// Whether the first reading has not come to its end.
    pub fn is_initializing(&self) -> bool {
        self.initializing.load(Ordering::Relaxed)
    }

    /// Asks the running scan to stop; whether one ran.
    pub fn cancel(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(Cancel::set).is_some()
    }

    /// Makes changes visible to readers at once, and stores them.
    pub fn publish(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshot
            .store(Arc::new(self.snapshot.load().apply(changes.clone())));
        self.store.save(self.info.id(), changes);
        drop(writing);
    }

    /// Hands descriptions to the store, each with the path of its model; an empty one is forgotten.
    /// Before the records are published, so that no stored record lacks its description.
    pub(super) fn describe(&self, descriptions: Vec<(Box<str>, String)>) {
        if !descriptions.is_empty() {
            self.store.describe(descriptions);
        }
    }

    /// Asks the store which descriptions a search matches, where the search wants that. Reads from disk.
    pub fn look_into_descriptions(&self, snapshot: &Snapshot, search: &mut Search) {
        if !search.in_descriptions {
            return;
        }
        match self.store.described(&search.text) {
            Ok(keys) => {
                let slots = keys.into_iter().flat_map(|key| snapshot.slots_by_media_key(key));
                search.described = slots.copied().collect();
            }
            Err(error) => tracing::error!(%error, "descriptions can't be searched"),
        }
    }

    pub(super) fn note_walk(&self, walk: &Walk) {
        self.offline.store(Arc::new(
            (0..self.roots.len())
                .map(|index| walk.offline.contains(&(index as u16)))
                .collect(),
        ));
        let mut targets: Vec<PathBuf> = walk
            .link_targets
            .iter()
            .cloned()
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        if !walk.offline.is_empty() {
            targets.extend(self.link_targets.load().iter().cloned());
        }
        targets.sort();
        targets.dedup();
        self.allowed.store(Arc::new(AllowedFolders::new(
            self.roots.iter().map(|root| root.path.clone()),
            targets.clone(),
        )));
        self.link_targets.store(Arc::new(targets));
    }

    pub(super) fn note_problems(&self, problems: Vec<(String, String)>) {
        let before = self.problems.load();
        for (path, problem) in problems.iter().filter(|problem| !before.contains(problem)) {
            tracing::warn!(path, problem, "left out");
        }
        self.problems.store(Arc::new(problems));
    }

    pub(super) fn note_complete(&self, plugin_digest: &str) {
        self.store
            .complete(self.info.id(), plugin_digest, &self.link_targets.load());
    }

    /// Forgets the models of roots that are absent: a person says that they will not come back.
    /// Nothing on a disk is touched. How many there were.
    pub async fn forget_offline(self: &Arc<Self>) -> usize {
        // A scan on its way would put them back.
        let _turn = self.scanning.lock().await;
        let library = self.clone();
        tokio::task::spawn_blocking(move || library.forget_offline_now())
            .await
            .unwrap_or_default()
    }

    fn forget_offline_now(&self) -> usize {
        let (snapshot, offline) = (self.snapshot(), self.offline());
        let away = |root: u16| offline.get(usize::from(root)).copied().unwrap_or(false);
        let gone: Vec<Change> = snapshot
            .records()
            .iter()
            .filter(|(_, record)| away(record.root))
            .map(|(_, record)| Change::Remove(record.path.clone()))
            .collect();
        let count = gone.len();
        self.publish(gone);
        count
    }

    /// Scans when no other scan of this type runs, else after it.
    pub async fn scan(self: &Arc<Self>, plugin: Arc<Plugin>, kind: ScanKind) -> Outcome {
        let turn = self.scanning.lock().await;
        let cancel = Cancel::default();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
        let (library, handle) = (self.clone(), tokio::runtime::Handle::current());
        let scan = tokio::task::spawn_blocking(move || {
            let mut report = Report::new(&library);
            let outcome = scan::run(&library, &plugin, kind, &cancel, &handle, &mut |stage| {
                report.stage(stage)
            });
            report.end(outcome);
            outcome
        });
        let outcome = scan.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a scan broke off");
            Outcome {
                cancelled: true,
                ..Outcome::default()
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(turn);
        outcome
    }

    /// Tells clients that the library is here without a first reading.
    pub fn announce_warm(&self) {
        Report::new(self).send("loading_cache", 1, "Loaded from the store".into(), None);
        Report::new(self).send(
            "finalizing",
            100,
            format!("{} models", self.snapshot().len()),
            Some("complete"),
        );
    }
}

/// Turns stages of a scan into messages for clients: the first reading in detail, later scans
/// only by what they changed.
struct Report<'l> {
    library: &'l Library,
    first: bool,
    last: u8,
    total: usize,
}

impl<'l> Report<'l> {
    fn new(library: &'l Library) -> Self {
        Self {
            library,
            first: library.is_initializing(),
            last: 0,
            total: 0,
        }
    }

    fn stage(&mut self, stage: Stage) {
        if !self.first {
            return;
        }
        match stage {
            Stage::Walking => self.send("scan_folders", 0, "Looking through the folders".into(), None),
            Stage::Counted(total) => {
                self.total = total;
                self.send("count_models", 1, format!("{total} models to read"), None);
            }
            Stage::Working(share) => {
                let percent = (share * 98.0) as u8 + 1;
                if percent > self.last {
                    self.last = percent;
                    let known = self.library.snapshot().len();
                    self.send(
                        "process_models",
                        percent.min(99),
                        format!("{known} of {} models read", self.total),
                        None,
                    );
                    self.library.sink.models_changed(self.library.info.prefix());
                }
            }
        }
    }

    fn end(&self, outcome: Outcome) {
        // What was read before a cancellation is there to be used, so the first reading is over all the same.
        if self.first && outcome.cancelled {
            self.library.initializing.store(false, Ordering::Relaxed);
            self.send("finalizing", self.last, "Cancelled".into(), Some("cancelled"));
        } else if self.first {
            self.library.initializing.store(false, Ordering::Relaxed);
            self.send("finalizing", 99, "Finishing".into(), None);
            self.send(
                "finalizing",
                100,
                format!("{} models", self.library.snapshot().len()),
                Some("complete"),
            );
        }
        if outcome.changed + outcome.removed > 0 {
            self.library.sink.models_changed(self.library.info.prefix());
        }
    }

    fn send(&self, stage: &'static str, progress: u8, details: String, status: Option<&'static str>) {
        self.library.sink.init(InitProgress {
            stage,
            progress,
            details,
            status,
            scanner_type: self.library.info.id().to_owned(),
            page_type: self.library.info.prefix().to_owned(),
        });
    }
}
