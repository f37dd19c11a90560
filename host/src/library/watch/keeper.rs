//! The keeper: hears of changes and scans what they concern.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use notify_debouncer_full::notify::{Error, ErrorKind};
use tokio::runtime::Handle;

use super::events::{Kind, Touched, exists};
use super::folders::{WatchedFolders, outside_targets};
use super::{Keeping, Message, RootWatch, Watched};
use crate::files::wire_path;
use crate::library::collection::Library;
use crate::library::io_profile::IoProfile;
use crate::library::roots;
use crate::library::scan::folder::{self, STAGING, matters};
use crate::library::scan::topology::Topology;
use crate::library::scan::{Depth, Folders, ScanKind};
use crate::plugins::Plugin;

/// Time between looks for roots that come and go.
const ROOTS_EVERY: Duration = Duration::from_secs(2);
/// From so many folders on, all are looked at.
const MANY_FOLDERS: usize = 512;
/// The shortest and longest rest after a scan, which is as long as the scan was.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// The first and longest rest before a scan for changes that were missed. Reading many folders is told as well, so
/// that the scan itself may be what the system has too much of.
const MISSED_REST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// What is to be scanned.
#[derive(Default)]
struct Pending {
    everything: bool,
    folders: Folders,
}

impl Pending {
    fn is_empty(&self) -> bool {
        !self.everything && self.folders.is_empty()
    }

    fn add(&mut self, folder: PathBuf, depth: Depth) {
        let known = self.folders.entry(folder).or_insert(depth);
        *known = (*known).max(depth);
        self.everything |= self.folders.len() > MANY_FOLDERS;
    }
}

/// A root as the keeper sees it.
struct RootState {
    path: PathBuf,
    // Of its folder; none while it is away.
    id: Option<(u64, u64)>,
    next_poll: Instant,
}

/// See the module.
pub struct Keeper {
    library: Weak<Library>,
    plugin: Arc<Plugin>,
    keeping: Keeping,
    handle: Handle,
    sender: Sender<Message>,
    folders: Option<WatchedFolders>,
    // Why there are no events at all.
    problem: Option<String>,
    roots: Vec<RootState>,
    watches: Vec<RootWatch>,
    // Links to files outside all trees, by what they lead to.
    outside: BTreeMap<PathBuf, Vec<PathBuf>>,
    pending: Pending,
    roots_at: Instant,
    not_before: Instant,
    missed_rest: Duration,
    missed_at: Option<Instant>,
}

impl Keeper {
    /// A keeper that has not begun.
    pub fn new(
        library: Weak<Library>,
        plugin: Arc<Plugin>,
        keeping: Keeping,
        handle: Handle,
        sender: Sender<Message>,
    ) -> Self {
        let now = Instant::now();
        Self {
            library,
            plugin,
            keeping,
            handle,
            sender,
            folders: None,
            problem: None,
            roots: Vec::new(),
            watches: Vec::new(),
            outside: BTreeMap::new(),
            pending: Pending::default(),
            roots_at: now,
            not_before: now,
            missed_rest: MISSED_REST.0,
            missed_at: None,
        }
    }

    /// Watches, scans once, and goes on until the library is closed.
    pub fn run(mut self, receiver: &Receiver<Message>) {
        if !self.begin() {
            return;
        }
        loop {
            let rest = self.next_deadline().saturating_duration_since(Instant::now());
            let mut message = match receiver.recv_timeout(rest) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let Some(library) = self.library.upgrade() else { return };
            while let Some(next) = message {
                if matches!(next, Message::Close) {
                    return;
                }
                self.hear(next, &library);
                message = receiver.try_recv().ok();
            }
            self.look_around(&library);
            self.scan(&library);
        }
    }

    fn begin(&mut self) -> bool {
        let Some(library) = self.library.upgrade() else {
            return false;
        };
        self.watches = library.root_watches().to_vec();
        self.roots = library
            .roots()
            .iter()
            .map(|root| RootState {
                path: root.path.clone(),
                id: None,
                next_poll: Instant::now() + self.keeping.poll,
            })
            .collect();
        if self.keeping.watch {
            match WatchedFolders::new(self.sender.clone()) {
                Ok(folders) => self.folders = Some(folders),
                Err(error) => {
                    let problem = explained(&error);
                    tracing::warn!(model_type = self.plugin.info().id(), "{problem}");
                    self.problem = Some(problem);
                }
            }
            // Before the first scan, so that nothing falls between the two.
            self.look_at_roots(&library);
        }
        self.pending.everything = true;
        self.scan(&library);
        true
    }

    fn next_deadline(&self) -> Instant {
        let mut next = self.roots_at + ROOTS_EVERY;
        if !self.keeping.watch {
            next += Duration::from_secs(3600);
        }
        let polls = self
            .roots
            .iter()
            .zip(&self.watches)
            .filter(|(root, watch)| root.id.is_some() && watch.watched == Watched::Polling);
        let polls = polls.map(|(root, _)| root.next_poll);
        let waiting = self
            .library
            .upgrade()
            .and_then(|library| library.waiting().next_look(false));
        next = polls.chain(waiting).fold(next, Instant::min);
        if !self.pending.is_empty() {
            next = next.min(self.not_before);
        }
        next
    }

    fn hear(&mut self, message: Message, library: &Library) {
        match message {
            Message::Touched(touched) => touched.into_iter().for_each(|touched| self.touch(touched, library)),
            Message::Missed(reason) => {
                let calm = MISSED_REST.1 * 2;
                self.missed_rest = match self.missed_at {
                    Some(at) if at.elapsed() < calm => (self.missed_rest * 2).min(MISSED_REST.1),
                    _ => MISSED_REST.0,
                };
                self.missed_at = Some(Instant::now());
                self.not_before = self.not_before.max(Instant::now() + self.missed_rest);
                tracing::info!(
                    model_type = self.plugin.info().id(),
                    reason,
                    "changes were missed; all folders are looked at"
                );
                self.pending.everything = true;
            }
            Message::Full(path) => {
                let problem = explained(&Error::new(ErrorKind::MaxFilesWatch));
                let concerned = |root: &RootState| path.as_ref().is_none_or(|path| path.starts_with(&root.path));
                let concerned: Vec<usize> = (0..self.roots.len())
                    .filter(|index| concerned(&self.roots[*index]))
                    .collect();
                for index in concerned {
                    if let Some(folders) = &mut self.folders {
                        folders.unwatch_tree(&self.roots[index].path);
                    }
                    self.poll_instead(index, problem.clone());
                }
                self.publish(library);
                self.pending.everything = true;
            }
            Message::Look(folders) => folders
                .into_iter()
                .for_each(|folder| self.pending.add(folder, Depth::Shallow)),
            Message::Links => self.watch_links(library),
            Message::Close => {}
        }
    }

    fn touch(&mut self, touched: Touched, library: &Library) {
        let Touched { path, kind, left } = touched;
        if let Some(index) = self.roots.iter().position(|root| root.path == path) {
            if left {
                // The watch may have gone with the folder, though another may be there by now.
                self.lose(index);
            }
            self.roots_at = self.roots_at.checked_sub(ROOTS_EVERY).unwrap_or(self.roots_at);
            self.pending.add(path, Depth::Shallow);
            return;
        }
        if path.components().any(|part| part.as_os_str() == STAGING) {
            return;
        }
        if let Some(links) = self.outside.get(&path) {
            let parents = links.iter().filter_map(|link| link.parent());
            parents.for_each(|parent| self.pending.add(parent.to_owned(), Depth::Shallow));
            return;
        }
        let Some(parent) = path.parent().map(Path::to_owned) else {
            return;
        };
        let topology = library.topology();
        if topology.tree_of(&path).is_none() && !topology.trees.is_empty() {
            // Beside a file outside that a link leads to.
            return;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A name that is not UTF-8 may be a model's, and is a problem to be told.
        let of_model = name.is_empty() || matters(name, library.info());
        let is_link = || topology.links.contains_key(&path) || path.is_symlink();
        if of_model || is_link() {
            self.pending.add(parent, Depth::Shallow);
        }
        let is_folder = match left {
            true => kind != Kind::File && holds_something(&path, &topology, library),
            false => kind == Kind::Folder || path.is_dir(),
        };
        if is_folder {
            self.pending.add(path, Depth::Deep);
        }
    }

    /// What happens without being told.
    fn look_around(&mut self, library: &Library) {
        let now = Instant::now();
        if self.keeping.watch && now >= self.roots_at + ROOTS_EVERY {
            self.look_at_roots(library);
        }
        for index in 0..self.roots.len() {
            let root = &self.roots[index];
            let polled = root.id.is_some() && self.watches[index].watched == Watched::Polling;
            if polled && now >= root.next_poll {
                self.roots[index].next_poll = now + self.keeping.poll;
                self.pending.add(self.roots[index].path.clone(), Depth::Deep);
                // Links may lead to other disks that send no events.
                let topology = library.topology();
                let root = self.roots[index].path.clone();
                topology
                    .trees_below(&root)
                    .for_each(|tree| self.pending.add(tree.to_owned(), Depth::Deep));
            }
        }
        for folder in library.waiting().due_folders() {
            self.pending.add(folder, Depth::Shallow);
        }
    }

    /// Compares each root with what it was: one that came is watched and read, one that went is said to be away.
    fn look_at_roots(&mut self, library: &Library) {
        self.roots_at = Instant::now();
        let mut changed = false;
        for index in 0..self.roots.len() {
            let path = self.roots[index].path.clone();
            let is_folder = path.is_dir();
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
        if changed {
            self.watch_links(library);
            self.publish(library);
        }
    }

    fn watch_root(&mut self, index: usize) {
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

    fn poll_instead(&mut self, index: usize, problem: String) {
        let root = self.roots[index].path.display();
        let seconds = self.keeping.poll.as_secs_f64();
        tracing::warn!(%root, "{problem}. The folder is looked at every {seconds} s instead");
        self.watches[index].watched = Watched::Polling;
        self.watches[index].problem = Some(problem);
        self.roots[index].next_poll = Instant::now() + self.keeping.poll;
    }

    fn lose(&mut self, index: usize) {
        self.roots[index].id = None;
        if let Some(folders) = &mut self.folders {
            folders.unwatch_tree(&self.roots[index].path);
        }
    }

    fn publish(&self, library: &Library) {
        library.watch().roots.store(Arc::new(self.watches.clone()));
    }

    /// Watches what links lead to, and no longer what they don't.
    fn watch_links(&mut self, library: &Library) {
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

    /// Scans what is pending, unless it is too soon after the last time.
    fn scan(&mut self, library: &Arc<Library>) {
        if self.pending.is_empty() || Instant::now() < self.not_before {
            return;
        }
        let started = Instant::now();
        let pending = std::mem::take(&mut self.pending);
        let (library, plugin) = (library.clone(), self.plugin.clone());
        let again = if pending.everything {
            self.handle.block_on(library.scan(plugin, ScanKind::Changes));
            Folders::new()
        } else {
            let folders = pending.folders.clone();
            let outcome = self.handle.block_on(library.scan_folders(plugin, folders));
            // Who ends the scan that they see does not mean that what changed is never to be seen.
            if outcome.cancelled {
                pending.folders
            } else {
                Folders::new()
            }
        };
        for (folder, depth) in again {
            if exists(&folder) {
                self.pending.add(folder, depth);
            }
        }
        self.not_before = Instant::now() + started.elapsed().clamp(REST.0, REST.1);
    }
}

/// Whether models or links are known below a folder that left.
fn holds_something(folder: &Path, topology: &Topology, library: &Library) -> bool {
    let link = topology.links.range(folder.to_owned()..).next();
    if link.is_some_and(|(link, _)| link.starts_with(folder)) {
        return true;
    }
    let Some(wire) = wire_path(folder) else { return true };
    let root = roots::find_folder(library.roots(), &wire).and_then(|root| library.roots().get(usize::from(root)));
    let relative = root.and_then(|root| root.relative(&wire)).unwrap_or_default();
    !library.snapshot().properties().folders.below(relative).is_empty()
}

/// An error of the system's watcher with what to do about it.
fn explained(error: &Error) -> String {
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
