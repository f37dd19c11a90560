//! The second half of a scan: SHA-256 of the files that need one, several at a time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, mpsc};

use serde_json::json;

use super::Cancel;
use super::walk::stamp;
use crate::files::hash::{self, HashError};
use crate::library::metadata;
use crate::library::record::{HashStatus, Record, Sha256};
use crate::library::sidecar::{self, Sidecar};

/// Files hashed at the same time.
const THREADS: usize = 2;

/// A record whose file is to be hashed, with its sidecar where that is not on disk yet.
pub struct Wanted {
    /// The record.
    pub record: Arc<Record>,
    /// The sidecar to write with the hash in it.
    pub sidecar: Option<Sidecar>,
}

/// Digests of this run by inode, size and modification time.
type Known = HashMap<(u64, u64, i64), [u8; 32]>;

/// Hashes files and writes the result into their sidecars; `done` gets each finished record,
/// its listed form still the old one.
pub fn run(wanted: Vec<Wanted>, cancel: &Cancel, mut done: impl FnMut(Record)) {
    let next = AtomicUsize::new(0);
    // A file that several paths lead to by hard links is read once.
    let known: Mutex<Known> = Mutex::default();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..THREADS {
            let (sender, next, wanted, known) = (sender.clone(), &next, &wanted, &known);
            scope.spawn(move || {
                while let Some(item) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if cancel.is_set() {
                        return;
                    }
                    if let Some(record) = one(item, cancel, known)
                        && sender.send(record).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().for_each(&mut done);
    });
}

fn one(wanted: &Wanted, cancel: &Cancel, known: &Mutex<Known>) -> Option<Record> {
    let mut record = Record::clone(&wanted.record);
    let path = Path::new(&*record.path);
    let same = (record.stamp.inode, record.stamp.size, record.stamp.mtime_ns);
    let remembered = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = (same.0 != 0).then(|| remembered().get(&same).copied()).flatten();
    let result = earlier.map_or_else(|| hash::sha256(path, cancel, |_| {}), Ok);
    match result {
        Ok(digest) => {
            remembered().insert(same, digest);
            record.sha256 = Some(Sha256(digest));
            record.hash_status = HashStatus::Completed;
        }
        Err(HashError::Cancelled) => return None,
        Err(HashError::Io(error)) => {
            tracing::warn!(path = %path.display(), %error, "can't be hashed; the next scan tries again");
            record.hash_status = HashStatus::Failed;
            record
                .problem
                .get_or_insert_with(|| format!("The file can't be read to its end: {error}.").into());
        }
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let sidecar_path = sidecar::path_for(folder, &record.file_name);
    // What was read holds repairs that are not on disk yet; what changed on disk since counts more.
    let untouched = stamp(&sidecar_path).ok() == record.sidecar;
    let mut sidecar = match (Sidecar::read(&sidecar_path), &wanted.sidecar) {
        (Ok(_), Some(read)) if untouched => read.clone(),
        (Ok(Some(mut sidecar)), _) => {
            metadata::repair(&record, &mut sidecar);
            sidecar
        }
        (Ok(None), Some(read)) => read.clone(),
        (Ok(None), None) | (Err(_), _) => return Some(record),
    };
    sidecar.0.insert("sha256".into(), json!(record.sha256_hex()));
    sidecar
        .0
        .insert("hash_status".into(), json!(record.hash_status.as_str()));
    write(&mut record, &sidecar, &sidecar_path);
    Some(record)
}

/// Writes a sidecar and notes its stamp; a folder that can't be written keeps its records in
/// the store alone.
pub fn write(record: &mut Record, sidecar: &Sidecar, path: &Path) {
    match sidecar.write(path) {
        Ok(()) => record.sidecar = stamp(path).ok(),
        Err(error) => {
            tracing::warn!(%error, "metadata is kept in the store only; make the folder writable to have it beside the model")
        }
    }
}
