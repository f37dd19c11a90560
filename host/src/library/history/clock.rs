//! The clock by which the age of acts is judged. A system's clock may be wrong for a while: days that it jumps are no days
//! that somebody had to undo a delete.
//!
//! It goes on as the system's clock does, but for a jump by at most a day, and never back. It begins at the time of the
//! newest act, which agrees with the files around it, and not at the system's.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::files::{atomic, foreign};
use crate::moment;

/// Name of the file in the data folder.
const FILE: &str = "history_clock.json";
/// The largest step at a time, in seconds.
const DAY: f64 = 86_400.0;

/// Where it stands; both in seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct State {
    /// This clock.
    time: f64,
    /// The system's clock then, since 1970-01-01 UTC.
    system: f64,
}

impl State {
    /// After the system's clock came to `system` while `elapsed` seconds passed that are known for sure.
    fn advanced(self, system: f64, elapsed: f64) -> Self {
        let step = (system - self.system).max(elapsed);
        Self {
            time: self.time + step.clamp(0.0, elapsed.max(DAY)),
            system,
        }
    }
}

/// A clock that neither jumps by more than a day nor goes back.
#[derive(Debug)]
pub struct Clock {
    path: PathBuf,
    state: Mutex<(State, Instant)>,
}

impl Clock {
    /// Opens the clock of a data folder; `newest` is the time of the newest act.
    pub fn open(data_folder: &Path, newest: Option<f64>) -> Self {
        Self::open_at(data_folder, newest, moment::now())
    }

    fn open_at(data_folder: &Path, newest: Option<f64>, system: f64) -> Self {
        let path = data_folder.join(FILE);
        let read = foreign::read(&path, foreign::OWN_FILE).ok().flatten();
        let state: Option<State> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let start = newest.unwrap_or(system);
        let mut state = state
            .filter(|state| state.time.is_finite() && state.system.is_finite())
            .unwrap_or(State {
                time: start,
                system: start,
            });
        // What was made is not made later.
        state.time = state.time.max(start.min(state.time + DAY));
        let jumped = system - state.system;
        if !(-DAY..=DAY).contains(&jumped) {
            tracing::warn!(
                days = jumped / DAY,
                "the clock is days away from where it was when this server ran last; the age of what is in the trash grows by at most one day for it"
            );
        }
        let clock = Self {
            path,
            state: Mutex::new((state.advanced(system, 0.0), Instant::now())),
        };
        clock.save();
        clock
    }

    /// Its time now, in seconds.
    pub fn now(&self) -> f64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.time + state.1.elapsed().as_secs_f64()
    }

    /// Takes the system's clock over as far as it may, and answers its time.
    pub fn advance(&self) -> f64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (system, elapsed) = (moment::now(), state.1.elapsed().as_secs_f64());
        if system - state.0.system > elapsed + DAY {
            tracing::warn!(
                days = (system - state.0.system) / DAY,
                "the clock jumped; it counts as one day for the age of what is in the trash"
            );
        }
        *state = (state.0.advanced(system, elapsed), Instant::now());
        let time = state.0.time;
        drop(state);
        self.save();
        time
    }

    fn save(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).0;
        let saved = serde_json::to_vec(&state).map_err(std::io::Error::from);
        if let Err(error) = saved.and_then(|bytes| atomic::write(&self.path, &bytes)) {
            tracing::warn!(file = %self.path.display(), %error, "can't be written; the trash may be kept longer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_counts_as_a_day_and_a_step_back_as_none() {
        let state = State {
            time: 1000.0,
            system: 1000.0,
        };
        let ahead = state.advanced(1000.0 + 30.0 * DAY, 3600.0);
        assert!((ahead.time - (1000.0 + DAY)).abs() < 1.0);
        let right = ahead.advanced(4600.0, 60.0);
        assert!((right.time - ahead.time - 60.0).abs() < 1.0);
        let slept = right.advanced(4600.0 + 9.0, 3.0 * DAY);
        assert!(
            (slept.time - right.time - 3.0 * DAY).abs() < 1.0,
            "what passed for sure counts whole"
        );
    }

    #[test]
    fn without_a_file_it_begins_at_the_newest_act_and_goes_on_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let at = 1_700_000_000.0;
        let clock = Clock::open_at(data.path(), Some(at), at + 300.0 * DAY);
        assert!((clock.now() - (at + DAY)).abs() < 5.0);
        let clock = Clock::open_at(data.path(), Some(at), at + 300.0 * DAY + 60.0);
        assert!((clock.now() - (at + DAY + 60.0)).abs() < 5.0);
        let clock = Clock::open_at(data.path(), Some(at), at + 120.0);
        assert!((clock.now() - (at + DAY + 60.0)).abs() < 5.0);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1);
    }
}
