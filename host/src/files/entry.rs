//! The one door for changes of a library's files: each is made through the open handle of its folder.
//!
//! A path alone is no proof. Between the check that it is inside an allowed folder and its use, somebody with access to
//! that folder may put a link in the place of a folder. So a folder is opened beneath the real path of an allowed folder
//! (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`; step by step where the system has no such call), and files
//! in it are named relative to the open handle.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::rooted::AllowedFolders;
use super::{atomic, fault};

/// How often a folder's lock is tried before a file is replaced without: a lock that somebody holds for good must not stop
/// every edit.
const LOCK_TRIES: u32 = 400;
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A path that a link leads out of the allowed folders.
#[derive(Debug, thiserror::Error)]
#[error("{} leads out of the library's folders by a link, so nothing was changed. Remove the link, or scan again if it is meant", .0.display())]
pub struct LeadsOut(PathBuf);

/// A folder that must be one, and is a link or a file.
#[derive(Debug, thiserror::Error)]
#[error("{} must be a folder and is a link or a file. Move it away, then try again", .0.display())]
pub struct NoFolder(PathBuf);

/// An open folder inside the allowed folders.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: Arc<Dir>,
    path: PathBuf,
}

/// A name in an open folder, whether or not something has that name.
#[derive(Debug, Clone)]
pub struct Entry {
    folder: Folder,
    name: OsString,
}

impl AllowedFolders {
    /// Opens an existing folder.
    ///
    /// # Errors
    /// `PermissionDenied` with [`LeadsOut`] when its real path is outside; else the system's.
    pub fn folder(&self, path: &Path) -> std::io::Result<Folder> {
        let real = path.canonicalize()?;
        let leads_out = || Error::new(ErrorKind::PermissionDenied, LeadsOut(path.to_owned()));
        // The outermost: who may write to it could put a link in the place of an inner one.
        let root = self.real_folders().filter(|root| real.starts_with(root));
        let root = root.min_by_key(|root| root.as_os_str().len()).ok_or_else(leads_out)?;
        let below = real.strip_prefix(root).map_err(|_| leads_out())?;
        let mut dir = Dir::open_ambient_dir(root, ambient_authority())?;
        if !below.as_os_str().is_empty() {
            dir = dir.open_dir(below)?;
        }
        Ok(Folder {
            dir: Arc::new(dir),
            path: path.to_owned(),
        })
    }

    /// A name in its folder, which must exist. What has the name may be a link.
    ///
    /// # Errors
    /// As [`Self::folder`]; `InvalidInput` for a path without a name.
    pub fn entry(&self, path: &Path) -> std::io::Result<Entry> {
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => Ok(self.folder(folder)?.entry(name)),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    /// Makes a folder and those that it lies in, where they are not there.
    ///
    /// # Errors
    /// As [`Self::folder`].
    pub fn make_folders(&self, path: &Path) -> std::io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev() {
            match self.entry(path)?.create_folder() {
                // Somebody else was first.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
                made => made?,
            }
        }
        Ok(())
    }

    /// As [`Self::entry`], of the file that a link leads to when the name is one: a link stays a link when its file is
    /// written.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn target_entry(&self, path: &Path) -> std::io::Result<Entry> {
        let entry = self.entry(path)?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_symlink() => self.entry(&path.canonicalize()?),
            _ => Ok(entry),
        }
    }
}

impl Folder {
    /// A name in this folder.
    pub fn entry(&self, name: &OsStr) -> Entry {
        Entry {
            folder: self.clone(),
            name: name.to_owned(),
        }
    }

    /// Opens a folder in this one that is no link.
    ///
    /// # Errors
    /// `NotADirectory` with [`NoFolder`] when a link or a file has the name; else the system's.
    pub fn inner(&self, name: &OsStr) -> std::io::Result<Self> {
        let path = self.path.join(name);
        let no_folder = || Error::new(ErrorKind::NotADirectory, NoFolder(path.clone()));
        if !self.dir.symlink_metadata(name)?.is_dir() {
            return Err(no_folder());
        }
        #[cfg(unix)]
        let dir = {
            use rustix::fs::{Mode, OFlags, openat};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(&*self.dir, name, flags, Mode::empty());
            Dir::from_std_file(opened.map_err(|_| no_folder())?.into())
        };
        #[cfg(not(unix))]
        let dir = self.dir.open_dir(name)?;
        Ok(Self {
            dir: Arc::new(dir),
            path,
        })
    }

    /// Opens a folder in this one that is no link, and makes it when nothing has its name.
    ///
    /// # Errors
    /// As [`Self::inner`].
    pub fn inner_or_new(&self, name: &OsStr) -> std::io::Result<Self> {
        match self.dir.create_dir(name) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => self.inner(name),
        }
    }

    /// Lets only the server's user enter.
    ///
    /// # Errors
    /// The system's.
    pub fn make_private(&self) -> std::io::Result<()> {
        #[cfg(unix)]
        rustix::fs::fchmod(&*self.dir, rustix::fs::Mode::from_raw_mode(0o700))?;
        Ok(())
    }

    /// Names in it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn names(&self) -> std::io::Result<Vec<OsString>> {
        self.dir.entries()?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Has its names on the disk, as far as the file system can.
    pub fn sync(&self) {
        #[cfg(unix)]
        let _ = rustix::fs::openat(
            &*self.dir,
            ".",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .and_then(rustix::fs::fsync);
    }
}

impl Entry {
    /// A name in a folder that is trusted by its path, with all links resolved. For changes that first compare the files in
    /// it with what is known of them, by [`Self::inode`].
    ///
    /// # Errors
    /// The system's.
    pub fn in_folder_of(path: &Path) -> std::io::Result<Self> {
        let path = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => path.canonicalize()?,
            _ => path.to_owned(),
        };
        let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
        let dir = Arc::new(Dir::open_ambient_dir(folder, ambient_authority())?);
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        let folder = Folder {
            dir,
            path: folder.to_owned(),
        };
        Ok(Self { folder, name })
    }

    /// Inode of the file with this name, or of what a link with this name leads to; none when there is none. 0 where the
    /// platform has no inodes.
    ///
    /// # Errors
    /// The system's.
    pub fn inode(&self) -> std::io::Result<Option<u64>> {
        #[cfg(unix)]
        match rustix::fs::statat(&*self.folder.dir, &self.name, rustix::fs::AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
        #[cfg(not(unix))]
        Ok(self.is_taken().then_some(0))
    }

    /// The path by which it was asked for; for messages, and to read it.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    /// Another name in its folder.
    pub fn sibling(&self, name: impl Into<OsString>) -> Self {
        Self {
            folder: self.folder.clone(),
            name: name.into(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What has the name, which may be a link.
    ///
    /// # Errors
    /// `NotFound` when nothing has it; else the system's.
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        self.folder.dir.symlink_metadata(&self.name)
    }

    /// Whether something has the name.
    pub fn is_taken(&self) -> bool {
        self.metadata().is_ok()
    }

    /// Opens a regular file to read; no link.
    ///
    /// # Errors
    /// `InvalidInput` when it is something else; else the system's.
    pub fn open(&self) -> std::io::Result<std::fs::File> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            use rustix::fs::OFlags;
            options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        }
        let file = self.folder.dir.open_with(&self.name, &options)?.into_std();
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"))
        }
    }

    /// The content of a regular file of at most so many bytes; none when nothing has the name.
    ///
    /// # Errors
    /// As [`Self::open`]; `FileTooLarge` when there is more.
    pub fn content(&self, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
        let file = match self.open() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(Some(content))
    }

    /// Makes a file that must not be there yet.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; else the system's.
    pub fn create_new(&self) -> std::io::Result<std::fs::File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        Ok(self.folder.dir.open_with(&self.name, &options)?.into_std())
    }

    /// Opens a file for changes of its times and modes where reading is not enough.
    ///
    /// # Errors
    /// The system's.
    pub fn open_to_write(&self) -> std::io::Result<std::fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        Ok(self.folder.dir.open_with(&self.name, &options)?.into_std())
    }

    /// Makes a file that shares the blocks of another, with its permissions; there may be an empty file when it fails.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; else the system's, such as when the file system can't do it.
    pub fn reflink_of(&self, file: &Self) -> std::io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let (source, made) = (file.open()?, self.create_new()?);
            rustix::fs::ioctl_ficlone(&made, &source)?;
            made.set_permissions(source.metadata()?.permissions())
        }
        #[cfg(not(target_os = "linux"))]
        reflink_copy::reflink(file.path(), self.path())
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; else the system's.
    pub fn create_folder(&self) -> std::io::Result<()> {
        self.folder.dir.create_dir(&self.name)
    }

    /// Makes a link to a path.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; else the system's.
    #[cfg(unix)]
    pub fn link_to(&self, target: &Path) -> std::io::Result<()> {
        self.folder.dir.symlink_contents(target, &self.name)
    }

    /// Gives a file this name as well.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; else the system's.
    pub fn hard_link_of(&self, file: &Self) -> std::io::Result<()> {
        file.folder.dir.hard_link(&file.name, &self.folder.dir, &self.name)
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_file(&self) -> std::io::Result<()> {
        self.folder.dir.remove_file(&self.name)
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_folder(&self) -> std::io::Result<()> {
        self.folder.dir.remove_dir(&self.name)
    }

    /// Removes a folder with all that is in it. Links in it are removed and not followed.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_folder_with_content(&self) -> std::io::Result<()> {
        self.folder.dir.remove_dir_all(&self.name)
    }

    /// Gives it another name on its file system, and never replaces what has that name.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the new name; else the system's, such as `CrossesDevices`.
    pub fn rename_to_new(&self, to: &Self) -> std::io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            use rustix::io::Errno;
            let (from, into) = (&*self.folder.dir, &*to.folder.dir);
            match renameat_with(from, &self.name, into, &to.name, RenameFlags::NOREPLACE) {
                // Some file systems, network shares above all, do not know the flag.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                done => {
                    done?;
                    fault::step();
                    return Ok(());
                }
            }
        }
        if to.is_taken() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.rename_over(to)?;
        fault::step();
        Ok(())
    }

    /// Gives it another name on its file system, in the place of a file that has that name.
    ///
    /// # Errors
    /// The system's.
    pub fn rename_over(&self, to: &Self) -> std::io::Result<()> {
        self.folder.dir.rename(&self.name, &to.folder.dir, &to.name)
    }

    /// Writes a file whole: a reader sees the old or the new content, and a crash leaves one of the two.
    ///
    /// # Errors
    /// Any step up to the rename; the old content is then untouched.
    pub fn write(&self, content: &[u8]) -> std::io::Result<()> {
        self.place(content, |unfinished| unfinished.rename_over(self))
    }

    /// Writes a file that must not be there yet, in the same way.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name, and any step up to the rename.
    pub fn create(&self, content: &[u8]) -> std::io::Result<()> {
        self.place(content, |unfinished| unfinished.rename_to_new(self))
    }

    /// Writes a file whole if it still has the content `before`, none for no file; else it changes nothing and the answer is
    /// false. No other Modelshelf writes in that folder between the comparison and the rename.
    ///
    /// The lock is of the folder itself, so that it leaves no file behind and works where the folder can't be written by
    /// the other side. Network file systems may have none: there the time between the two is a moment and not nothing.
    ///
    /// # Errors
    /// Any step up to the rename; the old content is then untouched.
    pub fn write_if(&self, before: Option<&[u8]>, content: &[u8]) -> std::io::Result<bool> {
        let written = self.place(content, |unfinished| {
            let _lock = self.folder.lock();
            let now = self.content(before.map_or(0, |before| before.len() as u64 + 1));
            let is_same = match now {
                Ok(now) => now.as_deref() == before,
                Err(error) if error.kind() == ErrorKind::FileTooLarge => false,
                Err(error) => return Err(error),
            };
            if !is_same {
                return Err(Error::other(Changed));
            }
            match before {
                Some(_) => unfinished.rename_over(self),
                None => unfinished.rename_to_new(self),
            }
        });
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && before.is_none() => Ok(false),
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Changed>()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts the content into a temporary file in the folder, on the disk, which `rename` then gives its name.
    fn place(&self, content: &[u8], rename: impl FnOnce(&Self) -> std::io::Result<()>) -> std::io::Result<()> {
        let unfinished = self.sibling(atomic::unfinished_name(&format!("{:016x}", rand::random::<u64>())));
        let write = || -> std::io::Result<()> {
            let mut file = unfinished.create_new()?;
            file.write_all(content)?;
            #[cfg(unix)]
            {
                use cap_std::fs::MetadataExt;
                use std::os::unix::fs::PermissionsExt;
                // Other programs share the file. Some network file systems have no modes, and refuse.
                let mode = self.metadata().map_or(0o644, |old| old.mode() & 0o777);
                let _ = file.set_permissions(std::fs::Permissions::from_mode(mode));
            }
            file.sync_data()?;
            drop(file);
            fault::step();
            rename(&unfinished)
        };
        if let Err(error) = write() {
            let _ = unfinished.remove_file();
            return Err(error);
        }
        self.folder.sync();
        fault::step();
        Ok(())
    }
}

/// The file has another content than was expected.
#[derive(Debug, thiserror::Error)]
#[error("the file was changed")]
struct Changed;

impl Folder {
    /// A lock between processes, held while the answer lives; none where the file system has no locks or somebody keeps
    /// theirs.
    #[cfg(unix)]
    fn lock(&self) -> Option<std::os::fd::OwnedFd> {
        use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Opened again: a lock belongs to what was opened, and threads share this one.
        let own = openat(&*self.dir, ".", flags, Mode::empty()).ok()?;
        for _ in 0..LOCK_TRIES {
            match flock(&own, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(own),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
                Err(_) => return None,
            }
        }
        tracing::warn!(folder = %self.path.display(), "another program keeps the folder locked; a file in it is replaced without the lock");
        None
    }

    #[cfg(not(unix))]
    fn lock(&self) {
        let _ = (LOCK_TRIES, LOCK_PAUSE);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn library() -> (tempfile::TempDir, AllowedFolders) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/sub", "outside"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let root = folder.path().join("root");
        let allowed = AllowedFolders::new(vec![root.clone()], vec![root.canonicalize().unwrap()]);
        (folder, allowed)
    }

    #[test]
    fn a_folder_that_became_a_link_out_of_the_library_is_refused() {
        let (folder, allowed) = library();
        let path = folder.path().join("root/sub/a");
        allowed.entry(&path).unwrap().write(b"a").unwrap();
        std::fs::rename(folder.path().join("root/sub"), folder.path().join("root/was")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside"), folder.path().join("root/sub")).unwrap();
        let error = allowed.entry(&path).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path().join("outside")).unwrap().count(), 0);
    }

    #[test]
    fn an_open_folder_stays_the_folder_that_it_was() {
        let (folder, allowed) = library();
        let entry = allowed.entry(&folder.path().join("root/sub/a")).unwrap();
        std::fs::rename(folder.path().join("root/sub"), folder.path().join("root/was")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside"), folder.path().join("root/sub")).unwrap();
        entry.write(b"a").unwrap();
        assert!(folder.path().join("root/was/a").exists());
        assert_eq!(std::fs::read_dir(folder.path().join("outside")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_replaced_only_while_it_has_the_expected_content() {
        let (folder, allowed) = library();
        let entry = allowed.entry(&folder.path().join("root/a")).unwrap();
        assert!(entry.write_if(None, b"one").unwrap());
        assert!(!entry.write_if(None, b"two").unwrap());
        assert!(!entry.write_if(Some(b"on"), b"two").unwrap());
        assert!(!entry.write_if(Some(b"one!"), b"two").unwrap());
        assert!(entry.write_if(Some(b"one"), b"two").unwrap());
        assert_eq!(entry.content(9).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::read_dir(folder.path().join("root")).unwrap().count(), 2);
    }

    #[test]
    fn a_link_is_no_folder_of_the_server_and_is_named() {
        let (folder, allowed) = library();
        std::os::unix::fs::symlink("sub", folder.path().join("root/trash")).unwrap();
        let root = allowed.folder(&folder.path().join("root")).unwrap();
        let error = root.inner_or_new(OsStr::new("trash")).unwrap_err();
        assert!(error.to_string().contains("root/trash"), "{error}");
        root.inner_or_new(OsStr::new("other")).unwrap().make_private().unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced_by_a_rename() {
        let (folder, allowed) = library();
        let entry = |name: &str| allowed.entry(&folder.path().join("root").join(name)).unwrap();
        entry("a").write(b"a").unwrap();
        entry("b").write(b"b").unwrap();
        let error = entry("a").rename_to_new(&entry("b")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        entry("a").rename_to_new(&entry("c")).unwrap();
        assert_eq!(entry("b").content(9).unwrap().as_deref(), Some(&b"b"[..]));
        assert!(!entry("a").is_taken() && entry("c").is_taken());
    }
}
