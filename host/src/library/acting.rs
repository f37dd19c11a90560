//! Long acts that can be cancelled.

use std::sync::{Mutex, PoisonError};

use crate::cancel::Cancel;

/// The long acts that run in a library; each has a flag of its own.
#[derive(Debug, Default)]
pub struct Acting(Mutex<Vec<(u64, Cancel)>>);

/// One of them, as long as this lives.
pub struct Running<'a> {
    acting: &'a Acting,
    number: u64,
    /// Its flag.
    pub cancel: Cancel,
}

impl Acting {
    /// Begins one.
    pub fn begin(&self) -> Running<'_> {
        self.begin_with(Cancel::default())
    }

    /// Begins one that somebody else may stop, too.
    pub fn begin_with(&self, cancel: Cancel) -> Running<'_> {
        let number = rand::random();
        self.lock().push((number, cancel.clone()));
        Running {
            acting: self,
            number,
            cancel,
        }
    }

    /// Asks those that run to stop.
    pub fn cancel(&self) {
        self.lock().iter().for_each(|(_, cancel)| cancel.set());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Cancel)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.acting.lock().retain(|(number, _)| *number != self.number);
    }
}
