//! The service: what is shared by all downloads, and beginning one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, Semaphore};

use super::claim::Content;
use super::error::DownloadError;
use super::hugging_face::HuggingFace;
use super::job::{Job, Outcome, Stop};
use super::ledger::{Ledger, LedgerError};
use super::progress::Board;
use super::transfer::Options;
use super::wanted::Wanted;
use super::working::Begun;
use crate::app::App;
use crate::files::limiter::Limiter;
use crate::settings::{ContractSettings, DownloadSettings};

/// The shortest time without a byte after which a connection is opened again.
const LEAST_PATIENCE: f64 = 30.0;
/// The same unless settings say otherwise.
const PATIENCE: f64 = 120.0;

/// Downloads.
pub struct Downloads {
    ledger: Arc<Ledger>,
    board: Board,
    jobs: Mutex<HashMap<String, Arc<Job>>>,
    claims: Mutex<HashMap<PathBuf, Content>>,
    pub(super) slots: Arc<Semaphore>,
    limiter: Limiter,
    hugging_face: HuggingFace,
    settings: DownloadSettings,
    pub(super) wake: Notify,
    pub(super) closed: AtomicBool,
}

/// The job of a download.
pub(super) enum Entered {
    /// It is made, and has to be begun.
    New(Arc<Job>),
    /// It is on its way.
    There(Arc<Job>),
}

impl Downloads {
    /// Downloads with what the ledger knows of them. Nothing runs before [`work_off`](Self::work_off).
    pub fn new(ledger: Ledger, settings: DownloadSettings) -> Self {
        Self {
            ledger: Arc::new(ledger),
            board: Board::default(),
            jobs: Mutex::default(),
            claims: Mutex::default(),
            slots: Arc::new(Semaphore::new(settings.parallel.max(1))),
            limiter: Limiter::new(settings.megabytes_per_second * 1e6),
            hugging_face: HuggingFace::new(&settings),
            settings,
            wake: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// How far downloads are.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The repositories at Hugging Face.
    pub fn hugging_face(&self) -> &HuggingFace {
        &self.hugging_face
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The bound of the rate over all files.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(super) fn claims(&self) -> MutexGuard<'_, HashMap<PathBuf, Content>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How files are fetched.
    pub fn options(&self, contract: &ContractSettings) -> Options {
        let patience = contract
            .get("download_stall_timeout_seconds")
            .and_then(serde_json::Value::as_f64);
        Options {
            connections: self.settings.connections,
            tries: self.settings.tries,
            first_wait: Duration::try_from_secs_f64(self.settings.retry_seconds).unwrap_or_default(),
            patience: Duration::try_from_secs_f64(patience.unwrap_or(PATIENCE).max(LEAST_PATIENCE))
                .unwrap_or(Duration::MAX),
            least_rate: self.settings.least_bytes_per_second,
        }
    }

    /// Asks the ledger, away from the threads that serve requests.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn in_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, DownloadError> {
        let ledger = self.ledger.clone();
        let result = tokio::task::spawn_blocking(move || work(&ledger)).await;
        Ok(result.map_err(|error| DownloadError::Broken(error.to_string()))??)
    }

    pub(super) fn jobs(&self) -> MutexGuard<'_, HashMap<String, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job of a download, while it waits or runs.
    pub fn job(&self, id: &str) -> Option<Arc<Job>> {
        self.jobs().get(id).cloned()
    }

    /// Says that the queue changed: to pages, and to whoever works it off.
    pub fn tell(&self, app: &App) {
        self.wake.notify_one();
        app.hub.broadcast(json!({ "type": "downloads_changed" }).to_string());
    }

    /// Begins a download, or joins the one of this id that is on its way for the same; one that is on its way for something
    /// else ends, since a call is the later word. Ends as the download does.
    ///
    /// # Errors
    /// When the same is on its way under another id; there is no row of this then.
    pub async fn download(
        self: &Arc<Self>,
        app: &Arc<App>,
        id: &str,
        wanted: Wanted,
    ) -> Result<Outcome, DownloadError> {
        while !self.closed.load(Ordering::Relaxed) {
            match self.enter(id, &wanted)? {
                Entered::New(job) => {
                    tokio::spawn(self.clone().see_through(app.clone(), job.clone(), Begun::ByCall));
                    return Ok(job.ended().await);
                }
                Entered::There(job) if job.wanted == wanted => return Ok(job.ended().await),
                Entered::There(job) => {
                    job.stop(Stop::Replaced);
                    job.ended().await;
                }
            }
        }
        Ok(Outcome::Stopped)
    }

    /// The job of this id, which is made where there is none.
    ///
    /// # Errors
    /// When another one does the same.
    pub(super) fn enter(&self, id: &str, wanted: &Wanted) -> Result<Entered, DownloadError> {
        let mut jobs = self.jobs();
        if let Some(job) = jobs.get(id) {
            return Ok(Entered::There(job.clone()));
        }
        let key = wanted.key();
        if jobs.values().any(|job| job.wanted.key() == key) {
            return Err(DownloadError::Twice);
        }
        let job = Arc::new(Job::new(id.to_owned(), wanted.clone()));
        jobs.insert(id.to_owned(), job.clone());
        Ok(Entered::New(job))
    }
}
