//! The one door through which a path that came with a request reaches a file.

use std::path::{Component, Path, PathBuf};

use super::foreign::{self, ForeignError, Links};
use super::names::MAX_NAME;

/// Longest path, in bytes.
const MAX_PATH: usize = 4095;

/// Why a path from a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum RootedPathError {
    /// It is outside every allowed folder, before or after links are resolved.
    #[error("{0} is outside the library's folders")]
    Outside(String),
    /// A name in it is longer than file systems take.
    #[error(
        "{0}: a name in this path is longer than {MAX_NAME} bytes, or the path longer than {MAX_PATH}; use a shorter one"
    )]
    TooLong(String),
    /// Nothing is there.
    #[error("{0} does not exist")]
    Missing(String),
    /// Something is there that is no file.
    #[error("{0} is not a file")]
    NotAFile(String),
    /// A link in it leads nowhere: its disk is offline.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// It can't be read.
    #[error("can't open {path}: {source}")]
    Io {
        /// The path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The folders inside which requests may open files: the configured roots, and what the
/// links inside them lead to (found by scanning, since people spread libraries over disks).
#[derive(Debug, Clone, Default)]
pub struct AllowedFolders {
    // As configured, for telling "missing" from "outside" without touching the disk.
    written: Vec<PathBuf>,
    // With all links resolved. A file link's target is itself an entry.
    resolved: Vec<PathBuf>,
}

impl AllowedFolders {
    /// Allows these folders and link targets; ones that don't exist now allow nothing.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>, link_targets: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut allowed = Self::default();
        for root in roots {
            if let Ok(resolved) = root.canonicalize() {
                allowed.resolved.push(resolved);
            }
            allowed.written.push(root);
        }
        allowed.resolved.extend(link_targets);
        allowed
    }
}

/// An existing regular file inside an allowed folder, all links resolved.
///
/// There is no other way to make one from a request's text, so that a function that takes
/// it can't be tricked out of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootedPath(PathBuf);

impl RootedPath {
    /// Resolves a path from a request.
    ///
    /// # Errors
    /// [`RootedPathError::Outside`] for a relative path or one that leads out of the folders; the
    /// others for what is (not) there. A missing file outside is `Outside`, so that nobody learns
    /// what exists elsewhere.
    pub fn open(allowed: &AllowedFolders, path: &str) -> Result<Self, RootedPathError> {
        let outside = || RootedPathError::Outside(path.to_owned());
        let given = Path::new(path);
        if !given.is_absolute() || path.contains('\0') {
            return Err(outside());
        }
        // By its text alone first, so that a request can't make the server look at other places
        // of the disk, or of the network.
        let lexical = without_climbing(given);
        if !allowed
            .written
            .iter()
            .chain(&allowed.resolved)
            .any(|root| lexical.starts_with(root))
        {
            return Err(outside());
        }
        if is_too_long(given) {
            return Err(RootedPathError::TooLong(path.to_owned()));
        }
        let resolved = lexical.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                match foreign::inspect(&lexical, Links::Follow) {
                    Err(offline @ ForeignError::Offline { .. }) => offline.into(),
                    _ => RootedPathError::Missing(path.to_owned()),
                }
            }
            _ => RootedPathError::Io {
                path: path.to_owned(),
                source: error,
            },
        })?;
        if !allowed.resolved.iter().any(|root| resolved.starts_with(root)) {
            return Err(outside());
        }
        if !resolved.is_file() {
            return Err(RootedPathError::NotAFile(path.to_owned()));
        }
        Ok(Self(resolved))
    }

    /// Checks that a folder from a request, which may have to be made, is inside an allowed folder with all links resolved.
    ///
    /// # Errors
    /// As [`RootedPath::open`]; [`RootedPathError::Missing`] when the allowed folder itself is not there.
    pub fn open_folder(allowed: &AllowedFolders, path: &str) -> Result<(), RootedPathError> {
        let outside = || RootedPathError::Outside(path.to_owned());
        let given = Path::new(path);
        if !given.is_absolute() || path.contains('\0') || given.components().any(|part| part == Component::ParentDir) {
            return Err(outside());
        }
        let holding = allowed.written.iter().chain(&allowed.resolved);
        let top = holding
            .filter(|root| given.starts_with(root))
            .max_by_key(|root| root.components().count());
        let top = top.ok_or_else(outside)?;
        if is_too_long(given) {
            return Err(RootedPathError::TooLong(path.to_owned()));
        }
        if !top.is_dir() {
            return Err(RootedPathError::Missing(top.display().to_string()));
        }
        // What is not there yet can't lead elsewhere; a link that leads nowhere can.
        let existing = given
            .ancestors()
            .find(|path| path.symlink_metadata().is_ok())
            .unwrap_or(top);
        let resolved = existing.canonicalize().map_err(|source| RootedPathError::Io {
            path: existing.display().to_string(),
            source,
        })?;
        if !allowed.resolved.iter().any(|root| resolved.starts_with(root)) {
            return Err(outside());
        }
        if !resolved.is_dir() {
            return Err(RootedPathError::Io {
                path: existing.display().to_string(),
                source: std::io::ErrorKind::NotADirectory.into(),
            });
        }
        Ok(())
    }

    /// The resolved path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// Whether no file can have this path.
fn is_too_long(path: &Path) -> bool {
    path.as_os_str().len() > MAX_PATH || path.iter().any(|name| name.len() > MAX_NAME)
}

/// A path with each `..` and the part before it left out.
fn without_climbing(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> (tempfile::TempDir, AllowedFolders) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("root/sub")).unwrap();
        std::fs::write(folder.path().join("root/sub/a.png"), "a").unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        let allowed = AllowedFolders::new([folder.path().join("root")], []);
        (folder, allowed)
    }

    fn open(folder: &tempfile::TempDir, allowed: &AllowedFolders, path: &str) -> Result<RootedPath, RootedPathError> {
        RootedPath::open(allowed, &format!("{}/{path}", folder.path().display()))
    }

    #[test]
    fn a_file_inside_opens_and_one_outside_does_not() {
        let (folder, allowed) = library();
        assert!(open(&folder, &allowed, "root/sub/a.png").is_ok());
        assert!(matches!(
            open(&folder, &allowed, "secret"),
            Err(RootedPathError::Outside(_))
        ));
        assert!(matches!(
            open(&folder, &allowed, "root/../secret"),
            Err(RootedPathError::Outside(_))
        ));
        assert!(matches!(
            open(&folder, &allowed, "root/../none"),
            Err(RootedPathError::Outside(_))
        ));
        assert!(open(&folder, &allowed, "root/sub/../sub/a.png").is_ok());
        assert!(matches!(
            RootedPath::open(&allowed, "root/sub/a.png"),
            Err(RootedPathError::Outside(_))
        ));
        assert!(matches!(
            RootedPath::open(&allowed, "/etc/none\0such"),
            Err(RootedPathError::Outside(_))
        ));
    }

    #[test]
    fn missing_files_are_missing_inside_and_outside_elsewhere() {
        let (folder, allowed) = library();
        assert!(matches!(
            open(&folder, &allowed, "root/none"),
            Err(RootedPathError::Missing(_))
        ));
        assert!(matches!(
            open(&folder, &allowed, "none"),
            Err(RootedPathError::Outside(_))
        ));
        assert!(matches!(
            open(&folder, &allowed, "root/sub"),
            Err(RootedPathError::NotAFile(_))
        ));
        // A folder whose name only starts like the root's is not inside it.
        std::fs::create_dir(folder.path().join("root-not")).unwrap();
        std::fs::write(folder.path().join("root-not/a"), "a").unwrap();
        assert!(matches!(
            open(&folder, &allowed, "root-not/a"),
            Err(RootedPathError::Outside(_))
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_root_opens_only_when_scanning_found_it() {
        let (folder, allowed) = library();
        let (target, link) = (folder.path().join("secret"), folder.path().join("root/link"));
        std::os::unix::fs::symlink(&target, link).unwrap();
        assert!(matches!(
            open(&folder, &allowed, "root/link"),
            Err(RootedPathError::Outside(_))
        ));
        let allowed = AllowedFolders::new([folder.path().join("root")], [target.canonicalize().unwrap()]);
        assert!(open(&folder, &allowed, "root/link").is_ok());
    }
}
