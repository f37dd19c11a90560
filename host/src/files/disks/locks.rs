//! Locks that do not outlive the disk that their holder waits for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::beat::{self, Beat};

/// How often a waiter looks whether the holder is stuck.
const LOOK: Duration = Duration::from_millis(250);

/// The holder of a lock waits for a disk that does not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "an earlier change waits for a disk that does not answer, and holds the same files; try again when the disk is back"
)]
pub struct HolderStuck;

struct Holder<K> {
    key: K,
    beat: Option<Arc<Beat>>,
}

/// One lock for each key: holders of different keys never wait for each other, as they would with a fixed number of locks.
pub struct KeyedLocks<K> {
    // Few at a time.
    held: Mutex<Vec<Holder<K>>>,
    freed: Condvar,
}

impl<K: Clone + PartialEq> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + PartialEq> KeyedLocks<K> {
    /// Nothing is locked.
    pub const fn new() -> Self {
        Self {
            held: Mutex::new(Vec::new()),
            freed: Condvar::new(),
        }
    }

    /// Locks all of these keys at once, so that two takers of several keys never wait for each other. Blocks.
    ///
    /// # Errors
    /// When a holder's disk stopped answering, so that nobody knows when its lock is free.
    pub fn lock(&self, keys: Vec<K>) -> Result<Held<'_, K>, HolderStuck> {
        beat::off_disk(|| {
            let mut held = self.held();
            loop {
                let mut in_the_way = held.iter().filter(|holder| keys.contains(&holder.key)).peekable();
                if in_the_way.peek().is_none() {
                    self.note(&mut held, &keys);
                    drop(held);
                    return Ok(Held { locks: self, keys });
                }
                if in_the_way.any(|holder| holder.beat.as_ref().is_some_and(|beat| beat.is_given_up())) {
                    return Err(HolderStuck);
                }
                let woken = self.freed.wait_timeout(held, LOOK);
                held = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        })
    }

    /// As [`Self::lock`], and waits for a holder whose disk is silent, too: for takers that are on the same disk, whose own
    /// deadline counts then.
    pub fn lock_patiently(&self, keys: Vec<K>) -> Held<'_, K> {
        let mut held = self.held();
        loop {
            let mut in_the_way = held.iter().filter(|holder| keys.contains(&holder.key)).peekable();
            if in_the_way.peek().is_none() {
                break;
            }
            let is_stuck = in_the_way.any(|holder| holder.beat.as_ref().is_some_and(|beat| beat.is_given_up()));
            let wait = || {
                self.freed
                    .wait_timeout(held, LOOK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
            held = if is_stuck { wait() } else { beat::off_disk(wait) };
        }
        self.note(&mut held, &keys);
        drop(held);
        Held { locks: self, keys }
    }

    fn note(&self, held: &mut Vec<Holder<K>>, keys: &[K]) {
        let beat = beat::own();
        held.extend(keys.iter().map(|key| Holder {
            key: key.clone(),
            beat: beat.clone(),
        }));
    }

    fn held(&self) -> MutexGuard<'_, Vec<Holder<K>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that are locked until this is dropped.
#[must_use]
pub struct Held<'l, K: Clone + PartialEq> {
    locks: &'l KeyedLocks<K>,
    keys: Vec<K>,
}

impl<K: Clone + PartialEq> Drop for Held<'_, K> {
    fn drop(&mut self) {
        let mut held = self.locks.held();
        held.retain(|holder| !self.keys.contains(&holder.key));
        drop(held);
        self.locks.freed.notify_all();
    }
}
