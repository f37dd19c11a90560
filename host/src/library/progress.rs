//! How far work on a library is, as clients are told: the first reading (contract section 3.3),
//! and what a library is doing at any time.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One message of `/ws/init-progress`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InitProgress {
    /// `loading_cache`, `scan_folders`, `count_models`, `process_models` or `finalizing`.
    pub stage: &'static str,
    /// 0 to 100.
    pub progress: u8,
    /// For a person.
    pub details: String,
    /// `complete` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Id of the model type.
    pub scanner_type: String,
    /// URL prefix of the model type.
    #[serde(rename = "pageType")]
    pub page_type: String,
}

/// Where progress goes.
pub trait ProgressSink: Send + Sync {
    /// The first reading of a type went on.
    fn init(&self, progress: InitProgress);
    /// Models of a type changed.
    fn models_changed(&self, page_type: &str);
    /// What a library is doing went on.
    fn activity(&self, activity: Activity);
}

/// What a type's library is doing: one message of `/ws/fetch-progress`, and what `status` answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Activity {
    /// Always `activity`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// URL prefix of the model type.
    #[serde(rename = "pageType")]
    pub page_type: String,
    /// What is done now.
    pub phase: Phase,
    /// Files that are done.
    pub done: u64,
    /// Files there are to do; 0 while nobody knows.
    pub total: u64,
    /// Bytes that are done; 0 where bytes do not count.
    pub bytes_done: u64,
    /// Bytes there are to do.
    pub bytes_total: u64,
    /// Bytes a second, smoothed.
    pub bytes_per_second: u64,
    /// Files a second, smoothed.
    pub files_per_second: f64,
    /// Seconds left at this rate; none while nobody can say.
    pub seconds_left: Option<u64>,
    /// How it stands. Not called `status`: pages of LoraManager take any message with `status` for one of their own runs.
    pub state: ActivityState,
}

/// What a library does that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Looking through folders.
    Walking,
    /// Reading sidecars and headers.
    Reading,
    /// Hashing files.
    Hashing,
}

/// How an activity stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivityState {
    /// At work.
    Running,
    /// Stopped by a person, and goes on when told.
    Paused,
    /// All done.
    Done,
    /// Given up because somebody said so.
    Cancelled,
}

/// Messages of one activity are at least this far apart.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How far back the smoothed rates look.
const MEMORY: f64 = 4.0;
/// Rates are taken over at least this long.
const SAMPLE: Duration = Duration::from_millis(200);

/// Counts work, and says how fast it goes and how long it will take.
#[derive(Debug, Default)]
pub struct Meter {
    /// Files to do.
    pub total: u64,
    /// Files done.
    pub done: u64,
    /// Bytes to do.
    pub bytes_total: u64,
    /// Bytes done.
    pub bytes_done: u64,
    rate: Rate,
    reported: Option<Instant>,
}

#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    // What was done when the last sample was taken.
    done: u64,
    bytes: u64,
    // Seconds that were measured so far.
    measured: f64,
    files_per_second: f64,
    bytes_per_second: f64,
}

impl Meter {
    /// Takes a sample, when the last one is old enough; called often while work goes on.
    pub fn sample(&mut self, now: Instant) {
        let rate = &mut self.rate;
        let Some(since) = rate.since else {
            (rate.since, rate.done, rate.bytes) = (Some(now), self.done, self.bytes_done);
            return;
        };
        let passed = now.saturating_duration_since(since);
        if passed < SAMPLE {
            return;
        }
        let seconds = passed.as_secs_f64();
        rate.measured += seconds;
        // The first moments count as a plain mean, so that no start from zero drags the rate down.
        let weight = (1.0 - (-seconds / MEMORY).exp()).max(seconds / rate.measured);
        let smooth = |old: f64, done: u64| old + weight * (done as f64 / seconds - old);
        rate.files_per_second = smooth(rate.files_per_second, self.done.saturating_sub(rate.done));
        rate.bytes_per_second = smooth(rate.bytes_per_second, self.bytes_done.saturating_sub(rate.bytes));
        (rate.since, rate.done, rate.bytes) = (Some(now), self.done, self.bytes_done);
    }

    /// Forgets when the last sample was taken, since what follows was a break.
    pub fn interrupt(&mut self) {
        self.rate.since = None;
    }

    /// Whether the next message is due; then the time of it is noted.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self
            .reported
            .is_none_or(|last| now.saturating_duration_since(last) >= REPORT_EVERY);
        if due {
            self.reported = Some(now);
        }
        due
    }

    /// Bytes a second.
    pub fn bytes_per_second(&self) -> u64 {
        self.rate.bytes_per_second as u64
    }

    /// Seconds that are left, by bytes where bytes count, else by files.
    pub fn seconds_left(&self) -> Option<u64> {
        let left = |total: u64, done: u64, rate: f64| {
            (total > 0 && rate > 0.0).then(|| (total.saturating_sub(done) as f64 / rate).ceil() as u64)
        };
        if self.bytes_total > 0 {
            left(self.bytes_total, self.bytes_done, self.rate.bytes_per_second)
        } else {
            left(self.total, self.done, self.rate.files_per_second)
        }
    }

    /// The message that tells of it.
    pub fn activity(&self, page_type: &str, phase: Phase, state: ActivityState) -> Activity {
        let running = state == ActivityState::Running;
        Activity {
            kind: "activity",
            page_type: page_type.to_owned(),
            phase,
            done: self.done,
            total: self.total,
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            bytes_per_second: self.bytes_per_second(),
            files_per_second: (self.rate.files_per_second * 10.0).round() / 10.0,
            seconds_left: self.seconds_left().filter(|_| running),
            state,
        }
    }
}

/// Tells of a scan: walking, then reading.
pub struct ScanActivity {
    meter: Meter,
    phase: Phase,
}

impl Default for ScanActivity {
    fn default() -> Self {
        Self {
            meter: Meter::default(),
            phase: Phase::Walking,
        }
    }
}

impl ScanActivity {
    /// The scan began to walk.
    pub fn walking(&mut self, page_type: &str) -> Activity {
        self.meter.activity(page_type, self.phase, ActivityState::Running)
    }

    /// So many files are to be read.
    pub fn counted(&mut self, page_type: &str, files: usize) -> Activity {
        self.phase = Phase::Reading;
        self.meter.total = files as u64;
        self.meter.sample(Instant::now());
        self.meter.activity(page_type, self.phase, ActivityState::Running)
    }

    /// This share of them is read; a message when one is due.
    pub fn read(&mut self, page_type: &str, share: f64) -> Option<Activity> {
        let now = Instant::now();
        self.meter.done = (share * self.meter.total as f64).round() as u64;
        self.meter.sample(now);
        self.meter
            .is_due(now)
            .then(|| self.meter.activity(page_type, self.phase, ActivityState::Running))
    }

    /// It came to its end, or was cancelled.
    pub fn ended(&mut self, page_type: &str, cancelled: bool) -> Activity {
        let state = if cancelled {
            ActivityState::Cancelled
        } else {
            self.meter.done = self.meter.total;
            ActivityState::Done
        };
        self.meter.activity(page_type, self.phase, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_shown_as_it_is_and_gives_the_time_left() {
        let mut meter = Meter {
            total: 100,
            bytes_total: 100_000,
            ..Meter::default()
        };
        let start = Instant::now();
        for second in 0..=10u64 {
            (meter.done, meter.bytes_done) = (second, second * 1_000);
            meter.sample(start + Duration::from_secs(second));
        }
        assert_eq!((meter.bytes_per_second(), meter.seconds_left()), (1_000, Some(90)));
    }

    #[test]
    fn a_break_is_not_taken_for_slowness() {
        let mut meter = Meter {
            bytes_total: 100_000,
            ..Meter::default()
        };
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        meter.sample(at(0));
        meter.bytes_done = 1_000;
        meter.sample(at(1));
        meter.interrupt();
        meter.sample(at(100));
        meter.bytes_done = 2_000;
        meter.sample(at(101));
        assert_eq!(meter.bytes_per_second(), 1_000);
    }

    #[test]
    fn messages_come_at_most_four_times_a_second() {
        let mut meter = Meter::default();
        let start = Instant::now();
        let due = (0..1_000).filter(|ms| meter.is_due(start + Duration::from_millis(*ms)));
        assert_eq!(due.count(), 4);
    }

    #[test]
    fn a_message_has_the_members_that_pages_read() {
        let activity = Meter::default().activity("models", Phase::Hashing, ActivityState::Paused);
        let text = serde_json::to_value(activity).unwrap();
        let expected = serde_json::json!({
            "type": "activity", "pageType": "models", "phase": "hashing", "done": 0, "total": 0, "bytes_done": 0,
            "bytes_total": 0, "bytes_per_second": 0, "files_per_second": 0.0, "seconds_left": null, "state": "paused",
        });
        assert_eq!(text, expected);
    }
}
