//! Scanning: walk the roots, compare with what is known, read what changed, hand over what needs hashing.

pub mod folder;
mod job;
mod known;
mod merge;
mod plan;
mod process;
mod queue;
mod reading;
mod reread;
pub mod topology;
pub mod walk;

pub use crate::cancel::Cancel;
pub use folder::stamp;
pub use job::{Job, Outcome, ScanKind, Stage};
pub use known::{models_below, models_with_hash};
pub use plan::Scope;
pub use process::serialise;
pub use reread::{read_new, reread};
pub use walk::{Depth, Folders, LeftOut, Walk};
