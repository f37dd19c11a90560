//! A bulkhead for each disk: a root whose disk stops answering holds up nobody who wants another one.
//!
//! A thread that the kernel lets wait for a hung disk (a hard NFS mount, a sleeping NAS) can't be ended. So whatever
//! touches a root runs on a thread that the server can do without: short work in the root's own small pool
//! ([`Disk::run`]), long work in sections ([`watched`], [`Disk::enter`]) whose heartbeat a monitor checks. A missed deadline
//! makes the root offline: its work is given up, more of it is refused at once, and a probe waits until the disk answers
//! again. See docs/decisions/0001-a-bulkhead-for-each-disk.md.

mod beat;
mod disk;
mod locks;
mod monitor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use beat::{beat, is_given_up, off_disk, watched};
pub use disk::{Begun, Disk, Section};
pub use locks::{Held, HolderStuck, KeyedLocks};
use monitor::Monitor;

/// Why work on a disk was not done, or is not waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The disk does not answer.
    #[error("{} is offline: {reason}. Models elsewhere are not affected; this folder comes back by itself when its disk answers", root.display())]
    Offline {
        /// The root.
        root: PathBuf,
        /// For a person, without the root.
        reason: String,
    },
    /// More work waits for it than makes sense.
    #[error("too many requests wait for the disk of {}; try again in a moment", .0.display())]
    Busy(PathBuf),
    /// The work panicked.
    #[error("reading from the disk of {} broke off; the server's log has the reason", .0.display())]
    BrokeOff(PathBuf),
}

impl DiskError {
    /// For a person, without the root where there is a reason of its own.
    pub fn reason(&self) -> String {
        match self {
            Self::Offline { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }
}

impl From<DiskError> for std::io::Error {
    fn from(error: DiskError) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, error)
    }
}

/// How disks are treated.
#[derive(Debug)]
pub struct Options {
    // In milliseconds.
    deadline: AtomicU64,
    threads: AtomicUsize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: AtomicU64::new(10_000),
            threads: AtomicUsize::new(8),
        }
    }
}

impl Options {
    fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline.load(Ordering::Relaxed))
    }

    fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }
}

/// The disks of all roots, each root's own.
#[derive(Default)]
pub struct Disks {
    options: Arc<Options>,
    monitor: Arc<Monitor>,
    disks: Mutex<BTreeMap<PathBuf, Arc<Disk>>>,
}

impl Disks {
    /// Sets how long a disk may take to answer, and how many requests are served by one at a time.
    pub fn configure(&self, deadline: Duration, threads: usize) {
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.options.deadline.store(millis.max(1), Ordering::Relaxed);
        self.options.threads.store(threads.max(1), Ordering::Relaxed);
    }

    /// The disk of a root, by its path as configured. Touches nothing.
    pub fn of(&self, root: &Path) -> Arc<Disk> {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = disks.get(root) {
            return known.clone();
        }
        let disk = Disk::new(root.to_owned(), self.options.clone(), self.monitor.clone());
        disks.insert(root.to_owned(), disk.clone());
        disk
    }
}

/// The disks of this process: as the kernel's mounts, they are the same for all of it.
static ALL: LazyLock<Disks> = LazyLock::new(Disks::default);

/// See [`Disks::configure`].
pub fn configure(deadline: Duration, threads: usize) {
    ALL.configure(deadline, threads);
}

/// See [`Disks::of`].
pub fn of(root: &Path) -> Arc<Disk> {
    ALL.of(root)
}

/// Runs work that touches disks in sections on a thread that may block, and waits for it, unless a disk stops answering in
/// a section: then the work ends by itself when the disk answers, and nobody waits for it.
///
/// # Errors
/// Outside, when the work panics; inside, when a disk does not answer.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, DiskError>, tokio::task::JoinError> {
    let (sender, mut silent) = tokio::sync::mpsc::unbounded_channel();
    let given_up = move |error: DiskError| {
        let _ = sender.send(error);
    };
    let done = tokio::task::spawn_blocking(move || watched(given_up, work));
    tokio::select! {
        biased;
        Some(error) = silent.recv() => Ok(Err(error)),
        done = done => done.map(Ok),
    }
}

/// Does the same work on several disks at once, and waits at most `patience` for all together (or, without, until each
/// answered or missed its deadline). Each answer, in the order of the disks.
pub fn each<T: Send + 'static>(
    disks: &[Arc<Disk>],
    patience: Option<Duration>,
    work: impl Fn(&Path) -> T + Clone + Send + 'static,
) -> Vec<Result<T, DiskError>> {
    let until = patience.map(|patience| Instant::now() + patience);
    let begun = begin_each(disks, work);
    match until {
        None => begun.into_iter().map(|begun| begun?.wait()).collect(),
        Some(until) => finish_each(begun, until),
    }
}

/// Begins the same work on several disks at once.
pub fn begin_each<T: Send + 'static>(
    disks: &[Arc<Disk>],
    work: impl Fn(&Path) -> T + Clone + Send + 'static,
) -> Vec<Result<Begun<T>, DiskError>> {
    let begin = |disk: &Arc<Disk>| {
        let (work, root) = (work.clone(), disk.root().to_owned());
        disk.begin(move || work(&root))
    };
    disks.iter().map(begin).collect()
}

/// The answers to [`begin_each`] that come until then.
pub fn finish_each<T>(begun: Vec<Result<Begun<T>, DiskError>>, until: Instant) -> Vec<Result<T, DiskError>> {
    let answer = |begun: Result<Begun<T>, DiskError>| begun.and_then(|begun| begun.wait_or_not_yet(until));
    begun.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
