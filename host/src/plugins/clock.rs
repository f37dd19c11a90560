//! How long a call may still take.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time of one call. Waiting for what is not its own work does not count.
pub struct Clock {
    limit: Duration,
    started: Instant,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    ended: Duration,
    // The one that lasts: a guest waits for one thing at a time.
    since: Option<Instant>,
}

impl Clock {
    /// Begins now.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            started: Instant::now(),
            waits: Mutex::default(),
        }
    }

    /// How long the call may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// How long it has taken, with all that it waited for.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is left of its time; zero when it is over.
    pub fn left(&self) -> Duration {
        let waits = self.waits();
        let waited = waits.ended + waits.since.map_or(Duration::ZERO, |since| since.elapsed());
        (self.limit + waited).saturating_sub(self.started.elapsed())
    }

    /// Waits for what is not the call's own work.
    pub async fn waiting<T>(&self, work: impl Future<Output = T>) -> T {
        self.waits().since = Some(Instant::now());
        let done = work.await;
        let mut waits = self.waits();
        let waited = waits.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        waits.ended += waited;
        done
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_counted_while_it_lasts_nor_afterwards() {
        let clock = Clock::new(Duration::from_millis(40));
        let left = clock
            .waiting(async {
                tokio::time::sleep(Duration::from_millis(60)).await;
                clock.left()
            })
            .await;
        assert!(!left.is_zero() && !clock.left().is_zero());
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(clock.left().is_zero());
    }
}
