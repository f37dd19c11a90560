//! Walking the roots of a library: which model files there are, with their sidecars and previews.

use arcstr::ArcStr;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Cancel;
use crate::files::wire_path;
use crate::library::preview;
use crate::library::record::{Preview, Stamp};
use crate::library::roots::Root;
use crate::library::trash::STAGING;
use crate::plugins::TypeInfo;

/// Deepest folder that is entered, against runaway trees of mounts.
const MAX_DEPTH: usize = 64;

/// A model file.
#[derive(Debug)]
pub struct Found {
    /// Absolute path as clients see it.
    pub path: Box<str>,
    /// Index of its root.
    pub root: u16,
    /// Directory below the root.
    pub folder: ArcStr,
    /// File name without extension.
    pub stem: Box<str>,
    /// Stamp of the file.
    pub stamp: Stamp,
    /// Stamp of its sidecar.
    pub sidecar: Option<Stamp>,
    /// Its preview.
    pub preview: Option<Preview>,
    /// Whether a `.civitai.info` lies beside it.
    pub civitai_info: bool,
    // Real path, where the file itself is a link.
    pub(super) linked_to: Option<PathBuf>,
}

/// What a walk saw.
#[derive(Debug, Default)]
pub struct Walk {
    /// Model files in the order of the roots, by name in each.
    pub found: Vec<Found>,
    /// Roots that are absent or unreadable, by index.
    pub offline: HashSet<u16>,
    /// Folders that could not be read, as clients see them: nothing below them is known to be gone.
    pub unreadable: Vec<String>,
    /// Files that can't be listed, each with the reason.
    pub problems: Vec<(String, String)>,
    /// What links inside the roots lead to.
    pub link_targets: Vec<PathBuf>,
    /// Whether the walk was cancelled.
    pub cancelled: bool,
}

/// One root's part, before parts are put together.
#[derive(Default)]
struct Part {
    walk: Walk,
    // Folders with models, as written and with links resolved.
    directories: Vec<(PathBuf, PathBuf)>,
}

/// Walks all roots at once, each in a thread of its own.
pub fn walk(roots: &[Root], info: &TypeInfo, cancel: &Cancel) -> Walk {
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let handles: Vec<_> = roots
            .iter()
            .enumerate()
            .map(|(index, root)| scope.spawn(move || walk_root(index as u16, root, info, cancel)))
            .collect();
        let parts = handles.into_iter().zip(0u16..).map(|(handle, index)| {
            handle.join().unwrap_or_else(|_| {
                // A walk that broke off says nothing of what is gone.
                let mut part = Part::default();
                part.walk.offline.insert(index);
                part
            })
        });
        parts.collect()
    });
    join(parts)
}

/// Puts the parts together: a real folder or file that several paths lead to is listed under
/// the first of them only.
fn join(parts: Vec<Part>) -> Walk {
    let mut whole = Walk::default();
    let mut real_directories: HashSet<PathBuf> = HashSet::new();
    let mut real_files: HashSet<PathBuf> = HashSet::new();
    let links_to_files = parts
        .iter()
        .flat_map(|part| &part.walk.found)
        .any(|found| found.linked_to.is_some());
    for mut part in parts {
        let mut real_of: HashMap<PathBuf, PathBuf> = HashMap::new();
        let mut twice: HashSet<PathBuf> = HashSet::new();
        for (written, real) in part.directories {
            // Within one part every real folder is entered once, so what is there came from an earlier root.
            if !real_directories.insert(real.clone()) {
                twice.insert(written.clone());
            }
            real_of.insert(written, real);
        }
        for found in std::mem::take(&mut part.walk.found) {
            let path = Path::new(&*found.path);
            let parent = path.parent().unwrap_or(path);
            if twice.contains(parent) {
                continue;
            }
            // Without links to files, a file is listed twice only if its folder is.
            if links_to_files {
                let beside = || Some(real_of.get(parent)?.join(path.file_name()?));
                let real = found.linked_to.clone().or_else(beside);
                if real.is_some_and(|real| !real_files.insert(real)) {
                    continue;
                }
            }
            whole.found.push(found);
        }
        whole.offline.extend(part.walk.offline);
        whole.unreadable.append(&mut part.walk.unreadable);
        whole.problems.append(&mut part.walk.problems);
        whole.link_targets.append(&mut part.walk.link_targets);
        whole.cancelled |= part.walk.cancelled;
    }
    whole
}

fn walk_root(index: u16, root: &Root, info: &TypeInfo, cancel: &Cancel) -> Part {
    let mut part = Part::default();
    if std::fs::read_dir(&root.path).is_err() {
        part.walk.offline.insert(index);
        return part;
    }
    // Folders wait here until all their names are known: a sidecar may come after its model.
    let mut open: Vec<Directory> = Vec::new();
    let mut entered: HashSet<(u64, u64)> = HashSet::new();
    let (mut link_targets, mut away) = (Vec::new(), Vec::new());
    let entries = WalkDir::new(&root.path)
        .follow_links(true)
        .max_depth(MAX_DEPTH)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            if !entry.file_type().is_dir() {
                return true;
            }
            if entry.file_name() == STAGING {
                return false;
            }
            if entry.path_is_symlink()
                && let Ok(target) = entry.path().canonicalize()
            {
                // The empty mount point of a disk that is away looks like a folder without models.
                if is_emptied(&target) {
                    away.push(entry.path().display().to_string());
                }
                link_targets.push(target);
            }
            // Also ends loops of links that lead to the same folder over different paths.
            file_id(entry.path()).is_none_or(|id| entered.insert(id))
        });
    for entry in entries {
        if cancel.is_set() {
            part.walk.cancelled = true;
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                note_error(&mut part.walk, index, &error);
                continue;
            }
        };
        while open.last().is_some_and(|directory| directory.depth >= entry.depth()) {
            if let Some(directory) = open.pop() {
                directory.close(index, root, info, &mut part);
            }
        }
        if entry.file_type().is_dir() {
            let path = entry.path().to_owned();
            open.push(Directory {
                depth: entry.depth(),
                path,
                names: Vec::new(),
            });
        } else if let Some(directory) = open.last_mut() {
            match entry.file_name().to_str() {
                Some(name) => directory.names.push((name.to_owned(), entry.path_is_symlink())),
                None if info.extension_of(&entry.file_name().to_string_lossy()).is_some() => {
                    let path = entry.path().display().to_string();
                    part.walk
                        .problems
                        .push((path, "its name is not valid UTF-8; rename it to have it listed".into()));
                }
                None => {}
            }
        }
    }
    while let Some(directory) = open.pop() {
        directory.close(index, root, info, &mut part);
    }
    part.walk.link_targets.append(&mut link_targets);
    part.walk.unreadable.append(&mut away);
    part.walk.found.sort_by(|a, b| a.path.cmp(&b.path));
    part
}

/// A folder whose names are being collected.
struct Directory {
    depth: usize,
    path: PathBuf,
    // Name, and whether it is a link.
    names: Vec<(String, bool)>,
}

impl Directory {
    /// Finds the models among the names.
    fn close(self, root_index: u16, root: &Root, info: &TypeInfo, part: &mut Part) {
        let models: Vec<&(String, bool)> = self
            .names
            .iter()
            .filter(|(name, _)| info.extension_of(name).is_some())
            .collect();
        if models.is_empty() {
            return;
        }
        let Some(wire) = wire_path(&self.path) else {
            let reason = "the folder's name is not valid UTF-8; rename it to have its models listed".to_owned();
            part.walk.problems.push((self.path.display().to_string(), reason));
            return;
        };
        let folder: ArcStr = root.relative(&wire).unwrap_or_default().into();
        let real = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        part.directories.push((self.path.clone(), real));
        let mut names: Vec<&str> = self.names.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let has = |name: &str| names.binary_search(&name).is_ok();
        for (name, is_link) in models {
            let path = self.path.join(name);
            let stamp = match stamp(&path) {
                Ok(stamp) => stamp,
                Err(error) => {
                    let path = format!("{wire}/{name}");
                    // Gone since the folder was read is gone; anything else may be the disk's fault.
                    if error.kind() != std::io::ErrorKind::NotFound || std::fs::read_dir(&self.path).is_err() {
                        part.walk.unreadable.push(path.clone());
                    }
                    part.walk.problems.push((path, format!("it can't be read: {error}")));
                    continue;
                }
            };
            let extension = info.extension_of(name).unwrap_or_default();
            let stem = &name[..name.len() - extension.len()];
            let beside = |ending: &str| {
                let name = format!("{stem}{ending}");
                has(&name).then(|| self.path.join(name))
            };
            let linked_to = is_link.then(|| path.canonicalize().ok()).flatten();
            part.walk.link_targets.extend(linked_to.clone());
            let preview = preview::find(&names, stem).and_then(|name| {
                let path = self.path.join(name);
                if self.names.iter().any(|(own, is_link)| own == name && *is_link) {
                    part.walk.link_targets.extend(path.canonicalize().ok());
                }
                Some(Preview {
                    path: format!("{wire}/{name}").into(),
                    stamp: self::stamp(&path).ok()?,
                })
            });
            part.walk.found.push(Found {
                path: format!("{wire}/{name}").into(),
                root: root_index,
                folder: folder.clone(),
                stem: stem.into(),
                stamp,
                sidecar: beside(".metadata.json").and_then(|path| self::stamp(&path).ok()),
                preview,
                civitai_info: beside(".civitai.info").is_some(),
                linked_to,
            });
        }
    }
}

/// Whether a folder holds nothing but what a file system puts there itself.
pub fn is_emptied(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == "lost+found"))
}

fn note_error(walk: &mut Walk, root: u16, error: &walkdir::Error) {
    if error.loop_ancestor().is_some() {
        // A link to a folder above: what is there is listed already.
        return;
    }
    let path = error.path().map(|path| path.display().to_string()).unwrap_or_default();
    if error.depth() == 0 {
        walk.offline.insert(root);
        return;
    }
    // A dangling link is found here too; nothing was ever below it.
    walk.problems.push((
        path.clone(),
        error.io_error().map_or_else(|| error.to_string(), ToString::to_string),
    ));
    walk.unreadable.push(path);
}

/// The stamp of a file.
///
/// # Errors
/// When it is gone or can't be looked at.
pub fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        // A pipe or a device would never come to an end.
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let modified = metadata.modified()?;
    let mtime_ns = match modified.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    };
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(Stamp {
        size: metadata.len(),
        mtime_ns,
        inode,
    })
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<(u64, u64)> {
    None
}
