//! Previews in the width that a page asks for: made when they are first asked for, and kept on disk.
//!
//! `<data>/thumbnails` can be deleted at any time; nothing in it is anybody's own.

mod cache;
mod cover;
pub mod render;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedMutexGuard, Semaphore};

use cache::{Cache, Key};
use render::Rendered;
pub use render::{MAX_SIDE, Refusal};

use super::record::Stamp;
use crate::files::disks::{Disk, DiskError};

/// Widths in pixels that thumbnails have; what is asked for is rounded up, so that the cache holds few of each picture.
pub const WIDTHS: [u32; 8] = [160, 240, 320, 480, 640, 960, 1280, 1920];

/// Raised when thumbnails of the same picture come out otherwise.
const VERSION: u8 = 1;
/// Most pictures that are made at once; each takes a processor.
const MAX_SLOTS: usize = 4;
/// Largest picture that is read whole before it is decoded, in bytes.
const WHOLE: u64 = 32 << 20;
/// Outcomes without a file that are remembered, so that a picture that can't be shown is not decoded each time.
const REMEMBERED: usize = 16_384;

/// The width that is made for a wanted one; none when only the original is wide enough.
pub fn step(wanted: u32) -> Option<u32> {
    WIDTHS.into_iter().find(|width| *width >= wanted)
}

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The picture can't be decoded, or must not be.
    #[error(
        "The preview {} can't be shown smaller: {refusal}. Replace it with a JPEG, PNG, WebP or GIF of at most {MAX_SIDE} pixels on a side.",
        path.display()
    )]
    Refused {
        /// The picture.
        path: PathBuf,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its disk does not answer.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The bytes of which a thumbnail is made.
enum Source {
    /// A whole file, or the cover of a video.
    Bytes(Vec<u8>),
    /// A file that is too large to be kept in memory.
    File(File),
    /// The video has no cover.
    None,
}

/// What a thumbnail is made of.
#[derive(Debug, Clone)]
pub struct Picture {
    /// A file that may be opened, all links resolved.
    pub path: PathBuf,
    /// The disk that it is on.
    pub disk: Arc<Disk>,
    /// Its size and time.
    pub stamp: Stamp,
    /// The cover inside a video instead of the file itself.
    pub cover: bool,
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Thumbnail {
    /// These bytes.
    Made {
        /// The picture.
        bytes: Vec<u8>,
        /// Its type.
        content_type: &'static str,
    },
    /// The file itself: it is not wider than what is asked for, or of a format that only browsers know.
    Original,
    /// The video carries no cover.
    NoCover,
}

/// Outcomes without a file of their own.
#[derive(Debug, Clone)]
enum Known {
    Original,
    NoCover,
    Refused(Refusal),
}

/// Makes and keeps thumbnails.
pub struct Thumbnails {
    cache: Cache,
    slots: Arc<Semaphore>,
    // In MiB, of all pictures together.
    memory: Arc<Semaphore>,
    making: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
    known: Mutex<HashMap<Key, Known>>,
}

impl Thumbnails {
    /// Thumbnails in this folder, which need not exist; at most `cache_mib` MiB of them, and 0 keeps none.
    pub fn new(folder: PathBuf, cache_mib: u64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cache: Cache::new(folder, cache_mib.saturating_mul(1 << 20)),
            slots: Arc::new(Semaphore::new(processors.min(MAX_SLOTS))),
            memory: Arc::new(Semaphore::new(mib(render::MAX_WORK) as usize)),
            making: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// A picture in one of [`WIDTHS`]. A picture that is asked for twice at once is made once; one that nobody waits
    /// for any more is made to its end all the same, once it was begun.
    ///
    /// # Errors
    /// When the picture can't be decoded or read.
    pub async fn get(self: &Arc<Self>, picture: Picture, width: u32) -> Result<Thumbnail, ThumbnailError> {
        let key = key(&picture, width);
        if let Some(found) = self.find(key, &picture).await {
            return found;
        }
        let turn = self.turn(key).lock_owned().await;
        // Somebody else may have made it meanwhile.
        if let Some(found) = self.find(key, &picture).await {
            return found;
        }
        // Read before a processor is taken, which a disk that hangs must not hold.
        let waiting = picture.disk.in_memory().acquire_owned().await;
        let (from, disk) = (picture.clone(), picture.disk.clone());
        let source = disk.run(move || read(&from)).await?;
        let source = source.map_err(|source| ThumbnailError::Io {
            path: picture.path.clone(),
            source,
        })?;
        let slot = self.slots.clone().acquire_owned().await;
        drop(waiting);
        let (own, path, handle) = (self.clone(), picture.path.clone(), tokio::runtime::Handle::current());
        let made = tokio::task::spawn_blocking(move || {
            // Both are held until the work is done, not until the client leaves.
            let _held: (OwnedMutexGuard<()>, _) = (turn, slot);
            own.make(key, &picture, source, width, &handle)
        });
        made.await.unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "decoding a preview broke off");
            let refusal = Refusal::Broken("its decoder failed".into());
            self.remember(key, Known::Refused(refusal.clone()));
            Err(ThumbnailError::Refused { path, refusal })
        })
    }

    async fn find(self: &Arc<Self>, key: Key, picture: &Picture) -> Option<Result<Thumbnail, ThumbnailError>> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(known) = known {
            return Some(answer(known, &picture.path));
        }
        let own = self.clone();
        let cached = tokio::task::spawn_blocking(move || own.cache.read(key)).await;
        made(cached.ok().flatten()?).map(Ok)
    }

    /// The lock of whoever makes this thumbnail.
    fn turn(&self, key: Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = making.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        making.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        making.insert(key, Arc::downgrade(&turn));
        turn
    }

    fn make(
        &self,
        key: Key,
        picture: &Picture,
        source: Source,
        width: u32,
        handle: &tokio::runtime::Handle,
    ) -> Result<Thumbnail, ThumbnailError> {
        let io = |source| ThumbnailError::Io {
            path: picture.path.clone(),
            source,
        };
        // At most as many threads wait here as there are slots, and whoever holds memory gives it back.
        let reserve = |bytes: u64| handle.block_on(self.memory.clone().acquire_many_owned(mib(bytes)));
        let rendered = match source {
            // Where the file itself is a video, even a small cover is made anew.
            Source::Bytes(bytes) => {
                render::render(Cursor::new(&bytes), bytes.len() as u64, width, picture.cover, reserve)
            }
            Source::File(mut file) => {
                let size = file.metadata().map_err(io)?.len();
                render::render(BufReader::new(&mut file), size, width, false, reserve)
            }
            Source::None => {
                self.remember(key, Known::NoCover);
                return Ok(Thumbnail::NoCover);
            }
        };
        match rendered {
            Ok(Rendered::Made(bytes)) => {
                self.cache.write(key, &bytes);
                made(bytes).ok_or_else(|| io(std::io::Error::other("the encoder failed")))
            }
            Ok(Rendered::AsItIs) => {
                self.remember(key, Known::Original);
                Ok(Thumbnail::Original)
            }
            Err(refusal) => {
                self.remember(key, Known::Refused(refusal.clone()));
                Err(ThumbnailError::Refused {
                    path: picture.path.clone(),
                    refusal,
                })
            }
        }
    }

    fn remember(&self, key: Key, outcome: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, outcome);
    }
}

/// Reads what a thumbnail is made of. Touches the picture's disk.
fn read(picture: &Picture) -> std::io::Result<Source> {
    let mut file = File::open(&picture.path)?;
    if picture.cover {
        let cover = cover::of_video(&mut BufReader::new(&file))?;
        return Ok(cover.map_or(Source::None, Source::Bytes));
    }
    if file.metadata()?.len() > WHOLE {
        return Ok(Source::File(file));
    }
    let mut bytes = Vec::new();
    (&mut file).take(WHOLE).read_to_end(&mut bytes)?;
    Ok(Source::Bytes(bytes))
}

fn answer(known: Known, path: &Path) -> Result<Thumbnail, ThumbnailError> {
    match known {
        Known::Original => Ok(Thumbnail::Original),
        Known::NoCover => Ok(Thumbnail::NoCover),
        Known::Refused(refusal) => Err(ThumbnailError::Refused {
            path: path.to_owned(),
            refusal,
        }),
    }
}

fn made(bytes: Vec<u8>) -> Option<Thumbnail> {
    let content_type = render::content_type(&bytes)?;
    Some(Thumbnail::Made { bytes, content_type })
}

/// Whole MiB, at least one.
fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX).max(1)
}

/// Changes with everything that makes a thumbnail what it is.
fn key(picture: &Picture, width: u32) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[VERSION, u8::from(picture.cover)]);
    hasher.update(&picture.stamp.size.to_le_bytes());
    hasher.update(&picture.stamp.mtime_ns.to_le_bytes());
    hasher.update(&width.to_le_bytes());
    hasher.update(picture.path.as_os_str().as_encoded_bytes());
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    Key(key)
}

#[cfg(test)]
mod tests;
