//! The way to the next snapshot: changes that hold only where nobody was faster.
//!
//! Whoever reads the disk takes a [`Base`] first and reads then. A change says over which record of the base it goes
//! ([`Over`]); when that is not the listed one any more, somebody published what may have been read later, and the
//! change is handed back. Its path is then read again. So of each path what is listed was read after what was listed
//! before, and a scan never takes back what a person did while it ran.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::record::Record;
use super::snapshot::{Change, Snapshot};

/// The snapshot that readers see, and the one place where it is replaced.
pub struct Publishing {
    snapshot: ArcSwap<Snapshot>,
    // Held while the next snapshot is made: paths that were taken out while somebody read the disk, each with the
    // number of the publication that did.
    removed: Mutex<HashMap<Box<str>, u64>>,
    // Counts publications, those that changed nothing too.
    count: AtomicU64,
    // Shared with every base and what was taken from it.
    readers: Arc<()>,
}

/// The library as it was before somebody looked at the disk.
#[derive(Debug, Clone)]
pub struct Base {
    snapshot: Arc<Snapshot>,
    count: u64,
    open: Arc<()>,
}

/// What was listed at a path before somebody looked at the disk.
#[derive(Debug, Clone)]
pub struct Over {
    record: Option<Arc<Record>>,
    count: u64,
    _open: Arc<()>,
}

/// A change that is to be published, if it still fits.
#[derive(Debug, Clone)]
pub struct Proposal {
    over: Over,
    change: Change,
    same: bool,
}

/// What became of proposals.
#[derive(Debug, Default)]
pub struct Published {
    /// How many made a difference.
    pub changed: usize,
    /// Paths of those that did not fit any more.
    pub replaced: HashSet<Box<str>>,
}

impl Base {
    /// All of it.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What it has at a path.
    pub fn over(&self, path: &str) -> Over {
        Over {
            record: self.snapshot.by_path(path).cloned(),
            count: self.count,
            _open: self.open.clone(),
        }
    }
}

impl Over {
    /// The record.
    pub fn record(&self) -> Option<&Arc<Record>> {
        self.record.as_ref()
    }

    fn is_at(&self, path: &str, snapshot: &Snapshot) -> bool {
        match (&self.record, snapshot.by_path(path)) {
            (Some(own), Some(now)) => Arc::ptr_eq(own, now),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Proposal {
    /// A record as it was read.
    pub fn put(over: Over, record: Arc<Record>) -> Self {
        let same = over.record.as_ref().is_some_and(|before| **before == *record);
        let change = Change::Put(record);
        Self { over, change, same }
    }

    /// Nothing was there to be read.
    pub fn remove(over: Over, path: &str) -> Self {
        let same = over.record.is_none();
        let change = Change::Remove(path.into());
        Self { over, change, same }
    }

    /// Whether it says the same as what was listed before.
    pub fn is_same(&self) -> bool {
        self.same
    }
}

impl Publishing {
    /// Begins with this snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            removed: Mutex::default(),
            count: AtomicU64::new(0),
            readers: Arc::default(),
        }
    }

    /// What readers see.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What proposals are made over. To be taken before the disk is looked at.
    pub fn base(&self) -> Base {
        let open = self.readers.clone();
        if let Ok(mut removed) = self.removed.try_lock()
            && Arc::strong_count(&open) == 2
        {
            // Nobody else reads, and what was removed so far is known to this base and later ones.
            removed.clear();
        }
        // In this order: what is published in between counts as later.
        let count = self.count.load(Ordering::Acquire);
        let snapshot = self.snapshot.load_full();
        Base { snapshot, count, open }
    }

    /// Whether a change of this path would still fit, as far as can be told without holding others up.
    pub fn fits(&self, path: &str, over: &Over) -> bool {
        over.is_at(path, &self.snapshot.load())
    }

    /// Hands all records to `store`, in turn with what is published.
    pub fn store_all(&self, store: impl FnOnce(Vec<Change>)) {
        let _turn = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot.load();
        store(
            snapshot
                .records()
                .iter()
                .map(|(_, record)| Change::Put(record.clone()))
                .collect(),
        );
    }

    /// Makes those changes visible at once that still fit. `store` gets them, in the order in which they are published;
    /// not called when nothing is different.
    pub fn publish(&self, proposals: Vec<Proposal>, store: impl FnOnce(Vec<Change>)) -> Published {
        let mut published = Published::default();
        if proposals.is_empty() {
            return published;
        }
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        let snapshot = self.snapshot.load();
        let mut changes = Vec::with_capacity(proposals.len());
        for Proposal { over, change, same } in proposals {
            let path = change.path();
            let gone_since = || over.record.is_none() && removed.get(path).is_some_and(|at| *at > over.count);
            if !over.is_at(path, &snapshot) || gone_since() {
                published.replaced.insert(path.into());
                continue;
            }
            if let Change::Remove(path) = &change {
                removed.insert(path.clone(), number);
            }
            if !same {
                changes.push(change);
            }
        }
        published.changed = changes.len();
        if !changes.is_empty() {
            self.snapshot.store(Arc::new(snapshot.apply(changes.clone())));
            store(changes);
        }
        published
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::library::snapshot_tests::named;

    fn record(name: &str, read_at: u64) -> Arc<Record> {
        let mut record = named(name);
        record.usage_count = read_at;
        Arc::new(record)
    }

    fn path(name: &str) -> String {
        format!("/r/{name}/m.x")
    }

    fn put(publishing: &Publishing, base: &Base, name: &str, read_at: u64) -> Published {
        let proposal = Proposal::put(base.over(&path(name)), record(name, read_at));
        publishing.publish(vec![proposal], |_| ())
    }

    fn remove(publishing: &Publishing, base: &Base, name: &str) -> Published {
        let proposal = Proposal::remove(base.over(&path(name)), &path(name));
        publishing.publish(vec![proposal], |_| ())
    }

    #[test]
    fn what_was_read_before_somebody_else_published_is_handed_back() {
        let publishing = Publishing::new(Snapshot::default());
        assert_eq!(put(&publishing, &publishing.base(), "a", 1).changed, 1);
        let (scan, act) = (publishing.base(), publishing.base());
        assert_eq!(put(&publishing, &act, "a", 3).changed, 1);
        let late = put(&publishing, &scan, "a", 2);
        assert_eq!((late.changed, late.replaced.len()), (0, 1));
        assert_eq!(publishing.snapshot().by_path(&path("a")).unwrap().usage_count, 3);
    }

    #[test]
    fn what_was_removed_meanwhile_does_not_come_back() {
        let publishing = Publishing::new(Snapshot::default());
        let scan = publishing.base();
        put(&publishing, &publishing.base(), "a", 1);
        remove(&publishing, &publishing.base(), "a");
        // As far as the snapshots tell, nothing happened in between.
        assert_eq!(put(&publishing, &scan, "a", 0).replaced.len(), 1);
        // Nor does a file that was deleted before anybody listed it.
        let scan = publishing.base();
        remove(&publishing, &publishing.base(), "b");
        assert_eq!(put(&publishing, &scan, "b", 0).replaced.len(), 1);
        drop(scan);
        // Who looks at the disk after that may find it there again.
        assert_eq!(put(&publishing, &publishing.base(), "a", 5).changed, 1);
        assert_eq!(put(&publishing, &publishing.base(), "b", 5).changed, 1);
    }

    #[test]
    fn what_says_the_same_makes_no_snapshot_and_is_not_stored() {
        let publishing = Publishing::new(Snapshot::default());
        put(&publishing, &publishing.base(), "a", 1);
        let before = publishing.snapshot();
        let base = publishing.base();
        let proposals = vec![
            Proposal::put(base.over(&path("a")), record("a", 1)),
            Proposal::remove(base.over(&path("b")), &path("b")),
        ];
        let published = publishing.publish(proposals, |_| panic!("nothing is to be stored"));
        assert_eq!((published.changed, published.replaced.len()), (0, 0));
        assert!(Arc::ptr_eq(&before, &publishing.snapshot()));
    }

    #[test]
    fn removed_paths_are_forgotten_when_nobody_reads() {
        let publishing = Publishing::new(Snapshot::default());
        let reader = publishing.base().over("x");
        put(&publishing, &publishing.base(), "a", 1);
        remove(&publishing, &publishing.base(), "a");
        publishing.base();
        assert_eq!(publishing.removed.lock().unwrap().len(), 1);
        drop(reader);
        publishing.base();
        assert_eq!(publishing.removed.lock().unwrap().len(), 0);
    }

    struct Reader {
        name: u8,
        base: Base,
        // When the file that it saw was changed, and whether it was there.
        seen: Option<(u64, bool)>,
    }

    impl Reader {
        fn new(name: u8, publishing: &Publishing) -> Self {
            let (base, seen) = (publishing.base(), None);
            Self { name, base, seen }
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        // A file is written or deleted.
        Disk { name: u8, there: bool },
        // A reader takes its base.
        Begin { reader: usize, name: u8 },
        // It looks at the disk.
        Look { reader: usize },
        // It publishes what it saw, and begins anew when it was too late.
        Publish { reader: usize },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..2u8, any::<bool>()).prop_map(|(name, there)| Event::Disk { name, there }),
            (0..3usize, 0..2u8).prop_map(|(reader, name)| Event::Begin { reader, name }),
            (0..3usize).prop_map(|reader| Event::Look { reader }),
            (0..3usize).prop_map(|reader| Event::Publish { reader }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_listed_was_never_read_before_what_it_replaced(events in prop::collection::vec(event(), 0..60)) {
            let publishing = Publishing::new(Snapshot::default());
            // Of each file: when it was changed last, and whether it is there.
            let mut disk: BTreeMap<u8, (u64, bool)> = BTreeMap::new();
            // Of each path: the state of the disk that is listed, by when it came.
            let mut listed: BTreeMap<u8, u64> = BTreeMap::new();
            let mut readers: [Option<Reader>; 3] = Default::default();
            for (now, event) in (1u64..).zip(events) {
                match event {
                    Event::Disk { name, there } => {
                        disk.insert(name, (now, there));
                    }
                    Event::Begin { reader, name } => readers[reader] = Some(Reader::new(name, &publishing)),
                    Event::Look { reader } => {
                        if let Some(reader) = &mut readers[reader] {
                            reader.seen = Some(disk.get(&reader.name).copied().unwrap_or_default());
                        }
                    }
                    Event::Publish { reader } => {
                        let Some(Reader { name, base, seen: Some((at, there)) }) = readers[reader].take() else {
                            continue;
                        };
                        let text = name.to_string();
                        let published = match there {
                            true => put(&publishing, &base, &text, at),
                            false => remove(&publishing, &base, &text),
                        };
                        if published.replaced.is_empty() {
                            let before = listed.insert(name, at).unwrap_or_default();
                            prop_assert!(before <= at, "an older state of the disk replaced a newer one");
                        } else {
                            readers[reader] = Some(Reader::new(name, &publishing));
                        }
                    }
                }
            }
            // A reader whom nobody disturbs is not handed anything back, and then the disk is listed.
            for (name, (at, there)) in disk {
                let text = name.to_string();
                let published = match there {
                    true => put(&publishing, &publishing.base(), &text, at),
                    false => remove(&publishing, &publishing.base(), &text),
                };
                prop_assert!(published.replaced.is_empty());
                let snapshot = publishing.snapshot();
                let now = snapshot.by_path(&path(&text)).map(|record| record.usage_count);
                prop_assert_eq!(now, there.then_some(at));
            }
        }
    }
}
