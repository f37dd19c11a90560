//! A library's place in the service: what it hands over, and what it is told.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::lines::Ask;
use super::results::{Outcome, Publisher};
use super::{AT_ONCE, Shared, Totals, small, worker};
use crate::cancel::Cancel;
use crate::files::disks::Disk;
use crate::library::io_profile::IoProfile;
use crate::library::progress::{ActivityStatus, Meter, Phase, ProgressSink};
use crate::library::record::Record;
use crate::library::roots::Root;
use crate::library::store::Hashes;

/// What the service keeps of a library.
pub(super) struct Client {
    pub(super) id: u64,
    page_type: String,
    sink: Arc<dyn ProgressSink>,
    totals: Arc<Totals>,
    publisher: Mutex<Option<Arc<dyn Publisher>>>,
    cancel: Mutex<Cancel>,
    cancelled: AtomicBool,
    // Counts cancellations.
    cancels: tokio::sync::watch::Sender<u64>,
    // Files that were handed over and are not settled.
    outstanding: tokio::sync::watch::Sender<usize>,
    // Paths of files that wait or are under way, each with the number of its ticket.
    paths: Mutex<HashMap<Box<str>, u64>>,
    next_ticket: AtomicU64,
    meter: Mutex<Meter>,
}

/// A file that is to be hashed.
pub(super) struct Job {
    pub(super) record: Arc<Record>,
    pub(super) cancel: Cancel,
    pub(super) ticket: Ticket,
    pub(super) disk: Option<Arc<Disk>>,
}

/// Stands for a file that is not settled; dropped when it is, whatever becomes of it.
pub(super) struct Ticket {
    pub(super) client: Arc<Client>,
    number: u64,
    path: Box<str>,
    bytes: u64,
    // Bytes of it that were counted as done.
    counted: u64,
    done: bool,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// All that was handed over is settled.
    Done,
    /// A person paused the service.
    Paused,
    /// A person cancelled it.
    Cancelled,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    pub(super) fn new(id: u64, page_type: &str, sink: Arc<dyn ProgressSink>, totals: Arc<Totals>) -> Self {
        Self {
            id,
            page_type: page_type.to_owned(),
            sink,
            totals,
            publisher: Mutex::default(),
            cancel: Mutex::default(),
            cancelled: AtomicBool::new(false),
            cancels: tokio::sync::watch::Sender::new(0),
            outstanding: tokio::sync::watch::Sender::new(0),
            paths: Mutex::default(),
            next_ticket: AtomicU64::new(0),
            meter: Mutex::default(),
        }
    }

    pub(super) fn publisher(&self) -> Option<Arc<dyn Publisher>> {
        locked(&self.publisher).clone()
    }

    pub(super) fn outstanding(&self) -> usize {
        *self.outstanding.borrow()
    }

    /// Tells clients how far it is.
    fn tell(&self, status: ActivityStatus) {
        let activity = locked(&self.meter).activity(&self.page_type, Phase::Hashing, status);
        self.sink.activity(activity);
    }

    /// It was paused, or goes on.
    pub(super) fn paused(&self, paused: bool) {
        locked(&self.meter).interrupt();
        if self.outstanding() > 0 {
            self.tell(if paused {
                ActivityStatus::Paused
            } else {
                ActivityStatus::Running
            });
        }
    }

    fn ticket(self: &Arc<Self>, record: &Record) -> Option<Ticket> {
        let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let mut paths = locked(&self.paths);
        if paths.contains_key(&record.path) {
            return None;
        }
        paths.insert(record.path.clone(), number);
        drop(paths);
        self.cancelled.store(false, Ordering::Relaxed);
        if self.totals.outstanding.fetch_add(1, Ordering::Relaxed) == 0 {
            *locked(&self.totals.meter) = Meter::default();
        }
        if self.outstanding() == 0 {
            *locked(&self.meter) = Meter::default();
        }
        self.outstanding.send_modify(|count| *count += 1);
        for meter in [&self.meter, &self.totals.meter] {
            let mut meter = locked(meter);
            meter.total += 1;
            meter.bytes_total += record.stamp.size;
        }
        Some(Ticket {
            client: self.clone(),
            number,
            path: record.path.clone(),
            bytes: record.stamp.size,
            counted: 0,
            done: false,
        })
    }
}

impl Ticket {
    /// So many more bytes were read.
    pub(super) fn read(&mut self, bytes: u64) {
        // A file that grows meanwhile is not done twice.
        let bytes = bytes.min(self.bytes - self.counted);
        self.counted += bytes;
        let now = Instant::now();
        let mut totals = locked(&self.client.totals.meter);
        totals.bytes_done += bytes;
        totals.sample(now);
        drop(totals);
        let mut meter = locked(&self.client.meter);
        meter.bytes_done += bytes;
        meter.sample(now);
        let due = meter.is_due(now);
        drop(meter);
        if due {
            self.client.tell(ActivityStatus::Running);
        }
    }

    /// Its hash is known, or can't be.
    pub(super) fn done(&mut self) {
        self.read(self.bytes - self.counted);
        self.done = true;
        for meter in [&self.client.meter, &self.client.totals.meter] {
            locked(meter).done += 1;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let client = &self.client;
        let mut paths = locked(&client.paths);
        if paths.get(&self.path) == Some(&self.number) {
            paths.remove(&self.path);
        }
        drop(paths);
        if !self.done {
            // Given up, so it is no part of the work.
            for meter in [&client.meter, &client.totals.meter] {
                let mut meter = locked(meter);
                meter.total -= 1;
                meter.bytes_total -= self.bytes;
                meter.bytes_done -= self.counted;
            }
        }
        client.totals.outstanding.fetch_sub(1, Ordering::Relaxed);
        client.outstanding.send_modify(|count| *count -= 1);
        if client.outstanding() == 0 {
            client.tell(if client.cancelled.load(Ordering::Relaxed) {
                ActivityStatus::Cancelled
            } else {
                ActivityStatus::Done
            });
        }
    }
}

/// Drops what waits of a library, and stops what is under way.
pub(super) fn cancel(client: &Client, shared: &Shared) {
    std::mem::take(&mut *locked(&client.cancel)).set();
    client.cancelled.store(true, Ordering::Relaxed);
    // What is under way ends within a block; it does not keep the same files from being asked for again.
    locked(&client.paths).clear();
    client.cancels.send_modify(|count| *count += 1);
    let dropped = shared.state().lines.take(client.id);
    shared.wake.notify_all();
    drop(dropped);
}

/// A library's place in the service. What waits is dropped with it.
pub struct HashQueue {
    client: Arc<Client>,
    shared: Arc<Shared>,
    // Of each root, as long as a scan lasts.
    profiles: Mutex<Vec<Option<IoProfile>>>,
}

impl HashQueue {
    pub(super) fn new(client: Arc<Client>, shared: Arc<Shared>) -> Self {
        Self {
            client,
            shared,
            profiles: Mutex::default(),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn publisher(&self) -> Option<Arc<dyn Publisher>> {
        self.client.publisher()
    }

    /// What a cancellation of this library's work sets.
    pub(super) fn cancellation(&self) -> Cancel {
        locked(&self.client.cancel).clone()
    }

    /// Counts a file among what is being hashed; none when it is so already.
    pub(super) fn ticket(&self, record: &Record) -> Option<Ticket> {
        self.client.ticket(record)
    }

    /// Says who publishes results from now on. Asks the system for the profiles of roots anew.
    pub fn attach(&self, publisher: Arc<dyn Publisher>) {
        *locked(&self.client.publisher) = Some(publisher);
        locked(&self.profiles).clear();
    }

    fn profile(&self, roots: &[Root], index: u16) -> IoProfile {
        let index = usize::from(index);
        let mut profiles = locked(&self.profiles);
        if profiles.len() < roots.len() {
            profiles.resize(roots.len(), None);
        }
        match (profiles.get_mut(index), roots.get(index)) {
            (Some(known), Some(root)) => *known.get_or_insert_with(|| root.io_profile()),
            _ => IoProfile::Fast,
        }
    }

    /// The hashes of a file as far as they cost nothing: those that were computed before, and
    /// those of a small file on a disk of this machine, which are computed here.
    pub fn at_once(&self, roots: &[Root], record: &Record) -> Option<Hashes> {
        let path = Path::new(&*record.path);
        let (_, file) = self.shared.disks.of(path, &record.stamp).ok()?;
        if let Some(hashes) = file.and_then(|file| self.shared.known(&file)) {
            return Some(hashes);
        }
        let small_enough = record.stamp.size <= AT_ONCE
            && !self.shared.limiter.is_set()
            && self.profile(roots, record.root) != IoProfile::Network
            && !self.shared.state().paused;
        let hashes = small_enough.then(|| small(path, &record.stamp))??;
        if let Some(file) = file {
            self.shared.remember(file, hashes);
        }
        Some(hashes)
    }

    /// The BLAKE3 of a file whose SHA-256 is known, when it was computed before.
    pub fn known(&self, record: &Record) -> Option<Hashes> {
        if !self.shared.store.has_hashes() {
            return None;
        }
        let (_, file) = self.shared.disks.of(Path::new(&*record.path), &record.stamp).ok()?;
        let hashes = self.shared.known(&file?)?;
        (record.sha256 == Some(hashes.sha256)).then_some(hashes)
    }

    /// Hands records over whose hash is missing. Those on network shares are taken only when
    /// somebody `asked` for them; else they are published as pending.
    pub fn add(&self, roots: &[Root], records: Vec<Arc<Record>>, asked: bool) {
        let (mut jobs, mut unwanted) = (Vec::new(), Vec::new());
        for record in records {
            let root = roots.get(usize::from(record.root));
            let Ok(_section) = root.map(|root| root.disk.enter()).transpose() else {
                // The scan after its disk answers again hands it over.
                continue;
            };
            let profile = self.profile(roots, record.root);
            let disk = self.shared.disks.of(Path::new(&*record.path), &record.stamp);
            // What is gone meanwhile is the next scan's concern.
            let (Ok((disk, file)), Some(ticket)) = (disk, self.client.ticket(&record)) else {
                continue;
            };
            if profile == IoProfile::Network && !asked && !self.shared.options.network {
                unwanted.push((record, ticket));
                continue;
            }
            let ask = Ask {
                client: self.client.id,
                disk,
                limit: match profile {
                    IoProfile::Fast => self.shared.options.per_disk,
                    IoProfile::Hdd | IoProfile::Network => 1,
                },
                size: record.stamp.size,
                file,
            };
            let cancel = locked(&self.client.cancel).clone();
            let disk = root.map(|root| root.disk.clone());
            let job = Job {
                record,
                cancel,
                ticket,
                disk,
            };
            jobs.push((ask, job));
        }
        let queued = jobs.len();
        let mut state = self.shared.state();
        let refused = if state.closed {
            jobs
        } else {
            jobs.into_iter().for_each(|(ask, job)| state.lines.push(ask, job));
            Vec::new()
        };
        let paused = state.paused;
        drop(state);
        drop(refused);
        worker::start(&self.shared);
        self.shared.wake.notify_all();
        if queued > 0 {
            self.client.tell(if paused {
                ActivityStatus::Paused
            } else {
                ActivityStatus::Running
            });
        }
        for (record, ticket) in unwanted {
            super::results::settle(&self.shared, &record, ticket, &Outcome::NotWanted);
        }
    }

    /// Drops what waits and stops what is under way. The records stay `calculating`.
    pub fn cancel(&self) {
        if self.client.outstanding() > 0 {
            cancel(&self.client, &self.shared);
        }
    }

    /// Waits until all that was handed over is settled, or waiting is of no use.
    pub async fn idle(&self) -> Waited {
        let (mut outstanding, mut paused) = (self.client.outstanding.subscribe(), self.shared.paused.subscribe());
        let mut cancels = self.client.cancels.subscribe();
        loop {
            if *outstanding.borrow_and_update() == 0 {
                return Waited::Done;
            }
            if *paused.borrow_and_update() {
                return Waited::Paused;
            }
            tokio::select! {
                _ = cancels.changed() => return Waited::Cancelled,
                changed = outstanding.changed() => if changed.is_err() { return Waited::Done },
                changed = paused.changed() => if changed.is_err() { return Waited::Done },
            }
        }
    }
}

impl Drop for HashQueue {
    fn drop(&mut self) {
        self.cancel();
    }
}
