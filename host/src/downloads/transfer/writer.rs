//! The thread that writes a file and takes its SHA-256 while it comes.
//!
//! Bytes that come in order are hashed as they are written. What comes ahead of its turn is read again when its turn has
//! come, soon after, so that the system still has it in memory. What an earlier run wrote is read from the disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::Receiver;

use super::disk;
use super::error::TransferError;
use super::state::{self, State};
use crate::files::foreign::{ForeignFile, Links};
use crate::files::hash::hex;

/// Bytes that are read at once to be hashed.
const BLOCK: usize = 1 << 20;
/// At most as many blocks are hashed behind for each piece that is written, so that the connections are not held up for long.
const BLOCKS_BEHIND: usize = 4;
/// Bytes that are written before the room on the disk is looked at again: a part of the reserve, so that several downloads at
/// once do not use it up.
const ROOM: u64 = disk::SPARE / 8;
/// How often the state is written.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// How often what was written is brought to the disk for good.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Bytes of a file and where they belong.
pub struct Piece {
    /// Place in the file.
    pub at: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a transfer knows of its file, shared by those who fetch and the one who writes.
pub type Shared = Arc<Mutex<State>>;

/// Writes a file until the last sender is gone.
pub struct Writer {
    target: PathBuf,
    file: Arc<File>,
    shared: Shared,
    sha256: Sha256,
    hashed: u64,
    block: Vec<u8>,
    // How much room there is.
    free: fn(&Path) -> Option<u64>,
    // Bytes that may be written before the room is looked at again.
    room: u64,
}

impl Writer {
    /// A writer of `target`'s part, which is made where there is none.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(target: &Path, shared: Shared) -> Result<Self, TransferError> {
        let part = state::part_of(target);
        let disk = |source| TransferError::disk(part.clone(), source);
        if let Some(folder) = part.parent() {
            std::fs::create_dir_all(folder).map_err(disk)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = ForeignFile::open_with(&mut options, &part, Links::Follow)
            .and_then(|file| file.map_or_else(|| ForeignFile::existing(&part), Ok))
            .map_err(|error| disk(error.into()))?
            .into_file();
        // What lies beyond what is known is of no use, and would look like a whole file.
        file.set_len(lock(&shared).done.end()).map_err(disk)?;
        lock(&shared).boot = state::boot();
        Ok(Self {
            target: target.to_owned(),
            file: Arc::new(file),
            shared,
            sha256: Sha256::new(),
            hashed: 0,
            block: Vec::new(),
            free: disk::free,
            room: 0,
        })
    }

    /// Writes what comes. When nothing more does and the file is whole: its SHA-256, lower-case hex.
    ///
    /// # Errors
    /// When it can't be written or read.
    pub fn run(mut self, mut pieces: Receiver<Piece>) -> Result<Option<String>, TransferError> {
        let part = state::part_of(&self.target);
        let disk = |source| TransferError::disk(part.clone(), source);
        self.save();
        let mut saved = Instant::now();
        let mut syncing = Syncing::default();
        while let Some(piece) = pieces.blocking_recv() {
            self.take_room(piece.bytes.len() as u64)?;
            write_at(&self.file, &piece.bytes, piece.at).map_err(disk)?;
            let end = piece.at + piece.bytes.len() as u64;
            lock(&self.shared).done.insert(piece.at, end);
            if piece.at == self.hashed {
                self.sha256.update(&piece.bytes);
                self.hashed = end;
            } else {
                self.hash_behind(BLOCKS_BEHIND).map_err(disk)?;
            }
            if saved.elapsed() >= SAVE_EVERY {
                self.save();
                saved = Instant::now();
                // Others write there, too.
                self.room = 0;
                syncing.start_when_due(&self.file, &self.shared);
            }
        }
        syncing.wait();
        let whole = {
            let state = lock(&self.shared);
            state.total.is_some_and(|total| state.done.end_from(0) == total)
        };
        if !whole {
            self.save();
            return Ok(None);
        }
        self.hash_behind(usize::MAX).map_err(disk)?;
        self.file.sync_all().map_err(disk)?;
        Ok(Some(hex(&self.sha256.finalize())))
    }

    /// Takes room for bytes that are to be written next. The disk's reserve is never taken: other downloads write there too,
    /// and not every server says how long a file is.
    fn take_room(&mut self, bytes: u64) -> Result<(), TransferError> {
        if bytes > self.room {
            let Some(free) = (self.free)(&self.target) else {
                self.room = ROOM;
                return Ok(());
            };
            let room = free.saturating_sub(disk::SPARE);
            if bytes > room {
                let state = lock(&self.shared);
                let needed = state.total.map(|total| total.saturating_sub(state.done.len()));
                return Err(TransferError::DiskFull {
                    path: self.target.clone(),
                    needed,
                    free,
                });
            }
            self.room = room.min(ROOM.max(bytes));
        }
        self.room -= bytes.min(self.room);
        Ok(())
    }

    fn save(&self) {
        let state = lock(&self.shared).clone();
        // Without it, only a restart would have to fetch more again.
        if let Err(error) = state.save(&self.target) {
            tracing::debug!(target = %self.target.display(), %error, "the state of a download is not written");
        }
    }

    fn hash_behind(&mut self, blocks: usize) -> std::io::Result<()> {
        for _ in 0..blocks {
            let end = lock(&self.shared).done.end_from(self.hashed);
            let length = usize::try_from(end - self.hashed).unwrap_or(BLOCK).min(BLOCK);
            if length == 0 {
                break;
            }
            self.block.resize(BLOCK, 0);
            let block = &mut self.block[..length];
            read_at(&self.file, block, self.hashed)?;
            self.sha256.update(block);
            self.hashed += length as u64;
        }
        Ok(())
    }
}

/// Brings what was written to the disk, on a thread beside the writer's.
#[derive(Default)]
struct Syncing {
    last: Option<Instant>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Syncing {
    fn start_when_due(&mut self, file: &Arc<File>, shared: &Shared) {
        let last = *self.last.get_or_insert_with(Instant::now);
        if last.elapsed() < SYNC_EVERY || self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.wait();
        self.last = Some(Instant::now());
        let (file, shared) = (file.clone(), shared.clone());
        let sync = move || {
            let written = lock(&shared).done.clone();
            if file.sync_data().is_ok() {
                lock(&shared).synced = written;
            }
        };
        self.thread = std::thread::Builder::new()
            .name("download-sync".into())
            .spawn(sync)
            .ok();
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state, whoever left it.
pub fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_others_fill_meanwhile_ends_it_and_what_is_here_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        let mut writer = Writer::open(&target, Shared::default()).unwrap();
        writer.free = |target| {
            let is_begun = std::fs::metadata(state::part_of(target)).is_ok_and(|part| part.len() > 0);
            Some(if is_begun { disk::SPARE } else { 2 * disk::SPARE })
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let writing = std::thread::spawn(move || writer.run(receiver));
        for at in 0..2 {
            std::thread::sleep(SAVE_EVERY + Duration::from_millis(50));
            let bytes = Bytes::from_static(b"x");
            let _ = sender.blocking_send(Piece { at, bytes });
        }
        drop(sender);
        let error = writing.join().unwrap().unwrap_err();
        assert!(matches!(error, TransferError::DiskFull { needed: None, .. }), "{error}");
        assert!(!error.to_string().contains("0 MB more"), "{error}");
        assert!(State::load(&target, None).done.len() > 0);
    }

    #[test]
    fn the_reserve_of_a_disk_is_never_taken_however_fast_bytes_come() {
        const DISK: u64 = disk::SPARE + (9 << 20);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        let mut writer = Writer::open(&target, Shared::default()).unwrap();
        writer.free = |target| Some(DISK - std::fs::metadata(state::part_of(target)).map_or(0, |part| part.len()));
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let writing = std::thread::spawn(move || writer.run(receiver));
        for number in 0..20 {
            let bytes = Bytes::from(vec![0; 1 << 20]);
            let _ = sender.blocking_send(Piece {
                at: number << 20,
                bytes,
            });
        }
        drop(sender);
        let error = writing.join().unwrap().unwrap_err();
        assert!(matches!(error, TransferError::DiskFull { .. }), "{error}");
        assert_eq!(std::fs::metadata(state::part_of(&target)).unwrap().len(), 9 << 20);
    }
}
