//! A bound of requests, as the real one has: so many a second, after a burst.

use std::time::Instant;

/// Requests that may still come, filling up with time.
#[derive(Debug)]
pub(crate) struct Limit {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Limit {
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            left: burst,
            at: Instant::now(),
        }
    }

    /// Whether one more request may be answered.
    pub(crate) fn admits(&mut self) -> bool {
        let now = Instant::now();
        let more = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        self.left = (self.left + more).min(self.burst);
        let admits = self.left >= 1.0;
        if admits {
            self.left -= 1.0;
        }
        admits
    }
}
