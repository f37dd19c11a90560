//! Hashing as a service in the background: one for all libraries of the server.
//!
//! A scan hands over the records whose hash is missing and goes on. Threads of the lowest
//! priority hash their files, write each hash into its sidecar, and publish the records in
//! batches. What a file's hashes are is remembered by its inode, size and time, so that no bytes
//! are hashed twice. A record stays `calculating` until its hash is there, on disk too: whatever
//! ends the server, the next scan hands over what is left.

mod again;
mod disk;
mod lines;
mod queue;
mod results;
mod worker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::Serialize;

use self::disk::Disks;
use self::lines::Lines;
use self::queue::{Client, Job};
use self::results::Settled;
use super::progress::{Meter, ProgressSink};
use super::record::Stamp;
use super::store::{FileKey, Hashes, Store};
use crate::files::foreign::ForeignFile;
use crate::files::hash::FileHasher;
use crate::files::limiter::Limiter;

pub use queue::{HashQueue, Waited};
pub use results::{Hashed, Publisher, write};

/// Files up to this size are hashed while they are read, unless they are on a network share: that
/// costs no more than to write the sidecar a second time, or to come back to them on a rotating disk.
const AT_ONCE: u64 = 2 << 20;
/// Hashes of this run that are remembered in memory too; older ones are in the store.
const RECENT: usize = 16_384;

/// How files are hashed.
#[derive(Debug, Clone, Default)]
pub struct HashingOptions {
    /// Files at once; 0 is one for each processor.
    pub threads: usize,
    /// Files at once of one fast disk; 0 is no bound of its own.
    pub per_disk: usize,
    /// Bound of the rate over all files; 0 is none.
    pub bytes_per_second: f64,
    /// Bytes that are read at once, from 1 to 4 MiB.
    pub block: usize,
    /// Whether files on network shares are hashed unasked.
    pub network: bool,
}

/// What the service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashingStatus {
    /// Whether a person stopped it.
    pub paused: bool,
    /// Files that wait.
    pub queued: usize,
    /// Files that are being hashed.
    pub running: usize,
    /// Bytes that are done, since there was nothing to do last.
    pub bytes_done: u64,
    /// Bytes there are to do, with those that are done.
    pub bytes_total: u64,
    /// Bytes a second, smoothed.
    pub bytes_per_second: u64,
    /// Seconds left; none while nobody can say.
    pub seconds_left: Option<u64>,
}

/// The service.
pub struct Hashing {
    shared: Arc<Shared>,
    results: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    options: HashingOptions,
    store: Arc<Store>,
    state: Mutex<State>,
    // Something in the state changed.
    wake: Condvar,
    paused: tokio::sync::watch::Sender<bool>,
    limiter: Limiter,
    disks: Disks,
    totals: Arc<Totals>,
    recent: Mutex<HashMap<FileKey, Hashes>>,
    settled: Mutex<Option<mpsc::SyncSender<Settled>>>,
    next_client: AtomicU64,
}

#[derive(Default)]
struct State {
    lines: Lines<Job>,
    workers: usize,
    paused: bool,
    closed: bool,
    clients: Vec<std::sync::Weak<Client>>,
}

/// Sums over all libraries.
#[derive(Default)]
struct Totals {
    meter: Mutex<Meter>,
    outstanding: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> usize {
        match self.options.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        }
    }

    /// The hashes of a file that were computed before.
    fn known(&self, file: &FileKey) -> Option<Hashes> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let hashes = recent.get(file).copied();
        drop(recent);
        hashes.or_else(|| self.store.known(file))
    }

    fn remember(&self, file: FileKey, hashes: Hashes) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(file, hashes);
        drop(recent);
        self.store.remember(file, hashes);
    }
}

impl Hashing {
    /// A service that remembers hashes in this store. Threads start when there is work.
    pub fn new(options: HashingOptions, store: Arc<Store>) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1_024);
        let totals = Arc::new(Totals::default());
        let shared = Arc::new(Shared {
            limiter: Limiter::new(options.bytes_per_second),
            options,
            store,
            state: Mutex::default(),
            wake: Condvar::new(),
            paused: tokio::sync::watch::Sender::new(false),
            disks: Disks::default(),
            totals: totals.clone(),
            recent: Mutex::default(),
            settled: Mutex::new(Some(sender)),
            next_client: AtomicU64::new(0),
        });
        let results = std::thread::Builder::new()
            .name("hash results".into())
            .spawn(move || results::run(&receiver, &totals));
        if let Err(error) = &results {
            tracing::error!(%error, "hashes can't be published; the next start tries again");
        }
        Self {
            shared,
            results: Mutex::new(results.ok()),
        }
    }

    /// A place in it for the library with this URL prefix.
    pub fn queue(&self, page_type: &str, sink: Arc<dyn ProgressSink>) -> HashQueue {
        let id = self.shared.next_client.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(id, page_type, sink, self.shared.totals.clone()));
        let mut state = self.shared.state();
        state.clients.retain(|client| client.strong_count() > 0);
        state.clients.push(Arc::downgrade(&client));
        drop(state);
        HashQueue::new(client, self.shared.clone())
    }

    /// Stops reading within a block, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.set_paused(true);
    }

    /// Goes on where it was paused.
    pub fn resume(&self) {
        self.set_paused(false);
    }

    fn set_paused(&self, paused: bool) {
        let mut state = self.shared.state();
        let changed = state.paused != paused;
        state.paused = paused;
        let clients: Vec<_> = state.clients.iter().filter_map(std::sync::Weak::upgrade).collect();
        drop(state);
        self.shared.wake.notify_all();
        self.shared.paused.send_replace(paused);
        if !changed {
            return;
        }
        let mut meter = self.shared.totals.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.interrupt();
        drop(meter);
        for client in clients {
            client.paused(paused);
        }
        tracing::info!(paused, "hashing");
    }

    /// What it is doing.
    pub fn status(&self) -> HashingStatus {
        let state = self.shared.state();
        let (paused, queued, running) = (state.paused, state.lines.waiting(), state.lines.running());
        drop(state);
        let mut meter = self.shared.totals.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let at_work = running > 0 && !paused;
        if at_work {
            meter.sample(Instant::now());
        }
        HashingStatus {
            paused,
            queued,
            running,
            bytes_done: meter.bytes_done,
            bytes_total: meter.bytes_total,
            bytes_per_second: if at_work { meter.bytes_per_second() } else { 0 },
            seconds_left: if at_work { meter.seconds_left() } else { None },
        }
    }

    /// Ends all work and waits until what is done has been published. Records that are not done stay
    /// `calculating`. Blocks for as long as a block takes to be read.
    pub fn close(&self) {
        let mut state = self.shared.state();
        state.closed = true;
        let clients: Vec<_> = state.clients.iter().filter_map(std::sync::Weak::upgrade).collect();
        drop(state);
        for client in &clients {
            queue::cancel(client, &self.shared);
        }
        self.shared.wake.notify_all();
        let mut state = self.shared.state();
        while state.workers > 0 {
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.shared
            .settled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(results) = results {
            let _ = results.join();
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        // Threads see it within a block; nothing waits for them here.
        self.shared.state().closed = true;
        self.shared.wake.notify_all();
        self.shared
            .settled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// Hashes of a small file, with a buffer that the thread keeps.
fn small(path: &Path, stamp: &Stamp) -> Option<Hashes> {
    thread_local! {
        static HASHER: std::cell::RefCell<FileHasher> = std::cell::RefCell::new(FileHasher::alone(AT_ONCE as usize));
    }
    let file = ForeignFile::existing(path).ok()?;
    let digests = HASHER
        .with_borrow_mut(|hasher| hasher.file(file.as_file(), &mut |_| true))
        .ok()?;
    // Somebody who is still writing will be found by the next scan.
    let same = digests.bytes == stamp.size && super::scan::stamp(path).is_ok_and(|now| now == *stamp);
    same.then_some(digests.into())
}

impl From<crate::files::hash::Digests> for Hashes {
    fn from(digests: crate::files::hash::Digests) -> Self {
        Self {
            sha256: super::record::Sha256(digests.sha256),
            blake3: super::record::Blake3(digests.blake3),
        }
    }
}

#[cfg(test)]
mod tests;
