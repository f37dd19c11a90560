//! Walking a library: all of it, or some of its folders.
//!
//! The work is a queue of folders for each tree, taken by as many threads as its disk bears; each folder is read by
//! itself, one level deep. The result does not depend on which thread was first: looks are put in order before
//! anything is decided.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::Cancel;
use super::folder::{self, Found, Look};
use super::merge::{Merge, with_aliases};
use super::queue::Queue;
use super::topology::{Topology, Tree};
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
    pub found: Vec<Found>,
    /// Roots that are absent or unreadable, by index.
    pub offline: HashSet<u16>,
    /// Paths that could not be read, as clients see them: nothing at or below them is known to be gone.
    pub unreadable: Vec<String>,
    /// Links that lead nowhere, as clients see them.
    pub offline_links: Vec<String>,
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

/// What walks need to know.
#[derive(Clone, Copy)]
pub struct Walker<'a> {
    /// The roots.
    pub roots: &'a [Root],
    /// The type.
    pub info: &'a TypeInfo,
    /// Ends the walk early.
    pub cancel: &'a Cancel,
}

impl Walker<'_> {
    /// Walks all roots at once.
    pub fn whole(self) -> Walk {
        let mut merge = Merge::default();
        let tops = self.roots.iter().map(|root| Tree {
            written: root.path.clone(),
            real: root.path.canonicalize().unwrap_or_else(|_| root.path.clone()),
        });
        let mut trees: Vec<Tree> = tops.collect();
        let profile = |tree: &Tree| {
            let root = self.roots.iter().find(|root| root.path == tree.written);
            root.map_or_else(|| IoProfile::of_disk(&tree.real), Root::io_profile)
        };
        let mut at_once = trees.len().max(1);
        for hop in 0..=MAX_HOPS {
            let mut links = Vec::new();
            for some in trees.chunks(at_once) {
                let looks: Vec<Vec<Look>> = std::thread::scope(|scope| {
                    let walk = |tree: &Tree| {
                        let (top, threads) = (tree.written.clone(), profile(tree).walkers());
                        scope.spawn(move || self.below([(top, Depth::Deep)].into(), threads))
                    };
                    let handles: Vec<_> = some.iter().map(walk).collect();
                    // A walk that broke off says nothing of what is gone.
                    let broken = || {
                        vec![Look {
                            error: Some(std::io::Error::other("the walk broke off")),
                            ..Look::default()
                        }]
                    };
                    let joined = handles
                        .into_iter()
                        .map(|handle| handle.join().unwrap_or_else(|_| broken()));
                    joined.collect()
                });
                for (tree, looks) in some.iter().zip(looks) {
                    links.extend(merge.add(tree, looks, self.roots));
                }
            }
            if self.cancel.is_set() {
                merge.walk.cancelled = true;
                return merge.walk;
            }
            trees = if hop < MAX_HOPS {
                merge.new_trees(links)
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

    /// Walks some folders, which [`normalised`] gave. None when what it met needs a walk of all roots: links that
    /// came, went or changed, and roots that are away.
    pub fn partial(self, folders: &Folders, topology: &Topology) -> Option<Walk> {
        let mut walk = Walk::default();
        let mut looks: Vec<Look> = Vec::new();
        let mut by_tree: BTreeMap<&Path, Folders> = BTreeMap::new();
        for (folder, depth) in folders {
            let tree = topology.tree_of(folder)?;
            by_tree.entry(&tree.written).or_default().insert(folder.clone(), *depth);
        }
        for (top, some) in by_tree {
            if std::fs::read_dir(top).is_err() {
                return None;
            }
            let root = self.roots.iter().find(|root| top.starts_with(&root.path))?;
            looks.extend(self.below(some, root.io_profile().walkers()));
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

    /// Looks at folders, and at what is below them where that is wanted, with so many threads. Other roots are left
    /// out: they have walks of their own. In the order of their paths.
    fn below(self, tops: Folders, threads: usize) -> Vec<Look> {
        let queue = Queue::new(tops);
        let work = || {
            let mut looks = Vec::new();
            while let Some(mut turn) = queue.next() {
                let (path, depth, level) = &turn.folder;
                let mut look = match self.cancel.is_set() {
                    true => Look::default(),
                    false => folder::look(path, self.roots, self.info),
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
            looks
        };
        let mut looks = if threads < 2 {
            work()
        } else {
            std::thread::scope(|scope| {
                let handles: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                let mut looks = work();
                for handle in handles {
                    match handle.join() {
                        Ok(more) => looks.extend(more),
                        Err(_) => self.cancel.set(),
                    }
                }
                looks
            })
        };
        looks.sort_by(|a, b| a.path.cmp(&b.path));
        looks
    }
}

impl Walk {
    pub(super) fn take(&mut self, look: Look) {
        self.found.extend(look.found);
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
        self.offline_links.extend(look.offline);
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
