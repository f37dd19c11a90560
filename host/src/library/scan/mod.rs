//! Scanning: walk the roots, compare with what is known, read what changed, hash what needs it.

mod hashing;
mod job;
mod process;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use job::{Outcome, ScanKind, Stage, run};
pub use walk::Walk;

/// A flag that stops a job; each job has its own.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the job to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
