//! The service: jobs, slots, the queue that is worked off, and what people and clients may do with a download.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::error::DownloadError;
use super::hugging_face::HuggingFace;
use super::job::{Job, Outcome, Stop};
use super::ledger::{Ending, Ledger, LedgerError, QueueRow};
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

/// What a file is: version and SHA-256.
pub type Content = (Option<i64>, Option<String>);

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
        let (own, row_id) = (row.clone(), id.to_owned());
        let (row, ended) = self
            .in_ledger(move |ledger| Ok((ledger.add(&own)?, ledger.ended(&row_id)?)))
            .await?;
        let wanted = match (row, ended) {
            // It is in the queue as somebody else asked for it: the file is the queue's, the place this call's.
            (Some(row), _) if row.request.as_deref() != serde_json::to_string(&wanted).ok().as_deref() => Wanted {
                place: wanted.place,
                ..wanted_of(&row)
            },
            (Some(_), _) => wanted,
            (None, Some(ended)) if ended.status == "completed" => {
                return Ok(Outcome::Completed(ended.file_path.unwrap_or_default().into()));
            }
            // It failed or was cancelled before: this is another try, without a row of its own.
            (None, _) => wanted,
        };
        let job = self.begin(app, id, wanted, None)?;
        Ok(job.ended().await)
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
        let mut signal = job.signal();
        let slot = match slot {
            Some(slot) => Some(slot),
            None => tokio::select! {
                slot = self.slot_for(&job) => slot,
                () = transfer::stopped(&mut signal) => None,
            },
        };
        let outcome = if slot.is_some() {
            job.set_running();
            let id = job.id.clone();
            if let Err(error) = self
                .in_ledger(move |ledger| ledger.set_status(&id, "downloading"))
                .await
            {
                Outcome::Failed(Arc::new(error))
            } else {
                self.tell(&app);
                run::run(&app, &self, &job).await
            }
        } else {
            Outcome::Stopped
        };
        // It is over for the ledger before it is over for those who wait.
        self.note_end(&job, &outcome).await;
        self.jobs().remove(&job.id);
        drop(slot);
        job.end(outcome);
        self.tell(&app);
        tokio::time::sleep(REMEMBERED).await;
        if self.job(&job.id).is_none() {
            self.board.forget(&job.id);
        }
    }

    /// A slot, once there is one and the job is not paused.
    async fn slot_for(&self, job: &Job) -> Option<OwnedSemaphorePermit> {
        let mut signal = job.signal();
        let wanted = signal.wait_for(|signal| *signal != transfer::Signal::Pause).await;
        wanted.map(|_| ()).ok()?;
        self.slots.clone().acquire_owned().await.ok()
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
            if let Err(error) = self.begin(&app, &row.download_id, wanted_of(&row), Some(slot)) {
                let ending = Ending {
                    status: "failed".into(),
                    error: Some(error.to_string()),
                    ..Ending::default()
                };
                let id = row.download_id;
                let noted = self.in_ledger(move |ledger| ledger.finish(&id, &ending)).await;
                self.tell(&app);
                if let Err(error) = noted {
                    tracing::error!(%error, "the end of a download is not noted");
                    self.wake.notified().await;
                }
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
            if !job.set_paused(paused) {
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
                Some(true) => self.board.update(id, |progress| {
                    progress.status = word;
                    progress.message = Some(message.into());
                }),
            }
        }
        self.tell(app);
        Ok(())
    }

    /// Ends a download: `Cancel` takes what has arrived away, `Skip` leaves it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn stop(&self, app: &App, id: &str, why: Stop) -> Result<(), ControlError> {
        let (word, message, status) = match why {
            Stop::Cancel => ("cancelled", "Download cancelled by user", "canceled"),
            _ => (
                "skipped",
                "Download skipped by user (partial files preserved)",
                "skipped",
            ),
        };
        let job = self.job(id);
        if let Some(job) = &job {
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
                // What an earlier run of it left.
                let _ = tokio::task::spawn_blocking(move || transfer::discard(std::path::Path::new(&path))).await;
            }
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
