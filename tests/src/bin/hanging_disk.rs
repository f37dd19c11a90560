//! A disk that can be made to hang: shows a folder again, read-only, mounted over itself. A test stops this process by a
//! signal, and whatever touches the disk waits from then on, as on a share whose server sleeps.
//!
//! `hanging_disk FOLDER` says `mounted` when it is, and ends when it is unmounted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    FileAttr, FileType, Filesystem, MountOption, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, Request, Session,
};

/// Nothing is cached: each look reaches this process.
const NO_CACHE: Duration = Duration::ZERO;

struct Mirror {
    // By inode, of what was looked up.
    paths: HashMap<u64, PathBuf>,
}

fn errno(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(5)
}

fn kind(of: std::fs::FileType) -> FileType {
    if of.is_dir() {
        FileType::Directory
    } else if of.is_symlink() {
        FileType::Symlink
    } else {
        FileType::RegularFile
    }
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::new(seconds as u64, nanoseconds as u32)
}

impl Mirror {
    fn path(&self, inode: u64) -> std::io::Result<PathBuf> {
        let known = self.paths.get(&inode).cloned();
        known.ok_or_else(|| std::io::Error::from_raw_os_error(2))
    }

    fn attributes(&self, path: &PathBuf, is_top: bool) -> std::io::Result<FileAttr> {
        let metadata = match is_top {
            true => std::fs::metadata(path)?,
            false => std::fs::symlink_metadata(path)?,
        };
        Ok(FileAttr {
            ino: if is_top { 1 } else { metadata.ino() },
            size: metadata.size(),
            blocks: metadata.blocks(),
            atime: time(metadata.atime(), metadata.atime_nsec()),
            mtime: time(metadata.mtime(), metadata.mtime_nsec()),
            ctime: time(metadata.ctime(), metadata.ctime_nsec()),
            crtime: UNIX_EPOCH,
            kind: kind(metadata.file_type()),
            perm: (metadata.mode() & 0o7777) as u16,
            nlink: metadata.nlink() as u32,
            uid: metadata.uid(),
            gid: metadata.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Mirror {
    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let path = self.path(parent).map(|parent| parent.join(name));
        match path.and_then(|path| Ok((self.attributes(&path, false)?, path))) {
            Ok((attributes, path)) => {
                self.paths.insert(attributes.ino, path);
                reply.entry(&NO_CACHE, &attributes, 0);
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn getattr(&mut self, _: &Request<'_>, inode: u64, _: Option<u64>, reply: ReplyAttr) {
        match self.path(inode).and_then(|path| self.attributes(&path, inode == 1)) {
            Ok(attributes) => reply.attr(&NO_CACHE, &attributes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readlink(&mut self, _: &Request<'_>, inode: u64, reply: ReplyData) {
        match self.path(inode).and_then(std::fs::read_link) {
            Ok(target) => reply.data(target.as_os_str().as_bytes()),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        inode: u64,
        _: u64,
        offset: i64,
        size: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        let read = || {
            let file = std::fs::File::open(self.path(inode)?)?;
            let mut bytes = vec![0; size as usize];
            let mut filled = 0;
            while filled < bytes.len() {
                match file.read_at(&mut bytes[filled..], offset as u64 + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            std::io::Result::Ok(bytes)
        };
        match read() {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readdir(&mut self, _: &Request<'_>, inode: u64, _: u64, offset: i64, mut reply: ReplyDirectory) {
        let list = || {
            let mut all = vec![
                (1, FileType::Directory, ".".into()),
                (1, FileType::Directory, "..".into()),
            ];
            for entry in std::fs::read_dir(self.path(inode)?)? {
                let entry = entry?;
                let inode = std::os::unix::fs::DirEntryExt::ino(&entry);
                all.push((inode, kind(entry.file_type()?), entry.file_name()));
            }
            std::io::Result::Ok(all)
        };
        match list() {
            Ok(all) => {
                for (index, (inode, kind, name)) in all.into_iter().enumerate().skip(offset as usize) {
                    if reply.add(inode, index as i64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(errno(&error)),
        }
    }
}

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or_else(|| std::io::Error::other("usage: hanging_disk FOLDER"))?;
    // Opened before it is covered: through this handle it stays as it was.
    let below = std::fs::File::open(&folder)?;
    let top = PathBuf::from(format!("/proc/self/fd/{}", below.as_raw_fd()));
    let mirror = Mirror {
        paths: HashMap::from([(1, top)]),
    };
    let options = [MountOption::RO, MountOption::FSName("hanging".into())];
    let mut session = Session::new(mirror, &folder, &options)?;
    println!("mounted");
    session.run()
}
