//! The server's own folder: private, taken by one server at a time, and watched while it runs.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Files that are there while a server runs.
const WHILE_RUNNING: [&str; 2] = ["lock", "library.sqlite"];
/// What else only the server makes, or a person for it: a folder with one of these names is a data folder.
const OWN: [&str; 14] = [
    "access.json",
    "history_clock.json",
    "settings.toml",
    "changed_settings.json",
    "secrets.json",
    "plugins.json",
    "plugins.sqlite",
    "downloads.sqlite",
    "updates.sqlite",
    "civitai.sqlite",
    "history",
    "compiled",
    "thumbnails",
    "library",
];

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another server uses it.
    #[error("the data folder {} is in use by another server; end it, or choose another folder with --data-dir", .0.display())]
    InUse(PathBuf),
    /// The system's reason.
    #[error("the data folder {} can't be used: {source}; choose another with --data-dir", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Other users can read it, and it was not made private.
    #[error(
        "the data folder {path} is open to other users (mode {mode:03o}) and {reason}, so it was left as it is. It holds \
         keys and what is known of the library. Run: {command}"
    )]
    Open {
        /// The folder.
        path: String,
        /// Its permissions.
        mode: u32,
        /// Why it was not made private.
        reason: String,
        /// What mends it.
        command: String,
    },
    /// It was removed or replaced while the server ran.
    #[error(
        "the data folder {} was removed or replaced while the server runs, so nothing is changed any more: an undo could not \
         be kept. Put it back if you moved it, then start the server again", .0.display()
    )]
    Gone(PathBuf),
}

/// A data folder, taken by this server until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    // The folder itself: its lock stays when somebody removes the store's. Not everywhere can a folder be opened.
    folder: Option<File>,
    gone: AtomicBool,
}

impl DataFolder {
    /// Makes the folder when it is missing, makes it private, and takes it. `roots` are the folders of models: none of them
    /// is made private.
    ///
    /// # Errors
    /// When another server uses it, when others can read it and that can't be changed, or when it can't be written.
    pub fn open<'r>(path: &Path, roots: impl IntoIterator<Item = &'r Path>) -> Result<Self, DataFolderError> {
        let io = |source| DataFolderError::Io {
            path: path.to_owned(),
            source,
        };
        if path.is_dir() {
            #[cfg(unix)]
            make_private(path, roots)?;
            #[cfg(not(unix))]
            drop(roots);
        } else {
            crate::files::private_folder(path).map_err(io)?;
        }
        let folder = open_folder(path);
        if let Some(folder) = &folder {
            take(path, folder)?;
        }
        Ok(Self {
            path: path.to_owned(),
            folder,
            gone: AtomicBool::new(false),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the folder is still there and the one that was taken. Once it is not, it stays so until the next start:
    /// what is open leads to removed files.
    ///
    /// # Errors
    /// [`DataFolderError::Gone`].
    pub fn check(&self) -> Result<(), DataFolderError> {
        if !self.is_gone() && !self.is_there() {
            self.gone.store(true, Ordering::Release);
            tracing::error!("{}", DataFolderError::Gone(self.path.clone()));
        }
        match self.is_gone() {
            true => Err(DataFolderError::Gone(self.path.clone())),
            false => Ok(()),
        }
    }

    /// Whether the last look found it gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    #[cfg(unix)]
    fn is_there(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let same = |path: &Path, open: &File| {
            let now = std::fs::metadata(path).map(id);
            let taken = open.metadata().map(id);
            now.is_ok_and(|now| taken.is_ok_and(|taken| now == taken))
        };
        // Of a folder that was emptied nothing is left to write to; one file alone may be removed by tidy hands.
        let is_emptied = || !WHILE_RUNNING.iter().any(|name| self.path.join(name).exists());
        self.folder.as_ref().is_none_or(|folder| same(&self.path, folder)) && !is_emptied()
    }

    #[cfg(not(unix))]
    fn is_there(&self) -> bool {
        let _ = &self.folder;
        self.path.is_dir()
    }
}

fn open_folder(path: &Path) -> Option<File> {
    #[cfg(unix)]
    {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).ok().map(File::from)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

fn take(path: &Path, file: &File) -> Result<(), DataFolderError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(DataFolderError::InUse(path.to_owned())),
        // Some network file systems have no locks; there a person must take care.
        Err(TryLockError::Error(error)) => {
            tracing::warn!(folder = %path.display(), %error, "the data folder can't be locked; run only one server on it");
            Ok(())
        }
    }
}

/// Lets nobody but its owner into an existing folder, where it is one of the server's alone.
#[cfg(unix)]
fn make_private<'r>(path: &Path, roots: impl IntoIterator<Item = &'r Path>) -> Result<(), DataFolderError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let io = |source| DataFolderError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let own = rustix::process::geteuid().as_raw();
    let shown = path.display();
    let elsewhere = "start with --data-dir and a folder that is for Modelshelf alone";
    let (reason, command) = if let Some(reason) = of_others(path, mode, roots).map_err(io)? {
        (reason, elsewhere.to_owned())
    } else if metadata.uid() != own {
        let reason = "belongs to another user".to_owned();
        (
            reason,
            format!("sudo chown -R $(id -u) '{shown}' && chmod 700 '{shown}'"),
        )
    } else {
        let private = std::fs::Permissions::from_mode(0o700);
        let changed = std::fs::set_permissions(path, private);
        // Some file systems take a mode and forget it.
        let now = std::fs::metadata(path).map_err(io)?.mode() & 0o077;
        if now == 0 {
            tracing::info!(folder = %shown, before = format!("{mode:03o}"), "the data folder was open to other users and is private now");
            return Ok(());
        }
        let reason = match changed {
            Err(error) => format!("can't be made private ({error})"),
            Ok(()) => "its file system has no permissions for single users".to_owned(),
        };
        (reason, elsewhere.to_owned())
    };
    Err(DataFolderError::Open {
        path: shown.to_string(),
        mode,
        reason,
        command,
    })
}

/// Why a folder is not the server's alone, so that its permissions are somebody else's business.
#[cfg(unix)]
fn of_others<'r>(path: &Path, mode: u32, roots: impl IntoIterator<Item = &'r Path>) -> std::io::Result<Option<String>> {
    let real = path.canonicalize()?;
    if real.parent().is_none() {
        return Ok(Some("is the top of the file system".into()));
    }
    // The sticky bit: a folder in which everybody makes files, such as /tmp.
    if mode & 0o1000 != 0 {
        return Ok(Some("is a folder for everybody".into()));
    }
    if dirs::home_dir().and_then(|home| home.canonicalize().ok()) == Some(real.clone()) {
        return Ok(Some("is a home folder".into()));
    }
    for root in roots {
        // By its text: a disk that does not answer must not stop the start.
        let inside = |root: &Path| root.starts_with(&real) || root.starts_with(path);
        if std::path::absolute(root).is_ok_and(|root| inside(&root)) {
            return Ok(Some(format!("holds the model folder {}", root.display())));
        }
    }
    let names = std::fs::read_dir(path)?.flatten().map(|entry| entry.file_name());
    // What formatting a disk leaves.
    let names: Vec<_> = names.filter(|name| name != "lost+found").collect();
    let is_own = names
        .iter()
        .any(|name| WHILE_RUNNING.iter().chain(&OWN).any(|own| name == own));
    let foreign = names.first().filter(|_| !is_own);
    Ok(foreign.map(|name| format!("holds files of others, such as {}", name.to_string_lossy())))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(mode: u32, names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_folder_that_others_could_read_is_private_afterwards() {
        for names in [&[][..], &["settings.toml"], &["lock", "notes.txt"], &["lost+found"]] {
            let folder = folder(0o755, names);
            DataFolder::open(folder.path(), []).unwrap();
            assert_eq!(mode(folder.path()), 0o700, "{names:?}");
        }
    }

    #[test]
    fn a_folder_of_others_keeps_its_mode_and_is_refused_with_a_command() {
        let other = folder(0o755, &["thesis.txt"]);
        let error = DataFolder::open(other.path(), []).unwrap_err().to_string();
        assert!(error.contains("thesis.txt") && error.contains("--data-dir"), "{error}");
        assert_eq!(mode(other.path()), 0o755);
        let sticky = folder(0o1777, &["lock"]);
        assert!(DataFolder::open(sticky.path(), []).is_err());
        let models = folder(0o755, &["lock"]);
        std::fs::create_dir(models.path().join("loras")).unwrap();
        let root = models.path().join("loras");
        let error = DataFolder::open(models.path(), [root.as_path()]).unwrap_err();
        assert!(error.to_string().contains("model folder"), "{error}");
        assert_eq!((mode(sticky.path()), mode(models.path())), (0o1777, 0o755));
        // Private already, whatever it holds.
        DataFolder::open(folder(0o700, &["thesis.txt"]).path(), []).unwrap();
    }

    #[test]
    fn a_second_server_is_refused_though_somebody_removed_the_lock() {
        let folder = folder(0o700, &["library.sqlite", "lock"]);
        let first = DataFolder::open(folder.path(), []).unwrap();
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        first.check().unwrap();
        let second = DataFolder::open(folder.path(), []);
        assert!(matches!(second, Err(DataFolderError::InUse(_))));
        drop(first);
        DataFolder::open(folder.path(), []).unwrap();
    }

    #[test]
    fn a_folder_that_vanished_was_replaced_or_emptied_is_gone() {
        for way in 0..3 {
            let outer = tempfile::tempdir().unwrap();
            let path = outer.path().join("data");
            let data = DataFolder::open(&path, []).unwrap();
            std::fs::write(path.join("lock"), "").unwrap();
            std::fs::write(path.join("library.sqlite"), "").unwrap();
            data.check().unwrap();
            match way {
                0 => std::fs::remove_dir_all(&path).unwrap(),
                1 => {
                    std::fs::rename(&path, outer.path().join("was")).unwrap();
                    std::fs::create_dir(&path).unwrap();
                }
                _ => {
                    for name in ["library.sqlite", "lock"] {
                        std::fs::remove_file(path.join(name)).unwrap();
                    }
                }
            }
            assert!(matches!(data.check(), Err(DataFolderError::Gone(_))), "{way}");
            assert!(data.is_gone());
        }
    }
}
