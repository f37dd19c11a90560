//! What one plugin used, over all of its versions since the server started.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budget, Refused};
use super::engine::CallKind;
use super::error::{CallError, LimitError};
use super::limits::Limits;

/// Longest text of a failure that is kept, in bytes.
const MAX_FAILURE: usize = 8 << 10;
/// Most tenths of a power of two that durations are told apart by; the last is about 2^36 µs.
const BUCKETS: usize = 288;
/// Buckets in a power of two.
const STEPS: usize = 8;

/// See the module.
pub struct Account {
    limits: Limits,
    requests: Arc<Semaphore>,
    rules: Arc<Semaphore>,
    used: Mutex<Used>,
    budgets: Mutex<Budgets>,
    peak_memory: AtomicUsize,
    stored: AtomicUsize,
    waited: AtomicU64,
}

#[derive(Default)]
struct Used {
    exports: BTreeMap<&'static str, Export>,
    traps: u64,
    // How often each limit was run into.
    limits: BTreeMap<&'static str, u64>,
    last_failure: Option<LastFailure>,
    requests: VecDeque<Instant>,
    requests_in_all: u64,
}

/// What all calls together may still write and send.
struct Budgets {
    log_lines: Budget,
    log_bytes: Budget,
    events: Budget,
}

struct Export {
    calls: u64,
    failed: u64,
    // How many calls took about 2^(index / STEPS) microseconds.
    times: Vec<u64>,
    longest: Duration,
}

/// The last call that failed.
#[derive(Debug, Clone)]
pub struct LastFailure {
    /// What was called.
    pub export: &'static str,
    /// What happened, with the guest's backtrace.
    pub reason: String,
    /// When.
    pub at: SystemTime,
}

/// Calls of one export.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    /// Its name.
    pub export: &'static str,
    /// How many.
    pub calls: u64,
    /// How many of them trapped, ran into a limit or broke the interface.
    pub failed: u64,
    /// The time that half of them kept below.
    pub median: Duration,
    /// The time that all but one in a hundred kept below.
    pub p99: Duration,
}

/// What was used, at one moment.
#[derive(Debug, Clone)]
pub struct Usage {
    /// By export.
    pub calls: Vec<Calls>,
    /// Calls that trapped.
    pub traps: u64,
    /// How often each limit was run into.
    pub limits: BTreeMap<&'static str, u64>,
    /// The last call that failed.
    pub last_failure: Option<LastFailure>,
    /// The most memory that a call had, in bytes.
    pub peak_memory: usize,
    /// What `kv` holds, in bytes.
    pub stored: usize,
    /// Requests of `remote`.
    pub requests: u64,
    /// Requests of the last minute.
    pub requests_in_minute: usize,
    /// Calls that waited because as many as may run did.
    pub waited: u64,
    /// Calls that run now.
    pub running: usize,
}

impl Account {
    /// Nothing used yet.
    pub fn new(limits: Limits) -> Self {
        let places = limits.instances_each.clamp(1, Semaphore::MAX_PERMITS);
        let now = Instant::now();
        let budgets = Budgets {
            log_lines: Budget::new(limits.log_lines_per_minute, now),
            log_bytes: Budget::new(limits.log_kib_per_minute << 10, now),
            events: Budget::new(limits.events_per_minute, now),
        };
        Self {
            budgets: Mutex::new(budgets),
            limits,
            requests: Arc::new(Semaphore::new(places)),
            rules: Arc::new(Semaphore::new(places)),
            used: Mutex::default(),
            peak_memory: AtomicUsize::new(0),
            stored: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
        }
    }

    /// What the plugin may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits until the plugin may make another call.
    pub(super) async fn place(&self, kind: CallKind) -> Result<OwnedSemaphorePermit, CallError> {
        let places = match kind {
            CallKind::Request => &self.requests,
            CallKind::Rule => &self.rules,
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        let place = places.clone().acquire_owned().await;
        place.map_err(|_| CallError::Shutdown)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call.
    pub(super) fn note(&self, export: &'static str, took: Duration) {
        let mut used = self.used();
        let own = used.exports.entry(export).or_default();
        own.calls += 1;
        own.longest = own.longest.max(took);
        if let Some(count) = own.times.get_mut(bucket(took)) {
            *count += 1;
        }
    }

    /// Notes what went wrong with a call on the plugin's side.
    pub(super) fn fail(&self, export: &'static str, error: &CallError) {
        let mut used = self.used();
        used.exports.entry(export).or_default().failed += 1;
        match error {
            CallError::Trap { .. } => used.traps += 1,
            CallError::Limit { limit, .. } => *used.limits.entry(limit.name()).or_default() += 1,
            _ => {}
        }
        let mut reason = error.to_string();
        reason.truncate(reason.floor_char_boundary(MAX_FAILURE));
        used.last_failure = Some(LastFailure {
            export,
            reason,
            at: SystemTime::now(),
        });
    }

    /// Notes that an import refused something for a limit.
    pub(super) fn ran_into(&self, limit: &LimitError) {
        *self.used().limits.entry(limit.name()).or_default() += 1;
    }

    /// Counts a line of the log, unless there were too many or too long ones. Tells in the log once that lines are dropped,
    /// and how many were when the next one is written.
    pub(super) fn may_log(&self, plugin: &str, bytes: usize) -> bool {
        let now = Instant::now();
        let taken = {
            let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
            let lines = budgets.log_lines.take(1, now);
            lines.and_then(|lines| budgets.log_bytes.take(bytes, now).map(|bytes| lines + bytes))
        };
        match taken {
            Ok(0) => {}
            Ok(dropped) => tracing::warn!(plugin, dropped, "log lines of a plugin were dropped"),
            Err(Refused { is_first }) => {
                if is_first {
                    let Limits {
                        log_lines_per_minute: lines,
                        log_kib_per_minute: kib,
                        ..
                    } = self.limits;
                    tracing::warn!(
                        plugin,
                        "a plugin writes more than its limit of {lines} log lines or {kib} KiB a minute; further lines are dropped"
                    );
                }
                return false;
            }
        }
        true
    }

    /// Counts a message to pages, unless there were too many.
    pub(super) fn may_send(&self) -> Result<(), LimitError> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = budgets.events.take(1, Instant::now());
        taken
            .map(|_| ())
            .map_err(|_| LimitError::Events(self.limits.events_per_minute))
    }

    /// Notes how much memory a call had.
    pub(super) fn had_memory(&self, bytes: usize) {
        self.peak_memory.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Notes what `kv` holds.
    pub(super) fn stores(&self, bytes: usize) {
        self.stored.store(bytes, Ordering::Relaxed);
    }

    /// Counts a request of `remote`, unless there were too many in the last minute.
    pub(super) fn may_request(&self) -> Result<(), LimitError> {
        let (now, most) = (Instant::now(), self.limits.requests_per_minute);
        let mut used = self.used();
        drop_older(&mut used.requests, now, Duration::from_secs(60));
        if used.requests.len() >= most {
            return Err(LimitError::Requests(most));
        }
        used.requests.push_back(now);
        used.requests_in_all += 1;
        Ok(())
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        let mut used = self.used();
        drop_older(&mut used.requests, Instant::now(), Duration::from_secs(60));
        let calls = used.exports.iter().map(|(export, own)| Calls {
            export,
            calls: own.calls,
            failed: own.failed,
            median: own.below(0.5),
            p99: own.below(0.99),
        });
        Usage {
            calls: calls.collect(),
            traps: used.traps,
            limits: used.limits.clone(),
            last_failure: used.last_failure.clone(),
            peak_memory: self.peak_memory.load(Ordering::Relaxed),
            stored: self.stored.load(Ordering::Relaxed),
            requests: used.requests_in_all,
            requests_in_minute: used.requests.len(),
            waited: self.waited.load(Ordering::Relaxed),
            running: (2 * self.limits.instances_each.clamp(1, Semaphore::MAX_PERMITS))
                .saturating_sub(self.requests.available_permits() + self.rules.available_permits()),
        }
    }
}

impl Default for Export {
    fn default() -> Self {
        Self {
            calls: 0,
            failed: 0,
            times: vec![0; BUCKETS],
            longest: Duration::ZERO,
        }
    }
}

impl Export {
    /// The time below which this share of the calls kept, rounded up by at most a tenth.
    fn below(&self, share: f64) -> Duration {
        let wanted = (self.calls as f64 * share).ceil() as u64;
        let mut seen = 0;
        let found = self.times.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let upper = 2_f64.powf((found.unwrap_or(BUCKETS) + 1) as f64 / STEPS as f64);
        Duration::from_secs_f64(upper / 1e6).min(self.longest)
    }
}

fn bucket(took: Duration) -> usize {
    let micros = (took.as_secs_f64() * 1e6).max(1.0);
    ((micros.log2() * STEPS as f64) as usize).min(BUCKETS - 1)
}

/// Drops what is older than this from the front.
fn drop_older(times: &mut VecDeque<Instant>, now: Instant, age: Duration) {
    while times.front().is_some_and(|at| now.duration_since(*at) >= age) {
        times.pop_front();
    }
}

/// Whether one version of a plugin still may be called.
#[derive(Default)]
pub struct Health {
    strikes: Mutex<VecDeque<Instant>>,
    quarantine: arc_swap::ArcSwapOption<String>,
}

impl Health {
    /// Why it may not be called any more.
    pub fn quarantine(&self) -> Option<Arc<String>> {
        self.quarantine.load_full()
    }

    /// Notes that it did what counts as so many traps; whether that was too much.
    pub(super) fn strike(&self, limits: &Limits, weight: usize, last: &CallError) -> bool {
        let (now, most) = (Instant::now(), limits.quarantine_traps);
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        drop_older(&mut strikes, now, limits.quarantine_time());
        // As many as matter, so that it stays small whatever the setting is.
        strikes.extend(std::iter::repeat_n(now, weight.min(most)));
        if most == 0 || strikes.len() < most || self.quarantine.load().is_some() {
            return false;
        }
        let reason = format!(
            "it trapped or ran into limits {} times within {} s; the last time: {}",
            strikes.len(),
            limits.quarantine_seconds,
            beginning(&last.to_string())
        );
        self.quarantine.store(Some(Arc::new(reason)));
        true
    }
}

/// Two lines: a panic tells its place in the first and its reason in the second. The backtrace is in the last failure.
fn beginning(text: &str) -> String {
    text.lines().take(2).map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> CallError {
        CallError::Trap {
            plugin: "x".into(),
            export: "handle",
            reason: "panicked at src/lib.rs:1:2:\nno\n at f".into(),
        }
    }

    #[test]
    fn times_are_told_to_a_tenth() {
        let account = Account::new(Limits::default());
        for ms in 1..=100 {
            account.note("handle", Duration::from_millis(ms));
        }
        let usage = account.usage();
        let calls = &usage.calls[0];
        assert_eq!((calls.calls, calls.failed), (100, 0));
        let near = |was: Duration, ms: f64| (was.as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.11;
        assert!(near(calls.median, 50.0) && near(calls.p99, 99.0), "{calls:?}");
    }

    #[test]
    fn failures_are_counted_by_what_they_ran_into() {
        let account = Account::new(Limits::default());
        account.fail("handle", &trap());
        let limit = CallError::Limit {
            plugin: "x".into(),
            export: "derive",
            limit: LimitError::Time(Duration::from_secs(1)),
        };
        account.fail("derive", &limit);
        let usage = account.usage();
        assert_eq!((usage.traps, usage.limits["time"]), (1, 1));
        assert_eq!(usage.last_failure.map(|last| last.export), Some("derive"));
    }

    #[test]
    fn requests_are_bounded_for_a_minute() {
        let account = Account::new(Limits {
            requests_per_minute: 2,
            ..Limits::default()
        });
        assert!(account.may_request().is_ok() && account.may_request().is_ok());
        assert!(account.may_request().is_err());
        assert_eq!(account.usage().requests_in_minute, 2);
    }

    #[test]
    fn logs_and_events_are_bounded_over_all_calls() {
        let account = Account::new(Limits {
            log_lines_per_minute: 3,
            log_kib_per_minute: 1,
            events_per_minute: 2,
            ..Limits::default()
        });
        let written = (0..5).filter(|_| account.may_log("x", 10)).count();
        assert_eq!(written, 3);
        let account = Account::new(Limits {
            log_kib_per_minute: 1,
            ..Limits::default()
        });
        assert!(account.may_log("x", 1000) && !account.may_log("x", 100));
        let account = Account::new(Limits {
            events_per_minute: 2,
            ..Limits::default()
        });
        assert!(account.may_send().is_ok() && account.may_send().is_ok() && account.may_send().is_err());
    }

    #[test]
    fn a_version_is_quarantined_after_so_many_traps_and_says_why() {
        let limits = Limits {
            quarantine_traps: 3,
            ..Limits::default()
        };
        let health = Health::default();
        assert!(!health.strike(&limits, 1, &trap()) && !health.strike(&limits, 1, &trap()));
        assert!(health.quarantine().is_none());
        assert!(health.strike(&limits, 1, &trap()));
        let reason = health.quarantine().unwrap();
        assert!(
            reason.contains("3 times") && reason.ends_with("`handle`: panicked at src/lib.rs:1:2: no"),
            "{reason}"
        );
        let never = Limits {
            quarantine_traps: 0,
            ..Limits::default()
        };
        let health = Health::default();
        assert!((0..100).all(|_| !health.strike(&never, 1, &trap())));
    }
}
