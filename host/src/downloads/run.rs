//! What a job does, from its slot to its end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arrived;
use super::claim::Claimant;
use super::error::DownloadError;
use super::hugging_face;
use super::install;
use super::job::{Job, Outcome, Stop};
use super::ledger::{Ledger, QueueRow};
use super::preview;
use super::progress::Flow;
use super::resolve::{self, Plan, Resolved};
use super::service::Downloads;
use super::transfer::{self, Transfer, TransferError};
use crate::app::App;
use crate::model_types::TypeService;
use crate::providers::Object;

/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);
/// The time over which a rate is taken, in ticks.
const WINDOW: usize = 5;
/// Progress when the preview is begun, and when it is there.
const PREVIEW: (u8, u8) = (1, 3);

/// Does it all. Never fails: that is an outcome.
pub async fn run(app: &Arc<App>, downloads: &Arc<Downloads>, job: &Arc<Job>) -> Outcome {
    let result = work(app, downloads, job).await;
    match result {
        Ok(outcome) => outcome,
        Err(DownloadError::Transfer(TransferError::Stopped)) => Outcome::Stopped,
        Err(error) => Outcome::Failed(Arc::new(error)),
    }
}

async fn work(app: &Arc<App>, downloads: &Arc<Downloads>, job: &Arc<Job>) -> Result<Outcome, DownloadError> {
    let row = downloads.in_ledger({
        let id = job.id.clone();
        move |ledger| Ok((ledger.queued(&id)?, ledger.places_of_others(&id)?))
    });
    let (row, others) = row.await?;
    let row = row.unwrap_or_default();
    let before = row.written_to.as_ref().map(PathBuf::from);
    let brought = row
        .preview_to
        .as_ref()
        .map(|path| (PathBuf::from(path), row.preview_level));
    let resolving = async {
        match &job.wanted.hugging_face {
            Some(file) => {
                hugging_face::resolve(app, downloads.hugging_face(), file, &job.wanted, before.as_deref()).await
            }
            None => resolve::resolve(app, downloads.ledger(), &job.wanted).await,
        }
    };
    let mut signal = job.signal();
    let resolved = tokio::select! {
        resolved = resolving => resolved,
        () = transfer::stopped(&mut signal) => return Ok(Outcome::Stopped),
    };
    let plan = match (resolved, &before) {
        (Ok(Resolved::Plan(plan)), _) => *plan,
        (Ok(Resolved::Skip(skip)), _) => return Ok(Outcome::Skipped(skip)),
        // It is this download that brought it: the last run ended between the file's name and the note of its end.
        (Err(DownloadError::Exists(_)), Some(path)) if arrived::is_version(app, path, row.model_version_id) => {
            note_downloaded(app, downloads, path, &row).await?;
            return Ok(Outcome::Completed(path.clone()));
        }
        (Err(error), _) => return Err(error),
    };
    if let Some(path) = &before
        && install::finish(&plan, path).await?
    {
        note_downloaded(app, downloads, path, &plan.row).await?;
        tell_the_end(downloads, job, job.meter.here());
        return Ok(Outcome::Completed(path.clone()));
    }
    // A file of a repository has the name that it has there.
    let is_taken = job.wanted.hugging_face.is_some() && tokio::fs::metadata(&plan.target).await.is_ok();
    if is_taken {
        return Err(DownloadError::Exists(plan.service.plugin.info().id().to_owned()));
    }
    let claim = {
        let (downloads, wanted, target) = (downloads.clone(), job.wanted.clone(), plan.target.clone());
        let own_preview = brought.as_ref().map(|(path, _)| path.clone());
        let content = (plan.row.model_version_id, plan.source.sha256.clone());
        let allowed = plan.service.library.allowed();
        let claim = move || {
            let claimant = Claimant {
                content,
                wanted: &wanted,
                before,
                preview: own_preview.as_deref(),
                others: &others,
            };
            let claim = claimant.claim(&downloads, &target)?;
            install::make_folder(&allowed, &claim.target)?;
            claimant.bring_along(&claim);
            Ok::<_, DownloadError>(claim)
        };
        let claim = tokio::task::spawn_blocking(claim).await;
        claim.map_err(|error| DownloadError::Broken(error.to_string()))??
    };
    let target = claim.target.clone();
    let mut row = plan.row.clone();
    row.download_id.clone_from(&job.id);
    row.file_path = crate::files::wire_path(&target);
    downloads.in_ledger(move |ledger| ledger.describe(&row)).await?;
    downloads.tell(app);

    let brought = kept_preview(downloads, &job.id, brought, &target).await;
    let picture = match (&plan.picture, brought) {
        (_, Some(brought)) => Some(brought),
        (Some(picture), None) => {
            downloads
                .board()
                .update(&job.id, |progress| progress.percent = PREVIEW.0);
            let path = preview::fetch(app, downloads, job, picture, &target, plan.service.library.allowed()).await;
            path.map(|path| (path, picture.level))
        }
        (None, None) => None,
    };
    downloads
        .board()
        .update(&job.id, |progress| progress.percent = PREVIEW.1);
    let fetched = fetch(app, downloads, job, &plan, &target).await;
    let arrived = match fetched {
        Ok(arrived) => arrived,
        Err(error) => {
            let keep_part = claim.is_shared || !matches!(job.stopped(), Some(Stop::Cancel | Stop::Removed));
            tidy(downloads, job, &target, picture.map(|(path, _)| path), keep_part).await;
            return Err(error.into());
        }
    };
    let service = plan.service.clone();
    let preview = picture.clone();
    let version = plan.origin.version.clone();
    let path = match install::install(&service, &target, &arrived, plan.origin, preview).await {
        Ok(path) => path,
        Err(error) => {
            tidy(downloads, job, &target, picture.map(|(path, _)| path), true).await;
            return Err(error);
        }
    };
    note_downloaded(app, downloads, &path, &plan.row).await?;
    track(
        app,
        &service,
        &plan.row,
        version,
        plan.picture.map(|picture| picture.url),
    )
    .await;
    tell_the_end(downloads, job, arrived.bytes);
    drop(claim);
    Ok(Outcome::Completed(path))
}

/// Notes that a version came into the library that holds its file.
async fn note_downloaded(
    app: &Arc<App>,
    downloads: &Downloads,
    path: &Path,
    row: &QueueRow,
) -> Result<(), DownloadError> {
    let Some(version) = row.model_version_id.map(i64::cast_unsigned) else {
        return Ok(());
    };
    let (app, path, model) = (app.clone(), path.to_owned(), row.model_id.map(i64::cast_unsigned));
    let noted = downloads.in_ledger(move |ledger| match install::library_of(&app, &path) {
        Some(service) => ledger.note_downloaded(service.plugin.info().id(), &[(version, model)], "download"),
        None => Ok(()),
    });
    noted.await
}

/// Notes what is known of a version that arrived where updates are tracked, so that it has a name and a date there before the
/// provider is asked. The download is done also when that fails: asking for updates tells the same.
async fn track(
    app: &Arc<App>,
    service: &TypeService,
    row: &QueueRow,
    version: Option<Object>,
    picture: Option<String>,
) {
    let ids = (row.model_id, row.model_version_id);
    let (Some(version), (Some(model), Some(id))) = (version, ids) else {
        return;
    };
    let (app, model_type) = (app.clone(), service.plugin.info().id().to_owned());
    let kept = tokio::task::spawn_blocking(move || {
        app.updates.change(&model_type, &[model.cast_unsigned()], |_, tracked| {
            tracked.arrived(id.cast_unsigned(), &version, picture.clone());
        })
    });
    let kept = kept.await.map_err(|error| error.to_string());
    if let Err(error) = kept.and_then(|kept| kept.map_err(|error| error.to_string())) {
        tracing::warn!(%error, model, version = id, "the version that arrived is not tracked");
    }
}

fn tell_the_end(downloads: &Downloads, job: &Job, bytes: u64) {
    downloads.board().update(&job.id, |progress| {
        progress.status = "progress";
        progress.message = None;
        progress.percent = 100;
        progress.flow = Some(Flow {
            here: bytes,
            total: Some(bytes),
            rate: 0.0,
        });
    });
}

/// Fetches the file, and tells how far it is while it does.
async fn fetch(
    app: &Arc<App>,
    downloads: &Arc<Downloads>,
    job: &Arc<Job>,
    plan: &Plan,
    target: &Path,
) -> Result<transfer::Arrived, TransferError> {
    let client = app.providers.client();
    let options = downloads.options(&app.active.load().contract);
    let transfer = Transfer {
        reach: client.fetching(),
        source: &plan.source,
        target,
        options: &options,
        limiter: downloads.limiter(),
        signal: job.signal(),
        meter: &job.meter,
    };
    let mut running = std::pin::pin!(transfer.run());
    let mut tick = tokio::time::interval(TICK);
    let mut rates = Rates::default();
    loop {
        tokio::select! {
            result = &mut running => return result,
            _ = tick.tick() => {
                let flow = rates.flow(&job.meter, Instant::now());
                if job.is_paused() {
                    rates = Rates::default();
                } else if let Some(flow) = flow {
                    downloads.board().update(&job.id, |progress| {
                        progress.status = "progress";
                        progress.message = None;
                        progress.percent = percent(flow);
                        progress.flow = Some(flow);
                    });
                }
            }
        }
    }
}

/// 3 and then 0.97 for each percent of the file; 100 is only told when all is written.
fn percent(flow: Flow) -> u8 {
    let total = flow.total.unwrap_or_default().max(1);
    let part = flow.here.min(total) as f64 / total as f64;
    (f64::from(PREVIEW.1) + part * f64::from(100 - PREVIEW.1))
        .floor()
        .min(99.0) as u8
}

/// Bytes at the last ticks.
#[derive(Default)]
struct Rates(VecDeque<(Instant, u64)>);

impl Rates {
    fn flow(&mut self, meter: &transfer::Meter, now: Instant) -> Option<Flow> {
        let here = meter.here();
        // What an earlier run left is no rate, and a start from zero no negative one.
        if self.0.back().is_some_and(|(_, before)| *before > here) {
            self.0.clear();
        }
        self.0.push_back((now, here));
        if self.0.len() > WINDOW + 1 {
            self.0.pop_front();
        }
        let total = meter.total()?;
        let (since, before) = *self.0.front()?;
        let seconds = now.duration_since(since).as_secs_f64();
        let rate = if seconds > 0.0 {
            (here - before) as f64 / seconds
        } else {
            0.0
        };
        Some(Flow {
            here,
            total: Some(total),
            rate,
        })
    }
}

/// The preview that the last run brought, where it is one of `target`; that of another name is removed.
async fn kept_preview(
    downloads: &Downloads,
    id: &str,
    brought: Option<(PathBuf, i64)>,
    target: &Path,
) -> Option<(PathBuf, i64)> {
    let (path, level) = brought?;
    let (ledger, id, target) = (downloads.ledger().clone(), id.to_owned(), target.to_owned());
    let look = move || {
        if preview::is_beside(&path, &target) && path.is_file() {
            return Some((path, level));
        }
        discard_preview(&ledger, &id, &path);
        None
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// Removes a preview that a download brought, and forgets it.
fn discard_preview(ledger: &Ledger, id: &str, preview: &Path) {
    let _ = std::fs::remove_file(preview);
    if let Err(error) = ledger.set_preview(id, None) {
        tracing::error!(download = id, %error, "the ledger is not written");
    }
}

/// Takes away what a download left that did not come to its end.
async fn tidy(downloads: &Downloads, job: &Job, target: &Path, preview: Option<PathBuf>, keep_part: bool) {
    let (ledger, id, target) = (downloads.ledger().clone(), job.id.clone(), target.to_owned());
    let _ = tokio::task::spawn_blocking(move || {
        if let Some(preview) = preview {
            discard_preview(&ledger, &id, &preview);
        }
        if !keep_part {
            transfer::discard(&target);
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_goes_from_three_to_ninety_nine_while_bytes_come() {
        let flow = |here| Flow {
            here,
            total: Some(1000),
            rate: 0.0,
        };
        assert_eq!(percent(flow(0)), 3);
        assert_eq!(percent(flow(500)), 51);
        assert_eq!(percent(flow(1000)), 99);
        assert_eq!(percent(Flow::default()), 3);
    }
}
