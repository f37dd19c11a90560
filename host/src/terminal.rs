//! Progress in the terminal: a line for each library that is at work, below the log.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::library::progress::{Activity, ActivityState, Phase};

/// The lines at the end of a terminal.
pub struct Terminal {
    lines: MultiProgress,
    // By page type and whether it is hashing.
    bars: Mutex<HashMap<(String, bool), Line>>,
}

/// What is over before this time is not worth a line.
const DELAY: Duration = Duration::from_millis(500);

struct Line {
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// None when standard error is no terminal.
    pub fn of_standard_error() -> Option<Arc<Self>> {
        std::io::stderr().is_terminal().then(|| {
            Arc::new(Self {
                lines: MultiProgress::new(),
                bars: Mutex::default(),
            })
        })
    }

    /// Shows how far something is; its line goes when it is over.
    pub fn show(&self, activity: &Activity) {
        let key = (activity.page_type.clone(), activity.phase == Phase::Hashing);
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(activity.state, ActivityState::Done | ActivityState::Cancelled) {
            if let Some(bar) = bars.remove(&key).and_then(|line| line.bar) {
                bar.finish_and_clear();
                self.lines.remove(&bar);
            }
            return;
        }
        let line = bars.entry(key).or_insert_with(|| Line {
            since: Instant::now(),
            bar: None,
        });
        if line.since.elapsed() < DELAY {
            return;
        }
        let bar = line.bar.get_or_insert_with(|| {
            let bar = self.lines.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template("{prefix:>24} [{bar:24}] {msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        bar.set_prefix(prefix(activity));
        let by_bytes = activity.bytes_total > 0;
        bar.set_length(if by_bytes { activity.bytes_total } else { activity.total }.max(1));
        bar.set_position(if by_bytes { activity.bytes_done } else { activity.done });
        bar.set_message(message(activity));
    }

    /// Writes something above the lines.
    fn above(&self, text: &[u8]) -> std::io::Result<()> {
        self.lines.suspend(|| std::io::stderr().write_all(text))
    }

    /// Takes all lines away.
    pub fn clear(&self) {
        // A terminal that is gone has no lines.
        let _ = self.lines.clear();
    }
}

fn prefix(activity: &Activity) -> String {
    let phase = match activity.phase {
        Phase::Walking => "looking",
        Phase::Reading => "reading",
        Phase::Hashing => "hashing",
    };
    format!("{} {phase}", activity.page_type)
}

fn message(activity: &Activity) -> String {
    if activity.phase == Phase::Walking {
        return "through the folders".into();
    }
    let mut text = format!("{} of {} files", activity.done, activity.total);
    if activity.bytes_total > 0 {
        let (done, total) = (HumanBytes(activity.bytes_done), HumanBytes(activity.bytes_total));
        text += &format!(", {done} of {total}");
    }
    if activity.state == ActivityState::Paused {
        return text + ", paused";
    }
    if activity.bytes_per_second > 0 {
        text += &format!(", {}/s", HumanBytes(activity.bytes_per_second));
    } else if activity.files_per_second > 0.0 {
        text += &format!(", {:.0} files/s", activity.files_per_second);
    }
    if let Some(left) = activity.seconds_left {
        text += &format!(", {} left", HumanDuration(Duration::from_secs(left)));
    }
    text
}

/// Writes the log to standard error, above the lines of a terminal.
#[derive(Clone)]
pub struct LogWriter(pub Option<Arc<Terminal>>);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        match &self.0 {
            Some(terminal) => terminal.above(text)?,
            None => std::io::stderr().write_all(text)?,
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::progress::Meter;

    #[test]
    fn a_line_says_what_is_done_how_fast_and_what_is_left() {
        let mut activity = Meter::default().activity("models", Phase::Hashing, ActivityState::Running);
        (activity.done, activity.total) = (3, 10);
        (activity.bytes_done, activity.bytes_total) = (1 << 30, 4 << 30);
        (activity.bytes_per_second, activity.seconds_left) = (512 << 20, Some(6));
        assert_eq!(
            format!("{}: {}", prefix(&activity), message(&activity)),
            "models hashing: 3 of 10 files, 1.00 GiB of 4.00 GiB, 512.00 MiB/s, 6 seconds left"
        );
        activity.state = ActivityState::Paused;
        assert!(message(&activity).ends_with("paused"));
    }
}
