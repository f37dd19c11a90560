//! Sending a file of a root: its bytes are read in the pool of the root's disk, chunk by chunk, so that a client that waits
//! for a hung disk holds none of the threads that serve others.

use std::fs::File;
use std::future::{Ready, ready};
use std::io::{Error, Read, Result, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::sync::oneshot::Receiver;
use tower_http::services::fs::{Backend, File as ServedFile, Metadata as ServedMetadata};

use crate::files::disks::{Disk, DiskError};

/// Bytes that are read at once.
const CHUNK: u64 = 256 << 10;

/// A file that is open, with what is known of it.
#[derive(Clone)]
pub struct DiskFile {
    disk: Arc<Disk>,
    file: Arc<Mutex<File>>,
    known: Known,
}

/// Size and time of a file.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// In bytes.
    pub size: u64,
    /// When it was changed.
    pub modified: SystemTime,
}

impl DiskFile {
    /// A file that was opened on this disk.
    pub fn new(disk: Arc<Disk>, file: File, known: Known) -> Self {
        let file = Arc::new(Mutex::new(file));
        Self { disk, file, known }
    }
}

/// Where a client reads a file.
pub struct Reading {
    of: DiskFile,
    position: u64,
    chunk: std::io::Cursor<Vec<u8>>,
    coming: Option<Receiver<std::result::Result<Result<Vec<u8>>, DiskError>>>,
}

impl Backend for DiskFile {
    type File = Reading;
    type Metadata = Known;
    type OpenFuture = Ready<Result<Reading>>;
    type MetadataFuture = Ready<Result<Known>>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        ready(Ok(Reading {
            of: self.clone(),
            position: 0,
            chunk: std::io::Cursor::default(),
            coming: None,
        }))
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        ready(Ok(self.known))
    }
}

impl ServedMetadata for Known {
    fn is_dir(&self) -> bool {
        false
    }

    fn modified(&self) -> Result<SystemTime> {
        Ok(self.modified)
    }

    fn len(&self) -> u64 {
        self.size
    }
}

impl ServedFile for Reading {
    type Metadata = Known;
    type MetadataFuture<'a> = Ready<Result<Known>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.of.known))
    }
}

impl AsyncSeek for Reading {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> Result<()> {
        let moved = |from: u64, by: i64| from.checked_add_signed(by);
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => moved(self.position, by),
            SeekFrom::End(by) => moved(self.of.known.size, by),
        };
        self.position = position.ok_or_else(|| Error::other("a place before the beginning of a file"))?;
        self.chunk = std::io::Cursor::default();
        self.coming = None;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        loop {
            if (self.chunk.position() as usize) < self.chunk.get_ref().len() {
                return Pin::new(&mut self.chunk).poll_read(context, buffer);
            }
            let Some(coming) = &mut self.coming else {
                let (file, position) = (self.of.file.clone(), self.position);
                let read = move || {
                    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                    file.seek(SeekFrom::Start(position))?;
                    let mut chunk = Vec::new();
                    (&mut *file).take(CHUNK).read_to_end(&mut chunk)?;
                    Ok(chunk)
                };
                self.coming = Some(self.of.disk.request(read)?);
                continue;
            };
            let answer = ready!(Pin::new(coming).poll(context));
            self.coming = None;
            let chunk = answer.map_err(Error::other)???;
            if chunk.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.position += chunk.len() as u64;
            self.chunk = std::io::Cursor::new(chunk);
        }
    }
}
