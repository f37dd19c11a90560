//! The second half of a scan: SHA-256 of the files that need one, several at a time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, mpsc};

use serde_json::json;

use super::Cancel;
use super::folder::stamp;
use crate::files::hash::{self, HashError};
use crate::library::metadata;
use crate::library::record::{HashStatus, Record, Sha256};
use crate::library::sidecar::{self, Sidecar};

/// Files hashed at the same time.
const THREADS: usize = 2;

/// Digests of this run by device, inode, size and modification time.
type Known = HashMap<(u64, u64, u64, i64), [u8; 32]>;

/// Hashes files and writes the result into their sidecars; `done` gets each finished record,
/// its listed form still the old one.
pub fn run(wanted: Vec<Arc<Record>>, cancel: &Cancel, mut done: impl FnMut(Record)) {
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

fn one(wanted: &Arc<Record>, cancel: &Cancel, known: &Mutex<Known>) -> Option<Record> {
    let mut record = Record::clone(wanted);
    let path = Path::new(&*record.path);
    let same = device(path).map(|device| (device, record.stamp.inode, record.stamp.size, record.stamp.mtime_ns));
    let remembered = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = same.and_then(|same| remembered().get(&same).copied());
    match earlier.map_or_else(|| hash::sha256(path, cancel), Ok) {
        Ok(digest) => {
            if let Some(same) = same {
                remembered().insert(same, digest);
            }
            record.sha256 = Some(Sha256(digest));
            record.hash_status = HashStatus::Completed;
        }
        Err(HashError::Cancelled) => return None,
        Err(HashError::Io(error)) => {
            tracing::warn!(path = %path.display(), %error, "can't be hashed; the next scan tries again");
            record.hash_status = HashStatus::Failed;
            let reason = || format!("The file can't be read to its end: {error}.").into();
            record.problem.get_or_insert_with(reason);
        }
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let sidecar_path = sidecar::path_for(folder, &record.file_name);
    let before = stamp(&sidecar_path).ok();
    if let Ok(Some(mut sidecar)) = Sidecar::read(&sidecar_path)
        && !metadata::is_anothers(&record, &sidecar)
    {
        sidecar.0.insert("sha256".into(), json!(record.sha256_hex()));
        sidecar
            .0
            .insert("hash_status".into(), json!(record.hash_status.as_str()));
        // Where somebody else changed it since it was read, the record keeps the older stamp, so
        // that the next scan reads the change.
        let untouched = before == record.sidecar;
        let current = Record {
            sidecar: before,
            ..record.clone()
        };
        if write(&current, &sidecar, &sidecar_path) && untouched {
            record.sidecar = stamp(&sidecar_path).ok();
        }
    }
    Some(record)
}

/// The device that a file is on; none where the platform does not say.
fn device(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        std::fs::metadata(path)
            .ok()
            .map(|metadata| std::os::unix::fs::MetadataExt::dev(&metadata))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Writes a sidecar, unless it changed since the record was made from it: that change is
/// somebody's, and the next scan reads it. Whether it was written.
pub fn write(record: &Record, sidecar: &Sidecar, path: &Path) -> bool {
    if stamp(path).ok() != record.sidecar {
        return false;
    }
    let written = sidecar.write(path);
    if let Err(error) = &written {
        tracing::warn!(%error, "metadata is kept in the store only; make the folder writable to have it beside the model");
    }
    written.is_ok()
}
