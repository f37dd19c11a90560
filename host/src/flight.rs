//! Long work of which one at a time runs on the server, with its last message for whoever asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// Such work.
#[derive(Debug, Default)]
pub struct Flight {
    runs: AtomicBool,
    latest: Mutex<Option<Value>>,
}

/// The right to do it, as long as this lives.
pub struct Ticket(Arc<Flight>);

impl Flight {
    /// Begins it; none when it runs.
    pub fn begin(self: &Arc<Self>) -> Option<Ticket> {
        let was = self.runs.swap(true, Ordering::AcqRel);
        (!was).then(|| Ticket(self.clone()))
    }

    /// The last message; none before the first run.
    pub fn latest(&self) -> Option<Value> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Ticket {
    /// Keeps a message.
    pub fn tell(&self, message: Value) {
        *self.0.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.runs.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runs_at_a_time_and_its_last_message_stays() {
        let flight = Arc::new(Flight::default());
        let ticket = flight.begin().unwrap();
        assert!(flight.begin().is_none() && flight.latest().is_none());
        ticket.tell(Value::from("done"));
        drop(ticket);
        assert_eq!(flight.latest(), Some(Value::from("done")));
        assert!(flight.begin().is_some());
    }
}
