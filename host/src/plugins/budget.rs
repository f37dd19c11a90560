//! Budgets of a plugin over all of its calls: so much a minute, with a burst of as much.

use std::time::Instant;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Whether it is the first since something was granted.
    pub is_first: bool,
}

/// A token bucket.
#[derive(Debug)]
pub struct Budget {
    per_minute: f64,
    left: f64,
    filled: Instant,
    refused: u64,
}

impl Budget {
    /// A full budget of so much a minute.
    pub fn new(per_minute: usize, now: Instant) -> Self {
        Self {
            per_minute: per_minute as f64,
            left: per_minute as f64,
            filled: now,
            refused: 0,
        }
    }

    /// Takes from the budget; how often it refused since it granted something last.
    pub fn take(&mut self, amount: usize, now: Instant) -> Result<u64, Refused> {
        let minutes = now.saturating_duration_since(self.filled).as_secs_f64() / 60.0;
        self.left = (self.left + minutes * self.per_minute).min(self.per_minute);
        self.filled = self.filled.max(now);
        // One thing that is larger than the budget takes all of it.
        let amount = (amount as f64).min(self.per_minute);
        if self.left < amount || self.per_minute == 0.0 {
            self.refused += 1;
            return Err(Refused {
                is_first: self.refused == 1,
            });
        }
        self.left -= amount;
        Ok(std::mem::take(&mut self.refused))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_budget_fills_with_time_and_counts_what_it_refused() {
        let start = Instant::now();
        let mut budget = Budget::new(60, start);
        assert_eq!(budget.take(60, start), Ok(0));
        assert_eq!(budget.take(1, start), Err(Refused { is_first: true }));
        assert_eq!(budget.take(1, start), Err(Refused { is_first: false }));
        assert_eq!(budget.take(1, start + Duration::from_secs(1)), Ok(2));
        assert!(budget.take(1, start + Duration::from_secs(1)).is_err());
        // It holds no more than a minute's worth, and one large thing takes all of it.
        let later = start + Duration::from_secs(3600);
        assert_eq!(budget.take(1000, later), Ok(1));
        assert!(budget.take(1, later).is_err());
        assert!(Budget::new(0, start).take(0, start).is_err());
    }
}
