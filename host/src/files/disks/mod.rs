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
use std::time::Duration;

pub use beat::{beat, is_given_up, off_disk, watched};
pub use disk::{Disk, Section};
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

/// Does the same work on several disks at once, and waits at most `patience` for all together (or, without, until each
/// answered or missed its deadline). Each answer, in the order of the disks.
pub fn each<T: Send + 'static>(
    disks: &[Arc<Disk>],
    patience: Option<Duration>,
    work: impl Fn(&Path) -> T + Clone + Send + 'static,
) -> Vec<Result<T, DiskError>> {
    let until = patience.map(|patience| std::time::Instant::now() + patience);
    let begun: Vec<_> = disks
        .iter()
        .map(|disk| {
            let (work, root) = (work.clone(), disk.root().to_owned());
            (disk, disk.begin(move || work(&root)))
        })
        .collect();
    let answers = begun.into_iter().map(|(disk, begun)| match until {
        None => begun?.wait(),
        Some(until) => {
            let answer = begun?.wait_until(until);
            answer.unwrap_or_else(|| Err(disk.not_yet()))
        }
    });
    answers.collect()
}

#[cfg(test)]
mod tests;
