//! From the system's events to what they may have changed.

use std::path::{Path, PathBuf};

use notify_debouncer_full::DebouncedEvent;
use notify_debouncer_full::notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};

/// What an event says of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is a file.
    File,
    /// It is a folder that came or went.
    Folder,
    /// It may be either.
    Either,
}

/// A path with which something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The path, below a watched folder.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Whether it is no longer where it was.
    pub left: bool,
    /// Whether it is a link.
    pub is_link: bool,
    /// Whether it is a folder, or a link to one.
    pub is_folder: bool,
}

/// The paths of events that changed something. Reading is no change, and this server's own reading least of all. Looks at
/// the paths, on the thread of the root's own watcher: who hears of them needs not to.
pub fn touched(events: Vec<DebouncedEvent>) -> Vec<Touched> {
    let mut all = Vec::with_capacity(events.len());
    for DebouncedEvent { event, .. } in events {
        let kind = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Kind::File,
            EventKind::Access(_) => continue,
            EventKind::Create(CreateKind::File) | EventKind::Remove(RemoveKind::File) => Kind::File,
            EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => Kind::Folder,
            EventKind::Modify(ModifyKind::Data(_)) => Kind::File,
            _ => Kind::Either,
        };
        let removed = matches!(event.kind, EventKind::Remove(_));
        let renamed = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        for path in event.paths {
            let there = path.symlink_metadata().ok().map(|there| there.file_type());
            let is_link = there.is_some_and(|kind| kind.is_symlink());
            let is_folder = match is_link {
                true => path.is_dir(),
                false => there.is_some_and(|kind| kind.is_dir()),
            };
            all.push(Touched {
                left: removed || (renamed && there.is_none()),
                path,
                kind,
                is_link,
                is_folder,
            });
        }
    }
    all
}

/// Whether something is there, be it a link that leads nowhere.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use notify_debouncer_full::notify::Event;
    use notify_debouncer_full::notify::event::{DataChange, RenameMode};

    use super::*;

    fn of(kind: EventKind) -> Vec<Touched> {
        let event = Event::new(kind).add_path("/no/such/file".into());
        touched(vec![DebouncedEvent::new(event, Instant::now())])
    }

    #[test]
    fn reading_is_no_change_and_the_end_of_writing_is() {
        assert!(of(EventKind::Access(AccessKind::Open(AccessMode::Any))).is_empty());
        assert!(of(EventKind::Access(AccessKind::Close(AccessMode::Read))).is_empty());
        assert_eq!(of(EventKind::Access(AccessKind::Close(AccessMode::Write))).len(), 1);
        assert_eq!(
            of(EventKind::Modify(ModifyKind::Data(DataChange::Any)))[0].kind,
            Kind::File
        );
    }

    #[test]
    fn a_rename_tells_not_what_was_renamed_but_where_nothing_is_any_more() {
        let renamed = of(EventKind::Modify(ModifyKind::Name(RenameMode::From)));
        assert_eq!((renamed[0].kind, renamed[0].left), (Kind::Either, true));
    }
}
