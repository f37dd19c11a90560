//! Seeing downloads through: slots, the queue that is worked off, and noting how each one ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::arrived;
use super::error::DownloadError;
use super::job::{Job, Outcome, Stop};
use super::ledger::{Ending, Ledger, QueueRow, Start, TakenUp};
use super::progress::Progress;
use super::run;
use super::service::{Downloads, Entered};
use super::transfer;
use super::wanted::Wanted;
use crate::app::App;

/// For how long the end of a download can be asked for.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// How a job came to be.
pub(super) enum Begun {
    /// Somebody called for it, and waits for its end.
    ByCall,
    /// It is its row's turn; with the slot that it has.
    FromQueue(OwnedSemaphorePermit),
}

impl Downloads {
    /// Does a job from its row to its end.
    pub(super) async fn see_through(self: Arc<Self>, app: Arc<App>, job: Arc<Job>, begun: Begun) {
        let (row, slot) = match begun {
            Begun::ByCall => (self.take_up(&app, &job).await, None),
            Begun::FromQueue(slot) => (Ok(TakenUp::Queued { is_new: false }), Some(slot)),
        };
        let (outcome, slot) = match row {
            Ok(TakenUp::Queued { is_new }) => {
                self.board().update(&job.id, |progress| *progress = Progress::default());
                let (outcome, slot) = self.run_when_it_may(&app, &job, slot).await;
                // It is over for the ledger before it is over for those who wait.
                self.note_end(&app, &job, &outcome, is_new).await;
                (outcome, slot)
            }
            Ok(TakenUp::Completed(path)) => (Outcome::Completed(path.into()), slot),
            Err(error) => (Outcome::Failed(Arc::new(error)), slot),
        };
        self.jobs().remove(&job.id);
        drop(slot);
        job.end(outcome);
        self.tell(&app);
        self.forget_after(&job.id, REMEMBERED).await;
    }

    /// Has the row of a job say what a call asks for.
    async fn take_up(&self, app: &Arc<App>, job: &Job) -> Result<TakenUp, DownloadError> {
        let (app, row, wanted) = (app.clone(), job.wanted.row(&job.id), job.wanted.clone());
        self.in_ledger(move |ledger| ledger.take_up(&row, |before| arrived::has_arrived(&app, &wanted, before)))
            .await
    }

    /// Has the end of a download be told for a while to those who ask.
    pub(super) async fn forget_after(&self, id: &str, rest: Duration) {
        tokio::time::sleep(rest).await;
        if self.job(id).is_none() {
            self.board().forget(id);
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

    /// Notes how a job ended; `is_new` when its call made its row. What a cancelled one has is removed, wherever it was
    /// cancelled: it may be of an earlier run.
    async fn note_end(self: &Arc<Self>, app: &Arc<App>, job: &Job, outcome: &Outcome, is_new: bool) {
        let status = match (outcome, job.stopped()) {
            (Outcome::Completed(_), _) => "completed",
            (Outcome::Skipped(_), _) => "skipped",
            (Outcome::Stopped, Some(Stop::Cancel)) => "canceled",
            (Outcome::Stopped, Some(Stop::Skip)) => "skipped",
            // Its row had gone before it began.
            (Outcome::Stopped, None) => return self.board().forget(&job.id),
            (Outcome::Stopped, _) => return,
            (Outcome::Failed(error), _) if is_new && error.is_refusal() && job.meter.here() == 0 => {
                return self.take_back(app, &job.id).await;
            }
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
        let ending = Ending {
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
        let is_cancelled = ending.status == "canceled";
        match self.in_ledger(move |ledger| ledger.finish(&id, &ending)).await {
            Ok(Some(row)) if is_cancelled => self.discard_left(app, &row).await,
            Ok(_) => {}
            Err(error) => tracing::error!(download = job.id, %error, "the end of a download is not noted"),
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
            match self.enter(&row.download_id, &Wanted::of_row(&row)) {
                Ok(Entered::New(job)) => {
                    tokio::spawn(self.clone().see_through(app.clone(), job, Begun::FromQueue(slot)));
                }
                // A call was faster.
                Ok(Entered::There(_)) => {}
                Err(error) => {
                    if let Err(error) = self.refuse(&app, &row.download_id, &error).await {
                        tracing::error!(%error, "the end of a download is not noted");
                        self.wake.notified().await;
                    }
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

    /// Takes away the row of a call that was refused: its caller is told, and there is nothing to try again.
    async fn take_back(self: &Arc<Self>, app: &Arc<App>, id: &str) {
        let own = id.to_owned();
        match self.in_ledger(move |ledger| ledger.remove(&own)).await {
            Ok(Some(row)) => self.discard_left(app, &row).await,
            Ok(None) => {}
            Err(error) => tracing::error!(download = id, %error, "the row of a refused download is not removed"),
        }
        self.board().forget(id);
    }

    /// Notes that the download of a row is not begun.
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
}
