//! A bound of the rate over all files.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Hands out bytes at a rate.
#[derive(Debug)]
pub struct Limiter {
    bytes_per_second: f64,
    // When the bytes that were handed out so far are used up.
    until: Mutex<Option<Instant>>,
}

impl Limiter {
    /// 0, or anything that is no rate, is no bound.
    pub fn new(bytes_per_second: f64) -> Self {
        Self {
            bytes_per_second,
            until: Mutex::default(),
        }
    }

    /// Whether there is a bound.
    pub fn is_set(&self) -> bool {
        self.bytes_per_second.is_finite() && self.bytes_per_second > 0.0
    }

    /// Notes that so many bytes were read; how long to wait before more are.
    pub fn take(&self, bytes: u64, now: Instant) -> Duration {
        if !self.is_set() || bytes == 0 {
            return Duration::ZERO;
        }
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second).unwrap_or(Duration::MAX);
        // A break saves nothing up.
        let start = until.map_or(now, |until| until.max(now));
        let end = start.checked_add(cost).unwrap_or(start);
        *until = Some(end);
        end.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_all_takers_and_a_break_saves_nothing_up() {
        let limiter = Limiter::new(1_000.0);
        let start = Instant::now();
        assert_eq!(limiter.take(500, start), Duration::from_millis(500));
        assert_eq!(limiter.take(500, start), Duration::from_millis(1_000));
        let later = start + Duration::from_secs(60);
        assert_eq!(limiter.take(500, later), Duration::from_millis(500));
    }

    #[test]
    fn no_rate_is_no_bound() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Limiter::new(rate).take(1 << 40, Instant::now()), Duration::ZERO);
        }
        // Slower than any clock can say.
        let _ = Limiter::new(f64::MIN_POSITIVE).take(1 << 40, Instant::now());
    }
}
