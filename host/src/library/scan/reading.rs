//! Reading files: in batches, by as many threads as the disk under each root bears.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::Cancel;
use super::folder::stamp;
use super::plan::Task;
use super::process::{self, Processed, Reader};
use super::walk::LeftOut;
use crate::library::collection::Library;
use crate::library::hashing;
use crate::library::io_profile::IoProfile;
use crate::library::parallel::lower_priority;
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

/// Files that are left out, each with the reason, and the records of the others.
type Batch = (Vec<LeftOut>, Vec<Record>);

/// Files of one disk, and how many threads may read it at once: one for each gate.
struct Lane<'l, 't> {
    batches: Vec<&'l [&'l Task<'t>]>,
    next: AtomicUsize,
    gates: Vec<Mutex<()>>,
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
}

impl Reading<'_> {
    /// Reads files in parallel batches and hands finished ones to `take`, with the share done.
    pub fn read_all(&self, tasks: &[Task<'_>], problems: &mut Vec<LeftOut>, take: &mut dyn FnMut(f64, Vec<Record>)) {
        let headers = &self.plugin.info().descriptor.headers;
        let interest = Interest::new(&headers.metadata_keys, &headers.tensors);
        let reader = Reader {
            plugin: self.plugin,
            roots: self.library.roots(),
            hashes: self.library.hash_queue(),
            interest: &interest,
            now: now(),
        };
        // Slow disks have threads of their own, so that none waits for another.
        let mut lanes: BTreeMap<Option<u16>, (usize, Vec<&Task<'_>>)> = BTreeMap::new();
        for task in tasks {
            let profile = self.library.io_profile(task.found.root);
            let lane = (profile != IoProfile::Fast).then_some(task.found.root);
            lanes
                .entry(lane)
                .or_insert_with(|| (profile.readers(), Vec::new()))
                .1
                .push(task);
        }
        let lanes: Vec<Lane<'_, '_>> = lanes
            .values()
            .map(|(readers, tasks)| Lane {
                batches: tasks.chunks(BATCH).collect(),
                next: AtomicUsize::new(0),
                gates: (0..*readers).map(|_| Mutex::new(())).collect(),
            })
            .collect();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for lane in &lanes {
                for thread in 0..THREADS.min(lane.batches.len()) {
                    let (sender, reader) = (sender.clone(), &reader);
                    let gate = lane.gates.get(thread % lane.gates.len().max(1));
                    scope.spawn(move || {
                        lower_priority();
                        while let Some(batch) = lane.batches.get(lane.next.fetch_add(1, Ordering::Relaxed)) {
                            let Some((left_out, processed)) = self.read_batch(reader, batch, gate) else {
                                return;
                            };
                            if sender.send((batch.len(), left_out, processed)).is_err() {
                                return;
                            }
                        }
                    });
                }
            }
            drop(sender);
            let (mut done, mut waiting, mut last) = (0, Vec::new(), Instant::now());
            for (count, mut left_out, mut processed) in receiver {
                done += count;
                problems.append(&mut left_out);
                waiting.append(&mut processed);
                let is_due = waiting.len() >= PUBLISH || last.elapsed() >= PUBLISH_EVERY;
                if is_due && waiting.len() >= self.library.snapshot().len() / PUBLISH_SHARE {
                    take(done as f64 / tasks.len() as f64, std::mem::take(&mut waiting));
                    last = Instant::now();
                }
            }
            if !waiting.is_empty() {
                take(done as f64 / tasks.len() as f64, waiting);
            }
        });
    }

    /// None when cancelled.
    fn read_batch(&self, reader: &Reader<'_>, batch: &[&Task<'_>], gate: Option<&Mutex<()>>) -> Option<Batch> {
        let before = self.library.snapshot();
        let (mut left_out, mut broken) = (Vec::new(), Vec::new());
        let mut read = Vec::with_capacity(batch.len());
        let turn = gate.map(|gate| gate.lock().unwrap_or_else(PoisonError::into_inner));
        for task in batch {
            if self.cancel.is_set() {
                return None;
            }
            let found = task.found;
            let known = before.by_path(&found.path);
            match (reader.read(task, known.map(|record| &**record)), known) {
                (Ok(file), _) => {
                    self.library.note_sidecar(&found.path, None);
                    read.push(file);
                }
                (Err(error), known) => {
                    if matches!(error, SidecarError::Corrupt { .. }) {
                        let broken = (found.stamp, found.sidecar, error.to_string());
                        self.library.note_sidecar(&found.path, Some(broken));
                    }
                    match known {
                        Some(known) => broken.push(process::with_broken_sidecar(known, found, &error)),
                        None => left_out.push(found.left_out(error.to_string())),
                    }
                }
            }
        }
        // Rules need no disk, and written sidecars go to it in the order that suits it.
        drop(turn);
        let mut processed = self.unless_cancelled(async {
            process::serialise(self.plugin, &mut broken).await;
            process::finish(self.plugin, read).await
        })?;
        self.library.describe(process::take_descriptions(&mut processed));
        let mut processed: Vec<Record> = processed.into_iter().map(write_sidecar).collect();
        processed.append(&mut broken);
        Some((left_out, processed))
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

/// Writes the sidecar that a file lacks or that needs repair.
fn write_sidecar(processed: Processed) -> Record {
    let Processed {
        mut record, sidecar, ..
    } = processed;
    if let Some(sidecar) = sidecar {
        let folder = Path::new(&*record.path).parent().unwrap_or(Path::new("/"));
        let path = sidecar::path_for(folder, &record.file_name);
        let _turn = sidecar::turn(Path::new(&*record.path));
        if hashing::write(&record, &sidecar, &path) {
            record.sidecar = stamp(&path).ok();
        }
    }
    record
}

pub(super) fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
