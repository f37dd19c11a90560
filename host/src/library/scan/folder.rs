//! One look at one folder: which models, sub-folders and links it holds.

use std::path::{Path, PathBuf};

use arcstr::ArcStr;

use super::walk::LeftOut;
use crate::compat::compat;
use crate::files::{atomic, disks, wire_path};
use crate::library::parallel::give_way;
use crate::library::preview;
use crate::library::record::{Preview, Stamp};
use crate::library::roots::{self, Root};
use crate::library::trash::{self, STAGING};
use crate::plugins::TypeInfo;

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
    /// Name of a file beside it which says that it is not whole yet.
    pub unfinished: Option<Box<str>>,
    /// Other paths inside the roots that lead to it, in order.
    pub aliases: Vec<Box<str>>,
    /// Real path, where the file itself is a link.
    pub linked_to: Option<PathBuf>,
}

impl Found {
    /// It as a file that is not listed.
    pub fn left_out(&self, reason: String) -> LeftOut {
        LeftOut {
            path: self.path.to_string(),
            reason,
            folder: Path::new(&*self.path).parent().unwrap_or(Path::new("/")).to_owned(),
        }
    }
}

/// A link: to a folder, or of a model file, its sidecar or its preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its own path.
    pub written: PathBuf,
    /// What it leads to, all links resolved; its own path again where it leads nowhere.
    pub target: PathBuf,
    /// Whether that is a folder.
    pub to_folder: bool,
}

/// What a look at a folder gave.
#[derive(Debug, Default)]
pub struct Look {
    /// The folder.
    pub path: PathBuf,
    /// Its device and inode; none where the platform has none.
    pub id: Option<(u64, u64)>,
    /// Models in it, by name.
    pub found: Vec<Found>,
    /// Folders in it that are no links, by name.
    pub folders: Vec<PathBuf>,
    /// Links in it, by name.
    pub links: Vec<Link>,
    /// Files that can't be listed, each with the reason.
    pub problems: Vec<(String, String)>,
    /// Paths of which nothing is known, so that nothing there is known to be gone.
    pub unreadable: Vec<String>,
    /// Files through which a server wrote; one that was killed left them.
    pub temporary: Vec<PathBuf>,
    /// Folders in the trash beside the models, of one act each.
    pub trash: Vec<PathBuf>,
    /// Why the folder itself can't be read.
    pub error: Option<std::io::Error>,
}

/// Looks at a folder, not below it. A link as the folder's own path is followed.
pub fn look(folder: &Path, roots: &[Root], info: &TypeInfo) -> Look {
    let mut look = Look {
        path: folder.to_owned(),
        id: id(folder),
        ..Look::default()
    };
    let mut entries = Vec::new();
    match std::fs::read_dir(folder) {
        Ok(read) => {
            disks::beat();
            for entry in read {
                match entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => {
                        let path = folder.display().to_string();
                        look.problems.push((path.clone(), error.to_string()));
                        look.unreadable.push(path);
                    }
                }
            }
        }
        Err(error) => look.error = Some(error),
    }
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    // Name, and whether it is a link.
    let mut names: Vec<(String, bool)> = Vec::new();
    for (name, kind) in entries {
        if kind.is_dir() {
            if name != STAGING {
                look.folders.push(folder.join(name));
            } else {
                look.trash = trash::acts_in(&folder.join(name));
            }
            continue;
        }
        disks::beat();
        let is_link = kind.is_symlink();
        if is_link && !look.follow(&folder.join(&name)) {
            continue;
        }
        match name.into_string() {
            Ok(name) if atomic::is_temporary(&name) => look.temporary.push(folder.join(name)),
            Ok(name) => names.push((name, is_link)),
            Err(name) if info.extension_of(&name.to_string_lossy()).is_some() => {
                let path = folder.join(name).display().to_string();
                let reason = "its name is not valid UTF-8; rename it to have it listed";
                look.problems.push((path, reason.into()));
            }
            Err(_) => {}
        }
    }
    look.find_models(&names, roots, info);
    look.keep_telling_links(info);
    look
}

/// The names in a folder, from which it is told what belongs to each model.
pub struct Names<S> {
    path: PathBuf,
    wire: String,
    root: u16,
    folder: ArcStr,
    // Sorted.
    names: Vec<S>,
    previews: preview::Candidates,
}

impl<S: AsRef<str>> Names<S> {
    /// Sorted names of the files in a folder; `wire` is its path as clients see it.
    pub fn new(path: &Path, wire: String, names: Vec<S>, roots: &[Root]) -> Self {
        let root = roots::find_folder(roots, &wire).unwrap_or_default();
        let relative = roots
            .get(usize::from(root))
            .and_then(|root| root.relative(&wire))
            .unwrap_or_default();
        Self {
            path: path.to_owned(),
            root,
            folder: relative.into(),
            wire,
            previews: preview::Candidates::of(names.iter().map(AsRef::as_ref)),
            names,
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model of this file name, with what lies beside it; none when the name is no model's.
    ///
    /// # Errors
    /// As [`stamp`], when the file can't be looked at.
    pub fn model(&self, name: &str, is_link: bool, info: &TypeInfo) -> std::io::Result<Option<Found>> {
        let Some(stem) = info
            .extension_of(name)
            .and_then(|extension| name.strip_suffix(extension))
        else {
            return Ok(None);
        };
        let path = self.path.join(name);
        let stamp = self::stamp(&path)?;
        let has = |name: &str| self.names.binary_search_by(|own| own.as_ref().cmp(name)).is_ok();
        let beside = |ending: &str| {
            let name = format!("{stem}{ending}");
            has(&name).then(|| self.path.join(name))
        };
        let preview = self.previews.find(stem).and_then(|name| {
            Some(Preview {
                path: format!("{}/{name}", self.wire).into(),
                stamp: self::stamp(&self.path.join(name)).ok()?,
            })
        });
        let unfinished = compat().unfinished_endings.iter().find_map(|ending| {
            let name = format!("{name}{ending}");
            has(&name).then(|| name.into())
        });
        Ok(Some(Found {
            path: format!("{}/{name}", self.wire).into(),
            root: self.root,
            folder: self.folder.clone(),
            stem: stem.into(),
            stamp,
            sidecar: beside(".metadata.json").and_then(|path| self::stamp(&path).ok()),
            preview,
            civitai_info: beside(".civitai.info").is_some(),
            unfinished,
            aliases: Vec::new(),
            linked_to: is_link.then(|| path.canonicalize().ok()).flatten(),
        }))
    }
}

impl Look {
    /// Notes where a link leads; whether that is a file.
    fn follow(&mut self, path: &Path) -> bool {
        let target = path.canonicalize();
        let to_folder = match target.as_ref().map(|target| target.is_dir()) {
            Ok(to_folder) => to_folder,
            Err(error) => {
                let wire = path.display().to_string();
                let reason = format!("it is a link that leads nowhere: {error}");
                self.problems.push((wire.clone(), reason));
                // The disk that it leads to may be away.
                self.unreadable.push(wire);
                false
            }
        };
        if to_folder && path.file_name().is_some_and(|name| name == STAGING) {
            return false;
        }
        let is_file = target.is_ok() && !to_folder;
        self.links.push(Link {
            written: path.to_owned(),
            target: target.unwrap_or_else(|_| path.to_owned()),
            to_folder,
        });
        is_file
    }

    fn find_models(&mut self, names: &[(String, bool)], roots: &[Root], info: &TypeInfo) {
        let models = names.iter().filter(|(name, _)| info.extension_of(name).is_some());
        let models: Vec<&(String, bool)> = models.collect();
        if models.is_empty() {
            return;
        }
        let Some(wire) = wire_path(&self.path) else {
            let reason = "the folder's name is not valid UTF-8; rename it to have its models listed".to_owned();
            self.problems.push((self.path.display().to_string(), reason));
            return;
        };
        let mut sorted: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        sorted.sort_unstable();
        let names = Names::new(&self.path, wire, sorted, roots);
        for (name, is_link) in models {
            give_way();
            disks::beat();
            match names.model(name, *is_link, info) {
                Ok(found) => self.found.extend(found),
                Err(error) => {
                    let path = format!("{}/{name}", names.wire);
                    let gone = error.kind() == std::io::ErrorKind::NotFound && self.path.is_dir();
                    // A pipe in a model's place has replaced it. Anything else may be the disk's fault.
                    if !gone && error.kind() != std::io::ErrorKind::InvalidInput {
                        self.unreadable.push(path.clone());
                    }
                    self.problems.push((path, format!("it can't be read: {error}")));
                }
            }
        }
    }

    /// Links to files tell nothing, unless the file is a model or belongs to one.
    fn keep_telling_links(&mut self, info: &TypeInfo) {
        let previews = self.found.iter().flat_map(|found| &found.preview);
        let previews: Vec<&str> = previews.map(|preview| &*preview.path).collect();
        self.links.retain(|link| {
            let name = link
                .written
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let is_preview = || link.written.to_str().is_some_and(|path| previews.contains(&path));
            link.to_folder || info.extension_of(name).is_some() || name.ends_with(".metadata.json") || is_preview()
        });
    }
}

/// Whether a file of this name can change what a library shows.
pub fn matters(name: &str, info: &TypeInfo) -> bool {
    let ends = |ending: &str| preview::ends_with(name, ending);
    info.extension_of(name).is_some()
        || ends(".metadata.json")
        || ends(".civitai.info")
        || preview::ENDINGS.iter().any(|ending| ends(ending))
        || (compat().unfinished_endings.iter().any(|ending| ends(ending)) && !name.starts_with(".modelshelf-"))
}

/// Whether a folder holds nothing but what a file system puts there itself.
pub fn is_emptied(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == "lost+found"))
}

/// The stamp of a file.
///
/// # Errors
/// When it is gone or can't be looked at; `InvalidInput` when it is no regular file.
pub fn stamp(path: &Path) -> std::io::Result<Stamp> {
    disks::beat();
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        // A pipe or a device would never come to an end.
        let reason = "it is not a regular file";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason));
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

/// Device and inode of what a path leads to; none where it leads nowhere or the platform has none.
#[cfg(unix)]
pub fn id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    // Some file systems number nothing.
    (metadata.ino() != 0).then(|| (metadata.dev(), metadata.ino()))
}

/// Device and inode of what a path leads to; none where it leads nowhere or the platform has none.
#[cfg(not(unix))]
pub fn id(_: &Path) -> Option<(u64, u64)> {
    None
}
