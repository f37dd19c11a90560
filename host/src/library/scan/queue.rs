//! Folders that wait to be looked at by several threads.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::walk::{Depth, Folders};

/// A folder that waits, how much of it is wanted, and how deep it lies below the top.
pub type Waiting = (PathBuf, Depth, usize);

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    // Folders that are being looked at: each may bring more.
    busy: usize,
    closed: bool,
}

/// Folders that wait to be looked at.
pub struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

impl Queue {
    /// These wait first.
    pub fn new(tops: Folders) -> Self {
        let waiting = tops.into_iter().map(|(path, depth)| (path, depth, 0)).collect();
        Self {
            state: Mutex::new(QueueState {
                waiting,
                ..QueueState::default()
            }),
            changed: Condvar::new(),
        }
    }

    /// Ends it: a thread that looks at a folder may never come back.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next folder; none when all are done, or it was closed.
    pub fn next(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(folder) = state.waiting.pop_front() {
                state.busy += 1;
                return Some(Turn {
                    queue: self,
                    folder,
                    more: Vec::new(),
                });
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that is being looked at, and the folders in it that come next.
pub struct Turn<'q> {
    queue: &'q Queue,
    /// The folder.
    pub folder: Waiting,
    /// Folders in it that are wanted too.
    pub more: Vec<PathBuf>,
}

impl Drop for Turn<'_> {
    // However the look ended: the others wait for it.
    fn drop(&mut self) {
        let level = self.folder.2 + 1;
        let more = std::mem::take(&mut self.more).into_iter();
        let mut state = self.queue.lock();
        state.waiting.extend(more.map(|path| (path, Depth::Deep, level)));
        state.busy -= 1;
        self.queue.changed.notify_all();
    }
}
