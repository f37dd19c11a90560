//! Scanning: walk the roots, compare with what is known, read what changed, hand over what needs hashing.

mod job;
mod process;
mod walk;

pub use crate::cancel::Cancel;
pub use job::{Outcome, ScanKind, Stage, run};
pub use process::serialise;
pub use walk::{Walk, stamp};
