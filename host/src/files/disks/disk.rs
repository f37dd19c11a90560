//! One root's disk: its pool, the sections of other threads on it, and whether it answers.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::beat::{self, Beat, Place};
use super::monitor::Monitor;
use super::{DiskError, Options};

/// Work that waits, at most.
const MAX_WAITING: usize = 4_096;
/// Files that are kept in memory until a processor is free.
const IN_MEMORY: usize = 8;
/// How long a thread of the pool stays without work.
const IDLE: Duration = Duration::from_secs(10);

/// See the module.
pub struct Disk {
    root: PathBuf,
    pub(super) options: Arc<Options>,
    monitor: Arc<Monitor>,
    state: Mutex<State>,
    work: Condvar,
    silent: AtomicBool,
    outages: AtomicU64,
    in_memory: Arc<tokio::sync::Semaphore>,
}

#[derive(Default)]
pub(super) struct State {
    waiting: VecDeque<Job>,
    // Of the pool, with those that are stuck.
    threads: usize,
    idle: usize,
    pub(super) sections: Vec<Arc<Beat>>,
    /// Whether a probe is on its way, and when the last one came back.
    pub(super) probing: bool,
    pub(super) answered_at: u64,
}

impl State {
    /// Why nothing more is served: all threads of the pool wait for files that never come.
    fn exhausted(&self, disk: &Disk) -> Option<DiskError> {
        let lost = self.sections.iter().filter(|beat| beat.is_lost()).count();
        (lost >= disk.options.threads()).then(|| DiskError::Offline {
            root: disk.root.clone(),
            reason: format!("{lost} files on its disk are not read to their end, and more are not begun"),
        })
    }
}

struct Job {
    run: Box<dyn FnOnce() + Send>,
    beat: Arc<Beat>,
    // Nobody waits for the answer any more.
    left: Box<dyn Fn() -> bool + Send>,
}

impl PartialEq for Disk {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for Disk {}

impl std::fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Disk").field(&self.root).finish()
    }
}

/// Answers of work that was begun.
pub struct Begun<T> {
    disk: Arc<Disk>,
    answer: Receiver<Result<T, DiskError>>,
}

impl<T> Begun<T> {
    /// Waits until the work is done or given up. Blocks.
    ///
    /// # Errors
    /// When the disk does not answer, or the work panicked.
    pub fn wait(self) -> Result<T, DiskError> {
        let broke_off = || Err(DiskError::BrokeOff(self.disk.root.clone()));
        beat::off_disk(|| self.answer.recv().unwrap_or_else(|_| broke_off()))
    }

    /// As [`Self::wait`], until then; none when there is no answer yet.
    pub fn wait_until(&self, until: Instant) -> Option<Result<T, DiskError>> {
        let rest = until.saturating_duration_since(Instant::now());
        match beat::off_disk(|| self.answer.recv_timeout(rest)) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(DiskError::BrokeOff(self.disk.root.clone()))),
        }
    }
}

impl<T> Begun<T> {
    /// As [`Self::wait`], until then.
    ///
    /// # Errors
    /// As there, and when there is no answer yet.
    pub fn wait_or_not_yet(self, until: Instant) -> Result<T, DiskError> {
        self.wait_until(until).unwrap_or_else(|| Err(self.disk.not_yet()))
    }
}

impl Disk {
    pub(super) fn new(root: PathBuf, options: Arc<Options>, monitor: Arc<Monitor>) -> Arc<Self> {
        let disk = Arc::new(Self {
            root,
            options,
            monitor: monitor.clone(),
            state: Mutex::default(),
            work: Condvar::new(),
            silent: AtomicBool::new(false),
            outages: AtomicU64::new(0),
            in_memory: Arc::new(tokio::sync::Semaphore::new(IN_MEMORY)),
        });
        monitor.add(&disk);
        disk
    }

    /// The root, as configured.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How long it may take to answer.
    pub fn deadline(&self) -> Duration {
        self.options.deadline()
    }

    /// Whether it missed its deadline and has not answered since.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Permits for files that are read whole and then wait for a processor, so that few of each disk are in memory.
    pub fn in_memory(&self) -> Arc<tokio::sync::Semaphore> {
        self.in_memory.clone()
    }

    /// How often it went silent: a change says that something may have been missed.
    pub fn outages(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// Why it is offline; none when it answers.
    pub fn silence(&self) -> Option<DiskError> {
        self.is_silent().then(|| self.error())
    }

    /// The error of work that the disk did not answer in time.
    pub(super) fn error(&self) -> DiskError {
        let seconds = self.options.deadline().as_secs_f64();
        DiskError::Offline {
            root: self.root.clone(),
            reason: format!("the disk did not answer within {seconds} s"),
        }
    }

    pub(super) fn not_yet(&self) -> DiskError {
        DiskError::Offline {
            root: self.root.clone(),
            reason: "the disk has not answered yet".into(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something short on a thread of the disk's pool.
    ///
    /// # Errors
    /// When the disk does not answer, at once while that is known; when too much waits for it; when the work panics.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        let answer = self.request(work)?.await;
        answer.unwrap_or_else(|_| Err(DiskError::BrokeOff(self.root.clone())))
    }

    /// As [`Self::run`]; the answer comes from the receiver, and the work is not begun when that is dropped before its turn.
    ///
    /// # Errors
    /// When it is refused.
    pub fn request<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<tokio::sync::oneshot::Receiver<Result<T, DiskError>>, DiskError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sender = Arc::new(Mutex::new(Some(sender)));
        let closed = sender.clone();
        let reply = move |answer| {
            if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // The client may have left.
                let _ = sender.send(answer);
            }
        };
        let left = move || {
            let sender = closed.lock().unwrap_or_else(PoisonError::into_inner);
            sender.as_ref().is_none_or(tokio::sync::oneshot::Sender::is_closed)
        };
        self.submit(work, reply, left)?;
        Ok(receiver)
    }

    /// As [`Self::run`], for threads that may block.
    ///
    /// # Errors
    /// As there.
    pub fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        self.begin(work)?.wait()
    }

    /// Begins work in the pool.
    ///
    /// # Errors
    /// When it is refused.
    pub fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Begun<T>, DiskError> {
        let (sender, answer): (SyncSender<Result<T, DiskError>>, _) = sync_channel(2);
        let reply = move |answer| {
            let _ = sender.try_send(answer);
        };
        self.submit(work, reply, || false)?;
        Ok(Begun {
            disk: self.clone(),
            answer,
        })
    }

    fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
        reply: impl Fn(Result<T, DiskError>) + Send + Sync + 'static,
        left: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), DiskError> {
        let reply = Arc::new(reply);
        let refuse = reply.clone();
        let beat = Beat::of_pool(move |error| refuse(Err(error)));
        let run = Box::new(move || reply(Ok(work())));
        let job = Job {
            run,
            beat,
            left: Box::new(left),
        };
        let mut state = self.state();
        // Under the lock under which what waits is refused.
        if let Some(error) = self.silence().or_else(|| state.exhausted(self)) {
            return Err(error);
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(DiskError::Busy(self.root.clone()));
        }
        state.waiting.push_back(job);
        let is_short = state.idle < state.waiting.len() && state.threads < self.options.threads();
        if is_short {
            state.threads += 1;
        }
        drop(state);
        self.work.notify_one();
        if is_short {
            let own = self.clone();
            let started = std::thread::Builder::new()
                .name("disk".into())
                .spawn(move || own.serve());
            if let Err(error) = started {
                tracing::error!(root = %self.root.display(), %error, "no thread can be started for this disk");
                self.state().threads -= 1;
            }
        }
        Ok(())
    }

    /// A thread of the pool.
    fn serve(self: Arc<Self>) {
        struct Gone<'d>(&'d Disk);
        impl Drop for Gone<'_> {
            fn drop(&mut self) {
                self.0.state().threads -= 1;
            }
        }
        let _gone = Gone(&self);
        while let Some(Job { run, beat, left }) = self.next() {
            if left() {
                continue;
            }
            let section = self.note(beat.clone());
            let place = Place::enter(beat.clone());
            let done = beat::with(beat, || std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)));
            drop(place);
            drop(section);
            if done.is_err() {
                tracing::error!(root = %self.root.display(), "work on this disk panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let mut waited = false;
        loop {
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if waited {
                return None;
            }
            state.idle += 1;
            let woken = self.work.wait_timeout(state, IDLE);
            let (again, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            waited = timeout.timed_out();
        }
    }

    /// Says that this thread, which [`super::watched`] runs, touches the disk until the section is dropped. A thread that
    /// nobody watches may enter too, and is not watched.
    ///
    /// # Errors
    /// When the disk is known not to answer.
    pub fn enter(self: &Arc<Self>) -> Result<Section, DiskError> {
        let Some(beat) = beat::own() else {
            return match self.silence() {
                Some(error) => Err(error),
                None => Ok(Section { _parts: None }),
            };
        };
        // Under the lock, so that a disk that goes silent now finds the section.
        let noted = self.note_unless_silent(beat.clone())?;
        Ok(Section {
            _parts: Some((Place::enter(beat), noted)),
        })
    }

    fn note_unless_silent(self: &Arc<Self>, beat: Arc<Beat>) -> Result<Noted, DiskError> {
        let mut state = self.state();
        if let Some(error) = self.silence() {
            return Err(error);
        }
        state.sections.push(beat.clone());
        drop(state);
        self.monitor.wake();
        Ok(Noted(self.clone(), beat))
    }

    fn note(self: &Arc<Self>, beat: Arc<Beat>) -> Noted {
        self.state().sections.push(beat.clone());
        self.monitor.wake();
        Noted(self.clone(), beat)
    }

    /// It missed its deadline in work that touches it since then: what waits is refused, and what comes. Unless a probe
    /// came back after that; whether none did.
    pub(super) fn fall_silent(&self, since: u64) -> bool {
        let mut state = self.state();
        if state.answered_at > since {
            return false;
        }
        let was = self.silent.swap(true, Ordering::Relaxed);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if !was {
            self.outages.fetch_add(1, Ordering::Relaxed);
            let error = self.error();
            tracing::warn!("{error}");
        }
        for job in waiting {
            job.beat.give_up(self.error());
        }
        true
    }

    /// Refuses what waits when every thread of the pool is lost, though the disk answers.
    pub(super) fn refuse_when_exhausted(&self) {
        let mut state = self.state();
        let Some(error) = state.exhausted(self) else { return };
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for job in waiting {
            job.beat.give_up(error.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn state_threads(&self) -> usize {
        self.state().threads
    }

    /// It answers again.
    pub(super) fn answer(&self) {
        if self.silent.swap(false, Ordering::Relaxed) {
            tracing::info!(root = %self.root.display(), "the disk answers again");
        }
    }
}

/// A section that the monitor knows of.
struct Noted(Arc<Disk>, Arc<Beat>);

impl Drop for Noted {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(at) = state.sections.iter().position(|beat| Arc::ptr_eq(beat, &self.1)) {
            state.sections.swap_remove(at);
        }
    }
}

/// As long as this lives, the thread touches the disk.
#[must_use]
pub struct Section {
    // In the order in which they are dropped.
    _parts: Option<(Place, Noted)>,
}
