//! The keeper's roots: which are there, and how each is watched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify_debouncer_full::notify::{Error, ErrorKind};

use super::folders::{WatchedFolders, outside_targets};
use super::keeper::{Keeper, RootLook};
use super::{Message, Watched};
use crate::library::collection::Library;
use crate::library::io_profile::IoProfile;
use crate::library::scan::topology::Tree;
use crate::library::scan::{Depth, folder};

impl Keeper {
    /// Compares each root with what it was: one that came is watched and read, one that went is said to be away, and so is
    /// one whose disk does not answer. Waits at most `patience`; answers that come later are for the next look.
    pub(super) fn look_at_roots(&mut self, library: &Library, patience: Duration) {
        self.roots_at = Instant::now();
        let until = self.roots_at + patience;
        let mut looks = Vec::with_capacity(self.roots.len());
        for (root, state) in library.roots().iter().zip(&mut self.roots) {
            let path = root.path.clone();
            let io = root.io;
            let look = move || {
                // Where nothing has a number, being there must do.
                let id = path.is_dir().then(|| folder::id(&path).unwrap_or_default());
                let profile = io.unwrap_or_else(|| IoProfile::of_disk(&path));
                RootLook { id, profile }
            };
            looks.push(match state.looking.take() {
                Some(begun) => Ok(begun),
                None => state.disk.begin(look),
            });
        }
        let mut changed = Vec::new();
        for (index, look) in looks.into_iter().enumerate() {
            let look = match look {
                Ok(begun) => match begun.wait_until(until) {
                    Some(answer) => answer,
                    None => {
                        self.roots[index].looking = Some(begun);
                        continue;
                    }
                },
                Err(error) => Err(error),
            };
            let look = look.unwrap_or(RootLook {
                id: None,
                profile: self.watches[index].profile,
            });
            let outages = self.roots[index].disk.outages();
            let was_silent = std::mem::replace(&mut self.roots[index].outages, outages) != outages;
            let is_known = look.id == self.roots[index].id && self.watches[index].watched != Watched::Off;
            if is_known && !was_silent {
                continue;
            }
            self.lose(index);
            self.roots[index].id = look.id;
            self.pending.everything = true;
            self.watches[index].profile = look.profile;
            changed.push(index);
        }
        if changed.is_empty() {
            return;
        }
        let there = |index: &usize| self.roots[*index].id.is_some();
        let (there, away): (Vec<usize>, Vec<usize>) = changed.into_iter().partition(there);
        for index in away {
            self.watches[index].watched = Watched::Polling;
            self.watches[index].problem = None;
        }
        self.watch_roots(&there);
        self.watch_links(library);
        self.publish(library);
    }

    /// Watches roots that are there, all at once: a disk may hang in that.
    fn watch_roots(&mut self, there: &[usize]) {
        let mut begun = Vec::new();
        for index in there.iter().copied() {
            let state = &self.roots[index];
            if self.watches[index].profile == IoProfile::Network {
                self.watches[index].watched = Watched::Polling;
                self.watches[index].problem = None;
                continue;
            }
            let (path, sender, deadline) = (state.path.clone(), self.sender.clone(), state.disk.deadline());
            let late = self.sender.clone();
            let work = move || {
                let mut folders = WatchedFolders::new(sender)?;
                folders.watch_tree(&path)?;
                Ok(Arc::new(Mutex::new(folders)))
            };
            let when_late = move |done: Result<Arc<Mutex<WatchedFolders>>, Error>| {
                if let Ok(folders) = done {
                    // The keeper may be gone.
                    let _ = late.send(Message::Watching(index, folders));
                }
            };
            begun.push((index, apart(deadline, work, when_late)));
        }
        for (index, begun) in begun {
            match begun.wait() {
                Some(Ok(folders)) => {
                    self.roots[index].folders = Some(folders);
                    self.watches[index].watched = Watched::Events;
                    self.watches[index].problem = None;
                }
                Some(Err(error)) => self.poll_instead(index, explained(&error)),
                None => self.poll_instead(index, "its disk takes long to have its folders watched".into()),
            }
        }
    }

    /// Takes over what took long to be set up.
    pub(super) fn watched_after_all(&mut self, index: usize, folders: Arc<Mutex<WatchedFolders>>, library: &Library) {
        let Some(root) = self.roots.get_mut(index).filter(|root| root.id.is_some()) else {
            return;
        };
        root.folders = Some(folders);
        // It may have changed meanwhile.
        self.pending.add(root.path.clone(), Depth::Deep);
        self.watches[index].watched = Watched::Events;
        self.watches[index].problem = None;
        self.watch_links(library);
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
        let root = &mut self.roots[index];
        root.id = None;
        root.looking = None;
        // Dropped, not ended: its thread may wait for the disk.
        root.folders = None;
    }

    pub(super) fn publish(&self, library: &Library) {
        library.watch().roots.store(Arc::new(self.watches.clone()));
    }

    /// Watches what links lead to, and no longer what they don't.
    pub(super) fn watch_links(&mut self, library: &Library) {
        let topology = library.topology();
        let tops: Vec<PathBuf> = topology.trees.iter().map(|tree| tree.real.clone()).collect();
        self.outside = outside_targets(&topology.links, &tops);
        let is_root = |path: &Path| self.roots.iter().any(|root| root.path == path);
        let root_of = |path: &Path| self.roots.iter().position(|root| path.starts_with(&root.path));
        let mut wanted: Vec<Links> = self.roots.iter().map(|_| Links::default()).collect();
        for tree in topology.trees.iter().filter(|tree| !is_root(&tree.written)) {
            if let Some(root) = root_of(&tree.written) {
                wanted[root].trees.push(tree.clone());
            }
        }
        for (target, links) in &self.outside {
            let roots = links.iter().filter_map(|link| root_of(link));
            for root in roots {
                wanted[root].single.extend(target.parent().map(Path::to_owned));
            }
        }
        let mut begun = Vec::new();
        for (index, (root, links)) in self.roots.iter().zip(wanted).enumerate() {
            let Some(folders) = root.folders.clone() else { continue };
            let path = root.path.clone();
            let work = move || links.watch(&mut folders.lock().unwrap_or_else(PoisonError::into_inner), &path);
            begun.push((index, apart(root.disk.deadline(), work, |_| {})));
        }
        for (index, begun) in begun {
            let Some(watched) = begun.wait() else {
                self.poll_instead(index, "the disk of a link in it does not answer".into());
                self.roots[index].folders = None;
                continue;
            };
            for (written, problem) in watched {
                match problem {
                    // It may have changed since it was walked.
                    None => self.pending.add(written, Depth::Deep),
                    Some(problem) if self.watches[index].watched == Watched::Events => {
                        let link = written.display();
                        tracing::warn!(%link, "{problem}. Its root is looked at from time to time");
                        self.watches[index].watched = Watched::Polling;
                        self.watches[index].problem = Some(format!("{link}: {problem}"));
                    }
                    Some(_) => {}
                }
            }
        }
        self.publish(library);
    }
}

/// What links of a root lead to.
#[derive(Default)]
struct Links {
    trees: Vec<Tree>,
    // Folders outside of all trees that hold files to which links lead.
    single: BTreeSet<PathBuf>,
}

impl Links {
    /// Watches exactly these: each that is new, and each that can't be watched, with the reason.
    fn watch(self, folders: &mut WatchedFolders, root: &Path) -> Vec<(PathBuf, Option<String>)> {
        let is_wanted = |path: &Path| path == root || self.trees.iter().any(|tree| tree.written == path);
        for gone in folders.other_trees(is_wanted) {
            folders.unwatch_tree(&gone);
        }
        let mut told = Vec::new();
        for tree in &self.trees {
            // A disk without events is looked at together with the root of the link.
            let watched = match IoProfile::of_disk(&tree.real) {
                IoProfile::Network => {
                    Err("a link leads to a share of another machine, which sends no events".to_owned())
                }
                _ => folders.watch_tree(&tree.written).map_err(|error| explained(&error)),
            };
            match watched {
                Ok(true) => told.push((tree.written.clone(), None)),
                Ok(false) => {}
                Err(problem) => told.push((tree.written.clone(), Some(problem))),
            }
        }
        folders.watch_single(self.single);
        told
    }
}

/// Work on a thread of its own, which may hang.
struct Apart<T> {
    receiver: Receiver<T>,
    until: Instant,
    waits: Arc<Mutex<bool>>,
}

/// Begins it. What it says after the deadline goes to `when_late`.
fn apart<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
    when_late: impl FnOnce(T) + Send + 'static,
) -> Apart<T> {
    let (sender, receiver) = channel();
    let waits = Arc::new(Mutex::new(true));
    let is_waited_for = waits.clone();
    let thread = std::thread::Builder::new().name("watching".into());
    let started = thread.spawn(move || {
        let done = work();
        let waits = is_waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        match *waits {
            true => drop(sender.send(done)),
            false => when_late(done),
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread can be started to watch folders");
    }
    Apart {
        receiver,
        until: Instant::now() + deadline,
        waits,
    }
}

impl<T> Apart<T> {
    /// What it said until the deadline.
    fn wait(self) -> Option<T> {
        let rest = self.until.saturating_duration_since(Instant::now());
        if let Ok(done) = self.receiver.recv_timeout(rest) {
            return Some(done);
        }
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        *waits = false;
        self.receiver.try_recv().ok()
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
