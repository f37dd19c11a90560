//! Scanning: walk the roots, compare with what is known, read what changed, hash what needs it.

pub mod folder;
mod hashing;
mod job;
mod plan;
mod process;
mod reading;
pub mod topology;
pub mod walk;

pub use crate::cancel::Cancel;
pub use job::{Job, Outcome, ScanKind, Stage};
pub use plan::Scope;
pub use walk::{Depth, Folders, LeftOut, Walk};
