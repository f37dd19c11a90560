//! The keeper: hears of changes and scans what they concern.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use notify_debouncer_full::notify::{Error, ErrorKind};
use tokio::runtime::Handle;

use super::events::{Kind, Touched, exists};
use super::folders::WatchedFolders;
use super::roots::explained;
use super::{Keeping, Message, RootWatch, Watched};
use crate::files::disks::{Begun, Disk};
use crate::library::collection::Library;
use crate::library::io_profile::IoProfile;
use crate::library::scan::folder::matters;
use crate::library::scan::topology::Topology;
use crate::library::scan::{Depth, Folders, ScanKind, models_below};
use crate::library::trash::STAGING;
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

/// How long roots may take together to say whether they are there, before the first scan and later on. One that takes
/// longer is offline until it has answered.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const NEXT_LOOK: Duration = Duration::from_millis(250);

/// What is to be scanned.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) everything: bool,
    pub(super) folders: Folders,
}

impl Pending {
    fn is_empty(&self) -> bool {
        !self.everything && self.folders.is_empty()
    }

    pub(super) fn add(&mut self, folder: PathBuf, depth: Depth) {
        let known = self.folders.entry(folder).or_insert(depth);
        *known = (*known).max(depth);
        self.everything |= self.folders.len() > MANY_FOLDERS;
    }
}

/// A root as the keeper sees it.
pub(super) struct RootState {
    pub(super) path: PathBuf,
    // Of its folder; none while it is away.
    pub(super) id: Option<(u64, u64)>,
    pub(super) next_poll: Instant,
    pub(super) disk: Arc<Disk>,
    // What is asked of it now.
    pub(super) looking: Option<Begun<RootLook>>,
    // As often as its disk had been silent when it was last looked at.
    pub(super) outages: u64,
    // What the system watches below it: of its own, since setting that up may hang.
    pub(super) folders: Option<Arc<Mutex<WatchedFolders>>>,
}

/// What a root says of itself.
pub(super) struct RootLook {
    pub(super) id: Option<(u64, u64)>,
    pub(super) profile: IoProfile,
}

/// See the module.
pub struct Keeper {
    pub(super) library: Weak<Library>,
    pub(super) plugin: Arc<Plugin>,
    pub(super) keeping: Keeping,
    pub(super) handle: Handle,
    pub(super) sender: Sender<Message>,
    pub(super) roots: Vec<RootState>,
    pub(super) watches: Vec<RootWatch>,
    // Links to files outside all trees, by what they lead to.
    pub(super) outside: BTreeMap<PathBuf, Vec<PathBuf>>,
    pub(super) pending: Pending,
    pub(super) roots_at: Instant,
    pub(super) not_before: Instant,
    pub(super) missed_rest: Duration,
    pub(super) missed_at: Option<Instant>,
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
                disk: root.disk.clone(),
                looking: None,
                outages: root.disk.outages(),
                folders: None,
            })
            .collect();
        if self.keeping.watch {
            // Before the first scan, so that nothing falls between the two.
            self.look_at_roots(&library, FIRST_LOOK);
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
                    self.roots[index].folders = None;
                    self.poll_instead(index, problem.clone());
                }
                self.publish(library);
                self.pending.everything = true;
            }
            Message::Look(folders) => folders
                .into_iter()
                .for_each(|folder| self.pending.add(folder, Depth::Shallow)),
            Message::Rules => self.pending.everything = true,
            Message::Links => self.watch_links(library),
            Message::Watching(index, folders) => self.watched_after_all(index, folders, library),
            Message::Close => {}
        }
    }

    fn touch(&mut self, touched: Touched, library: &Library) {
        let Touched {
            path,
            kind,
            left,
            is_link,
            is_folder,
        } = touched;
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
        if of_model || is_link || topology.links.contains_key(&path) {
            self.pending.add(parent, Depth::Shallow);
        }
        let is_folder = match left {
            true => kind != Kind::File && holds_something(&path, &topology, library),
            false => kind == Kind::Folder || is_folder,
        };
        if is_folder {
            self.pending.add(path, Depth::Deep);
        }
    }

    /// What happens without being told.
    fn look_around(&mut self, library: &Library) {
        let now = Instant::now();
        if self.keeping.watch && now >= self.roots_at + ROOTS_EVERY {
            self.look_at_roots(library, NEXT_LOOK);
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
            let (root, path) = (
                self.roots.iter().find(|root| folder.starts_with(&root.path)),
                folder.clone(),
            );
            let is_there = root.is_none_or(|root| root.disk.run_blocking(move || exists(&path)) == Ok(true));
            if is_there {
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
    models_below(&library.snapshot(), library.roots(), folder)
}
