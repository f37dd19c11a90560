//! What the system watches for a library: its roots, and what links lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use notify_debouncer_full::notify::{Config, Error, ErrorKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};

use super::Message;
use super::events::touched;

/// For how long events of one path are gathered.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The watched folders, by how deep.
pub struct WatchedFolders {
    debouncer: Debouncer<RecommendedWatcher, NoCache>,
    trees: BTreeSet<PathBuf>,
    // Folders outside all trees in which files lie that links lead to.
    single: BTreeSet<PathBuf>,
}

impl WatchedFolders {
    /// Nothing watched yet; what happens is told to the sender.
    ///
    /// # Errors
    /// The system's.
    pub fn new(sender: Sender<Message>) -> Result<Self, Error> {
        let tell = move |result: DebounceEventResult| {
            // The receiver is gone when the library is closed.
            match result {
                Ok(events) if events.iter().any(|event| event.need_rescan()) => {
                    let _ = sender.send(Message::Missed("more happened than the system could tell".into()));
                }
                Ok(events) => {
                    let touched = touched(events);
                    if !touched.is_empty() {
                        let _ = sender.send(Message::Touched(touched));
                    }
                }
                Err(errors) => {
                    for error in errors {
                        let _ = sender.send(match error.kind {
                            ErrorKind::MaxFilesWatch => Message::Full(error.paths.first().cloned()),
                            _ => Message::Missed(error.to_string()),
                        });
                    }
                }
            }
        };
        // A link inside a tree leads to an alias or to a tree of its own.
        let config = Config::default().with_follow_symlinks(false);
        // Scans find out themselves what was renamed, so that no table of all files is needed.
        let debouncer = new_debouncer_opt(DEBOUNCE, None, tell, NoCache::new(), config)?;
        Ok(Self {
            debouncer,
            trees: BTreeSet::new(),
            single: BTreeSet::new(),
        })
    }

    /// Watches a folder with all that is below it; whether that is new.
    ///
    /// # Errors
    /// The system's; it is not watched then.
    pub fn watch_tree(&mut self, top: &Path) -> Result<bool, Error> {
        if self.trees.contains(top) {
            return Ok(false);
        }
        if let Err(error) = self.debouncer.watch(top, RecursiveMode::Recursive) {
            // What was watched before the limit was reached.
            let _ = self.debouncer.unwatch(top);
            return Err(error);
        }
        self.trees.insert(top.to_owned());
        Ok(true)
    }

    /// Watches a folder no more.
    pub fn unwatch_tree(&mut self, top: &Path) {
        if self.trees.remove(top) {
            // It may be gone, and the watch with it.
            let _ = self.debouncer.unwatch(top);
        }
    }

    /// Watched trees for which the condition does not hold.
    pub fn other_trees(&self, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        self.trees.iter().filter(|tree| !wanted(tree)).cloned().collect()
    }

    /// Watches exactly these single folders, as far as the system can.
    pub fn watch_single(&mut self, wanted: BTreeSet<PathBuf>) {
        for gone in self.single.difference(&wanted) {
            let _ = self.debouncer.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            let known = self.single.contains(&folder);
            if known || self.debouncer.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                watched.insert(folder);
            }
        }
        self.single = watched;
    }
}

/// Files outside all trees that links lead to, each with the links.
pub fn outside_targets(links: &BTreeMap<PathBuf, PathBuf>, trees: &[PathBuf]) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let mut outside: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for (link, target) in links {
        if link != target && !trees.iter().any(|tree| target.starts_with(tree)) {
            outside.entry(target.clone()).or_default().push(link.clone());
        }
    }
    outside
}
