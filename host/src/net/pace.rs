//! The least pace of a body: a server that sends a few bytes now and then must not hold a connection, and a slot, for ever.

use std::time::{Duration, Instant};

/// Counts bytes over windows of time.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    // Bytes that must come in each window.
    least: u64,
    began: Instant,
    bytes: u64,
}

impl Pace {
    /// At least `bytes_per_second` over each `window`; 0 asks for nothing.
    pub fn new(bytes_per_second: u64, window: Duration, now: Instant) -> Self {
        Self {
            window,
            least: (bytes_per_second as f64 * window.as_secs_f64()) as u64,
            began: now,
            bytes: 0,
        }
    }

    /// Adds bytes that came. False when the window that ends now had too few.
    pub fn keeps(&mut self, bytes: u64, now: Instant) -> bool {
        self.bytes += bytes;
        if now.duration_since(self.began) < self.window {
            return true;
        }
        let enough = self.bytes >= self.least;
        (self.began, self.bytes) = (now, 0);
        enough
    }

    /// Starts a new window: the time until now does not count, since the receiver itself made the sender wait.
    pub fn restart(&mut self, now: Instant) {
        (self.began, self.bytes) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_bytes_in_a_whole_window_are_too_slow() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(10, Duration::from_secs(60), start);
        assert!(pace.keeps(1, at(59)) && pace.keeps(599, at(60)));
        assert!(pace.keeps(598, at(119)) && !pace.keeps(1, at(120)));
        pace.restart(at(200));
        assert!(pace.keeps(1, at(210)));
        let mut any = Pace::new(0, Duration::from_secs(60), start);
        assert!(any.keeps(0, at(100)));
    }
}
