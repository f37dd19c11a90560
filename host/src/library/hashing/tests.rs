use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::library::progress::{Activity, ActivityState, InitProgress};
use crate::library::record::{HashStatus, Record};
use crate::library::roots::Root;
use crate::library::{scan, snapshot_tests};

/// Keeps what it is told.
#[derive(Default)]
struct Sink(Mutex<Vec<Activity>>);

impl ProgressSink for Sink {
    fn init(&self, _: InitProgress) {}
    fn models_changed(&self, _: &str) {}
    fn activity(&self, activity: Activity) {
        self.0.lock().unwrap().push(activity);
    }
}

/// Keeps what is published.
#[derive(Default)]
struct Published(Mutex<Vec<Hashed>>);

impl Publisher for Published {
    fn publish(&self, hashed: Vec<Hashed>) {
        self.0.lock().unwrap().extend(hashed);
    }
}

struct Setup {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    hashing: Hashing,
    queue: HashQueue,
    roots: Vec<Root>,
    sink: Arc<Sink>,
    published: Arc<Published>,
}

fn setup(options: HashingOptions, profile: crate::library::io_profile::IoProfile) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&folder.path().join("data")).unwrap());
    let hashing = Hashing::new(options, store.clone());
    let (sink, published) = (Arc::new(Sink::default()), Arc::new(Published::default()));
    let queue = hashing.queue("models", sink.clone());
    queue.attach(published.clone());
    let mut root = Root::new(folder.path(), "k").unwrap();
    root.io = Some(profile);
    Setup {
        folder,
        store,
        hashing,
        queue,
        roots: vec![root],
        sink,
        published,
    }
}

fn fast(options: HashingOptions) -> Setup {
    setup(options, crate::library::io_profile::IoProfile::Fast)
}

impl Setup {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn add(&self, paths: &[&PathBuf]) {
        let records = paths.iter().map(|path| Arc::new(record(path))).collect();
        self.queue.add(&self.roots, records, false);
    }

    async fn idle(&self) -> Waited {
        tokio::time::timeout(Duration::from_secs(20), self.queue.idle())
            .await
            .unwrap()
    }

    /// Waits until something is so.
    async fn until(&self, condition: impl Fn(&HashingStatus) -> bool) {
        for _ in 0..2_000 {
            if condition(&self.hashing.status()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.hashing.status());
    }

    fn record_of(&self, path: &Path) -> Option<Record> {
        let published = self.published.0.lock().unwrap();
        let own = published.iter().rfind(|hashed| Path::new(&*hashed.path) == path);
        own.map(|hashed| hashed.apply(&record(path)))
    }

    fn last(&self) -> Activity {
        self.sink.0.lock().unwrap().last().unwrap().clone()
    }
}

fn record(path: &Path) -> Record {
    let mut record = snapshot_tests::record(0, 0);
    record.path = path.to_str().unwrap().into();
    record.file_name = path.file_stem().unwrap().to_str().unwrap().into();
    record.stamp = scan::stamp(path).unwrap();
    record.root = 0;
    record.sha256 = None;
    record.hash_status = HashStatus::Calculating;
    record
}

fn right(record: Option<Record>, bytes: &[u8]) -> bool {
    use sha2::Digest;
    let sha256: [u8; 32] = sha2::Sha256::digest(bytes).into();
    record.is_some_and(|record| {
        record.hash_status == HashStatus::Completed
            && record.sha256.is_some_and(|hash| hash.0 == sha256)
            && record
                .blake3
                .is_some_and(|hash| hash.0 == *blake3::hash(bytes).as_bytes())
    })
}

/// A rate at which a file of some megabytes takes for ever.
fn slow() -> HashingOptions {
    HashingOptions {
        threads: 1,
        bytes_per_second: 1_000.0,
        ..HashingOptions::default()
    }
}

#[tokio::test]
async fn files_are_hashed_several_at_once_and_published() {
    let setup = fast(HashingOptions::default());
    let contents: Vec<Vec<u8>> = (0..40)
        .map(|number| vec![number; usize::from(number) * 100_000])
        .collect();
    let paths: Vec<PathBuf> = contents
        .iter()
        .enumerate()
        .map(|(number, bytes)| setup.file(&format!("{number}.bin"), bytes))
        .collect();
    setup.add(&paths.iter().collect::<Vec<_>>());
    assert_eq!(setup.idle().await, Waited::Done);
    for (path, bytes) in paths.iter().zip(&contents) {
        assert!(right(setup.record_of(path), bytes), "{}", path.display());
    }
    // A thread puts its file down a moment after the last result is there.
    setup.until(|status| status.running == 0).await;
    let (last, status) = (setup.last(), setup.hashing.status());
    assert_eq!((last.state, last.done, last.total), (ActivityState::Done, 40, 40));
    assert_eq!(
        (last.bytes_done, status.bytes_done),
        (last.bytes_total, status.bytes_total)
    );
    assert_eq!((status.queued, status.running, status.seconds_left), (0, 0, None));
}

#[cfg(unix)]
#[tokio::test]
async fn names_of_one_file_are_hashed_once_and_a_moved_file_never_again() {
    let setup = fast(HashingOptions::default());
    let bytes = vec![3; 9 << 20];
    let path = setup.file("a.bin", &bytes);
    let (linked, moved) = (setup.folder.path().join("b.bin"), setup.folder.path().join("c.bin"));
    std::fs::hard_link(&path, &linked).unwrap();
    setup.add(&[&path, &linked]);
    setup.idle().await;
    assert!(right(setup.record_of(&path), &bytes) && right(setup.record_of(&linked), &bytes));
    std::fs::rename(&path, &moved).unwrap();
    // Another server on the same store, so that nothing is known in memory.
    setup.store.flush();
    let second = Hashing::new(slow(), setup.store.clone());
    let queue = second.queue("models", setup.sink.clone());
    assert!(
        queue.at_once(&setup.roots, &record(&moved)).is_some(),
        "it would be read"
    );
    queue.attach(setup.published.clone());
    queue.add(&setup.roots, vec![Arc::new(record(&moved))], false);
    tokio::time::timeout(Duration::from_secs(20), queue.idle())
        .await
        .unwrap();
    assert!(right(setup.record_of(&moved), &bytes));
    // What was written since has another time, and is another file.
    setup.file("c.bin", &vec![4; 9 << 20]);
    assert!(queue.at_once(&setup.roots, &record(&moved)).is_none());
}

#[tokio::test]
async fn a_pause_holds_a_file_in_its_middle_and_it_goes_on_when_resumed() {
    let setup = fast(HashingOptions {
        threads: 1,
        bytes_per_second: 40e6,
        block: 1 << 20,
        ..HashingOptions::default()
    });
    let bytes = vec![5; 12 << 20];
    let path = setup.file("a.bin", &bytes);
    setup.add(&[&path]);
    setup.until(|status| status.running == 1 && status.bytes_done > 0).await;
    setup.hashing.pause();
    assert_eq!(setup.idle().await, Waited::Paused);
    let status = setup.hashing.status();
    assert!(status.paused && status.bytes_per_second == 0 && status.seconds_left.is_none());
    assert_eq!(setup.last().state, ActivityState::Paused);
    assert!(setup.record_of(&path).is_none());
    let small = setup.file("small.bin", b"small");
    assert!(
        setup.queue.at_once(&setup.roots, &record(&small)).is_none(),
        "a pause holds for small ones, too"
    );
    setup.hashing.resume();
    assert_eq!(setup.idle().await, Waited::Done);
    assert!(right(setup.record_of(&path), &bytes));
}

#[tokio::test]
async fn cancelling_drops_what_waits_and_stops_what_runs_and_later_work_is_done() {
    let setup = fast(slow());
    let paths: Vec<PathBuf> = (0..5)
        .map(|number| setup.file(&format!("{number}.bin"), &vec![1; 9 << 20]))
        .collect();
    setup.add(&paths.iter().collect::<Vec<_>>());
    setup.until(|status| status.running == 1 && status.queued == 4).await;
    // A second scan meanwhile finds the same files.
    setup.add(&paths.iter().collect::<Vec<_>>());
    assert_eq!(setup.hashing.status().queued, 4);
    let (waited, ()) = tokio::join!(setup.idle(), async { setup.queue.cancel() });
    assert_eq!(waited, Waited::Cancelled);
    setup.until(|status| status.running == 0 && status.queued == 0).await;
    assert!(setup.published.0.lock().unwrap().is_empty());
    assert_eq!(setup.last().state, ActivityState::Cancelled);
    // What is asked for at once after a cancellation counts, though the same file is still under way.
    setup.add(&[&paths[0]]);
    setup.until(|status| status.running == 1).await;
    setup.queue.cancel();
    setup.add(&[&paths[0]]);
    setup.until(|status| status.running == 1 && status.queued == 0).await;
    setup.queue.cancel();
    let small = setup.file("small.bin", b"");
    setup.add(&[&small]);
    assert_eq!(setup.idle().await, Waited::Done);
    assert!(right(setup.record_of(&small), b""));
}

#[tokio::test]
async fn closing_ends_work_at_once_and_waits_for_what_is_done() {
    let setup = fast(slow());
    let path = setup.file("a.bin", &vec![1; 9 << 20]);
    setup.add(&[&path]);
    setup.until(|status| status.running == 1).await;
    setup.hashing.close();
    assert_eq!(setup.idle().await, Waited::Done);
    assert!(setup.published.0.lock().unwrap().is_empty());
    setup.add(&[&path]);
    assert_eq!(setup.hashing.status().queued, 0, "nothing is taken any more");
}

#[tokio::test]
async fn files_on_a_share_are_pending_until_somebody_asks() {
    let setup = setup(
        HashingOptions::default(),
        crate::library::io_profile::IoProfile::Network,
    );
    let path = setup.file("a.bin", b"shared");
    let sidecar = setup.file(
        "a.metadata.json",
        br#"{"file_name":"a","model_name":"a","file_path":"","size":6,"modified":1,"sha256":"","base_model":"",
            "preview_url":"","hash_status":"calculating","own":1}"#,
    );
    assert!(setup.queue.at_once(&setup.roots, &record(&path)).is_none());
    let mut with_sidecar = record(&path);
    with_sidecar.sidecar = scan::stamp(&sidecar).ok();
    setup
        .queue
        .add(&setup.roots, vec![Arc::new(with_sidecar.clone())], false);
    setup.idle().await;
    assert_eq!(setup.record_of(&path).unwrap().hash_status, HashStatus::Pending);
    assert!(
        std::fs::read_to_string(&sidecar)
            .unwrap()
            .contains("\"hash_status\": \"pending\"")
    );
    setup.queue.add(&setup.roots, vec![Arc::new(with_sidecar)], true);
    setup.idle().await;
    assert!(right(setup.record_of(&path), b"shared"));
    let text = std::fs::read_to_string(&sidecar).unwrap();
    assert!(
        text.contains("\"hash_status\": \"completed\"") && text.contains("\"own\": 1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_file_that_changed_or_went_since_it_was_read_is_left_to_the_next_scan() {
    let setup = fast(HashingOptions::default());
    let (changed, gone) = (setup.file("a.bin", b"before"), setup.file("b.bin", b"gone"));
    let records = [&changed, &gone].map(|path| Arc::new(record(path)));
    std::fs::write(&changed, b"afterwards").unwrap();
    std::fs::remove_file(&gone).unwrap();
    setup.queue.add(&setup.roots, records.to_vec(), false);
    setup.idle().await;
    assert!(setup.published.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn requests_come_before_hashing() {
    // What a thread of the service gives itself, seen by a thread that does the same.
    let seen = Arc::new(AtomicBool::new(false));
    let own = seen.clone();
    std::thread::spawn(move || {
        worker::lowest_priority();
        #[cfg(target_os = "linux")]
        let lowest = rustix::process::getpriority_process(None) == Ok(19);
        #[cfg(not(target_os = "linux"))]
        let lowest = true;
        own.store(lowest, Ordering::Relaxed);
    })
    .join()
    .unwrap();
    assert!(seen.load(Ordering::Relaxed));
    #[cfg(target_os = "linux")]
    assert_ne!(
        rustix::process::getpriority_process(None),
        Ok(19),
        "the whole process is slowed down"
    );
}
