//! Reading files: in batches, by as many threads as the disk under each root bears.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::Cancel;
use super::folder::stamp;
use super::plan::Task;
use super::process::{self, Processed, Reader};
use super::reread::Again;
use super::walk::LeftOut;
use crate::files::disks::{self, Disk, DiskError, Section};
use crate::library::collection::Library;
use crate::library::hashing;
use crate::library::parallel::give_way;
use crate::library::publishing::{Over, Proposal};
use crate::library::record::Record;
use crate::library::safetensors::Interest;
use crate::library::sidecar::{self, SidecarError};
use crate::plugins::Plugin;

/// Threads for each disk. Where its profile lets fewer read, the others are at rules and sidecars meanwhile.
const THREADS: usize = 4;
/// Files in a batch: what crosses the plugin boundary in one call.
const BATCH: usize = 128;
/// Changes that are published together, at most this many or this long apart; in a large
/// library more, since what a batch costs grows with the library.
pub const PUBLISH: usize = 2_000;
/// See [`PUBLISH`].
pub const PUBLISH_EVERY: Duration = Duration::from_millis(400);
/// A batch has at least this share of what is listed.
const PUBLISH_SHARE: usize = 32;
/// How soon a cancelled scan leaves a call into a plugin behind.
const CANCELLED_WITHIN: Duration = Duration::from_millis(25);

/// A record as its file is now.
pub struct Fresh {
    /// It.
    pub record: Arc<Record>,
    /// To have it listed.
    pub proposal: Proposal,
    /// The model that it was elsewhere, before it was moved.
    pub was: Option<Arc<Record>>,
}

/// What became of some files.
#[derive(Default)]
pub struct Batch {
    /// Those that are to be listed.
    pub read: Vec<Fresh>,
    /// Those whose record somebody else changed since the walk.
    pub outdated: Vec<Again>,
    left_out: Vec<LeftOut>,
}

/// Files of one root, and how many threads may read its disk at once.
struct Lane {
    root: u16,
    disk: Option<Arc<Disk>>,
    state: Mutex<LaneState>,
    changed: Condvar,
}

struct LaneState {
    batches: VecDeque<Vec<Task>>,
    // Readers that may begin.
    free: usize,
    // Its disk does not answer.
    closed: bool,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Vec<Task>> {
        let mut state = self.state();
        if state.closed { None } else { state.batches.pop_front() }
    }

    /// Waits until the disk bears one more reader; none when it does not answer.
    fn permit(&self) -> Option<Permit<'_>> {
        let mut state = self.state();
        while state.free == 0 && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        state.free -= 1;
        Some(Permit(self))
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

struct Permit<'l>(&'l Lane);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_one();
    }
}

/// What a thread says of its work.
enum Message {
    /// So many files are done.
    Done(usize, Box<Batch>),
    /// It ended, or was given up.
    Ended,
}

/// Says that a thread ended, once, whoever finds that out first: the thread or the disk's monitor.
struct End(mpsc::Sender<Message>, AtomicBool);

impl End {
    fn say(&self) {
        if !self.1.swap(true, Ordering::Relaxed) {
            let _ = self.0.send(Message::Ended);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.say();
    }
}

/// What reads. Threads that hang keep it, so that all of it is shared.
#[derive(Clone)]
pub struct Reading {
    /// The library.
    pub library: Arc<Library>,
    /// The type's rules.
    pub plugin: Arc<Plugin>,
    /// Ends it early.
    pub cancel: Cancel,
    /// Where plugin calls are awaited.
    pub handle: tokio::runtime::Handle,
    /// Whether descriptions are stored of records that did not change too.
    pub describe_all: bool,
}

impl Reading {
    /// Reads files in parallel batches and hands finished ones to `take`, with the share done. Files of a root whose disk
    /// stops answering are left for the next scan.
    pub fn read_all(&self, tasks: Vec<Task>, problems: &mut Vec<LeftOut>, take: &mut dyn FnMut(f64, Batch)) {
        let headers = &self.plugin.info().descriptor.headers;
        let interest = Arc::new(Interest::new(&headers.metadata_keys, &headers.tensors));
        let total = tasks.len();
        // Each root has threads of its own, so that none waits for another's disk.
        let mut by_root: BTreeMap<u16, VecDeque<Vec<Task>>> = BTreeMap::new();
        for task in tasks {
            let batches = by_root.entry(task.found.root).or_default();
            match batches.back_mut().filter(|batch| batch.len() < BATCH) {
                Some(batch) => batch.push(task),
                None => batches.push_back(vec![task]),
            }
        }
        let (sender, receiver) = mpsc::channel();
        let mut running = 0;
        for (root, batches) in by_root {
            let threads = THREADS.min(batches.len());
            let lane = Arc::new(Lane {
                root,
                disk: self
                    .library
                    .roots()
                    .get(usize::from(root))
                    .map(|root| root.disk.clone()),
                state: Mutex::new(LaneState {
                    batches,
                    free: self.library.io_profile(root).readers(),
                    closed: false,
                }),
                changed: Condvar::new(),
            });
            for _ in 0..threads {
                self.begin(&lane, &interest, &sender);
                running += 1;
            }
        }
        let (mut done, mut waiting, mut last) = (0, Batch::default(), Instant::now());
        while running > 0 {
            let (count, mut batch) = match receiver.recv() {
                Ok(Message::Done(count, batch)) => (count, *batch),
                Ok(Message::Ended) => {
                    running -= 1;
                    continue;
                }
                Err(_) => break,
            };
            done += count;
            problems.append(&mut batch.left_out);
            waiting.read.append(&mut batch.read);
            waiting.outdated.append(&mut batch.outdated);
            let is_due = waiting.read.len() >= PUBLISH || last.elapsed() >= PUBLISH_EVERY;
            if is_due && waiting.read.len() >= self.library.snapshot().len() / PUBLISH_SHARE {
                take(done as f64 / total as f64, std::mem::take(&mut waiting));
                last = Instant::now();
            }
        }
        if !waiting.read.is_empty() || !waiting.outdated.is_empty() {
            take(done as f64 / total as f64, waiting);
        }
    }

    /// Starts a thread that reads batches of a lane.
    fn begin(&self, lane: &Arc<Lane>, interest: &Arc<Interest>, sender: &mpsc::Sender<Message>) {
        let (own, lane, interest, sender) = (self.clone(), lane.clone(), interest.clone(), sender.clone());
        let end = Arc::new(End(sender.clone(), AtomicBool::new(false)));
        let (silent, closing) = (end.clone(), lane.clone());
        let given_up = move |_| {
            closing.close();
            silent.say();
        };
        let work = move || {
            while let Some(tasks) = lane.next() {
                let count = tasks.len();
                let Some(batch) = own.read_batch(&interest, tasks, &lane) else {
                    break;
                };
                if disks::is_given_up() || sender.send(Message::Done(count, Box::new(batch))).is_err() {
                    break;
                }
            }
            end.say();
        };
        // Of the priority of this thread. One that can't be started has said that it ended.
        let thread = std::thread::Builder::new().name("read".into());
        if let Err(error) = thread.spawn(move || disks::watched(given_up, work)) {
            tracing::error!(%error, "no thread can be started to read files; the next scan tries again");
        }
    }

    /// None when cancelled, or the disk does not answer.
    fn read_batch(&self, interest: &Interest, tasks: Vec<Task>, lane: &Lane) -> Option<Batch> {
        let reader = Reader {
            plugin: &self.plugin,
            roots: self.library.roots(),
            hashes: self.library.hash_queue(),
            interest,
            now: now(),
        };
        let mut batch = Batch::default();
        let (mut broken, mut read) = (Vec::new(), Vec::with_capacity(tasks.len()));
        let (mut broken_of, mut read_of) = (Vec::new(), Vec::with_capacity(tasks.len()));
        let permit = lane.permit()?;
        let section = self.enter(lane)?;
        for task in tasks {
            if self.cancel.is_set() || disks::is_given_up() {
                return None;
            }
            give_way();
            disks::beat();
            let found = &*task.found;
            if !self.library.fits(&found.path, &task.over) {
                let (path, was) = (found.path.clone(), task.was);
                batch.outdated.push(Again { path, was });
                continue;
            }
            let known = task.over.record();
            match reader.read(&task, known.map(|record| &**record)) {
                Ok(file) => {
                    self.library.note_sidecar(&found.path, None);
                    read.push(file);
                    read_of.push((task.over, task.was));
                }
                Err(error) => {
                    if matches!(error, SidecarError::Corrupt { .. }) {
                        let broken = (found.stamp, found.sidecar, error.to_string());
                        self.library.note_sidecar(&found.path, Some(broken));
                    }
                    match known {
                        Some(known) => {
                            broken.push(process::with_broken_sidecar(known, found, &error));
                            broken_of.push((task.over, task.was));
                        }
                        None => batch.left_out.push(found.left_out(error.to_string())),
                    }
                }
            }
        }
        // Rules need no disk, and written sidecars go to it in the order that suits it.
        drop(section);
        drop(permit);
        let processed = self.unless_cancelled(async {
            process::serialise(&self.plugin, &mut broken).await;
            process::finish(&self.plugin, read).await
        })?;
        let mut descriptions = Vec::new();
        for (processed, (over, was)) in processed.into_iter().zip(read_of) {
            give_way();
            let (record, description) = write_sidecar(&self.library, processed);
            let fresh = Fresh::new(record, over, was);
            // Of a record that is the same in all it says, with its sidecar's stamp, nothing is stored anew.
            if self.describe_all || !fresh.proposal.is_same() {
                descriptions.push((fresh.record.path.clone(), description));
            }
            batch.read.push(fresh);
        }
        self.library.describe(descriptions);
        let broken = broken.into_iter().zip(broken_of);
        batch
            .read
            .extend(broken.map(|(record, (over, was))| Fresh::new(record, over, was)));
        Some(batch)
    }

    /// None when the disk is known not to answer.
    fn enter(&self, lane: &Lane) -> Option<Option<Section>> {
        let entered = lane.disk.as_ref().map(Disk::enter).transpose();
        let silent = |error: &DiskError| {
            tracing::debug!(root = lane.root, %error, "files are left for the next scan");
            lane.close();
        };
        entered.inspect_err(silent).ok()
    }

    /// Waits for rules, which may take their time; none when the scan is cancelled before. What they would have said is
    /// dropped, and a call that runs ends by its own limit.
    pub fn unless_cancelled<T>(&self, rules: impl Future<Output = T>) -> Option<T> {
        let cancelled = async {
            while !self.cancel.is_set() {
                tokio::time::sleep(CANCELLED_WITHIN).await;
            }
        };
        self.handle.block_on(async {
            tokio::select! {
                biased;
                () = cancelled => None,
                answer = rules => Some(answer),
            }
        })
    }
}

impl Fresh {
    fn new(record: Record, over: Over, was: Option<Arc<Record>>) -> Self {
        let record = Arc::new(record);
        let proposal = Proposal::put(over, record.clone());
        Self { record, proposal, was }
    }
}

/// Writes the sidecar that a file lacks or that needs repair. The record and the description of the model.
/// Where its disk does not answer, it is written after the next scan.
pub(super) fn write_sidecar(library: &Library, processed: Processed) -> (Record, String) {
    let Processed {
        mut record,
        sidecar,
        description,
    } = processed;
    let section = sidecar.as_ref().map(|_| library.section(&record.path)).transpose();
    if let (Some(sidecar), Ok(_section)) = (sidecar, section) {
        let model = Path::new(&*record.path);
        let path = sidecar::path_for(model.parent().unwrap_or(Path::new("/")), &record.file_name);
        let _turn = sidecar::turn(model);
        // Where the model has gone meanwhile, nothing is left behind.
        if stamp(model).is_ok_and(|now| now == record.stamp) && hashing::write(&record, &sidecar, &path) {
            record.sidecar = stamp(&path).ok();
        }
    }
    (record, description)
}

pub(super) fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
