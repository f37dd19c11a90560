//! Walking a library: all of it, or some of its folders.
//!
//! The work is a queue of folders for each tree, taken by as many threads as its disk bears; each folder is read by
//! itself, one level deep. The result does not depend on which thread was first: looks are put in order before
//! anything is decided.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::Cancel;
use super::folder::{self, Found, Link, Look, is_emptied};
use super::merge::{Merge, with_aliases};
use super::queue::Queue;
use super::topology::{Topology, Tree};
use crate::files::disks::{self, DiskError};
use crate::library::io_profile::IoProfile;
use crate::library::roots::Root;
use crate::plugins::TypeInfo;

/// Deepest folder of a tree that is entered, against runaway trees of mounts.
const MAX_DEPTH: usize = 64;
/// Trees behind links that are walked at the same time.
const LINKED_TREES: usize = 4;
/// Links in a row that are followed out of one tree into the next.
const MAX_HOPS: usize = 32;

/// Whether a folder is looked at alone or with all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The files in it.
    Shallow,
    /// Everything below it.
    Deep,
}

/// Folders to look at.
pub type Folders = BTreeMap<PathBuf, Depth>;

/// A file or folder that is not listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
    /// The folder in which that was seen: a look at it settles whether it is still so.
    pub folder: PathBuf,
}

/// Folders by the paths under which they are listed, without those that others hold.
pub fn normalised(folders: &Folders, topology: &Topology) -> Folders {
    let mut all = Folders::new();
    for (folder, depth) in folders {
        let known = all.entry(topology.listed_path(folder)).or_insert(*depth);
        *known = (*known).max(*depth);
    }
    let deep: Vec<PathBuf> = all
        .iter()
        .filter(|(_, depth)| **depth == Depth::Deep)
        .map(|(path, _)| path.clone())
        .collect();
    all.retain(|folder, _| {
        let holds = |outer: &PathBuf| outer != folder && folder.starts_with(outer);
        !deep
            .iter()
            .any(|outer| holds(outer) && topology.tree_of(outer) == topology.tree_of(folder))
    });
    all
}

/// Whether a walk of these folders looks at a folder.
pub fn covers(folders: &Folders, folder: &Path, topology: &Topology) -> bool {
    if folders.get(folder).is_some() {
        return true;
    }
    let mut above = folder.ancestors().skip(1);
    let outer = above.find(|above| folders.get(*above) == Some(&Depth::Deep));
    outer.is_some_and(|outer| topology.tree_of(outer) == topology.tree_of(folder))
}

/// What a walk saw.
#[derive(Debug, Default)]
pub struct Walk {
    /// Model files by root and path.
    pub found: Vec<Arc<Found>>,
    /// The real path of each root that is there, by index; of a walk of all roots only.
    pub real_roots: Vec<Option<PathBuf>>,
    /// Roots that are absent or unreadable, by index.
    pub offline: HashSet<u16>,
    /// Paths that could not be read, as clients see them: nothing at or below them is known to be gone.
    pub unreadable: Vec<String>,
    /// What can't be listed.
    pub problems: Vec<LeftOut>,
    /// Files through which a server wrote; one that was killed left them.
    pub temporary: Vec<PathBuf>,
    /// Folders in the trash beside the models, of one act each.
    pub trash: Vec<PathBuf>,
    /// How folders hang together; of a walk of all roots only.
    pub topology: Topology,
    /// Whether the walk was cancelled.
    pub cancelled: bool,
}

/// What walks need to know. Threads that hang keep it, so that all of it is shared.
#[derive(Clone)]
pub struct Walker {
    /// The roots.
    pub roots: Arc<[Root]>,
    /// The type.
    pub info: Arc<TypeInfo>,
    /// Ends the walk early.
    pub cancel: Cancel,
}

/// Threads that look at the folders of one tree.
struct Walking(Receiver<std::io::Result<Vec<Look>>>, usize);

impl Walking {
    /// The looks in the order of their paths. Blocks until the tree is walked, or its disk does not answer.
    fn looks(self) -> std::io::Result<Vec<Look>> {
        let mut looks = Vec::new();
        for _ in 0..self.1 {
            // A thread that broke off has said nothing.
            let broke_off = |_| std::io::Error::other("the walk broke off");
            looks.append(&mut self.0.recv().map_err(broke_off)??);
        }
        looks.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(looks)
    }
}

impl Walker {
    /// Walks all roots at once.
    pub fn whole(&self) -> Walk {
        let mut merge = Merge::default();
        let disks: Vec<_> = self.roots.iter().map(|root| root.disk.clone()).collect();
        let set: BTreeMap<PathBuf, IoProfile> = self
            .roots
            .iter()
            .filter_map(|root| Some((root.path.clone(), root.io?)))
            .collect();
        let tops = disks::each(&disks, None, move |root| {
            let profile = set.get(root).copied();
            let profile = profile.unwrap_or_else(|| IoProfile::of_disk(root));
            (root.canonicalize().ok(), profile)
        });
        let mut profiles = Vec::with_capacity(tops.len());
        let mut trees: Vec<Tree> = Vec::with_capacity(tops.len());
        for (root, top) in self.roots.iter().zip(tops) {
            let (real, profile) = top.unwrap_or((None, IoProfile::Fast));
            trees.push(Tree {
                written: root.path.clone(),
                real: real.clone().unwrap_or_else(|| root.path.clone()),
            });
            profiles.push(profile);
            merge.walk.real_roots.push(real);
        }
        let mut at_once = trees.len().max(1);
        for hop in 0..=MAX_HOPS {
            let mut links = Vec::new();
            for some in trees.chunks(at_once) {
                let begun: Vec<_> = some
                    .iter()
                    .map(|tree| {
                        let root = self.root_of(&tree.written)?;
                        let profile = profiles.get(root).copied().unwrap_or(IoProfile::Fast);
                        let top = [(tree.written.clone(), Depth::Deep)].into();
                        Some(self.begin(root, top, profile.walkers()))
                    })
                    .collect();
                for (tree, begun) in some.iter().zip(begun) {
                    // What was given up says nothing of what is gone.
                    let given_up = |error| {
                        vec![Look {
                            error: Some(error),
                            ..Look::default()
                        }]
                    };
                    let looks = begun.map_or_else(Vec::new, |begun| begun.looks().unwrap_or_else(given_up));
                    links.extend(merge.add(tree, looks, &self.roots));
                }
            }
            if self.cancel.is_set() {
                merge.walk.cancelled = true;
                return merge.walk;
            }
            trees = if hop < MAX_HOPS {
                merge.new_trees(links, &|link| self.leads_to_nothing(link))
            } else {
                Vec::new()
            };
            if trees.is_empty() {
                break;
            }
            at_once = LINKED_TREES;
        }
        merge.finish()
    }

    fn root_of(&self, path: &Path) -> Option<usize> {
        self.roots.iter().position(|root| path.starts_with(&root.path))
    }

    /// Whether a link leads to an empty folder, or its disk does not say.
    fn leads_to_nothing(&self, link: &Link) -> bool {
        let Some(root) = self.root_of(&link.written).and_then(|root| self.roots.get(root)) else {
            return false;
        };
        let target = link.target.clone();
        root.disk.run_blocking(move || is_emptied(&target)).unwrap_or(true)
    }

    /// Walks some folders, which [`normalised`] gave. None when what it met needs a walk of all roots: links that
    /// came, went or changed, and roots that are away or do not answer.
    /// `profile` gives that of a root by its index.
    pub fn partial(&self, folders: &Folders, topology: &Topology, profile: &dyn Fn(u16) -> IoProfile) -> Option<Walk> {
        let mut walk = Walk::default();
        let mut looks: Vec<Look> = Vec::new();
        let mut by_tree: BTreeMap<&Path, Folders> = BTreeMap::new();
        for (folder, depth) in folders {
            let tree = topology.tree_of(folder)?;
            by_tree.entry(&tree.written).or_default().insert(folder.clone(), *depth);
        }
        let mut begun = Vec::with_capacity(by_tree.len());
        for (top, some) in by_tree {
            let (index, path) = (self.root_of(top)?, top.to_owned());
            let root = self.roots.get(index)?;
            let is_there = root.disk.run_blocking(move || std::fs::read_dir(path).is_ok());
            if is_there != Ok(true) {
                return None;
            }
            let profile = profile(u16::try_from(index).ok()?);
            begun.push(self.begin(index, some, profile.walkers()));
        }
        for walking in begun {
            looks.extend(walking.looks().ok()?);
        }
        if self.cancel.is_set() {
            walk.cancelled = true;
            return Some(walk);
        }
        looks.sort_by(|a, b| a.path.cmp(&b.path));
        // Over bind mounts a folder may be met again under a path that is only an alias.
        looks.retain(|look| topology.listed_path(&look.path) == look.path);
        let links = looks.iter().flat_map(|look| &look.links);
        let seen: BTreeMap<&PathBuf, &PathBuf> = links.map(|link| (&link.written, &link.target)).collect();
        let is_known = |link: &Path| {
            let parent = link.parent().unwrap_or(link);
            covers(folders, parent, topology)
        };
        let known: BTreeMap<_, _> = topology.links.iter().filter(|(link, _)| is_known(link)).collect();
        if seen != known {
            return None;
        }
        let listed_links: HashSet<&PathBuf> = topology.file_aliases.values().flatten().collect();
        for mut look in looks {
            if let Some(error) = look.error.take() {
                // Of a folder that is gone, all is gone: its tree was there a moment ago.
                if error.kind() != std::io::ErrorKind::NotFound {
                    walk.note_unreadable(&look.path, &error.to_string());
                }
                continue;
            }
            let real = topology.real_of(&look.path)?;
            look.found
                .retain(|found| !listed_links.contains(&PathBuf::from(&*found.path)));
            with_aliases(&mut look.found, &real, topology);
            walk.take(look);
        }
        walk.settle();
        Some(walk)
    }

    /// Begins to look at folders of a root, and at what is below them where that is wanted, with so many threads. Other
    /// roots are left out: they have walks of their own.
    fn begin(&self, root: usize, tops: Folders, threads: usize) -> Walking {
        let queue = Arc::new(Queue::new(tops));
        let (sender, receiver) = channel();
        let threads = threads.max(1);
        for _ in 0..threads {
            let (own, queue, sender) = (self.clone(), queue.clone(), sender.clone());
            let (closing, silent) = (queue.clone(), sender.clone());
            let given_up = move |error: DiskError| {
                closing.close();
                // Nobody listens after the first one.
                let _ = silent.send(Err(error.into()));
            };
            let work = move || {
                let _ = sender.send(own.work(root, &queue));
            };
            // Of the priority of this thread.
            let thread = std::thread::Builder::new().name("walk".into());
            if let Err(error) = thread.spawn(move || disks::watched(given_up, work)) {
                tracing::error!(%error, "no thread can be started to look through folders");
            }
        }
        Walking(receiver, threads)
    }

    fn work(&self, root: usize, queue: &Queue) -> std::io::Result<Vec<Look>> {
        let section = self.roots.get(root).map(|root| root.disk.enter()).transpose();
        let _section = section.inspect_err(|_| queue.close())?;
        let mut looks = Vec::new();
        while let Some(mut turn) = disks::off_disk(|| queue.next()) {
            let (path, depth, level) = &turn.folder;
            let mut look = match self.cancel.is_set() {
                true => Look::default(),
                false => folder::look(path, &self.roots, &self.info),
            };
            if *depth == Depth::Deep && *level < MAX_DEPTH {
                turn.more = std::mem::take(&mut look.folders);
                turn.more
                    .retain(|folder| !self.roots.iter().any(|root| root.path == *folder));
            } else if *depth == Depth::Deep && !look.folders.is_empty() {
                let reason = format!("what is more than {MAX_DEPTH} folders deep is not looked at");
                look.problems.push((path.display().to_string(), reason));
            }
            drop(turn);
            looks.push(look);
        }
        Ok(looks)
    }
}

impl Walk {
    pub(super) fn take(&mut self, look: Look) {
        self.found.extend(look.found.into_iter().map(Arc::new));
        self.temporary.extend(look.temporary);
        self.trash.extend(look.trash);
        let folder = look.path;
        let left_out = look.problems.into_iter().map(|(path, reason)| LeftOut {
            path,
            reason,
            folder: folder.clone(),
        });
        self.problems.extend(left_out);
        self.unreadable.extend(look.unreadable);
    }

    pub(super) fn note_unreadable(&mut self, folder: &Path, reason: &str) {
        let path = folder.display().to_string();
        self.problems.push(LeftOut {
            path: path.clone(),
            reason: format!("it can't be read: {reason}"),
            folder: folder.to_owned(),
        });
        self.unreadable.push(path);
    }

    pub(super) fn settle(&mut self) {
        self.found.sort_by(|a, b| (a.root, &a.path).cmp(&(b.root, &b.path)));
    }
}
