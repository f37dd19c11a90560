//! Thumbnails on disk: one file each, in 256 folders, within a bound; the least recently used go first.
//!
//! The disk itself is the bookkeeping: a file's time says when it was last used, set at most once an hour. The files
//! are looked through once after a start, when the first new one comes; a request never does.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::render;
use crate::files::foreign::{ForeignFile, Links};
use crate::files::hash::{hex, parse_hex};

/// How old the time of a file becomes before it is set anew.
const REFRESH: Duration = Duration::from_secs(3600);
/// Room on the disk is taken in blocks of about this size.
const BLOCK: u64 = 4096;
/// Most bytes of a thumbnail that are read.
const LARGEST: u64 = 16 << 20;
/// Start of the names of files that are being written.
const UNFINISHED: &str = ".new-";

/// Names a thumbnail: a digest of all that makes it what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 16]);

#[derive(Debug, Clone, Copy)]
struct Entry {
    size: u64,
    used: SystemTime,
}

#[derive(Debug, Default)]
struct Index {
    entries: HashMap<Key, Entry>,
    total: u64,
}

/// The thumbnails on disk. All methods block.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    bound: u64,
    // None until the first thumbnail is written.
    index: Mutex<Option<Index>>,
    warned: AtomicBool,
}

impl Cache {
    /// A cache in this folder, which need not exist; `bound` is in bytes, and 0 keeps nothing.
    pub fn new(folder: PathBuf, bound: u64) -> Self {
        Self {
            folder,
            bound,
            index: Mutex::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// The thumbnail, if it is there and whole.
    pub fn read(&self, key: Key) -> Option<Vec<u8>> {
        if self.bound == 0 {
            return None;
        }
        let path = self.path(key);
        let mut file = ForeignFile::open(&path, Links::Refuse).ok()??;
        let bytes = file.read_at_most(LARGEST).ok()?;
        if render::content_type(&bytes).is_none() {
            // A power cut can leave part of a file.
            let _ = std::fs::remove_file(&path);
            return None;
        }
        let now = SystemTime::now();
        let last = file.metadata().modified();
        if last.is_ok_and(|last| now.duration_since(last).is_ok_and(|age| age > REFRESH)) {
            // Where it can't be set, the file is taken for one that is used less.
            let _ = file.as_file().set_modified(now);
        }
        // While the files are looked through, nobody waits for it here.
        if let Ok(mut index) = self.index.try_lock()
            && let Some(entry) = index.as_mut().and_then(|index| index.entries.get_mut(&key))
        {
            entry.used = now;
        }
        Some(bytes)
    }

    /// Keeps a thumbnail, and removes others where there is no room. A disk that refuses costs time later, nothing else.
    pub fn write(&self, key: Key, bytes: &[u8]) {
        if self.bound == 0 {
            return;
        }
        if let Err(error) = self.put(key, bytes) {
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(folder = %self.folder.display(), %error, "thumbnails can't be kept; they are made anew each time");
            }
            return;
        }
        for gone in self.note(key, bytes.len() as u64) {
            let _ = std::fs::remove_file(self.path(gone));
        }
    }

    fn put(&self, key: Key, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        file.write_all(bytes)?;
        // Without fsync: `read` finds out what a crash cut short.
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Counts a new thumbnail; gives the ones that have to go.
    fn note(&self, key: Key, size: u64) -> Vec<Key> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = index.get_or_insert_with(|| look_through(&self.folder));
        index.add(key, size, SystemTime::now());
        index.make_room(self.bound)
    }

    fn path(&self, key: Key) -> PathBuf {
        let name = hex(&key.0);
        self.folder.join(&name[..2]).join(name)
    }
}

impl Index {
    fn add(&mut self, key: Key, size: u64, used: SystemTime) {
        let size = size.div_ceil(BLOCK) * BLOCK;
        let before = self.entries.insert(key, Entry { size, used });
        self.total = self.total + size - before.map_or(0, |before| before.size);
    }

    /// Takes out the least recently used, down to nine tenths of the bound, so that it isn't asked for each time.
    fn make_room(&mut self, bound: u64) -> Vec<Key> {
        if self.total <= bound {
            return Vec::new();
        }
        let mut by_use: Vec<(SystemTime, Key)> = self.entries.iter().map(|(key, entry)| (entry.used, *key)).collect();
        by_use.sort_unstable();
        let mut gone = Vec::new();
        for (_, key) in by_use {
            if self.total <= bound / 10 * 9 {
                break;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.total -= entry.size;
                gone.push(key);
            }
        }
        gone
    }
}

/// What is on the disk. Remains of a crash are removed; files of others are left alone.
fn look_through(folder: &Path) -> Index {
    let mut index = Index::default();
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for file in entries(folder).flat_map(|shard| entries(&shard.path())) {
        let name = file.file_name();
        let Some(name) = name.to_str() else { continue };
        let Ok(metadata) = file.metadata() else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(key) = parse_hex(name) {
            index.add(Key(key), metadata.len(), used);
        } else if name.starts_with(UNFINISHED) && used.elapsed().is_ok_and(|age| age > REFRESH) {
            let _ = std::fs::remove_file(file.path());
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn key(number: u8) -> Key {
        Key([number; 16])
    }

    fn thumbnail(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        bytes[..2].copy_from_slice(b"\xff\xd8");
        bytes[size - 2..].copy_from_slice(b"\xff\xd9");
        bytes
    }

    fn files(folder: &Path) -> usize {
        let shards = std::fs::read_dir(folder).into_iter().flatten().flatten();
        shards
            .map(|shard| std::fs::read_dir(shard.path()).unwrap().count())
            .sum()
    }

    #[test]
    fn the_least_recently_used_go_first_and_the_bound_holds_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thumbnails");
        let cache = Cache::new(path.clone(), 10 * BLOCK);
        for number in 0..10 {
            cache.write(key(number), &thumbnail(4000));
        }
        assert_eq!(files(&path), 10);
        assert!(cache.read(key(0)).is_some());
        cache.write(key(10), &thumbnail(4000));
        assert!(cache.read(key(0)).is_some() && cache.read(key(10)).is_some());
        assert!(cache.read(key(1)).is_none() && cache.read(key(2)).is_none());
        assert_eq!(files(&path), 9);

        // The times of the files say after a restart what was used.
        let old = SystemTime::now() - Duration::from_secs(7200);
        for number in [0, 4] {
            File::open(cache.path(key(number))).unwrap().set_modified(old).unwrap();
        }
        let again = Cache::new(path.clone(), 10 * BLOCK);
        assert!(again.read(key(0)).is_some(), "its time is set anew");
        again.write(key(11), &thumbnail(4000));
        again.write(key(12), &thumbnail(4000));
        assert!(again.read(key(4)).is_none() && again.read(key(0)).is_some() && again.read(key(12)).is_some());
        assert!(files(&path) <= 10);
    }

    #[test]
    fn a_thumbnail_cut_short_is_not_served_and_a_folder_that_is_deleted_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("t"), 1 << 20);
        cache.write(key(1), &thumbnail(100));
        std::fs::write(cache.path(key(1)), &thumbnail(100)[..50]).unwrap();
        assert_eq!(cache.read(key(1)), None);
        assert!(!cache.path(key(1)).exists());
        std::fs::remove_dir_all(folder.path().join("t")).unwrap();
        cache.write(key(2), &thumbnail(100));
        assert_eq!(cache.read(key(2)), Some(thumbnail(100)));
        assert_eq!(Cache::new(folder.path().join("t"), 0).read(key(2)), None);
    }

    #[test]
    fn remains_of_a_crash_are_cleared_and_foreign_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let shard = folder.path().join("00");
        std::fs::create_dir(&shard).unwrap();
        let old = SystemTime::now() - Duration::from_secs(7200);
        for name in [".new-abc", "notes.txt"] {
            File::create(shard.join(name)).unwrap().set_modified(old).unwrap();
        }
        Cache::new(folder.path().to_owned(), 1 << 20).write(key(3), &thumbnail(100));
        assert!(!shard.join(".new-abc").exists() && shard.join("notes.txt").exists());
    }
}
