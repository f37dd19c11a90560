//! What people and clients do with downloads that wait, run or stand still.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::DownloadError;
use super::install;
use super::job::{Outcome, Stop};
use super::ledger::{Ending, LedgerError, Place, QueueRow};
use super::preview;
use super::progress::Progress;
use super::service::Downloads;
use super::transfer;
use super::working::REMEMBERED;
use crate::app::App;
use crate::files::foreign;

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

impl Downloads {
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
            let progress = self.board().get(id).unwrap_or_default();
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
            self.board().update(id, |progress| {
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
                Some(true) => self.board().tell(
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
            if why == Stop::Cancel {
                self.discard_left(app, &row).await;
            }
            let (downloads, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move { downloads.forget_after(&id, REMEMBERED).await });
        }
        self.board().update(id, |progress| {
            *progress = Progress {
                status: word,
                message: Some(message.into()),
                ..Progress::default()
            };
        });
        self.tell(app);
        Ok(())
    }

    /// Removes what was left of a file, where that is in a library and is no other download's. For a row that is nobody's
    /// to go on with any more.
    pub(super) async fn discard_left(self: &Arc<Self>, app: &Arc<App>, row: &QueueRow) {
        let Some(target) = row.written_to.as_ref().map(PathBuf::from) else {
            return;
        };
        let (downloads, app, id) = (self.clone(), app.clone(), row.download_id.clone());
        let preview = row.preview_to.as_ref().map(PathBuf::from);
        let discard = move || {
            // The library may be another one by now.
            if install::library_of(&app, &target).is_none() {
                tracing::warn!(path = %target.display(), "what is left of a download is in no library and stays");
                return Ok(());
            }
            let others = downloads.ledger().places_of_others(&id)?;
            // Held, so that nobody takes the name meanwhile.
            let claims = downloads.claims();
            if !claims.contains_key(&target) && !Place::is_of_any(&others, &target) {
                transfer::discard(&target);
                // Beside a file that has its name already it is that one's.
                if let Some(preview) =
                    preview.filter(|path| preview::is_beside(path, &target) && !foreign::is_taken(&target))
                {
                    let _ = std::fs::remove_file(preview);
                }
            }
            Ok::<(), LedgerError>(())
        };
        match tokio::task::spawn_blocking(discard).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what is left of a download is not removed"),
            Err(error) => tracing::error!(%error, "what is left of a download is not removed"),
        }
    }

    /// Ends the job of a row that left the queue.
    pub async fn drop_job(&self, id: &str) {
        if let Some(job) = self.job(id) {
            job.stop(Stop::Removed);
            job.ended().await;
        }
        self.board().forget(id);
    }

    /// Ends the jobs of rows that were taken out of the queue, and removes what is left of their files.
    pub async fn drop_rows(self: &Arc<Self>, app: &Arc<App>, rows: &[QueueRow]) {
        for row in rows {
            self.drop_job(&row.download_id).await;
            self.discard_left(app, row).await;
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
