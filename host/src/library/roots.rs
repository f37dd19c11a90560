//! The folders that a library is made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use super::io_profile::IoProfile;
use crate::files::disks::{self, Disk};
use crate::files::wire_path;

/// How long folders may take to say which of them are the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// A configured folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// As configured, made absolute.
    pub path: PathBuf,
    /// The same as clients see it, without a slash at the end.
    pub wire: ArcStr,
    /// Key of its kind.
    pub key: ArcStr,
    /// The I/O profile that settings give it; none to ask the system.
    pub io: Option<IoProfile>,
    /// Its disk, on which whatever touches it runs.
    pub disk: Arc<Disk>,
}

impl Root {
    /// None when the path is not UTF-8: no client could name a file in it.
    pub fn new(path: &Path, key: &str) -> Option<Self> {
        let path = std::path::absolute(path).ok()?;
        let wire = wire_path(&path)?;
        // Without a slash at the end, so that paths below it have the form that clients know.
        let wire = if wire.len() > 1 {
            wire.trim_end_matches('/')
        } else {
            &wire
        };
        Some(Self {
            wire: wire.into(),
            key: key.into(),
            io: None,
            disk: disks::of(Path::new(wire)),
            path: PathBuf::from(wire),
        })
    }

    /// How its disk wants to be treated. Asks the system, since a disk may come later than the server. Touches the disk.
    pub fn io_profile(&self) -> IoProfile {
        self.io.unwrap_or_else(|| IoProfile::of_disk(&self.path))
    }

    /// The part of a path below this root.
    pub fn relative<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&*self.wire)?;
        if self.wire.ends_with('/') {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    }
}

/// The index of the root that a path lies in; of nested roots the first in the list, since
/// that is the one under which a walk lists a file.
pub fn find(roots: &[Root], path: &str) -> Option<u16> {
    roots
        .iter()
        .position(|root| root.relative(path).is_some())
        .and_then(|index| u16::try_from(index).ok())
}

/// As [`find`], of a folder, which may be a root itself.
pub fn find_folder(roots: &[Root], folder: &str) -> Option<u16> {
    roots
        .iter()
        .position(|root| *root.wire == *folder || root.relative(folder).is_some())
        .and_then(|index| u16::try_from(index).ok())
}

/// Existing folders once each by real path, sorted in any case, and absent ones after them.
pub fn arrange(mut roots: Vec<Root>) -> Vec<Root> {
    roots.sort_by_key(|root| root.wire.to_lowercase());
    distinct(roots)
}

/// The first root for each real path; a folder that does not exist, or whose disk does not answer soon, stands for itself.
pub fn distinct(roots: Vec<Root>) -> Vec<Root> {
    if roots.len() < 2 {
        return roots;
    }
    let disks: Vec<_> = roots.iter().map(|root| root.disk.clone()).collect();
    let real = disks::each(&disks, Some(PATIENCE), |root| root.canonicalize().ok());
    let mut seen = std::collections::HashSet::new();
    roots
        .into_iter()
        .zip(real)
        .filter(|(root, real)| seen.insert(real.clone().ok().flatten().unwrap_or_else(|| root.path.clone())))
        .map(|(root, _)| root)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_of_a_root_is_no_part_of_its_path() {
        let root = Root::new(Path::new("/m/models/"), "k").unwrap();
        assert_eq!((&*root.wire, root.path.to_str()), ("/m/models", Some("/m/models")));
    }

    #[test]
    fn a_path_lies_in_the_first_root_that_holds_it_and_not_in_one_with_a_similar_name() {
        let roots: Vec<Root> = ["/m/a", "/m/ab", "/m"]
            .iter()
            .filter_map(|path| Root::new(Path::new(path), "k"))
            .collect();
        assert_eq!(find(&roots, "/m/ab/x"), Some(1));
        assert_eq!(find(&roots, "/m/a/x"), Some(0));
        assert_eq!(find(&roots, "/m/abc/x"), Some(2));
        assert_eq!(find(&roots, "/n/x"), None);
    }
}
