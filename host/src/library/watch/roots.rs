//! The keeper's roots: which are there, and how each is watched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use notify_debouncer_full::notify::{Error, ErrorKind};

use super::Watched;
use super::folders::outside_targets;
use super::keeper::Keeper;
use crate::files::foreign::{self, ForeignError};
use crate::library::collection::Library;
use crate::library::io_profile::IoProfile;
use crate::library::scan::{Depth, folder};

impl Keeper {
    /// Compares each root with what it was: one that came is watched and read, one that went is said to be away.
    pub(super) fn look_at_roots(&mut self, library: &Library) {
        self.roots_at = Instant::now();
        let mut changed = false;
        for index in 0..self.roots.len() {
            let path = self.roots[index].path.clone();
            // Nothing of the kernel is watched.
            let is_folder = path.is_dir() && !matches!(foreign::check_folder(&path), Err(ForeignError::Pseudo { .. }));
            // Where nothing has a number, being there must do.
            let id = is_folder.then(|| folder::id(&path).unwrap_or_default());
            if id == self.roots[index].id && self.watches[index].watched != Watched::Off {
                continue;
            }
            self.lose(index);
            self.roots[index].id = id;
            self.pending.everything = true;
            changed = true;
            if id.is_some() {
                self.watches[index].profile = library
                    .roots()
                    .get(index)
                    .map_or(IoProfile::Fast, |root| root.io_profile());
                self.watch_root(index);
            } else {
                self.watches[index].watched = Watched::Polling;
                self.watches[index].problem = None;
            }
        }
        // A link that led nowhere does not say by an event that its disk is back.
        for (link, target) in &library.topology().links {
            if link == target
                && link.exists()
                && let Some(parent) = link.parent()
            {
                self.pending.add(parent.to_owned(), Depth::Shallow);
            }
        }
        if changed {
            self.watch_links(library);
            self.publish(library);
        }
    }

    pub(super) fn watch_root(&mut self, index: usize) {
        let path = self.roots[index].path.clone();
        if self.watches[index].profile == IoProfile::Network {
            self.watches[index].watched = Watched::Polling;
            self.watches[index].problem = None;
            return;
        }
        let watched = match &mut self.folders {
            Some(folders) => folders.watch_tree(&path).map_err(|error| explained(&error)),
            None => Err(self.problem.clone().unwrap_or_default()),
        };
        match watched {
            Ok(_) => {
                self.watches[index].watched = Watched::Events;
                self.watches[index].problem = None;
            }
            Err(problem) => self.poll_instead(index, problem),
        }
    }

    pub(super) fn poll_instead(&mut self, index: usize, problem: String) {
        let root = self.roots[index].path.display();
        let seconds = self.keeping.poll.as_secs_f64();
        tracing::warn!(%root, "{problem}. The folder is looked at every {seconds} s instead");
        self.watches[index].watched = Watched::Polling;
        self.watches[index].problem = Some(problem);
        self.roots[index].next_poll = Instant::now() + self.keeping.poll;
    }

    pub(super) fn lose(&mut self, index: usize) {
        self.roots[index].id = None;
        if let Some(folders) = &mut self.folders {
            folders.unwatch_tree(&self.roots[index].path);
        }
    }

    pub(super) fn publish(&self, library: &Library) {
        library.watch().roots.store(Arc::new(self.watches.clone()));
    }

    /// Watches what links lead to, and no longer what they don't.
    pub(super) fn watch_links(&mut self, library: &Library) {
        let Some(folders) = &mut self.folders else { return };
        let topology = library.topology();
        let is_root = |path: &Path| self.roots.iter().any(|root| root.path == path);
        let is_tree = |path: &Path| topology.trees.iter().any(|tree| tree.written == path);
        for gone in folders.other_trees(|tree| is_root(tree) || is_tree(tree)) {
            folders.unwatch_tree(&gone);
        }
        for tree in topology.trees.iter().filter(|tree| !is_root(&tree.written)) {
            // A disk without events is looked at together with the root of the link.
            let root = self.roots.iter().position(|root| tree.written.starts_with(&root.path));
            let problem = if IoProfile::of_disk(&tree.real) == IoProfile::Network {
                Some("a link leads to a share of another machine, which sends no events".to_owned())
            } else {
                match folders.watch_tree(&tree.written) {
                    Ok(true) => {
                        // It may have changed since it was walked.
                        self.pending.add(tree.written.clone(), Depth::Deep);
                        None
                    }
                    Ok(false) => None,
                    Err(error) => Some(explained(&error)),
                }
            };
            if let (Some(root), Some(problem)) = (root, problem)
                && self.watches[root].watched == Watched::Events
            {
                let link = tree.written.display();
                tracing::warn!(%link, "{problem}. Its root is looked at from time to time");
                self.watches[root].watched = Watched::Polling;
                self.watches[root].problem = Some(format!("{link}: {problem}"));
            }
        }
        let tops: Vec<PathBuf> = topology.trees.iter().map(|tree| tree.real.clone()).collect();
        self.outside = outside_targets(&topology.links, &tops);
        let parents = self
            .outside
            .keys()
            .filter_map(|target| target.parent().map(Path::to_owned));
        folders.watch_single(parents.collect());
        self.publish(library);
    }
}

/// An error of the system's watcher with what to do about it.
pub(super) fn explained(error: &Error) -> String {
    let limit = |name: &str, what: &str| {
        format!(
            "the system's limit of {what} is reached, so that changes are not told; raise it with \
             `sysctl -w fs.inotify.{name}=...`"
        )
    };
    match &error.kind {
        ErrorKind::MaxFilesWatch => limit("max_user_watches", "watched folders"),
        // EMFILE: too many watchers of this user.
        ErrorKind::Io(io) if io.raw_os_error() == Some(24) => limit("max_user_instances", "watchers"),
        _ => format!("folders can't be watched: {error}"),
    }
}
