//! Reading files: in batches, by as many threads as the disk under each root bears.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::Cancel;
use super::folder::stamp;
use super::plan::Task;
use super::process::{self, Processed, Reader};
use super::reread::Again;
use super::walk::LeftOut;
use crate::library::collection::Library;
use crate::library::hashing;
use crate::library::io_profile::IoProfile;
use crate::library::parallel::give_way;
use crate::library::publishing::{Over, Proposal};
use crate::library::record::Record;
use crate::library::safetensors::Interest;
use crate::library::sidecar;
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

/// Files of one disk, and how many threads may read it at once: one for each gate.
struct Lane<'t> {
    batches: Mutex<VecDeque<Vec<Task<'t>>>>,
    threads: usize,
    gates: Vec<Mutex<()>>,
}

impl<'t> Lane<'t> {
    fn next(&self) -> Option<Vec<Task<'t>>> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.pop_front()
    }
}

/// What reads.
pub struct Reading<'a> {
    /// The library.
    pub library: &'a Library,
    /// The type's rules.
    pub plugin: &'a Plugin,
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Where plugin calls are awaited.
    pub handle: &'a tokio::runtime::Handle,
    /// Whether descriptions are stored of records that did not change too.
    pub describe_all: bool,
}

impl Reading<'_> {
    /// Reads files in parallel batches and hands finished ones to `take`, with the share done.
    pub fn read_all(&self, tasks: Vec<Task<'_>>, problems: &mut Vec<LeftOut>, take: &mut dyn FnMut(f64, Batch)) {
        let headers = &self.plugin.info().descriptor.headers;
        let interest = Interest::new(&headers.metadata_keys, &headers.tensors);
        let reader = Reader {
            plugin: self.plugin,
            roots: self.library.roots(),
            hashes: self.library.hash_queue(),
            interest: &interest,
            now: now(),
        };
        let total = tasks.len();
        // Slow disks have threads of their own, so that none waits for another.
        let mut lanes: BTreeMap<Option<u16>, (usize, VecDeque<Vec<Task<'_>>>)> = BTreeMap::new();
        for task in tasks {
            let profile = self.library.io_profile(task.found.root);
            let lane = (profile != IoProfile::Fast).then_some(task.found.root);
            let (_, batches) = lanes
                .entry(lane)
                .or_insert_with(|| (profile.readers(), VecDeque::new()));
            match batches.back_mut().filter(|batch| batch.len() < BATCH) {
                Some(batch) => batch.push(task),
                None => batches.push_back(vec![task]),
            }
        }
        let lanes: Vec<Lane<'_>> = lanes
            .into_values()
            .map(|(readers, batches)| Lane {
                threads: THREADS.min(batches.len()),
                batches: Mutex::new(batches),
                gates: (0..readers).map(|_| Mutex::new(())).collect(),
            })
            .collect();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for lane in &lanes {
                for thread in 0..lane.threads {
                    let (sender, reader) = (sender.clone(), &reader);
                    let gate = lane.gates.get(thread % lane.gates.len().max(1));
                    scope.spawn(move || {
                        while let Some(tasks) = lane.next() {
                            let count = tasks.len();
                            let Some(batch) = self.read_batch(reader, tasks, gate) else {
                                return;
                            };
                            if sender.send((count, batch)).is_err() {
                                return;
                            }
                        }
                    });
                }
            }
            drop(sender);
            let (mut done, mut waiting, mut last) = (0, Batch::default(), Instant::now());
            for (count, mut batch) in receiver {
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
        });
    }

    /// None when cancelled.
    fn read_batch(&self, reader: &Reader<'_>, tasks: Vec<Task<'_>>, gate: Option<&Mutex<()>>) -> Option<Batch> {
        let mut batch = Batch::default();
        let (mut broken, mut read) = (Vec::new(), Vec::with_capacity(tasks.len()));
        let (mut broken_of, mut read_of) = (Vec::new(), Vec::with_capacity(tasks.len()));
        let turn = gate.map(|gate| gate.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if self.cancel.is_set() {
                return None;
            }
            give_way();
            let found = task.found;
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
                    if error.stays() {
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
        drop(turn);
        let processed = self.unless_cancelled(async {
            process::serialise(self.plugin, &mut broken).await;
            process::finish(self.plugin, read).await
        })?;
        let mut descriptions = Vec::new();
        for (processed, (over, was)) in processed.into_iter().zip(read_of) {
            give_way();
            let (record, description) = write_sidecar(processed);
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
pub(super) fn write_sidecar(processed: Processed) -> (Record, String) {
    let Processed {
        mut record,
        sidecar,
        description,
    } = processed;
    if let Some(sidecar) = sidecar {
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
