//! Scanning: walk the roots, compare with what is known, read what changed, hash what needs it.

mod hashing;
mod job;
mod process;
mod reread;
mod walk;

pub use crate::cancel::Cancel;
pub use job::{Outcome, ScanKind, Stage, run};
pub use reread::reread;
pub use walk::Walk;
