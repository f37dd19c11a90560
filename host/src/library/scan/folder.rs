//! One look at one folder: which models, sub-folders and links it holds.

use std::path::{Path, PathBuf};

use arcstr::ArcStr;

use super::walk::LeftOut;
use crate::compat::compat;
use crate::files::foreign::{self, ForeignError, Links};
use crate::files::{atomic, wire_path};
use crate::library::hidden::is_hidden;
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
    /// Links that lead nowhere, as clients see them.
    pub offline: Vec<String>,
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
    if let Err(error @ ForeignError::Pseudo { .. }) = foreign::check_folder(folder) {
        look.error = Some(error.into());
        return look;
    }
    match std::fs::read_dir(folder) {
        Ok(read) => {
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
    let show_hidden = roots.iter().any(|root| root.show_hidden);
    for (name, kind) in entries {
        let is_hidden = !show_hidden && is_hidden(&name.to_string_lossy());
        if kind.is_dir() {
            if name == STAGING {
                look.trash = trash::acts_in(&folder.join(name));
            } else if !is_hidden {
                look.folders.push(folder.join(name));
            }
            continue;
        }
        if is_hidden {
            // What a server that was killed left has a hidden name as well.
            if name.to_str().is_some_and(atomic::is_temporary) {
                look.temporary.push(folder.join(name));
            }
            continue;
        }
        let is_link = kind.is_symlink();
        if is_link && look.follow(&folder.join(&name)) == Leads::ToFolder {
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
                stamp: stamp_or_mark(&self.path.join(name)).filter(|stamp| *stamp != Stamp::REFUSED)?,
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
            sidecar: beside(".metadata.json").and_then(|path| stamp_or_mark(&path)),
            preview,
            civitai_info: beside(".civitai.info").is_some(),
            unfinished,
            aliases: Vec::new(),
            linked_to: is_link.then(|| path.canonicalize().ok()).flatten(),
        }))
    }
}

/// Where a link leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    ToFile,
    ToFolder,
    Nowhere,
}

impl Look {
    /// Notes where a link leads.
    fn follow(&mut self, path: &Path) -> Leads {
        let target = path.canonicalize();
        let leads = match &target {
            Ok(target) if target.is_dir() => Leads::ToFolder,
            Ok(_) => Leads::ToFile,
            Err(error) => {
                let offline = foreign::inspect(path, Links::Follow)
                    .err()
                    .map(|error| error.to_string());
                let reason = offline.unwrap_or_else(|| format!("it is a link that leads nowhere: {error}"));
                let wire = path.display().to_string();
                self.problems.push((wire.clone(), reason));
                // The disk that it leads to may be offline.
                self.unreadable.push(wire.clone());
                self.offline.push(wire);
                Leads::Nowhere
            }
        };
        if leads == Leads::ToFolder {
            if path.file_name().is_some_and(|name| name == STAGING) {
                return leads;
            }
            // Neither walked nor watched: what the kernel shows there has no end.
            if let Err(error @ ForeignError::Pseudo { .. }) = foreign::check_folder(path) {
                self.problems.push((path.display().to_string(), error.to_string()));
                return leads;
            }
        }
        self.links.push(Link {
            written: path.to_owned(),
            target: target.unwrap_or_else(|_| path.to_owned()),
            to_folder: leads == Leads::ToFolder,
        });
        leads
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
            match names.model(name, *is_link, info) {
                Ok(found) => self.found.extend(found),
                // The link is told already, and its model stays as it is known.
                Err(_) if self.offline.iter().any(|link| Path::new(link) == self.path.join(name)) => {}
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
            let leads_nowhere = link.written == link.target;
            link.to_folder
                || leads_nowhere
                || info.extension_of(name).is_some()
                || name.ends_with(".metadata.json")
                || is_preview()
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
    let metadata = foreign::inspect(path, Links::Follow)?;
    stamp_of(&metadata.ok_or(std::io::ErrorKind::NotFound)?)
}

fn stamp_of(metadata: &std::fs::Metadata) -> std::io::Result<Stamp> {
    let modified = metadata.modified()?;
    let mtime_ns = match modified.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    };
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(Stamp {
        size: metadata.len(),
        mtime_ns,
        inode,
    })
}

/// The stamp of a file beside a model, or what stands for a link that leads nowhere and for what is no file. None when
/// nothing is there, or when that can't be said now.
pub fn stamp_or_mark(path: &Path) -> Option<Stamp> {
    match foreign::inspect(path, Links::Follow) {
        Ok(metadata) => stamp_of(&metadata?).ok(),
        Err(ForeignError::Offline { .. }) => Some(Stamp::OFFLINE),
        Err(ForeignError::NotRegular { .. } | ForeignError::Pseudo { .. }) => Some(Stamp::REFUSED),
        Err(_) => None,
    }
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
