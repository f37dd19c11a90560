//! From looks at folders to a walk: what several paths lead to is listed once.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Found, Link, Look};
use super::topology::{Topology, Tree, rebased};
use super::walk::Walk;
use crate::library::roots::Root;

/// Puts looks together: a real folder or file that several paths lead to is listed under the first of them. Paths
/// without links come before paths with links.
#[derive(Default)]
pub struct Merge {
    /// What is known so far.
    pub walk: Walk,
    // Models with the real path of their folder.
    groups: Vec<(PathBuf, Vec<Found>)>,
    entered: HashMap<(u64, u64), PathBuf>,
}

impl Merge {
    /// Adds the looks of a tree; gives the links to folders in them.
    pub fn add(&mut self, tree: &Tree, looks: Vec<Look>, roots: &[Root]) -> Vec<Link> {
        let root = roots.iter().position(|root| root.path == tree.written);
        self.walk.topology.trees.push(tree.clone());
        let (mut links, mut alias) = (Vec::new(), None::<PathBuf>);
        for mut look in looks {
            let is_top = look.path == tree.written || look.path.as_os_str().is_empty();
            if let Some(error) = look.error.take() {
                match root {
                    Some(root) if is_top => {
                        self.walk.offline.insert(root as u16);
                        // Also what lies in it and belongs to another root's walk stays.
                        self.walk.unreadable.push(tree.written.display().to_string());
                    }
                    _ => {
                        let path = if is_top { &tree.written } else { &look.path };
                        self.walk.note_unreadable(path, &error.to_string());
                    }
                }
                continue;
            }
            if alias.as_ref().is_some_and(|alias| look.path.starts_with(alias)) {
                continue;
            }
            let real = rebased(&look.path, &tree.written, &tree.real);
            if let Some(id) = look.id {
                if let Some(first) = self.entered.get(&id) {
                    self.walk.topology.aliases.push((look.path.clone(), first.clone()));
                    if is_top {
                        self.walk.topology.trees.pop();
                    }
                    alias = Some(look.path);
                    continue;
                }
                self.entered.insert(id, real.clone());
            }
            for link in &look.links {
                self.walk
                    .topology
                    .links
                    .insert(link.written.clone(), link.target.clone());
            }
            links.extend(look.links.iter().filter(|link| link.to_folder).cloned());
            self.groups.push((real, std::mem::take(&mut look.found)));
            self.walk.take(look);
        }
        links
    }

    /// What links lead to that no tree holds; the other links are aliases, or loops that tell nothing. `is_emptied` says of
    /// a link whether it leads to a folder without anything in it.
    pub fn new_trees(&mut self, links: Vec<Link>, is_emptied: &dyn Fn(&Link) -> bool) -> Vec<Tree> {
        let topology = &mut self.walk.topology;
        let mut new: Vec<Tree> = Vec::new();
        for link in &links {
            let held = |tree: &Tree| link.target.starts_with(&tree.real);
            if topology.trees.iter().any(held) {
                let parent = link.written.parent().and_then(|parent| topology.real_of(parent));
                // A link to a folder above itself is a loop.
                if !parent.is_some_and(|parent| parent.starts_with(&link.target)) {
                    topology.aliases.push((link.written.clone(), link.target.clone()));
                }
                continue;
            }
            let holds = |other: &Link| link.target.starts_with(&other.target) && link.target != other.target;
            if new.iter().any(held) || links.iter().any(holds) {
                topology.aliases.push((link.written.clone(), link.target.clone()));
                continue;
            }
            // The empty mount point of a disk that is away looks like a folder without models.
            if is_emptied(link) {
                self.walk.unreadable.push(link.written.display().to_string());
            }
            new.push(Tree {
                written: link.written.clone(),
                real: link.target.clone(),
            });
        }
        new
    }

    /// The walk.
    pub fn finish(mut self) -> Walk {
        let links_to_files = self
            .groups
            .iter()
            .flat_map(|(_, found)| found)
            .any(|found| found.linked_to.is_some());
        if links_to_files {
            let plain = |found: &&Found| found.linked_to.is_none();
            let mut listed: HashSet<PathBuf> = HashSet::new();
            for (real, found) in &self.groups {
                let names = found
                    .iter()
                    .filter(plain)
                    .filter_map(|found| found.path.rsplit('/').next());
                listed.extend(names.map(|name| real.join(name)));
            }
            let file_aliases = &mut self.walk.topology.file_aliases;
            for (_, found) in &mut self.groups {
                found.retain(|found| match &found.linked_to {
                    Some(target) if !listed.insert(target.clone()) => {
                        file_aliases
                            .entry(target.clone())
                            .or_default()
                            .push(PathBuf::from(&*found.path));
                        false
                    }
                    _ => true,
                });
            }
        }
        for (real, mut found) in std::mem::take(&mut self.groups) {
            with_aliases(&mut found, &real, &self.walk.topology);
            self.walk.found.extend(found.into_iter().map(Arc::new));
        }
        self.walk.settle();
        self.walk
    }
}

/// Gives the models of one folder the other paths that lead to them.
pub fn with_aliases(found: &mut [Found], real_folder: &Path, topology: &Topology) {
    if topology.aliases.is_empty() && topology.file_aliases.is_empty() {
        return;
    }
    let folders = topology.aliases_of(real_folder);
    for found in found {
        let name = found.path.rsplit('/').next().unwrap_or_default();
        let real = found.linked_to.clone().unwrap_or_else(|| real_folder.join(name));
        let links = topology.file_aliases.get(&real).into_iter().flatten().cloned();
        let paths = folders.iter().map(|folder| folder.join(name)).chain(links);
        let mut aliases: Vec<Box<str>> = paths
            .filter_map(|path| crate::files::wire_path(&path).map(String::into_boxed_str))
            .filter(|path| *path != found.path)
            .collect();
        aliases.sort_unstable();
        aliases.dedup();
        found.aliases = aliases;
    }
}
