//! The heartbeat of a thread that touches disks.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DiskError;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process first asked, at least 1.
pub(super) fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

type OnSilence = Box<dyn FnOnce(DiskError) + Send>;

/// When a thread last came back from a disk.
pub(super) struct Beat {
    // As `now`; 0 while the thread waits for something that is no disk.
    at: AtomicU64,
    given_up: AtomicBool,
    of_pool: bool,
    on_silence: Mutex<Option<OnSilence>>,
}

impl Beat {
    pub(super) fn new(on_silence: impl FnOnce(DiskError) + Send + 'static) -> Arc<Self> {
        Arc::new(Self::with(false, Box::new(on_silence)))
    }

    /// As [`Self::new`], of work in a disk's pool.
    pub(super) fn of_pool(on_silence: impl FnOnce(DiskError) + Send + 'static) -> Arc<Self> {
        Arc::new(Self::with(true, Box::new(on_silence)))
    }

    fn with(of_pool: bool, on_silence: OnSilence) -> Self {
        Self {
            at: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            of_pool,
            on_silence: Mutex::new(Some(on_silence)),
        }
    }

    pub(super) fn touch(&self) {
        self.at.store(now(), Ordering::Relaxed);
    }

    /// Since when the thread has not come back; none while it waits for something else.
    pub(super) fn silent_since(&self) -> Option<u64> {
        Some(self.at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Has the work of this thread replaced or refused. Once.
    pub(super) fn give_up(&self, error: DiskError) {
        self.given_up.store(true, Ordering::Release);
        let on_silence = self.on_silence.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(on_silence) = on_silence {
            on_silence(error);
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Whether it holds a thread of the pool for nothing.
    pub(super) fn is_lost(&self) -> bool {
        self.of_pool && self.is_given_up()
    }
}

thread_local! {
    static OWN: RefCell<Option<Arc<Beat>>> = const { RefCell::new(None) };
}

/// The beat of this thread, while it is [`watched`].
pub(super) fn own() -> Option<Arc<Beat>> {
    OWN.with_borrow(Clone::clone)
}

/// Takes the thread's earlier beat up again when dropped.
struct Restore(Option<Arc<Beat>>);

impl Drop for Restore {
    fn drop(&mut self) {
        OWN.set(self.0.take());
    }
}

pub(super) fn with<T>(beat: Arc<Beat>, work: impl FnOnce() -> T) -> T {
    let _restore = Restore(OWN.replace(Some(beat)));
    work()
}

/// Runs work that touches disks in sections ([`super::Disk::enter`]) on this thread. When a disk stops answering in one of
/// them, `on_silence` is called, once and by another thread: whoever waits for the work must wait no longer, since it may
/// never end.
pub fn watched<T>(on_silence: impl FnOnce(DiskError) + Send + 'static, work: impl FnOnce() -> T) -> T {
    with(Beat::new(on_silence), work)
}

/// Says that this thread came back from the disk: long work calls it for each file or block, so that the deadline counts
/// from there. Costs some 30 ns.
pub fn beat() {
    OWN.with_borrow(|own| {
        if let Some(own) = own
            && own.silent_since().is_some()
        {
            own.touch();
        }
    });
}

/// Whether the work of this thread was given up: nobody waits for the result, and another may have taken its place.
pub fn is_given_up() -> bool {
    OWN.with_borrow(|own| own.as_ref().is_some_and(|own| own.is_given_up()))
}

/// Runs something that is no disk's (rules of a plugin, a lock) inside a section; the deadline does not count meanwhile.
pub fn off_disk<T>(work: impl FnOnce() -> T) -> T {
    struct Back(Option<Arc<Beat>>);
    impl Drop for Back {
        fn drop(&mut self) {
            if let Some(own) = &self.0 {
                own.touch();
            }
        }
    }
    let own = own().filter(|own| own.silent_since().is_some());
    if let Some(own) = &own {
        own.at.store(0, Ordering::Relaxed);
    }
    let _back = Back(own);
    work()
}

/// A section's end: the thread is on the disk that it was on before, or on none.
pub(super) struct Place {
    beat: Arc<Beat>,
    was_on_disk: bool,
}

impl Place {
    pub(super) fn enter(beat: Arc<Beat>) -> Self {
        let was_on_disk = beat.silent_since().is_some();
        beat.touch();
        Self { beat, was_on_disk }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.was_on_disk {
            true => self.beat.touch(),
            false => self.beat.at.store(0, Ordering::Relaxed),
        }
    }
}

pub(super) fn age(since: u64) -> Duration {
    Duration::from_millis(now().saturating_sub(since))
}
