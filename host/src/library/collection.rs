//! The library of one model type: the only owner of its records.

mod receiver;
mod report;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use self::receiver::HashReceiver;
use self::report::Report;
use super::acting::Acting;
use super::hashing::{HashQueue, Hashing, Waited};
use super::io_profile::IoProfile;
use super::keeping::Upkeep;
use super::parallel::in_background;
use super::progress::ProgressSink;
use super::publishing::{Base, Over, Proposal, Published, Publishing};
use super::record::{HashStatus, Record};
use super::roots::{self, Root};
use super::scan::{Cancel, Folders, Job, Outcome, ScanKind, Walk};
use super::search::Search;
use super::snapshot::{Change, Snapshot};
use super::store::Store;
use crate::files::disks::{self, Disk, DiskError, KeyedLocks, Section};
use crate::files::rooted::AllowedFolders;
use crate::plugins::{Plugin, TypeInfo};
use crate::workers::Deadline;

/// The models of one type.
pub struct Library {
    info: Arc<TypeInfo>,
    roots: Arc<[Root]>,
    store: Arc<Store>,
    hashes: HashQueue,
    sink: Arc<dyn ProgressSink>,
    published: Publishing,
    // The database that has all records.
    stored_in: AtomicU64,
    // Held by the scan that runs; a second one waits.
    scanning: tokio::sync::Mutex<()>,
    running: Mutex<Option<Cancel>>,
    // By the index of a root: held by the operation that changes files there; a second one waits.
    pub(super) editing: KeyedLocks<u16>,
    pub(super) acting: Acting,
    offline: ArcSwap<Vec<bool>>,
    // Where each root really is, as far as its disk ever said.
    real_roots: Mutex<Vec<Option<PathBuf>>>,
    allowed: ArcSwap<AllowedFolders>,
    link_targets: ArcSwap<Vec<PathBuf>>,
    initializing: AtomicBool,
    pub(super) upkeep: Upkeep,
}

/// How long roots may take to say at the start whether they are there.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a scan is begun again that waited for a disk.
const SCAN_TRIES: usize = 3;

/// What is asked of a root when its library is opened.
struct RootLook {
    is_there: bool,
    real: Option<PathBuf>,
    profile: IoProfile,
}

fn allowed(roots: &[Root], real_roots: &[Option<PathBuf>], link_targets: &[PathBuf]) -> AllowedFolders {
    let resolved = real_roots.iter().flatten().chain(link_targets).cloned();
    AllowedFolders::new(roots.iter().map(|root| root.path.clone()).collect(), resolved.collect())
}

impl Library {
    /// A library of these roots with what the store knows of them, or empty. Roots have a moment to say whether they are
    /// there; one whose disk does not answer is offline until it does.
    pub fn open(
        info: Arc<TypeInfo>,
        roots: Vec<Root>,
        store: Arc<Store>,
        hashing: &Hashing,
        sink: Arc<dyn ProgressSink>,
    ) -> Self {
        let disks: Vec<_> = roots.iter().map(|root| root.disk.clone()).collect();
        let asked = Instant::now();
        let looks = disks::begin_each(&disks, |root| RootLook {
            is_there: std::fs::read_dir(root).is_ok(),
            real: root.canonicalize().ok(),
            profile: IoProfile::of_disk(root),
        });
        // Records of a root that is not configured now stay in the store for its return.
        let place = |record: &mut Record| {
            let root = roots::find(&roots, &record.path);
            record.root = root.unwrap_or_default();
            root.is_some()
        };
        let stored = store.load(info.id(), &place).unwrap_or_else(|error| {
            tracing::warn!(%error, "the library is read again");
            super::store::Stored::default()
        });
        let stored_in = AtomicU64::new(store.database());
        // Records of other roots alone say that these ones were never read.
        let only_others = stored.elsewhere > 0 && stored.records.is_empty();
        let known = stored.plugin_digest.is_some() && !only_others;
        let snapshot = Snapshot::default().apply(stored.records.into_iter().map(Change::Put).collect());
        let looks: Vec<_> = disks::finish_each(looks, asked + PATIENCE)
            .into_iter()
            .map(Result::ok)
            .collect();
        let offline = looks.iter().map(|look| look.as_ref().is_none_or(|look| !look.is_there));
        let offline: Vec<bool> = offline.collect();
        let profiles = roots.iter().zip(&looks).map(|(root, look)| {
            let seen = look.as_ref().map_or(IoProfile::Fast, |look| look.profile);
            root.io.unwrap_or(seen)
        });
        let profiles: Vec<IoProfile> = profiles.collect();
        let real_roots: Vec<_> = looks.into_iter().map(|look| look?.real).collect();
        let allowed = allowed(&roots, &real_roots, &stored.link_targets);
        let roots: Arc<[Root]> = roots.into();
        Self {
            hashes: hashing.queue(info.prefix(), sink.clone()),
            info,
            upkeep: Upkeep::new(&profiles),
            roots,
            store,
            sink,
            published: Publishing::new(snapshot),
            stored_in,
            scanning: tokio::sync::Mutex::new(()),
            running: Mutex::new(None),
            editing: KeyedLocks::new(),
            acting: Acting::default(),
            offline: ArcSwap::from_pointee(offline),
            real_roots: Mutex::new(real_roots),
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

    pub(super) fn shared_roots(&self) -> Arc<[Root]> {
        self.roots.clone()
    }

    /// The disk of the root that holds a path; none outside of all roots.
    pub fn disk_of(&self, path: &str) -> Option<&Arc<Disk>> {
        let root = roots::find_folder(&self.roots, path)?;
        self.roots.get(usize::from(root)).map(|root| &root.disk)
    }

    /// The disk on whose threads a path from a request is opened: that of its root, or of the root whose link leads there.
    /// None where the library holds nothing of it, or has no roots.
    pub fn disk_for(&self, path: &str) -> Option<Arc<Disk>> {
        if let Some(disk) = self.disk_of(path) {
            return Some(disk.clone());
        }
        let topology = self.topology();
        let mut links = topology.links.iter();
        let link = links.find(|(_, target)| Path::new(path).starts_with(target));
        let written = link.map(|(written, _)| written.to_string_lossy().into_owned());
        let held = written.and_then(|written| self.disk_of(&written)).cloned();
        // A real path of a root, or nothing of this library's, which is refused by its text.
        held.or_else(|| self.roots.first().map(|root| root.disk.clone()))
    }

    /// Says that this thread touches the disk that holds a path, until the section is dropped.
    ///
    /// # Errors
    /// When the disk is known not to answer.
    pub fn section(&self, path: &str) -> Result<Option<Section>, DiskError> {
        self.disk_of(path).map(Disk::enter).transpose()
    }

    /// Roots that are there, or were there when they were last looked at.
    pub fn known_roots(&self) -> impl Iterator<Item = &Root> {
        let (offline, snapshot) = (self.offline(), self.snapshot());
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
        self.published.snapshot()
    }

    /// The library as it is now, for somebody who is about to look at the disk and to publish what is there.
    pub fn base(&self) -> Base {
        self.published.base()
    }

    /// Whether what is made over this is of use still.
    pub(super) fn fits(&self, path: &str, over: &Over) -> bool {
        self.published.fits(path, over)
    }

    /// Which roots are absent or do not answer, by index.
    pub fn offline(&self) -> Arc<Vec<bool>> {
        let offline = self.offline.load_full();
        if !self.roots.iter().any(|root| root.disk.is_silent()) {
            return offline;
        }
        let both = offline.iter().zip(self.roots.iter());
        Arc::new(both.map(|(away, root)| *away || root.disk.is_silent()).collect())
    }

    /// Whether models are listed below a folder.
    pub(super) fn had_models(&self, folder: &Path) -> bool {
        let snapshot = self.snapshot();
        let mut records = snapshot.records().iter();
        records.any(|(_, record)| Path::new(&*record.path).starts_with(folder))
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
        let base = self.base();
        let snapshot = base.snapshot();
        let wanted: Vec<&Arc<Record>> = match paths {
            Some(paths) => paths.iter().filter_map(|path| snapshot.by_path(path)).collect(),
            None => snapshot.records().iter().map(|(_, record)| record).collect(),
        };
        let missing: Vec<_> = wanted.into_iter().filter(|record| record.sha256.is_none()).collect();
        // Noted in the record, so that a restart goes on with it. The listed form does not tell it.
        let mark = |record: &&Arc<Record>| {
            let marked = Record {
                hash_status: HashStatus::Calculating,
                ..Record::clone(record)
            };
            Proposal::put(base.over(&record.path), Arc::new(marked))
        };
        self.publish(missing.iter().map(mark).collect());
        // One that was changed meanwhile may have its hash by now.
        let now = self.snapshot();
        let missing = missing.iter().filter_map(|record| now.by_path(&record.path)).cloned();
        let missing: Vec<_> = missing.filter(|record| record.sha256.is_none()).collect();
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

    /// Makes changes visible to readers at once, and stores them: those that still fit. Nothing else makes a record
    /// visible.
    pub fn publish(&self, proposals: Vec<Proposal>) -> Published {
        self.published
            .publish(proposals, |changes| self.store.save(self.info.id(), changes))
    }

    /// Hands descriptions to the store, each with the path of its model; an empty one is forgotten.
    /// Before the records are published, so that no stored record lacks its description.
    pub(super) fn describe(&self, descriptions: Vec<(Box<str>, String)>) {
        if !descriptions.is_empty() {
            self.store.describe(descriptions);
        }
    }

    /// Asks the store which descriptions a search matches, where the search wants that. Reads from disk.
    pub fn look_into_descriptions(&self, snapshot: &Snapshot, search: &mut Search, deadline: &Deadline) {
        if !search.in_descriptions {
            return;
        }
        match self.store.described(&search.text, deadline) {
            Ok(keys) => {
                let slots = keys.into_iter().flat_map(|key| snapshot.slots_by_media_key(key));
                search.described = slots.collect();
            }
            Err(_) if deadline.is_over() => {}
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
        let mut real_roots = self.real_roots.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (known, seen)) in real_roots.iter_mut().zip(&walk.real_roots).enumerate() {
            // Of one that does not answer, what was known still holds.
            if seen.is_some() || !self.roots.get(index).is_some_and(|root| root.disk.is_silent()) {
                known.clone_from(seen);
            }
        }
        self.allowed
            .store(Arc::new(allowed(&self.roots, &real_roots, &targets)));
        drop(real_roots);
        self.link_targets.store(Arc::new(targets));
        changed
    }

    /// The number of the database, when it is another than the one that has this library: a broken one was followed by
    /// a new one, which knows nothing yet.
    pub(super) fn new_database(&self) -> Option<u64> {
        let database = self.store.database();
        (database != self.stored_in.load(Ordering::Acquire)).then_some(database)
    }

    /// Stores all of it in the database of this number.
    pub(super) fn store_anew(&self, database: u64) {
        self.published
            .store_all(|records| self.store.save(self.info.id(), records));
        self.stored_in.store(database, Ordering::Release);
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
        let (base, offline) = (self.base(), self.offline());
        let away = |root: u16| offline.get(usize::from(root)).copied().unwrap_or(false);
        let records = base.snapshot().records().iter().map(|(_, record)| record);
        let gone = records
            .filter(|record| away(record.root))
            .map(|record| Proposal::remove(base.over(&record.path), &record.path));
        self.publish(gone.collect()).changed
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
            outcome.read += more.read;
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
        let mut given_up = 0;
        loop {
            let Some(outcome) = self.run_scan_with(plugin.clone(), kind, folders.clone()).await else {
                // Its thread waits for a disk that is silent by now: the next one leaves that out.
                given_up += 1;
                if given_up < SCAN_TRIES {
                    continue;
                }
                let outcome = Outcome {
                    cancelled: true,
                    ..Outcome::default()
                };
                Report::new(self, folders.is_none()).end(outcome);
                return outcome;
            };
            let newer = self.rules_after(&plugin);
            if !outcome.cancelled || Arc::ptr_eq(&newer, &plugin) || self.upkeep.is_closed() {
                drop(turn);
                return outcome;
            }
            plugin = newer;
        }
    }

    /// None when the scan was given up, since a disk stopped answering.
    async fn run_scan_with(
        self: &Arc<Self>,
        plugin: Arc<Plugin>,
        kind: ScanKind,
        folders: Option<Folders>,
    ) -> Option<Outcome> {
        let cancel = Cancel::default();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
        if self.upkeep.is_closed() {
            // `close` may have come before there was anything to cancel.
            cancel.set();
        }
        self.receive_hashes(&plugin);
        let (library, handle, stop) = (self.clone(), tokio::runtime::Handle::current(), cancel.clone());
        let scan = move || {
            let mut report = Report::new(&library, folders.is_none());
            let job = Job {
                library: library.clone(),
                plugin,
                kind,
                cancel,
                handle,
            };
            let outcome = job.run(folders, &mut |stage| report.stage(stage));
            if !disks::is_given_up() {
                report.end(outcome);
            }
            outcome
        };
        let outcome = in_background("scan", move || stop.set(), scan)
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a scan broke off");
                Some(Outcome {
                    cancelled: true,
                    ..Outcome::default()
                })
            });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        outcome
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
