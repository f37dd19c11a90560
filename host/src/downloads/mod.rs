//! Downloads: transferring files, the queue and its history, and putting what arrived into a library.
//!
//! A download is a [`Job`]: it waits for one of a few slots, looks up what it is about, fetches, and installs. Whoever asks
//! for the same under its id joins the job that runs. The queue is worked off by the server itself; what a client starts takes
//! the same way. Whatever ends the server, its next start goes on with what ran.

mod arrived;
mod claim;
mod control;
mod error;
mod hugging_face;
mod install;
mod job;
pub mod ledger;
mod plan;
pub mod preview;
pub mod progress;
pub mod resolve;
mod run;
mod seen;
mod service;
pub mod transfer;
mod wanted;
mod working;

pub use control::ControlError;
pub use error::DownloadError;
pub use hugging_face::{HubError, HuggingFace, RepoEntry};
pub use job::{Job, Outcome, Stop};
pub use plan::{Planned, plan};
pub use resolve::Skip;
pub use seen::remember_seen;
pub use service::Downloads;
pub use wanted::{Place, RepoFile, Wanted, params_text};
