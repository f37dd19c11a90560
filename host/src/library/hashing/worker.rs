//! The threads that hash files.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::lines::Ask;
use super::queue::{Job, Ticket};
use super::results::{Outcome, Settled, hand_on, settle, write_down_sidecar};
use crate::cancel::Cancel;
use crate::files::disks::{self, Disk};
use crate::files::hash::{FileHasher, HashError};
use crate::library::record::Record;
use crate::library::scan::stamp;
use crate::library::store::Hashes;

/// How long a thread without work stays, with its buffers.
const IDLE: Duration = Duration::from_secs(2);
/// How often a thread that is held back looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);
const MIB: usize = 1 << 20;

/// Starts threads as far as there is work for them.
pub(super) fn start(shared: &Arc<Shared>) {
    let mut state = shared.state();
    while state.workers < shared.threads().min(state.lines.waiting() + state.lines.running()) && !state.closed {
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name("hashing".into())
            .spawn(move || work(&own));
        if let Err(error) = thread {
            tracing::error!(%error, "no thread can be started to hash files; the next scan tries again");
            return;
        }
        state.workers += 1;
    }
}

/// Gives the thread back, whatever ended it.
struct Seat<'s>(&'s Shared, bool);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.state().workers -= 1;
            self.0.wake.notify_all();
        }
    }
}

fn work(shared: &Arc<Shared>) {
    let mut seat = Seat(shared, false);
    lowest_priority();
    let mut hasher = FileHasher::new(shared.options.block.clamp(MIB, 4 * MIB));
    while let Some((ask, job)) = next(shared, &mut seat) {
        let under_way = Arc::new(Mutex::new(Some(UnderWay {
            ticket: job.ticket,
            // Whatever happens, the file's turn ends.
            turn: Turn {
                shared: shared.clone(),
                ask,
                outcome: None,
            },
        })));
        let (stuck, own) = (under_way.clone(), shared.clone());
        let given_up = move |_| replace(&own, &stuck);
        let settled = disks::watched(given_up, || {
            let settled = run(
                shared,
                &mut hasher,
                &ask,
                &job.record,
                &job.cancel,
                job.disk.as_ref(),
                &under_way,
            );
            // First, so that whoever waited for the hash does not find the file still at work.
            drop(take(&under_way));
            // Another thread has this one's place.
            seat.1 = disks::is_given_up();
            settled
        });
        if seat.1 {
            return;
        }
        if let Some(settled) = settled {
            hand_on(shared, settled);
        }
    }
}

/// A file that is being hashed: whoever takes this ends it.
struct UnderWay {
    ticket: Ticket,
    turn: Turn,
}

fn take(under_way: &Mutex<Option<UnderWay>>) -> Option<UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Gives up a file whose disk does not answer, and the thread that waits for it: another takes its place. The record stays
/// `calculating`, so that the scan after the disk's return hands it over again.
fn replace(shared: &Arc<Shared>, under_way: &Mutex<Option<UnderWay>>) {
    if let Some(mut under_way) = take(under_way) {
        // Nothing is written here: this is the thread that watches the disks.
        under_way.turn.outcome = None;
    }
    shared.state().workers -= 1;
    shared.wake.notify_all();
    start(shared);
}

/// Requests come first: these threads get what is left of the processors.
pub(super) fn lowest_priority() {
    // On Linux a thread has a priority of its own; elsewhere this would slow the whole server.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 19);
}

/// The next job; none when there was nothing to do for a while.
fn next(shared: &Shared, seat: &mut Seat) -> Option<(Ask, Job)> {
    let mut state = shared.state();
    let mut waited = Duration::ZERO;
    loop {
        let job = match state.paused || state.closed {
            true => None,
            false => state.lines.next(),
        };
        if job.is_some() {
            return job;
        }
        let waiting = state.lines.waiting() > 0;
        if state.closed || (waited >= IDLE && !waiting) {
            // Under the lock, so that whoever adds a job sees that this thread is gone.
            seat.1 = true;
            state.workers -= 1;
            drop(state);
            shared.wake.notify_all();
            return None;
        }
        let started = Instant::now();
        let woken = shared.wake.wait_timeout(state, IDLE);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
        waited += started.elapsed();
    }
}

/// A job under way: its disk is taken and other names of its file wait.
struct Turn {
    shared: Arc<Shared>,
    ask: Ask,
    outcome: Option<Hashes>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let followers = state.lines.finished(&self.ask);
        let mut same = Vec::new();
        let mut given_up = Vec::new();
        for (ask, job) in followers {
            match self.outcome {
                Some(hashes) => same.push((job, hashes)),
                // One name may be gone, or its library's work cancelled, and the other not.
                None if !job.cancel.is_set() && !state.closed => state.lines.push(ask, job),
                None => given_up.push(job),
            }
        }
        drop(state);
        drop(given_up);
        self.shared.wake.notify_all();
        for (job, hashes) in same {
            settle(&self.shared, &job.record, job.ticket, &Outcome::Hashed(hashes));
        }
    }
}

fn run(
    shared: &Arc<Shared>,
    hasher: &mut FileHasher,
    ask: &Ask,
    record: &Record,
    cancel: &Cancel,
    disk: Option<&Arc<Disk>>,
    under_way: &Mutex<Option<UnderWay>>,
) -> Option<Settled> {
    // A disk that is known not to answer: the file is given up.
    let _section = disk.map(Disk::enter).transpose().ok()?;
    let known = ask.file.and_then(|file| shared.known(&file));
    let outcome = match known {
        Some(hashes) => Outcome::Hashed(hashes),
        None => {
            hasher.set_crowded(is_crowded(shared, ask));
            let mut next = |bytes: u64| {
                if let Some(under_way) = &mut *under_way.lock().unwrap_or_else(PoisonError::into_inner) {
                    under_way.ticket.read(bytes);
                }
                disks::off_disk(|| go_on(shared, cancel, bytes)) && !disks::is_given_up()
            };
            hash(record, hasher, &mut next)
        }
    };
    let hashed = match outcome {
        Outcome::Hashed(hashes) => Some(hashes),
        _ => None,
    };
    if let (Some(file), Some(hashes), None) = (ask.file, hashed, known) {
        shared.remember(file, hashes);
    }
    let sidecar = write_down_sidecar(record, &outcome)?;
    let UnderWay { ticket, mut turn } = take(under_way)?;
    turn.outcome = hashed;
    Some(sidecar.settled(ticket))
}

/// Whether as many files are hashed at once as there are processors, or soon will be.
fn is_crowded(shared: &Shared, ask: &Ask) -> bool {
    let state = shared.state();
    let soon = (state.lines.running() + state.lines.waiting()).min(ask.limit);
    let at_once = state.lines.running().max(soon).min(shared.threads());
    at_once >= std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Asked between blocks: holds back for the rate and while paused; `false` when cancelled.
fn go_on(shared: &Shared, cancel: &Cancel, bytes: u64) -> bool {
    let now = Instant::now();
    let wait = shared.limiter.take(bytes, now);
    loop {
        if cancel.is_set() {
            return false;
        }
        let state = shared.state();
        if state.paused {
            let woken = shared.wake.wait_timeout(state, LOOK);
            drop(woken);
            continue;
        }
        drop(state);
        let left = wait.saturating_sub(now.elapsed());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

fn hash(record: &Record, hasher: &mut FileHasher, next: &mut dyn FnMut(u64) -> bool) -> Outcome {
    let path = Path::new(&*record.path);
    // What changed since it was read is another file; the next scan reads that.
    let unchanged = || stamp(path).is_ok_and(|now| now == record.stamp);
    let result = match std::fs::File::open(path) {
        Ok(file) if unchanged() => hasher.file(&file, next),
        Ok(_) => return Outcome::GivenUp,
        Err(error) => Err(HashError::Io(error)),
    };
    match result {
        Ok(digests) if digests.bytes == record.stamp.size && unchanged() => Outcome::Hashed(digests.into()),
        Ok(_) | Err(HashError::Cancelled) => Outcome::GivenUp,
        Err(HashError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Outcome::GivenUp,
        Err(HashError::Io(error)) => {
            tracing::warn!(path = %path.display(), %error, "can't be hashed; the next scan tries again");
            Outcome::Failed(format!("The file can't be read to its end: {error}."))
        }
    }
}
