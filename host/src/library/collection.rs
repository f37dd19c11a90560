//! The library of one model type: the only owner of its records.

mod receiver;
mod report;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use self::receiver::HashReceiver;
use self::report::Report;
use super::acting::Acting;
use super::hashing::{HashQueue, Hashing, Waited};
use super::keeping::Upkeep;
use super::progress::ProgressSink;
use super::record::{HashStatus, Record};
use super::roots::{self, Root};
use super::scan::{Cancel, Folders, Job, Outcome, ScanKind, Walk};
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
    hashes: HashQueue,
    sink: Arc<dyn ProgressSink>,
    snapshot: ArcSwap<Snapshot>,
    // Held while the next snapshot is made.
    writing: Mutex<()>,
    // Held by the scan that runs; a second one waits.
    scanning: tokio::sync::Mutex<()>,
    running: Mutex<Option<Cancel>>,
    // Held by the act that changes sidecars; a second one waits.
    pub(super) editing: Mutex<()>,
    pub(super) acting: Acting,
    offline: ArcSwap<Vec<bool>>,
    allowed: ArcSwap<AllowedFolders>,
    link_targets: ArcSwap<Vec<PathBuf>>,
    initializing: AtomicBool,
    pub(super) upkeep: Upkeep,
}

impl Library {
    /// A library of these roots with what the store knows of them, or empty.
    pub fn open(
        info: Arc<TypeInfo>,
        roots: Vec<Root>,
        store: Arc<Store>,
        hashing: &Hashing,
        sink: Arc<dyn ProgressSink>,
    ) -> Self {
        let stored = store.load(info.id()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the library is read again");
            super::store::Stored::default()
        });
        let any_known = !stored.records.is_empty();
        let mut inside = Vec::with_capacity(stored.records.len());
        for mut record in stored.records {
            // Records of a root that is not configured now stay in the store for its return.
            let Some(root) = roots::find(&roots, &record.path) else {
                continue;
            };
            record.root = root;
            inside.push(Change::Put(Arc::new(record)));
        }
        // Records of other roots alone say that these ones were never read.
        let known = stored.plugin_digest.is_some() && !(any_known && inside.is_empty());
        let snapshot = Snapshot::default().apply(inside);
        let offline = roots
            .iter()
            .map(|root| std::fs::read_dir(&root.path).is_err())
            .collect::<Vec<_>>();
        let allowed = AllowedFolders::new(roots.iter().map(|root| root.path.clone()), stored.link_targets.clone());
        Self {
            hashes: hashing.queue(info.prefix(), sink.clone()),
            info,
            upkeep: Upkeep::new(&roots),
            roots,
            store,
            sink,
            snapshot: ArcSwap::from_pointee(snapshot),
            writing: Mutex::new(()),
            scanning: tokio::sync::Mutex::new(()),
            running: Mutex::new(None),
            editing: Mutex::new(()),
            acting: Acting::default(),
            offline: ArcSwap::from_pointee(offline),
            allowed: ArcSwap::from_pointee(allowed),
            link_targets: ArcSwap::from_pointee(stored.link_targets),
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

    /// Whether the first reading has not come to its end.
    pub fn is_initializing(&self) -> bool {
        self.initializing.load(Ordering::Relaxed)
    }

    /// Its place in the hashing service.
    pub fn hash_queue(&self) -> &HashQueue {
        &self.hashes
    }

    /// Waits until the hashes of what scans found are there, or waiting is of no use.
    pub async fn hashed(&self) -> Waited {
        self.hashes.idle().await
    }

    /// Asks for the hashes of these models, or of all, where they are missing; how many were
    /// handed over. Asks for those on network shares too.
    pub fn want_hashes(self: &Arc<Self>, plugin: &Arc<Plugin>, paths: Option<&[String]>) -> usize {
        let snapshot = self.snapshot();
        let wanted: Vec<_> = match paths {
            Some(paths) => paths
                .iter()
                .filter_map(|path| snapshot.by_path(path))
                .cloned()
                .collect(),
            None => snapshot.records().iter().map(|(_, record)| record.clone()).collect(),
        };
        let missing = wanted.into_iter().filter(|record| record.sha256.is_none());
        // Noted in the record, so that a restart goes on with it.
        let marked = missing.map(|record| {
            let marked = Record {
                hash_status: HashStatus::Calculating,
                ..Record::clone(&record)
            };
            (record, marked)
        });
        let marked: Vec<_> = marked.collect();
        let paths: Vec<_> = marked.iter().map(|(_, record)| record.path.clone()).collect();
        self.publish_over(marked);
        let snapshot = self.snapshot();
        let missing: Vec<_> = paths
            .iter()
            .filter_map(|path| snapshot.by_path(path))
            .cloned()
            .collect();
        let count = missing.len();
        self.receive_hashes(plugin);
        self.hashes.add(&self.roots, missing, true);
        count
    }

    fn receive_hashes(self: &Arc<Self>, plugin: &Arc<Plugin>) {
        self.hashes.attach(Arc::new(HashReceiver {
            library: Arc::downgrade(self),
            plugin: plugin.clone(),
            handle: tokio::runtime::Handle::current(),
        }));
    }

    /// Asks the running scan and the long acts to stop, and drops what waits to be hashed; whether a scan ran.
    pub fn cancel(&self) -> bool {
        self.hashes.cancel();
        self.acting.cancel();
        self.cancel_scan()
    }

    /// Asks the running scan to stop; whether one ran.
    pub(super) fn cancel_scan(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(Cancel::set).is_some()
    }

    /// Ends when the scan that runs now has ended.
    pub async fn idle(&self) {
        drop(self.scanning.lock().await);
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

    /// Publishes records that were made of older ones, each unless its older one has been
    /// replaced meanwhile; the paths of these.
    fn publish_over(&self, changed: Vec<(Arc<Record>, Record)>) -> HashSet<Box<str>> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot.load();
        let (mut changes, mut replaced) = (Vec::with_capacity(changed.len()), HashSet::new());
        for (older, record) in changed {
            if snapshot
                .by_path(&record.path)
                .is_some_and(|now| Arc::ptr_eq(now, &older))
            {
                changes.push(Change::Put(Arc::new(record)));
            } else {
                replaced.insert(record.path);
            }
        }
        if !changes.is_empty() {
            self.snapshot.store(Arc::new(snapshot.apply(changes.clone())));
            self.store.save(self.info.id(), changes);
        }
        drop(writing);
        replaced
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
                search.described = slots.collect();
            }
            Err(error) => tracing::error!(%error, "descriptions can't be searched"),
        }
    }

    /// Takes over what a walk of all roots found of them; whether one came or went.
    pub(super) fn note_walk(&self, walk: &Walk) -> bool {
        let is_away = |index| walk.offline.contains(&(index as u16));
        let offline: Vec<bool> = (0..self.roots.len()).map(is_away).collect();
        let changed = *self.offline.swap(Arc::new(offline.clone())) != offline;
        let before = self.upkeep.topology.swap(Arc::new(walk.topology.clone()));
        if *before != walk.topology {
            self.upkeep.watch.links_changed();
        }
        // A dangling link leads to itself, which allows nothing new.
        let mut targets: Vec<PathBuf> = walk.topology.links.values().cloned().collect();
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
        changed
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

    /// Scans all of it when no other scan of this type runs, else after that one.
    pub async fn scan(self: &Arc<Self>, plugin: Arc<Plugin>, kind: ScanKind) -> Outcome {
        self.run_scan(plugin, kind, None).await
    }

    /// As [`Library::scan`], and waits, at most `patience`, for files that were written a moment ago, and reads them too.
    pub async fn scan_patiently(self: &Arc<Self>, plugin: Arc<Plugin>, kind: ScanKind, patience: Duration) -> Outcome {
        let until = Instant::now() + patience;
        let mut outcome = self.scan(plugin.clone(), kind).await;
        while let Some(next) = self.waiting().next_look(true).filter(|next| *next <= until) {
            if outcome.cancelled {
                break;
            }
            tokio::time::sleep_until(next.into()).await;
            let folders = self.waiting().due_folders().into_iter();
            let folders: Folders = folders.map(|folder| (folder, super::scan::Depth::Shallow)).collect();
            if folders.is_empty() {
                // The watcher was first.
                continue;
            }
            let more = self.scan_folders(plugin.clone(), folders).await;
            outcome.changed += more.changed;
            outcome.removed += more.removed;
            outcome.cancelled |= more.cancelled;
        }
        outcome
    }

    /// Scans only these folders, when no other scan of this type runs, else after that one.
    pub async fn scan_folders(self: &Arc<Self>, plugin: Arc<Plugin>, folders: Folders) -> Outcome {
        self.run_scan(plugin, ScanKind::Changes, Some(folders)).await
    }

    async fn run_scan(self: &Arc<Self>, plugin: Arc<Plugin>, kind: ScanKind, folders: Option<Folders>) -> Outcome {
        let turn = self.scanning.lock().await;
        let mut plugin = self.rules_after(&plugin);
        loop {
            let outcome = self.run_scan_with(plugin.clone(), kind, folders.clone()).await;
            let newer = self.rules_after(&plugin);
            if !outcome.cancelled || Arc::ptr_eq(&newer, &plugin) || self.upkeep.is_closed() {
                drop(turn);
                return outcome;
            }
            plugin = newer;
        }
    }

    async fn run_scan_with(self: &Arc<Self>, plugin: Arc<Plugin>, kind: ScanKind, folders: Option<Folders>) -> Outcome {
        let cancel = Cancel::default();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
        if self.upkeep.is_closed() {
            // `close` may have come before there was anything to cancel.
            cancel.set();
        }
        self.receive_hashes(&plugin);
        let (library, handle) = (self.clone(), tokio::runtime::Handle::current());
        let scan = tokio::task::spawn_blocking(move || {
            let mut report = Report::new(&library, folders.is_none());
            let job = Job {
                library: &library,
                plugin: &plugin,
                kind,
                cancel: &cancel,
                handle: &handle,
            };
            let outcome = job.run(folders, &mut |stage| report.stage(stage));
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
        outcome
    }

    /// Has the folders of these files looked at again, where a scan runs.
    pub(super) fn look_at_after_scan<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if running {
            self.upkeep.watch.look_at(paths);
        }
    }

    /// Tells clients that models changed.
    pub(super) fn tell_changed(&self) {
        self.sink.models_changed(self.info.prefix());
    }

    /// Tells clients that the library is here without a first reading.
    pub fn announce_warm(&self) {
        let report = Report::new(self, false);
        report.send("loading_cache", 1, "Loaded from the store".into(), None);
        report.send(
            "finalizing",
            100,
            format!("{} models", self.snapshot().len()),
            Some("complete"),
        );
    }
}
