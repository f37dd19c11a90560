//! A download that waits for a slot, runs or stands still.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::error::DownloadError;
use super::resolve::Skip;
use super::transfer::{Meter, Signal};
use super::wanted::Wanted;

/// Why a person or the server ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is not wanted any more; what has arrived goes.
    Cancel,
    /// Not now; what has arrived stays.
    Skip,
    /// Its row left the queue.
    Removed,
    /// The server ends; its next start goes on with it.
    Shutdown,
}

/// How it ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is in the library.
    Completed(PathBuf),
    /// Settings leave it out.
    Skipped(Skip),
    /// Somebody stopped it.
    Stopped,
    /// Why it failed.
    Failed(Arc<DownloadError>),
}

/// A download.
pub struct Job {
    /// Its id.
    pub id: String,
    /// What was asked for.
    pub wanted: Wanted,
    /// How many bytes are here.
    pub meter: Meter,
    signal: watch::Sender<Signal>,
    stop: Mutex<Option<Stop>>,
    // Whether it has a slot.
    running: AtomicBool,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Job {
    /// One that waits for a slot.
    pub fn new(id: String, wanted: Wanted) -> Self {
        Self {
            id,
            wanted,
            meter: Meter::default(),
            signal: watch::channel(Signal::Run).0,
            stop: Mutex::default(),
            running: AtomicBool::new(false),
            outcome: watch::channel(None).0,
        }
    }

    /// What is wanted of it, now and from now on.
    pub fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// Whether it stands still because somebody said so.
    pub fn is_paused(&self) -> bool {
        *self.signal.borrow() == Signal::Pause
    }

    /// Whether it has a slot.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn set_running(&self) {
        self.running.store(true, Ordering::Relaxed);
    }

    /// Stands still or goes on; false when it did so already.
    pub(super) fn set_paused(&self, paused: bool) -> bool {
        let (from, to) = if paused {
            (Signal::Run, Signal::Pause)
        } else {
            (Signal::Pause, Signal::Run)
        };
        self.signal.send_if_modified(|signal| {
            let fits = *signal == from;
            if fits {
                *signal = to;
            }
            fits
        })
    }

    /// Ends it soon. The first reason stands.
    pub(super) fn stop(&self, why: Stop) {
        self.stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(why);
        self.signal.send_replace(Signal::Stop);
    }

    /// Why it was ended.
    pub(super) fn stopped(&self) -> Option<Stop> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Outcome {
        let mut outcome = self.outcome.subscribe();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Stopped),
            Err(_) => Outcome::Stopped,
        }
    }
}
