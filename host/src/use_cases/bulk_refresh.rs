//! Metadata of many models from providers. Source: contract section 6.4.
//!
//! What is known is not asked for again, so a run that a crash cut off is taken up by starting another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::identify::{self, Answer};
use super::metadata::{self, now};
use super::previews::Previews;
use crate::app::App;
use crate::cancel::Cancel;
use crate::library::editing::EditError;
use crate::library::history::ActKind;
use crate::library::record::{AutoV3, HashStatus, Record};
use crate::library::refreshing::Word;
use crate::model_types::TypeService;
use crate::providers::{BATCH, ProviderError};
use crate::settings::ContractSettings;

/// Models that are asked about by their headers before hashes are asked for of those that nobody knows.
const HINTS: usize = 16;
/// Refusals for too many requests in a row after which a run ends.
const RATE_LIMITS: u32 = 3;
/// Models of one act; a crash loses the answers for at most as many.
const ACT: usize = 25;
/// Messages about models that are sent at most a second; the counts of those that are left out are in the next one.
const MESSAGES_PER_SECOND: f64 = 100.0;
/// Failures that are named in the answer.
const NAMED: usize = 200;
/// How often hashes that are being computed are looked for.
const HASH_LOOK: Duration = Duration::from_millis(200);

/// How a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// To its end.
    Completed,
    /// Somebody cancelled it.
    Cancelled,
    /// The provider asks to come back later.
    RateLimited,
    /// The provider can't be asked.
    Failed,
}

/// The counts of a run. Source of the names: contract sections 3.2 and 6.4.1.
#[derive(Debug, Clone)]
pub struct Summary {
    /// How it ended; none while it runs.
    pub ended: Option<Ended>,
    /// Models of the library.
    pub total: usize,
    /// Models that were asked about.
    pub processed: usize,
    /// Models that have new metadata.
    pub updated: usize,
    /// Models that were left out.
    pub skipped: usize,
    /// Models whose hash is not known, left out on the way.
    pub without_hash: usize,
    /// Name and reason of models without an answer.
    pub failures: Vec<(String, String)>,
    /// How many there are.
    pub failure_count: usize,
    /// Why it ended early.
    pub error: Option<String>,
    /// Whole seconds.
    pub elapsed: u64,
}

impl Summary {
    /// The message for WebSockets, which polling answers too.
    fn message(&self, page_type: &str, current: Option<&str>, started: bool) -> Value {
        let status = match self.ended {
            None if started => "started",
            None => "processing",
            Some(Ended::Completed) => "completed",
            Some(Ended::Cancelled) => "cancelled",
            Some(Ended::RateLimited) => "rate_limited",
            Some(Ended::Failed) => "error",
        };
        let mut message = json!({
            "status": status,
            "total": self.total,
            "processed": self.processed,
            "success": self.updated,
            "failure_count": self.failure_count,
            "skipped_count": self.skipped + self.without_hash,
            "handled": self.processed + self.skipped,
            "elapsed_seconds": self.elapsed,
            // Ours: which type, and what this is.
            "pageType": page_type,
            "task": "fetch_all",
        });
        if let Some(name) = current {
            message["current_name"] = name.into();
        }
        if self.ended.is_some() && !self.failures.is_empty() {
            message["failures"] = self.named();
        }
        if let Some(error) = &self.error {
            message["error"] = error.as_str().into();
        }
        message
    }

    /// Failures with their names.
    pub fn named(&self) -> Value {
        let named = self.failures.iter();
        named
            .map(|(name, error)| json!({ "name": name, "error": error }))
            .collect()
    }

    fn fail(&mut self, name: &str, error: &str) {
        self.failure_count += 1;
        if self.failures.len() < NAMED {
            self.failures.push((name.to_owned(), error.to_owned()));
        }
    }
}

/// The runs of all types.
#[derive(Debug, Default)]
pub struct Refreshes {
    running: Mutex<HashMap<String, Cancel>>,
    last: Mutex<HashMap<String, Value>>,
}

impl Refreshes {
    /// Asks the runs of a type to stop.
    pub fn cancel(&self, page_type: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for key in [page_type, &check_key(page_type)] {
            if let Some(cancel) = running.get(key) {
                cancel.set();
            }
        }
    }

    /// Begins a search for updates of a type.
    ///
    /// # Errors
    /// While one is under way.
    pub fn begin_check(&self, app: &Arc<App>, page_type: &str) -> Result<Turn, Busy> {
        let key = check_key(page_type);
        let cancel = self.begin(&key).ok_or(Busy)?;
        Ok(Turn {
            app: app.clone(),
            key,
            cancel,
        })
    }

    /// Asks all to stop: the server ends.
    pub fn cancel_all(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().for_each(Cancel::set);
    }

    /// The last message of a type's run.
    pub fn last(&self, page_type: &str) -> Option<Value> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(page_type).cloned()
    }

    /// Begins a run of a type; none while one runs.
    fn begin(&self, page_type: &str) -> Option<Cancel> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(page_type) {
            return None;
        }
        let cancel = Cancel::default();
        running.insert(page_type.to_owned(), cancel.clone());
        Some(cancel)
    }

    fn end(&self, page_type: &str) {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(page_type);
    }
}

fn check_key(page_type: &str) -> String {
    format!("updates of {page_type}")
}

/// Another run of the type is under way.
#[derive(Debug, thiserror::Error)]
#[error("Providers are being asked about these models already. Wait for the end of that, or cancel it")]
pub struct Busy;

/// A run.
struct Run<'a> {
    app: &'a Arc<App>,
    service: &'a Arc<TypeService>,
    cancel: Cancel,
    started: Instant,
    summary: Summary,
    limits: u32,
    pace: Pace,
    previews: Previews,
    // How it ends although others go on: CivitAI itself is away.
    away: Option<Ended>,
}

/// Refreshes all models that need it, or these, whatever is known of them. Progress goes to all clients.
///
/// # Errors
/// When a run of this type is under way.
pub async fn run(app: &Arc<App>, service: &Arc<TypeService>, only: Option<Vec<String>>) -> Result<Summary, Busy> {
    let page_type = service.plugin.info().prefix().to_owned();
    let cancel = app.refreshes.begin(&page_type).ok_or(Busy)?;
    let turn = Turn {
        app: app.clone(),
        key: page_type,
        cancel,
    };
    let snapshot = service.library.snapshot();
    let visible = || snapshot.visible().iter().filter_map(|slot| snapshot.get(slot));
    let mut missing: Vec<String> = Vec::new();
    let (total, work): (usize, Vec<Arc<Record>>) = match &only {
        Some(paths) => {
            let named: Vec<_> = paths
                .iter()
                .filter_map(|path| snapshot.by_path(path))
                .cloned()
                .collect();
            missing = paths
                .iter()
                .filter(|path| snapshot.by_path(path).is_none())
                .cloned()
                .collect();
            (paths.len(), named)
        }
        None => {
            let needs = Needs::new(&app.active.load().contract);
            let work = visible().filter(|record| needs.refresh(record)).cloned().collect();
            (visible().count(), work)
        }
    };
    drop(snapshot);
    let mut run = Run {
        app,
        service,
        cancel: turn.cancel.clone(),
        started: Instant::now(),
        summary: Summary {
            ended: None,
            total,
            processed: 0,
            updated: 0,
            skipped: total - work.len() - missing.len(),
            without_hash: 0,
            failures: Vec::new(),
            failure_count: 0,
            error: None,
            elapsed: 0,
        },
        limits: 0,
        pace: Pace::new(MESSAGES_PER_SECOND),
        previews: Previews::default(),
        away: None,
    };
    for path in missing {
        let error = EditError::NotFound(path.clone()).to_string();
        run.summary.processed += 1;
        run.summary.fail(&path, &error);
    }
    run.tell(None, true);
    let ended = run.all(work).await;
    run.summary.ended = Some(run.away.filter(|_| ended == Ended::Completed).unwrap_or(ended));
    run.tell(None, false);
    Ok(run.summary)
}

/// The right to run; however the run ends, another one may begin when this is dropped.
pub struct Turn {
    app: Arc<App>,
    key: String,
    cancel: Cancel,
}

impl Turn {
    /// Set when the run should stop.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.app.refreshes.end(&self.key);
    }
}

impl Run<'_> {
    async fn all(&mut self, work: Vec<Arc<Record>>) -> Ended {
        let (hashed, unhashed): (Vec<_>, Vec<_>) = work.into_iter().partition(|record| record.sha256.is_some());
        let (mut hinted, mut waiting): (Vec<_>, Vec<_>) = unhashed
            .into_iter()
            .partition(|record| matches!(record.autov3, AutoV3::Known(_)));
        // Files are hashed in the background while the others are asked about.
        self.want_hashes(&waiting).await;
        for batch in hashed.chunks(BATCH) {
            if let Some(ended) = self.batch(batch).await {
                return ended;
            }
        }
        while !hinted.is_empty() {
            if self.cancel.is_set() {
                return Ended::Cancelled;
            }
            let batch: Vec<_> = hinted.drain(..hinted.len().min(HINTS)).collect();
            let mut unknown = Vec::new();
            let answers = identify::by_hints(&self.app.providers, &batch).await;
            for (record, answer) in batch.into_iter().zip(answers) {
                match answer {
                    Ok(Some(found)) => {
                        let answer = Ok(found);
                        self.count(&record, &answer);
                        self.take(&[record], vec![answer]).await;
                    }
                    Ok(None) => unknown.push(record),
                    Err(error) => {
                        unknown.push(record);
                        // A hint only saves time: what can't be asked now is asked when files are hashed.
                        if self.app.providers.is_of_civitai(&error) {
                            tracing::info!(%error, "models are not asked about by their headers");
                            unknown.append(&mut hinted);
                        }
                    }
                }
            }
            self.want_hashes(&unknown).await;
            waiting.append(&mut unknown);
        }
        self.when_hashed(waiting).await
    }

    async fn want_hashes(&self, records: &[Arc<Record>]) {
        if !records.is_empty() {
            let paths = records.iter().map(|record| record.path.to_string()).collect();
            identify::want_hashes(self.service, paths).await;
        }
    }

    /// Asks about files as their hashes come.
    async fn when_hashed(&mut self, mut waiting: Vec<Arc<Record>>) -> Ended {
        while !waiting.is_empty() {
            if self.cancel.is_set() {
                return Ended::Cancelled;
            }
            let snapshot = self.service.library.snapshot();
            let (mut ready, mut still) = (Vec::new(), Vec::new());
            for record in waiting {
                match snapshot.by_path(&record.path) {
                    Some(now) if now.sha256.is_some() && ready.len() < BATCH => ready.push(now.clone()),
                    Some(now) if now.sha256.is_some() || now.hash_status == HashStatus::Calculating => {
                        still.push(now.clone());
                    }
                    _ => self.summary.without_hash += 1,
                }
            }
            waiting = still;
            if ready.is_empty() {
                tokio::time::sleep(HASH_LOOK).await;
            } else if let Some(ended) = self.batch(&ready).await {
                return ended;
            }
        }
        Ended::Completed
    }

    /// Asks about models with hashes; how the run ends, when it ends here.
    async fn batch(&mut self, batch: &[Arc<Record>]) -> Option<Ended> {
        // Clients see at once with which models it is busy.
        if let Some(first) = batch.first() {
            self.progress(&first.model_name);
        }
        let app = self.app;
        let mut answers = loop {
            if self.cancel.is_set() {
                return Some(Ended::Cancelled);
            }
            match identify::by_hash(&app.providers, batch).await {
                Ok(answers) => break answers,
                Err(error) => {
                    let limited = matches!(error, ProviderError::RateLimited { .. });
                    self.limits += u32::from(limited);
                    if limited && self.limits < RATE_LIMITS {
                        continue;
                    }
                    self.summary.error = Some(error.to_string());
                    let away = if limited { Ended::RateLimited } else { Ended::Failed };
                    self.away = Some(away);
                    // Others are worth asking while they know anything.
                    match identify::by_hash_of_others(&app.providers, batch, &error).await {
                        Some(answers) => break answers,
                        None => return Some(away),
                    }
                }
            }
        };
        for records in batch.chunks(ACT) {
            let mut arrived = Vec::new();
            for record in records {
                let Some(answer) = answers.next().await else { break };
                self.count(record, &answer);
                arrived.push(answer);
                if self.limits >= RATE_LIMITS || self.cancel.is_set() {
                    break;
                }
            }
            self.take(records, arrived).await;
            if self.limits >= RATE_LIMITS {
                return Some(Ended::RateLimited);
            }
            if self.cancel.is_set() {
                return Some(Ended::Cancelled);
            }
        }
        None
    }

    /// Counts an answer about a model, and tells clients.
    fn count(&mut self, record: &Record, answer: &Answer) {
        self.summary.processed += 1;
        // That an archive wants a break says nothing of CivitAI, which is asked first.
        let is_limit = |error: &ProviderError| {
            matches!(error, ProviderError::RateLimited { .. }) && self.app.providers.is_of_civitai(error)
        };
        if answer.as_ref().is_err_and(is_limit) {
            self.limits += 1;
        } else {
            self.limits = 0;
        }
        if let Err(error) = answer {
            let text = metadata::failure_text(&record.path, &record.sha256_hex(), error);
            self.summary.fail(&record.model_name, &text);
        }
        self.progress(&record.model_name);
    }

    /// Takes counted answers into the sidecars of their models; of models without one nothing is written.
    async fn take(&mut self, records: &[Arc<Record>], answers: Vec<Answer>) {
        let mut words = Vec::new();
        let mut found = Vec::new();
        for (record, answer) in records.iter().zip(answers) {
            if answer.is_ok() {
                found.push(record.clone());
            }
            let Ok(said) = identify::said(&self.app.providers, record, answer) else {
                continue;
            };
            words.push(Word {
                path: record.path.to_string(),
                said,
                at: now(),
                preview: None,
            });
        }
        let mut words = words.into_iter();
        loop {
            let words = self.previews.next(self.app, self.service, &mut words).await;
            if words.is_empty() {
                break;
            }
            let paths: Vec<String> = words.iter().map(|word| word.path.clone()).collect();
            match metadata::take(self.app, self.service, ActKind::Refresh, words).await {
                Ok(outcome) => {
                    for model in outcome.models {
                        let Some(record) = found.iter().find(|record| *record.path == *model.path) else {
                            continue;
                        };
                        match model.result {
                            Ok(_) => self.summary.updated += 1,
                            Err(error) => self.summary.fail(&record.model_name, &error.to_string()),
                        }
                    }
                }
                Err(error) => {
                    let reason = error.to_string();
                    let failed = found
                        .iter()
                        .filter(|record| paths.iter().any(|path| **path == *record.path));
                    failed.for_each(|record| self.summary.fail(&record.model_name, &reason));
                }
            }
        }
        if let Some(last) = records.last() {
            self.progress(&last.model_name);
        }
    }

    /// Tells clients with which model it is busy, unless too many messages were sent lately.
    fn progress(&mut self, model_name: &str) {
        if self.pace.allows(Instant::now()) {
            self.tell(Some(model_name), false);
        }
    }

    fn tell(&mut self, current: Option<&str>, started: bool) {
        self.summary.elapsed = self.started.elapsed().as_secs();
        let page_type = self.service.plugin.info().prefix();
        let message = self.summary.message(page_type, current, started);
        let mut last = self.app.refreshes.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that polling never shows what no socket was sent.
        self.app.hub.broadcast(message.to_string());
        last.insert(page_type.to_owned(), message);
    }
}

/// Bounds how many messages are sent in a second.
struct Pace {
    per_second: f64,
    left: f64,
    at: Option<Instant>,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self {
            per_second,
            left: per_second,
            at: None,
        }
    }

    /// Whether one more may be sent now; it counts as sent then.
    fn allows(&mut self, now: Instant) -> bool {
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        let allowed = self.left >= 1.0;
        self.left -= f64::from(u8::from(allowed));
        allowed
    }
}

/// Which models a run asks about. Source: contract section 6.4.1.
struct Needs {
    skipped_folders: Vec<String>,
    archive: bool,
}

impl Needs {
    fn new(contract: &ContractSettings) -> Self {
        Self {
            skipped_folders: contract.list("metadata_refresh_skip_paths"),
            archive: contract.flag("enable_metadata_archive_db", false),
        }
    }

    fn refresh(&self, record: &Record) -> bool {
        let archive_may_know = self.archive && !record.db_checked;
        let gone = record.civitai_deleted && !record.from_civitai && !archive_may_know;
        let skipped = |folder: &String| record.is_below(folder.trim_matches('/'));
        !record.skip_metadata_refresh
            && record.remote.id.is_none()
            && record.hf_url.is_none()
            && !gone
            && !self.skipped_folders.iter().any(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_fast_run_are_bounded_and_those_of_a_slow_one_all_sent() {
        let start = Instant::now();
        let mut pace = Pace::new(100.0);
        let fast = (0..10_000).filter(|n| pace.allows(start + Duration::from_micros(n * 1_000)));
        // Ten seconds: a second's worth at once, then as many as the rate allows.
        assert!((1_000..=1_100).contains(&fast.count()));
        let mut pace = Pace::new(100.0);
        assert!((0..1_000).all(|n| pace.allows(start + Duration::from_millis(n * 20))));
    }
}
