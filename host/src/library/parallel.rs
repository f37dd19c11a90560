//! Large changes on all processors, small ones on the thread that is there.

use std::sync::{Mutex, PoisonError};

/// From so many changed records on, threads of their own pay.
const MANY: usize = 2_000;

/// Puts the calling thread behind those that answer requests, where the system can.
pub fn lower_priority() {
    // Of no use but speed, so a system that refuses may.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Runs work on a thread of its own with [`lower_priority`], which the threads that it starts have too.
///
/// # Errors
/// When no thread can be started, or the work panics.
pub async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name(name.into()).spawn(move || {
        lower_priority();
        // Nobody waits any more when the server ends.
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(std::io::Error::other)
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
