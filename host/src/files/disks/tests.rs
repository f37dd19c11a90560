use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// A root that is there, whose work hangs when a test says so. The probe of a folder that is there always answers, so a
/// pipe whose other end nobody opens stands for a disk that hangs.
struct Hanging {
    disks: Disks,
    folder: tempfile::TempDir,
}

impl Hanging {
    fn new(deadline: Duration, threads: usize) -> Self {
        let disks = Disks::default();
        disks.configure(deadline, threads);
        let folder = tempfile::tempdir().unwrap();
        Self { disks, folder }
    }

    fn disk(&self) -> Arc<Disk> {
        self.disks.of(self.folder.path())
    }
}

/// Work that waits until the sender is dropped.
fn stuck() -> (Sender<()>, impl FnOnce() + Send + 'static) {
    let (sender, receiver): (_, Receiver<()>) = channel();
    (sender, move || {
        let _ = receiver.recv();
    })
}

const DEADLINE: Duration = Duration::from_millis(80);

#[test]
fn quick_work_is_done_in_the_pool_and_one_disk_is_one_whoever_asks() {
    let hanging = Hanging::new(Duration::from_secs(10), 2);
    let disk = hanging.disk();
    assert!(Arc::ptr_eq(&disk, &hanging.disk()));
    assert_eq!(disk.run_blocking(|| 7), Ok(7));
    let answers = each(&[disk.clone(), disk], None, |root| root.is_dir());
    assert_eq!(answers, [Ok(true), Ok(true)]);
}

#[test]
fn work_that_never_ends_is_given_up_and_holds_no_more_threads_than_the_pool_has() {
    let hanging = Hanging::new(DEADLINE, 2);
    let disk = hanging.disk();
    let (free, mut begun) = (0..20)
        .map(|_| {
            let (free, work) = stuck();
            (free, disk.begin(work).unwrap())
        })
        .collect::<(Vec<_>, Vec<_>)>();
    assert!(disk.state_threads() <= 2);
    // The folder itself answers its probe, so that nothing but the pool is lost; what waits for it is refused.
    for begun in begun.drain(..) {
        assert!(matches!(begun.wait(), Err(DiskError::Offline { .. })));
    }
    assert!(!disk.is_silent());
    assert!(matches!(disk.run_blocking(|| 1), Err(DiskError::Offline { reason, .. }) if reason.contains("2 files")));
    drop(free);
    while disk.run_blocking(|| 1).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn a_silent_disk_refuses_at_once_what_waits_and_what_comes_and_answers_again() {
    let hanging = Hanging::new(Duration::from_secs(600), 1);
    let (silent, other) = (hanging.disk(), hanging.disks.of(Path::new("/no/such/root")));
    let (free, work) = stuck();
    let _running = silent.begin(work).unwrap();
    let waits = silent.begin(|| 1).unwrap();
    assert!(silent.fall_silent(u64::MAX));
    assert!(matches!(waits.wait(), Err(DiskError::Offline { reason, .. }) if reason.contains("within 600 s")));
    assert!(matches!(silent.run_blocking(|| 1), Err(DiskError::Offline { .. })));
    assert!(silent.enter().is_err());
    assert_eq!(other.run_blocking(|| 2), Ok(2), "another disk does not care");
    silent.answer();
    drop(free);
    assert_eq!(silent.run_blocking(|| 3), Ok(3));
    assert_eq!(silent.outages(), 1);
}

#[test]
fn a_thread_that_beats_is_never_given_up_and_one_that_waits_for_something_else_neither() {
    let hanging = Hanging::new(DEADLINE, 1);
    let disk = hanging.disk();
    let given_up = Arc::new(AtomicUsize::new(0));
    let count = given_up.clone();
    watched(
        move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        },
        || {
            let _section = disk.enter().unwrap();
            for _ in 0..12 {
                std::thread::sleep(DEADLINE / 4);
                beat();
            }
            off_disk(|| std::thread::sleep(DEADLINE * 4));
            assert!(!is_given_up());
        },
    );
    assert_eq!(given_up.load(Ordering::Relaxed), 0);
}

#[test]
fn who_waits_for_a_lock_learns_that_its_holder_is_stuck() {
    let hanging = Hanging::new(DEADLINE, 1);
    let (locks, disk) = (Arc::new(KeyedLocks::<u16>::new()), hanging.disk());
    let (free, work) = stuck();
    let (own, on_disk) = (locks.clone(), disk.clone());
    let holder = std::thread::spawn(move || {
        watched(
            |_| {},
            || {
                let _held = own.lock(vec![1, 2]).unwrap();
                let _section = on_disk.enter().unwrap();
                work();
            },
        );
    });
    while locks.lock(vec![2]).is_ok() {
        std::thread::yield_now();
    }
    assert!(locks.lock(vec![3]).is_ok(), "other keys are free");
    drop(free);
    holder.join().unwrap();
    assert!(locks.lock(vec![1, 2]).is_ok());
}

#[tokio::test]
async fn requests_that_were_given_up_before_their_turn_are_not_worked_off() {
    let hanging = Hanging::new(Duration::from_secs(600), 1);
    let disk = hanging.disk();
    let (free, work) = stuck();
    let running = disk.begin(work).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let count = done.clone();
        let request = disk.run(move || count.fetch_add(1, Ordering::Relaxed));
        assert!(tokio::time::timeout(Duration::from_millis(1), request).await.is_err());
    }
    drop(free);
    running.wait().unwrap();
    assert_eq!(disk.run(|| ()).await, Ok(()));
    assert_eq!(done.load(Ordering::Relaxed), 0);
}
