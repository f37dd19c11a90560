//! The one door through which files are read that other programs and people may have put there: sidecars, previews,
//! models, settings, plugins, archives, and the server's own files too, since anybody who can write to a folder can put a
//! pipe or a link in a file's place.
//!
//! A file is opened without waiting (`O_NONBLOCK`), and only when it is a regular file on a file system that holds files:
//! a pipe, a socket, a device and a file of the kernel (`/proc/kmsg`) would block or never end. At most as many bytes are
//! read as the caller names. Whether a file is absent is decided without following links: a link whose target is not there
//! belongs to a disk that is offline, which is another answer ([`ForeignError::Offline`]) than "no such file".
//!
//! `host/clippy.toml` forbids `std::fs::read`, `File::open` and the like everywhere else in the server.
#![allow(
    clippy::disallowed_methods,
    reason = "the door itself: every other module opens files through it"
)]

mod pseudo;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use self::pseudo::{check_folder, kernel_text};

/// Most bytes of a file that the server writes for itself and reads whole: settings, lists, operations.
pub const OWN_FILE: u64 = 64 << 20;
/// Most bytes of a file of settings.
pub const SETTINGS_FILE: u64 = 16 << 20;

/// Whether a link as the last part of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// The file that the link leads to is opened.
    Follow,
    /// A link is an error.
    Refuse,
}

/// Why a file was not opened or read. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// A link leads to a place where nothing is.
    #[error(
        "{} is a link to {}, which is not there; attach the disk that holds it, or remove the link",
        path.display(), target.display()
    )]
    Offline {
        /// The link.
        path: PathBuf,
        /// The place that the link names.
        target: PathBuf,
    },
    /// A link, where links are refused.
    #[error("{} is a symbolic link, which is not followed here; put the file itself in its place", .0.display())]
    Link(PathBuf),
    /// A folder, pipe, socket or device.
    #[error("{} is {kind}, not a regular file; remove it, or put a file in its place", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// Its kind, for a person.
        kind: &'static str,
    },
    /// A file or folder on a file system whose files are made by the kernel.
    #[error("{} is on {filesystem}, which holds no real files; remove the link to it", path.display())]
    Pseudo {
        /// The path.
        path: PathBuf,
        /// Name of the file system.
        filesystem: &'static str,
    },
    /// The file has more bytes than may be read.
    #[error("{} has more than {} and is not read; make it smaller, or remove it", path.display(), size(*max))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        max: u64,
    },
    /// The file should be text, and is not.
    #[error("{} is not UTF-8 text; save it as UTF-8", .0.display())]
    NotText(PathBuf),
    /// The system refuses.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A number of bytes for a person.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mib => format!("{mib} MiB"),
    }
}

impl ForeignError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the file may be there, on a disk that is not.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Offline { .. })
    }

    /// Whether trying again later, with the same thing at the path, can end otherwise.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Offline { .. } | Self::Io { .. })
    }
}

/// Never `NotFound`, but where a file vanished between two steps: callers take that kind for "there is no such file".
impl From<ForeignError> for io::Error {
    fn from(error: ForeignError) -> Self {
        match error {
            ForeignError::Io { source, path } => Self::new(source.kind(), ForeignError::Io { path, source }),
            ForeignError::NotRegular { .. } | ForeignError::Pseudo { .. } => Self::new(ErrorKind::InvalidInput, error),
            ForeignError::TooLarge { .. } => Self::new(ErrorKind::FileTooLarge, error),
            ForeignError::NotText(_) => Self::new(ErrorKind::InvalidData, error),
            ForeignError::Offline { .. } | ForeignError::Link(_) => Self::other(error),
        }
    }
}

/// An open regular file.
#[derive(Debug)]
pub struct ForeignFile {
    file: File,
    path: PathBuf,
    metadata: Metadata,
}

impl ForeignFile {
    /// Opens a file for reading; none when nothing has its name.
    ///
    /// # Errors
    /// Everything else: a link that leads nowhere, what is no regular file, and the system's refusals.
    pub fn open(path: &Path, links: Links) -> Result<Option<Self>, ForeignError> {
        Self::open_with(OpenOptions::new().read(true), path, links)
    }

    /// Opens a file that should be there, following links.
    ///
    /// # Errors
    /// As [`Self::open`]; `NotFound` when nothing has its name.
    pub fn existing(path: &Path) -> Result<Self, ForeignError> {
        Self::open(path, Links::Follow)?.ok_or_else(|| ForeignError::io(path, ErrorKind::NotFound.into()))
    }

    /// As [`Self::open`] with other rights than reading. What `create` makes is a new regular file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(options: &mut OpenOptions, path: &Path, links: Links) -> Result<Option<Self>, ForeignError> {
        // Asked before it is opened, since opening alone makes some devices act.
        let before = inspect(path, links)?;
        #[cfg(unix)]
        {
            use rustix::fs::OFlags;
            use std::os::unix::fs::OpenOptionsExt;
            let flags = match links {
                Links::Follow => OFlags::NONBLOCK,
                Links::Refuse => OFlags::NONBLOCK | OFlags::NOFOLLOW,
            };
            options.custom_flags(flags.bits().cast_signed());
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(error) if before.is_none() && is_absent(&error) => return Ok(None),
            Err(error) => return absent(path, links, error),
        };
        let metadata = file.metadata().map_err(|source| ForeignError::io(path, source))?;
        // Asked again of the open file: another one may have come to its place meanwhile.
        check_kind(path, &metadata)?;
        pseudo::check_file(path, &metadata, &file)?;
        Ok(Some(Self {
            file,
            path: path.to_owned(),
            metadata,
        }))
    }

    /// An empty file to be written, new or in the place of the content of an old one. Links are refused.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn create(path: &Path) -> Result<Self, ForeignError> {
        let mut options = OpenOptions::new();
        let opened = Self::open_with(options.write(true).create(true).truncate(true), path, Links::Refuse)?;
        // None only when its folder is not there.
        opened.ok_or_else(|| ForeignError::io(path, ErrorKind::NotFound.into()))
    }

    /// Size in bytes when the file was opened.
    pub fn len(&self) -> u64 {
        self.metadata.len()
    }

    /// Whether the file had no bytes when it was opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the system said of the file when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The path under which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes from the current position on, at most `max`.
    ///
    /// # Errors
    /// [`ForeignError::TooLarge`], also when the file grows beyond the bound while it is read.
    pub fn read_at_most(&mut self, max: u64) -> Result<Vec<u8>, ForeignError> {
        let too_large = || ForeignError::TooLarge {
            path: self.path.clone(),
            max,
        };
        if self.len() > max {
            return Err(too_large());
        }
        // Room for one more byte, so that the end is found without growing.
        let mut bytes = Vec::with_capacity(usize::try_from(self.len()).unwrap_or_default().saturating_add(1));
        let bound = max.saturating_add(1);
        (&self.file)
            .take(bound)
            .read_to_end(&mut bytes)
            .map_err(|source| ForeignError::io(&self.path, source))?;
        if bytes.len() as u64 > max {
            return Err(too_large());
        }
        Ok(bytes)
    }

    /// As [`Self::read_at_most`], as text.
    ///
    /// # Errors
    /// As [`Self::read_at_most`], and [`ForeignError::NotText`].
    pub fn read_text(&mut self, max: u64) -> Result<String, ForeignError> {
        String::from_utf8(self.read_at_most(max)?).map_err(|_| ForeignError::NotText(self.path.clone()))
    }

    /// The open file, for code that streams it.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// The open file, for code that streams it.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for ForeignFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for ForeignFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// A whole file of at most `max` bytes, links followed; none when nothing has its name.
///
/// # Errors
/// As [`ForeignFile::open`] and [`ForeignFile::read_at_most`].
pub fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, ForeignError> {
    let file = ForeignFile::open(path, Links::Follow)?;
    file.map(|mut file| file.read_at_most(max)).transpose()
}

/// As [`read`], of a text.
///
/// # Errors
/// As [`read`], and [`ForeignError::NotText`].
pub fn read_text(path: &Path, max: u64) -> Result<Option<String>, ForeignError> {
    let file = ForeignFile::open(path, Links::Follow)?;
    file.map(|mut file| file.read_text(max)).transpose()
}

/// What the system says of a regular file, without opening it; none when nothing has its name.
///
/// # Errors
/// As [`ForeignFile::open`].
pub fn inspect(path: &Path, links: Links) -> Result<Option<Metadata>, ForeignError> {
    let metadata = match links {
        Links::Follow => path.metadata(),
        Links::Refuse => path.symlink_metadata(),
    };
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return absent(path, links, error),
    };
    check_kind(path, &metadata)?;
    pseudo::check_path(path, &metadata)?;
    Ok(Some(metadata))
}

/// Whether anything has this name, a link that leads nowhere included. A place that can't be looked at counts as taken.
pub fn is_taken(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !is_absent(&error),
    }
}

/// Has the names of a folder on the disk, as far as the file system can.
pub fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let _ = folder;
}

/// The target of a link as it is written, when nothing is there; none for everything else.
pub fn dangling(path: &Path) -> Option<PathBuf> {
    match inspect(path, Links::Follow) {
        Err(ForeignError::Offline { target, .. }) => Some(target),
        _ => None,
    }
}

/// Refuses everything but a regular file.
fn check_kind(path: &Path, metadata: &Metadata) -> Result<(), ForeignError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_symlink() {
        return Err(ForeignError::Link(path.to_owned()));
    }
    Err(ForeignError::NotRegular {
        path: path.to_owned(),
        kind: name_of(kind),
    })
}

#[cfg(unix)]
fn name_of(kind: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    }
}

#[cfg(not(unix))]
fn name_of(kind: std::fs::FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "something else" }
}

/// Kinds of errors with which the system says that a name leads nowhere: a link in the path may be why.
fn is_absent(error: &io::Error) -> bool {
    let is_loop = {
        #[cfg(unix)]
        {
            error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
        }
        #[cfg(not(unix))]
        {
            false
        }
    };
    // A name that is too long can't be that of a file.
    let absent = [
        ErrorKind::NotFound,
        ErrorKind::NotADirectory,
        ErrorKind::InvalidFilename,
    ];
    is_loop || absent.contains(&error.kind())
}

/// Nothing, when no part of the path is a link that leads nowhere.
fn absent<T>(path: &Path, links: Links, error: io::Error) -> Result<Option<T>, ForeignError> {
    if !is_absent(&error) {
        return Err(ForeignError::io(path, error));
    }
    for part in path.ancestors() {
        match part.symlink_metadata() {
            Ok(own) if own.is_symlink() && part == path && links == Links::Refuse => {
                return Err(ForeignError::Link(path.to_owned()));
            }
            Ok(own) if own.is_symlink() && part.metadata().is_err() => {
                return Err(ForeignError::Offline {
                    path: part.to_owned(),
                    target: part.read_link().unwrap_or_default(),
                });
            }
            // It came a moment ago: the next look finds it.
            Ok(own) if part == path && own.is_file() => return Err(ForeignError::io(path, error)),
            Ok(_) => return Ok(None),
            Err(other) if is_absent(&other) => {}
            Err(other) => return Err(ForeignError::io(part, other)),
        }
    }
    Ok(None)
}
