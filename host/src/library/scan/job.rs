//! One scan of a library from start to end.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::Cancel;
use super::hashing;
use super::process::{self, Processed, Reader};
use super::walk::{self, Found, Walk};
use crate::library::collection::Library;
use crate::library::record::{HashStatus, Preview, Record};
use crate::library::roots::Root;
use crate::library::safetensors::Interest;
use crate::library::sidecar;
use crate::library::snapshot::Change;
use crate::plugins::Plugin;

/// Files in a batch: what crosses the plugin boundary in one call.
const BATCH: usize = 128;
/// Threads that read sidecars and headers.
const READERS: usize = 4;
/// Changes that are published together, at most this many or this long apart.
const PUBLISH: usize = 2_000;
const PUBLISH_EVERY: Duration = Duration::from_millis(400);

/// How thorough a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanKind {
    /// Only what changed by size, time or inode is read.
    Changes,
    /// Every sidecar and header is read again.
    Everything,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was cancelled on its way.
    pub cancelled: bool,
    /// Records that are new or changed.
    pub changed: usize,
    /// Records that are gone.
    pub removed: usize,
    /// Files there are.
    pub files: usize,
}

/// Where a scan is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stage {
    /// Walking folders.
    Walking,
    /// So many files must be read.
    Counted(usize),
    /// This share of the work is done.
    Working(f64),
}

/// Scans a library. Runs on a blocking thread; `handle` is where plugin calls are awaited.
///
/// Published along the way, so that a page fills while a large library is read.
pub fn run(
    library: &Library,
    plugin: &Plugin,
    kind: ScanKind,
    cancel: &Cancel,
    handle: &tokio::runtime::Handle,
    progress: &mut dyn FnMut(Stage),
) -> Outcome {
    let started = Instant::now();
    progress(Stage::Walking);
    let mut walk = walk::walk(library.roots(), plugin.info(), cancel);
    let mut outcome = Outcome {
        files: walk.found.len(),
        ..Outcome::default()
    };
    if walk.cancelled {
        return Outcome {
            cancelled: true,
            ..outcome
        };
    }
    let before = library.snapshot();
    mark_emptied(library, &mut walk);
    let everything = kind == ScanKind::Everything;
    let derived_by = plugin.digest_number();
    let mut to_read: Vec<&Found> = Vec::new();
    let mut seen = std::collections::HashSet::with_capacity(walk.found.len());
    for found in &walk.found {
        seen.insert(&*found.path);
        let same = !everything
            && before.by_path(&found.path).is_some_and(|record| {
                let root = &library.roots()[usize::from(found.root)];
                record.derived_by == derived_by && is_unchanged(record, found, root)
            });
        if !same {
            to_read.push(found);
        }
    }
    let gone: Vec<Change> = before
        .records()
        .iter()
        .filter(|(_, record)| !seen.contains(&*record.path) && is_known_gone(library, &walk, record))
        .map(|(_, record)| Change::Remove(record.path.clone()))
        .collect();
    outcome.removed = gone.len();
    library.note_walk(&walk);
    if !gone.is_empty() {
        library.publish(gone);
    }
    progress(Stage::Counted(to_read.len()));

    let mut problems: Vec<(String, String)> = walk.problems.clone();
    let mut wanted = Vec::new();
    read_all(
        library,
        plugin,
        &to_read,
        cancel,
        handle,
        &mut problems,
        &mut |share, processed| {
            outcome.changed += processed.len();
            let mut changes = Vec::with_capacity(processed.len());
            for record in processed {
                let record = Arc::new(record);
                if record.hash_status == HashStatus::Calculating {
                    wanted.push(record.clone());
                }
                changes.push(Change::Put(record));
            }
            library.publish(changes);
            progress(Stage::Working(share / 2.0));
        },
    );
    library.note_problems(problems);

    let total = wanted.len();
    if total > 0 {
        hash_all(library, plugin, wanted, cancel, handle, &mut |done| {
            progress(Stage::Working(0.5 + done as f64 / total as f64 / 2.0));
        });
    }
    outcome.cancelled = cancel.is_set();
    if !outcome.cancelled {
        library.note_complete(plugin.digest());
    }
    tracing::info!(
        model_type = plugin.info().id(),
        files = outcome.files,
        changed = outcome.changed,
        removed = outcome.removed,
        hashed = total,
        cancelled = outcome.cancelled,
        ms = started.elapsed().as_millis() as u64,
        "scanned"
    );
    outcome
}

/// A root that is there but holds nothing at all, while it had models before, is most likely
/// a mount point without its disk.
fn mark_emptied(library: &Library, walk: &mut Walk) {
    let snapshot = library.snapshot();
    let had: std::collections::HashSet<u16> = snapshot.records().iter().map(|(_, record)| record.root).collect();
    for (index, root) in library.roots().iter().enumerate() {
        let index = index as u16;
        if had.contains(&index) && walk::is_emptied(&root.path) {
            walk.offline.insert(index);
        }
    }
}

fn is_unchanged(record: &Record, found: &Found, root: &Root) -> bool {
    record.stamp == found.stamp
        && record.sidecar == found.sidecar
        && same_preview(record, found)
        && record.root == found.root
        // The same file may have come under another root, or the root may be of another kind now.
        && record.folder == found.folder
        && record.root_key == root.key
        // A scan that was cut off before hashing goes on with it, and a failed one is tried again.
        && !matches!(record.hash_status, HashStatus::Calculating | HashStatus::Failed)
}

/// The preview that a sidecar names may be another than the one that a walk finds by its name.
fn same_preview(record: &Record, found: &Found) -> bool {
    let own = |preview: &Preview| walk::stamp(Path::new(&*preview.path)).is_ok_and(|stamp| stamp == preview.stamp);
    match (&record.preview, &found.preview) {
        (Some(known), Some(seen)) if known.path == seen.path => known.stamp == seen.stamp,
        (Some(known), _) => own(known),
        (None, seen) => seen.is_none(),
    }
}

/// Whether a file that the walk did not see is gone, and not merely out of sight.
fn is_known_gone(library: &Library, walk: &Walk, record: &Record) -> bool {
    if walk.offline.contains(&record.root) || library.roots().get(usize::from(record.root)).is_none() {
        return false;
    }
    let below = |folder: &String| {
        record
            .path
            .strip_prefix(folder.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !walk.unreadable.iter().any(below)
}

/// Reads files in parallel batches and hands finished ones to `take`, with the share done.
fn read_all(
    library: &Library,
    plugin: &Plugin,
    to_read: &[&Found],
    cancel: &Cancel,
    handle: &tokio::runtime::Handle,
    problems: &mut Vec<(String, String)>,
    take: &mut dyn FnMut(f64, Vec<Record>),
) {
    let headers = &plugin.info().descriptor.headers;
    let interest = Interest::new(&headers.metadata_keys, &headers.tensors);
    let reader = Reader {
        plugin,
        roots: library.roots(),
        interest: &interest,
        now: now(),
    };
    let before = library.snapshot();
    let next = AtomicUsize::new(0);
    let batches: Vec<&[&Found]> = to_read.chunks(BATCH).collect();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..READERS.min(batches.len()) {
            let (sender, next, batches, reader, before) = (sender.clone(), &next, &batches, &reader, &before);
            scope.spawn(move || {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if cancel.is_set() {
                        return;
                    }
                    let (mut left_out, mut broken) = (Vec::new(), Vec::new());
                    let mut read = Vec::with_capacity(batch.len());
                    for found in *batch {
                        let known = before.by_path(&found.path);
                        match (reader.read(found, known.map(|record| &**record)), known) {
                            (Ok(file), _) => read.push(file),
                            (Err(error), Some(known)) => {
                                broken.push(process::with_broken_sidecar(known, found, &error))
                            }
                            (Err(error), None) => left_out.push((found.path.to_string(), error.to_string())),
                        }
                    }
                    let mut processed = handle.block_on(async {
                        process::serialise(plugin, &mut broken).await;
                        process::finish(plugin, read).await
                    });
                    library.describe(process::take_descriptions(&mut processed));
                    let mut processed: Vec<Record> = processed.into_iter().map(write_sidecar).collect();
                    processed.append(&mut broken);
                    if sender.send((batch.len(), left_out, processed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut done, mut waiting, mut last) = (0, Vec::new(), Instant::now());
        for (count, mut left_out, mut processed) in receiver {
            done += count;
            problems.append(&mut left_out);
            waiting.append(&mut processed);
            if waiting.len() >= PUBLISH || last.elapsed() >= PUBLISH_EVERY {
                take(done as f64 / to_read.len() as f64, std::mem::take(&mut waiting));
                last = Instant::now();
            }
        }
        if !waiting.is_empty() {
            take(done as f64 / to_read.len() as f64, waiting);
        }
    });
}

/// Writes the sidecar that a file lacks or that needs repair.
fn write_sidecar(processed: Processed) -> Record {
    let Processed {
        mut record, sidecar, ..
    } = processed;
    if let Some(sidecar) = sidecar {
        let folder = Path::new(&*record.path).parent().unwrap_or(Path::new("/"));
        let path = sidecar::path_for(folder, &record.file_name);
        if hashing::write(&record, &sidecar, &path) {
            record.sidecar = walk::stamp(&path).ok();
        }
    }
    record
}

fn hash_all(
    library: &Library,
    plugin: &Plugin,
    wanted: Vec<Arc<Record>>,
    cancel: &Cancel,
    handle: &tokio::runtime::Handle,
    progress: &mut dyn FnMut(usize),
) {
    let (mut done, mut waiting, mut last) = (0, Vec::new(), Instant::now());
    let publish = |waiting: &mut Vec<Record>| {
        let mut records = std::mem::take(waiting);
        handle.block_on(process::serialise(plugin, &mut records));
        library.publish(
            records
                .into_iter()
                .map(|record| Change::Put(Arc::new(record)))
                .collect(),
        );
    };
    hashing::run(wanted, cancel, |record| {
        done += 1;
        waiting.push(record);
        if waiting.len() >= PUBLISH || last.elapsed() >= PUBLISH_EVERY {
            publish(&mut waiting);
            progress(done);
            last = Instant::now();
        }
    });
    if !waiting.is_empty() {
        publish(&mut waiting);
    }
    progress(done);
}

pub(super) fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
