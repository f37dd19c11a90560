//! Large changes on all processors, small ones on the thread that is there.

use std::sync::{Mutex, PoisonError};

use crate::files::disks;

/// From so many changed records on, threads of their own pay.
const MANY: usize = 2_000;

/// Puts the calling thread behind those that answer requests, where the system can.
pub fn lower_priority() {
    // Of no use but speed, so a system that refuses may.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Gives the rest of this thread's turn to whoever waits for the processor. Linux lets a thread of low priority run its
/// turn of a millisecond or three to the end although a request's thread woke up meanwhile; so background work asks
/// for each file, which costs it about a microsecond.
pub fn give_way() {
    std::thread::yield_now();
}

/// Runs work on a thread of its own with [`lower_priority`], which the threads that it starts have too. None, and `stop`
/// is called, when a disk stops answering that the work touches: it is not waited for then.
///
/// # Errors
/// When no thread can be started, or the work panics.
pub async fn in_background<T: Send + 'static>(
    name: &str,
    stop: impl FnOnce() + Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let silent = sender.clone();
    let given_up = move |_| {
        stop();
        let _ = silent.send(None);
    };
    std::thread::Builder::new().name(name.into()).spawn(move || {
        lower_priority();
        // Nobody waits any more when the server ends.
        let _ = sender.send(Some(disks::watched(given_up, work)));
    })?;
    let broke_off = || std::io::Error::other("its thread panicked");
    receiver.recv().await.ok_or_else(broke_off)
}

/// A piece of work that does not depend on the others.
pub type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Runs all jobs to their end, side by side when the change is large.
pub fn run(jobs: Vec<Job<'_>>, changed: usize) {
    if changed < MANY {
        jobs.into_iter().for_each(|job| job());
        return;
    }
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(jobs.len());
    // From the front, so that the longest can be put first.
    let waiting = Mutex::new(jobs.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                while let Some(job) = next() {
                    job();
                }
            });
        }
        while let Some(job) = next() {
            job();
        }
    });
}
