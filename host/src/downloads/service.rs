//! The service: jobs, slots, the queue that is worked off, and what people and clients may do with a download.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::claim::Content;
use super::error::DownloadError;
use super::hugging_face::HuggingFace;
use super::install;
use super::job::{Job, Outcome, Stop};
use super::ledger::{Ending, Ledger, LedgerError, QueueRow, Start, TakenUp};
use super::progress::{Board, Progress};
use super::run;
use super::transfer::{self, Options};
use super::wanted::{Place, Wanted};
use crate::files::limiter::Limiter;
use crate::http::app::App;
use crate::settings::{ContractSettings, DownloadSettings};

/// For how long the end of a download can be asked for.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The shortest time without a byte after which a connection is opened again.
const LEAST_PATIENCE: f64 = 30.0;
/// The same unless settings say otherwise.
const PATIENCE: f64 = 120.0;

/// Why a download can't be paused and the like. Source of the texts: contract section 1.7.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing with this id is on its way.
    #[error("Download task not found")]
    Unknown,
    /// It stands still.
    #[error("Download is already paused")]
    Paused,
    /// It does not stand still.
    #[error("Download is not paused")]
    NotPaused,
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Downloads.
pub struct Downloads {
    ledger: Arc<Ledger>,
    board: Board,
    jobs: Mutex<HashMap<String, Arc<Job>>>,
    claims: Mutex<HashMap<PathBuf, Content>>,
    slots: Arc<Semaphore>,
    limiter: Limiter,
    hugging_face: HuggingFace,
    settings: DownloadSettings,
    wake: Notify,
    closed: AtomicBool,
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

    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(super) fn claims(&self) -> MutexGuard<'_, HashMap<PathBuf, Content>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn options(&self, contract: &ContractSettings) -> Options {
        let patience = contract
            .get("download_stall_timeout_seconds")
            .and_then(serde_json::Value::as_f64);
        Options {
            connections: self.settings.connections,
            tries: self.settings.tries,
            first_wait: Duration::try_from_secs_f64(self.settings.retry_seconds).unwrap_or_default(),
            patience: Duration::try_from_secs_f64(patience.unwrap_or(PATIENCE).max(LEAST_PATIENCE))
                .unwrap_or(Duration::MAX),
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

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Arc<Job>>> {
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

    /// Begins a download, or joins the one of this id. Ends as the download does.
    ///
    /// # Errors
    /// When the ledger can't be written.
    pub async fn download(
        self: &Arc<Self>,
        app: &Arc<App>,
        id: &str,
        wanted: Wanted,
    ) -> Result<Outcome, DownloadError> {
        if let Some(job) = self.job(id) {
            return Ok(job.ended().await);
        }
        let row = row_of(id, &wanted);
        if let TakenUp::Completed(path) = self.in_ledger(move |ledger| ledger.take_up(&row)).await? {
            return Ok(Outcome::Completed(path.into()));
        }
        match self.begin(app, id, wanted, None) {
            Ok(job) => Ok(job.ended().await),
            Err(error) => {
                self.refuse(app, id, &error).await?;
                Err(error)
            }
        }
    }

    /// Notes that a download is not begun.
    async fn refuse(&self, app: &App, id: &str, error: &DownloadError) -> Result<(), DownloadError> {
        let ending = Ending {
            status: "failed".into(),
            error: Some(error.to_string()),
            ..Ending::default()
        };
        let id = id.to_owned();
        let noted = self.in_ledger(move |ledger| ledger.finish(&id, &ending)).await;
        self.tell(app);
        noted.map(drop)
    }

    /// Puts a job on its way; one of this id that is on its way is given.
    fn begin(
        self: &Arc<Self>,
        app: &Arc<App>,
        id: &str,
        wanted: Wanted,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Arc<Job>, DownloadError> {
        let key = wanted.key();
        let job = {
            let mut jobs = self.jobs();
            if let Some(job) = jobs.get(id) {
                return Ok(job.clone());
            }
            if jobs.values().any(|job| job.wanted.key() == key) {
                return Err(DownloadError::Twice);
            }
            let job = Arc::new(Job::new(id.to_owned(), wanted));
            jobs.insert(id.to_owned(), job.clone());
            job
        };
        let (downloads, app, own) = (self.clone(), app.clone(), job.clone());
        tokio::spawn(async move { downloads.see_through(app, own, slot).await });
        Ok(job)
    }

    async fn see_through(self: Arc<Self>, app: Arc<App>, job: Arc<Job>, slot: Option<OwnedSemaphorePermit>) {
        self.board.update(&job.id, |progress| *progress = Progress::default());
        let (outcome, slot) = self.run_when_it_may(&app, &job, slot).await;
        // It is over for the ledger before it is over for those who wait.
        self.note_end(&job, &outcome).await;
        self.jobs().remove(&job.id);
        drop(slot);
        job.end(outcome);
        self.tell(&app);
        self.forget_later(&job.id).await;
    }

    /// Has the end of a download be told for a while to those who ask.
    async fn forget_later(&self, id: &str) {
        tokio::time::sleep(REMEMBERED).await;
        if self.job(id).is_none() {
            self.board.forget(id);
        }
    }

    /// Runs a job when there is a slot and it does not stand still; the slot is to be kept until all is noted.
    async fn run_when_it_may(
        self: &Arc<Self>,
        app: &Arc<App>,
        job: &Arc<Job>,
        mut slot: Option<OwnedSemaphorePermit>,
    ) -> (Outcome, Option<OwnedSemaphorePermit>) {
        let mut signal = job.signal();
        loop {
            let taken = match slot.take() {
                Some(slot) => Some(slot),
                None => tokio::select! {
                    slot = self.slot_for(job) => slot,
                    () = transfer::stopped(&mut signal) => None,
                },
            };
            let Some(taken) = taken else {
                return (Outcome::Stopped, None);
            };
            let id = job.id.clone();
            let outcome = match self.in_ledger(move |ledger| ledger.start(&id)).await {
                Ok(Start::Go) => {
                    job.set_running();
                    self.tell(app);
                    run::run(app, self, job).await
                }
                Ok(Start::Paused) => {
                    // Before there was a job to say it to.
                    job.set_paused(true);
                    continue;
                }
                Ok(Start::Gone) => Outcome::Stopped,
                Err(error) => Outcome::Failed(Arc::new(error)),
            };
            return (outcome, Some(taken));
        }
    }

    /// A slot, once there is one and the job is not paused: it may be while it waits for one.
    async fn slot_for(&self, job: &Job) -> Option<OwnedSemaphorePermit> {
        let mut signal = job.signal();
        loop {
            let wanted = signal.wait_for(|signal| *signal != transfer::Signal::Pause).await;
            wanted.map(drop).ok()?;
            let slot = self.slots.clone().acquire_owned().await.ok()?;
            if !job.is_paused() {
                return Some(slot);
            }
        }
    }

    async fn note_end(&self, job: &Job, outcome: &Outcome) {
        let status = match (outcome, job.stopped()) {
            (Outcome::Completed(_), _) => "completed",
            (Outcome::Skipped(_), _) => "skipped",
            (Outcome::Stopped, Some(Stop::Cancel)) => "canceled",
            (Outcome::Stopped, Some(Stop::Skip)) => "skipped",
            (Outcome::Stopped, _) => return,
            (Outcome::Failed(error), _) => {
                tracing::warn!(download = job.id, %error, "a download failed");
                "failed"
            }
        };
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let error = match outcome {
            Outcome::Failed(error) => Some(
                error
                    .reason()
                    .map_or_else(|| error.to_string(), |reason| format!("{error}: {reason}")),
            ),
            Outcome::Skipped(skip) => Some(skip.message.clone()),
            _ => None,
        };
        let mut ending = Ending {
            status: status.to_owned(),
            error,
            file_path: match outcome {
                Outcome::Completed(path) => crate::files::wire_path(path),
                _ => None,
            },
            bytes_downloaded: signed(job.meter.here()),
            total_bytes: job.meter.total().map(signed),
            completed_at: None,
        };
        let id = job.id.clone();
        let noted = self.in_ledger(move |ledger| {
            if ending.file_path.is_none() {
                // Where what has arrived lies, for a retry.
                ending.file_path = ledger.queued(&id)?.and_then(|row| row.file_path);
            }
            ledger.finish(&id, &ending)
        });
        if let Err(error) = noted.await {
            tracing::error!(download = job.id, %error, "the end of a download is not noted");
        }
    }

    /// Works the queue off until the server ends. Begins when the types' libraries are there.
    pub async fn work_off(self: Arc<Self>, app: Arc<App>) {
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                return;
            };
            let row = match self.next_row().await {
                Ok(row) => row,
                Err(error) => {
                    tracing::error!(%error, "the queue of downloads can't be read");
                    None
                }
            };
            let Some(row) = row else {
                drop(slot);
                self.wake.notified().await;
                continue;
            };
            if let Err(error) = self.begin(&app, &row.download_id, wanted_of(&row), Some(slot))
                && let Err(error) = self.refuse(&app, &row.download_id, &error).await
            {
                tracing::error!(%error, "the end of a download is not noted");
                self.wake.notified().await;
            }
        }
    }

    async fn next_row(&self) -> Result<Option<QueueRow>, DownloadError> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let rows = self.in_ledger(Ledger::queue).await?;
        let jobs = self.jobs();
        Ok(rows
            .into_iter()
            .find(|row| row.status == "queued" && !jobs.contains_key(&row.download_id)))
    }

    /// Has a download stand still, or go on.
    ///
    /// # Errors
    /// When there is none, or it does so already.
    pub async fn set_paused(&self, app: &App, id: &str, paused: bool) -> Result<(), ControlError> {
        let wrong = || {
            if paused {
                ControlError::Paused
            } else {
                ControlError::NotPaused
            }
        };
        let (word, message, status) = if paused {
            ("paused", "Download paused by user", "paused")
        } else {
            ("downloading", "Download resumed by user", "downloading")
        };
        if let Some(job) = self.job(id) {
            // The row says first that it goes on, so that a job which is about to begin does not see that it stands still.
            if if paused {
                !job.set_paused(true)
            } else {
                !job.is_paused()
            } {
                return Err(wrong());
            }
            let status = if job.is_running() || paused { status } else { "queued" };
            let progress = self.board.get(id).unwrap_or_default();
            let (percent, here) = (i64::from(progress.percent), job.meter.here());
            let (own, total) = (id.to_owned(), job.meter.total());
            let noted = self.in_ledger(move |ledger| {
                ledger.set_progress(&own, percent, here.cast_signed(), total.map(u64::cast_signed))?;
                ledger.set_status(&own, status)
            });
            noted.await.map_err(of_ledger)?;
            if !paused {
                job.set_paused(false);
            }
            self.board.update(id, |progress| {
                progress.status = word;
                progress.message = Some(message.into());
                if let (Some(flow), true) = (&mut progress.flow, paused) {
                    flow.rate = 0.0;
                }
            });
        } else {
            // It waits in the queue for its turn.
            let (own, status) = (id.to_owned(), if paused { "paused" } else { "queued" });
            let changed = self.in_ledger(move |ledger| {
                let Some(row) = ledger.queued(&own)? else {
                    return Ok(None);
                };
                let fits = (row.status == "paused") != paused;
                if fits {
                    ledger.set_status(&own, status)?;
                }
                Ok(Some(fits))
            });
            match changed.await.map_err(of_ledger)? {
                None => return Err(ControlError::Unknown),
                Some(false) => return Err(wrong()),
                Some(true) => self.board.tell(
                    id,
                    &Progress {
                        status: word,
                        message: Some(message.into()),
                        ..Progress::default()
                    },
                ),
            }
        }
        self.tell(app);
        Ok(())
    }

    /// Ends a download: `Cancel` takes what has arrived away, `Skip` leaves it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn stop(self: &Arc<Self>, app: &Arc<App>, id: &str, why: Stop) -> Result<(), ControlError> {
        let (word, message, status) = match why {
            Stop::Cancel => ("cancelled", "Download cancelled by user", "canceled"),
            _ => (
                "skipped",
                "Download skipped by user (partial files preserved)",
                "skipped",
            ),
        };
        if let Some(job) = self.job(id) {
            job.stop(why);
            if let Outcome::Completed(_) = job.ended().await {
                // It was faster.
                return Ok(());
            }
        } else {
            let (own, ending) = (
                id.to_owned(),
                Ending {
                    status: status.to_owned(),
                    ..Ending::default()
                },
            );
            let row = self
                .in_ledger(move |ledger| ledger.finish(&own, &ending))
                .await
                .map_err(of_ledger)?;
            let row = row.ok_or(ControlError::Unknown)?;
            if let (Stop::Cancel, Some(path)) = (why, row.file_path) {
                self.discard_left(app, path.into()).await;
            }
            let (downloads, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move { downloads.forget_later(&id).await });
        }
        self.board.update(id, |progress| {
            *progress = Progress {
                status: word,
                message: Some(message.into()),
                ..Progress::default()
            };
        });
        self.tell(app);
        Ok(())
    }

    /// Removes what an earlier run left of a file, where that is in a library and no other download writes it.
    async fn discard_left(self: &Arc<Self>, app: &Arc<App>, target: PathBuf) {
        let (downloads, app) = (self.clone(), app.clone());
        let discard = move || {
            // A client may have named the path.
            if install::library_of(&app, &target).is_none() {
                tracing::warn!(path = %target.display(), "what is left of a download is in no library and stays");
                return;
            }
            // Held, so that nobody takes the name meanwhile.
            let claims = downloads.claims();
            if !claims.contains_key(&target) {
                transfer::discard(&target);
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(discard).await {
            tracing::error!(%error, "what is left of a download is not removed");
        }
    }

    /// Ends jobs whose rows left the queue.
    pub async fn drop_jobs(&self, ids: &[String]) {
        for id in ids {
            if let Some(job) = self.job(id) {
                job.stop(Stop::Removed);
                job.ended().await;
            }
            self.board.forget(id);
        }
    }

    /// Ends all jobs for the next start to go on with.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for job in self.jobs().values() {
            job.stop(Stop::Shutdown);
        }
    }

    /// Waits until no job runs.
    pub async fn idle(&self) {
        loop {
            let Some(job) = self.jobs().values().next().cloned() else {
                return;
            };
            job.ended().await;
        }
    }
}

fn of_ledger(error: DownloadError) -> ControlError {
    match error {
        DownloadError::Ledger(error) => error.into(),
        _ => ControlError::Unknown,
    }
}

/// The row of what was asked for.
fn row_of(id: &str, wanted: &Wanted) -> QueueRow {
    let params = wanted.file_params.as_ref().filter(|params| !params.is_empty());
    QueueRow {
        download_id: id.to_owned(),
        model_id: wanted.model_id.map(u64::cast_signed),
        model_version_id: wanted.version_id.map(u64::cast_signed),
        model_name: wanted
            .hugging_face
            .as_ref()
            .map(|file| file.repo.clone())
            .unwrap_or_default(),
        version_name: wanted
            .hugging_face
            .as_ref()
            .map(|file| file.file.clone())
            .unwrap_or_default(),
        source: wanted.source.clone(),
        file_params: params.and_then(|params| serde_json::to_string(params).ok()),
        request: serde_json::to_string(wanted).ok(),
        ..QueueRow::default()
    }
}

/// What a row asks for. One that a client wrote says no place: it goes where the settings say.
fn wanted_of(row: &QueueRow) -> Wanted {
    let written = row.request.as_deref().and_then(|text| serde_json::from_str(text).ok());
    written.unwrap_or_else(|| Wanted {
        model_id: row.model_id.and_then(|id| u64::try_from(id).ok()),
        version_id: row.model_version_id.and_then(|id| u64::try_from(id).ok()),
        source: row.source.clone(),
        file_params: row
            .file_params
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok()),
        hugging_face: None,
        place: Place {
            use_default_paths: true,
            ..Place::default()
        },
    })
}
