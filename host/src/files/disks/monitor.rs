//! The thread that checks heartbeats, and those that probe disks.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::beat::{self, Beat};
use super::disk::Disk;

/// Longest time between two looks at the heartbeats.
const LONGEST: Duration = Duration::from_millis(500);
/// Time between two probes of a disk.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Checks the heartbeats of all disks. Its thread sleeps while nothing touches any.
#[derive(Default)]
pub struct Monitor {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    disks: Vec<Weak<Disk>>,
    started: bool,
    asleep: bool,
}

impl Monitor {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, disk: &Arc<Disk>) {
        self.state().disks.push(Arc::downgrade(disk));
    }

    /// Something touches a disk.
    pub(super) fn wake(self: &Arc<Self>) {
        let mut state = self.state();
        if state.asleep {
            state.asleep = false;
            self.wake.notify_one();
        }
        if !state.started {
            let own = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("disks".into());
            let started = thread.spawn(move || {
                while let Some(monitor) = own.upgrade() {
                    monitor.look();
                }
            });
            match started {
                Ok(_) => state.started = true,
                Err(error) => tracing::error!(%error, "no thread can be started that checks whether disks answer"),
            }
        }
    }

    /// Looks once, and sleeps.
    fn look(self: &Arc<Self>) {
        let mut state = self.state();
        state.disks.retain(|disk| disk.strong_count() > 0);
        let disks: Vec<_> = state.disks.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        let mut busy = false;
        let mut rest = LONGEST;
        for disk in disks {
            busy |= check(&disk);
            rest = rest.min(disk.options.deadline() / 8);
        }
        let mut state = self.state();
        state.asleep = !busy;
        // Asleep at most a minute, so that the thread ends when nobody has the monitor any more.
        let rest = if busy { rest } else { Duration::from_secs(60) };
        let woken = self.wake.wait_timeout(state, rest.max(Duration::from_millis(1)));
        woken.unwrap_or_else(PoisonError::into_inner).0.asleep = false;
    }
}

/// Compares the heartbeats of a disk with its deadline; whether something touches it.
fn check(disk: &Arc<Disk>) -> bool {
    let deadline = disk.options.deadline();
    let mut state = disk.state();
    let sections = state.sections.clone();
    let overdue = |beat: &Arc<Beat>, limit: Duration| {
        let since = beat.silent_since().filter(|since| beat::age(*since) >= limit);
        since.filter(|_| !beat.is_given_up())
    };
    let suspicious = sections.iter().any(|beat| overdue(beat, deadline / 2).is_some());
    if suspicious && !state.probing {
        state.probing = true;
        start_probe(disk);
    }
    drop(state);
    for beat in &sections {
        let Some(since) = overdue(beat, deadline) else { continue };
        if disk.fall_silent(since) {
            beat.give_up(disk.error());
        } else if beat::age(since) >= deadline * 2 {
            // The disk answers others: it is one file, or another disk that the thread touches as well.
            tracing::warn!(root = %disk.root().display(), "a file of this folder can't be read: the disk does not answer for it");
            beat.give_up(disk.error());
        }
    }
    disk.refuse_when_exhausted();
    !sections.is_empty()
}

fn start_probe(disk: &Arc<Disk>) {
    let own = disk.clone();
    let thread = std::thread::Builder::new().name("disk probe".into());
    let started = thread.spawn(move || {
        loop {
            probe(&own);
            let mut state = own.state();
            state.answered_at = beat::now();
            let half = own.options.deadline() / 2;
            let is_late = |beat: &Arc<Beat>| {
                let since = beat.silent_since().filter(|_| !beat.is_given_up());
                since.is_some_and(|since| beat::age(since) >= half)
            };
            let late = state.sections.iter().any(is_late);
            state.probing = late;
            drop(state);
            own.answer();
            if !late {
                return;
            }
            std::thread::sleep(PROBE_EVERY.min(half));
        }
    });
    if let Err(error) = started {
        tracing::error!(root = %disk.root().display(), %error, "no thread can be started that asks this disk");
        disk.state().probing = false;
    }
}

/// Asks the disk something that no cache of the system answers; whatever it says is an answer.
fn probe(disk: &Disk) {
    #[cfg(unix)]
    let _ = rustix::fs::statvfs(disk.root());
    if let Ok(mut entries) = std::fs::read_dir(disk.root()) {
        let _ = entries.next();
    }
}
