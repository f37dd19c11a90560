//! Hearing of changes to the files of a plugin.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// How long files must keep still: editors write in several steps.
const QUIET: Duration = Duration::from_millis(80);
/// Longest wait for that, where something writes all the time.
const LONGEST: Duration = Duration::from_secs(2);
/// How often folders that are away are looked for.
const AGAIN: Duration = Duration::from_secs(1);

/// A folder, and whether what is in its folders counts, too.
pub type Folder = (PathBuf, RecursiveMode);

/// Folders in which changes are heard of.
pub struct Watch {
    // None where the system tells nothing.
    watcher: Option<RecommendedWatcher>,
    changes: Receiver<()>,
    folders: Box<dyn Fn() -> Vec<Folder> + Send>,
    // Whether all folders were there when they were looked at last.
    whole: bool,
    warned: bool,
}

impl Watch {
    /// Watches what `folders` names, which is asked again at each [`Watch::renew`]. `concerns` says whether a change at a
    /// path counts; its second argument is whether the path itself went or came.
    pub fn new(
        folders: impl Fn() -> Vec<Folder> + Send + 'static,
        concerns: impl Fn(&Path, bool) -> bool + Send + 'static,
    ) -> Self {
        let (sender, changes) = channel();
        let heard = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let moved = matches!(
                event.kind,
                EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            );
            let counts =
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| concerns(path, moved));
            if counts || event.need_rescan() {
                // Nobody listens when the thread has ended.
                let _ = sender.send(());
            }
        };
        let watcher = notify::recommended_watcher(heard)
            .inspect_err(|error| {
                tracing::warn!(%error, "changes of a plugin are not seen; restart the server after a change");
            })
            .ok();
        let mut watch = Self {
            watcher,
            changes,
            folders: Box::new(folders),
            whole: false,
            warned: false,
        };
        watch.renew();
        watch
    }

    /// Sets all watches, those again whose folder went and came back. To be called before files are read, so that what
    /// is changed meanwhile is heard of.
    pub fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.whole = true;
        for (folder, mode) in (self.folders)() {
            // One that is watched already stays so.
            let Err(error) = watcher.watch(&folder, mode) else {
                continue;
            };
            self.whole = false;
            if !self.warned && folder.exists() {
                self.warned = true;
                tracing::warn!(folder = %folder.display(), %error, "changes of a plugin are not seen here");
            }
        }
    }

    /// Waits until something changed and then kept still, or until folders that were away are back; false when nothing
    /// can be heard of any more.
    pub fn next(&mut self) -> bool {
        if self.watcher.is_none() {
            return false;
        }
        while !self.whole {
            match self.changes.recv_timeout(AGAIN) {
                Ok(()) => return self.settled(),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => self.renew(),
            }
            if self.whole {
                return true;
            }
        }
        self.changes.recv().is_ok() && self.settled()
    }

    fn settled(&self) -> bool {
        settle(&self.changes, QUIET, LONGEST);
        true
    }
}

/// Waits until nothing was heard for a while, or for the longest time.
fn settle(changes: &Receiver<()>, quiet: Duration, longest: Duration) {
    let end = Instant::now() + longest;
    while changes.recv_timeout(quiet).is_ok() && Instant::now() < end {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far longer than any event takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_written_all_the_time_is_taken_all_the_same() {
        let (sender, changes) = channel();
        let writer = std::thread::spawn(move || {
            while sender.send(()).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        settle(&changes, Duration::from_secs(30), Duration::from_millis(100));
        drop(changes);
        writer.join().unwrap();
    }

    /// The waits of one watch, each told once.
    fn waits(mut watch: Watch) -> Receiver<()> {
        let (sender, told) = channel();
        std::thread::spawn(move || {
            while watch.next() {
                watch.renew();
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        told
    }

    #[test]
    fn a_file_is_followed_through_the_loss_of_its_folder() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("plugins-dev");
        let file = folder.join("x.wasm");
        std::fs::create_dir(&folder).unwrap();
        let (parent, own) = (folder.clone(), file.clone());
        let watch = Watch::new(
            move || vec![(parent.clone(), RecursiveMode::NonRecursive)],
            move |path, moved| path == own || (moved && Some(path) == own.parent()),
        );
        let told = waits(watch);
        std::fs::write(&file, "1").unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        std::fs::create_dir(&folder).unwrap();
        // It is back, which counts as a change, since a file may have come with it.
        told.recv_timeout(PATIENCE).unwrap();
        while told.recv_timeout(Duration::from_millis(1500)).is_ok() {}
        std::fs::write(&file, "2").unwrap();
        told.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn a_folder_that_comes_later_is_watched_too() {
        let top = tempfile::tempdir().unwrap();
        let (base, new) = (top.path().to_owned(), top.path().join("new"));
        let listed = new.clone();
        let watch = Watch::new(
            move || {
                let mut folders = vec![(base.clone(), RecursiveMode::NonRecursive)];
                if listed.is_dir() {
                    folders.push((listed.clone(), RecursiveMode::Recursive));
                }
                folders
            },
            |_, _| true,
        );
        let told = waits(watch);
        std::fs::create_dir(&new).unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        while told.recv_timeout(Duration::from_millis(500)).is_ok() {}
        std::fs::write(new.join("deep.rs"), "x").unwrap();
        told.recv_timeout(PATIENCE).unwrap();
    }
}
