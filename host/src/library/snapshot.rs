//! The library at one moment: never changed, read without locks, replaced as a whole.

use std::collections::HashMap as StdHashMap;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::arrangement::Arrangement;
use super::blocks::Blocks;
use super::chunk::{Records, Slot};
use super::columns::Column;
use super::folders::{self, Folders};
use super::groups::{Grouping, Groups};
use super::item::media_key;
use super::key_index::KeyIndex;
use super::keys::Keys;
use super::orders::{Orders, SortKey};
use super::parallel::{Job, run};
use super::record::Record;
use super::sets::Properties;

/// How many arrangements a snapshot remembers.
const ARRANGEMENTS: usize = 8;

/// Keys of paths that a thread makes before it takes the next.
const KEYS: usize = 4_096;

/// One change of the library.
#[derive(Debug, Clone)]
pub enum Change {
    /// A record is new, or replaces the one with the same path.
    Put(Arc<Record>),
    /// The record with this path is gone.
    Remove(Box<str>),
}

impl Change {
    /// The path of the record that it concerns.
    pub fn path(&self) -> &str {
        match self {
            Self::Put(record) => &record.path,
            Self::Remove(path) => path,
        }
    }
}

/// What a change means for what is listed: a slot's record on both sides, as far as it is listed there.
#[derive(Debug)]
pub(super) struct Changed {
    pub slot: Slot,
    pub before: Option<Arc<Record>>,
    pub after: Option<Arc<Record>>,
}

impl Changed {
    /// Something of the records of both sides.
    pub fn both<'c, T>(&'c self, of: impl Fn(&'c Record) -> T) -> (Option<T>, Option<T>) {
        (self.before.as_deref().map(&of), self.after.as_deref().map(&of))
    }
}

/// All records of a type with everything that finds them.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    records: Records,
    by_path: KeyIndex,
    // Media keys of the records' paths, by slot.
    path_keys: Column<u64, 1024>,
    free: Arc<Vec<Slot>>,
    // One more than the highest slot ever used.
    end: Slot,
    // Listed, that is not excluded.
    visible: Arc<RoaringBitmap>,
    excluded: Arc<RoaringBitmap>,
    orders: Orders,
    properties: Properties,
    keys: Keys,
    groups: [Groups; 2],
    folders: Arc<Folders>,
    // Shared with later snapshots as long as no order and no group changes.
    arranged: Arc<Mutex<StdHashMap<Arrangement, Arc<Vec<Slot>>>>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            generation: 0,
            records: Records::default(),
            by_path: KeyIndex::default(),
            path_keys: Column::default(),
            free: Arc::default(),
            end: 0,
            visible: Arc::default(),
            excluded: Arc::default(),
            orders: Orders::default(),
            properties: Properties::default(),
            keys: Keys::default(),
            groups: [Groups::new(Grouping::SameBase), Groups::new(Grouping::Any)],
            folders: Arc::default(),
            arranged: Arc::default(),
        }
    }
}

impl Snapshot {
    /// Counts the changes since the server started.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many records are listed.
    pub fn len(&self) -> usize {
        self.visible.len() as usize
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.visible.is_empty()
    }

    /// Records by slot.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The record in a slot that came from this snapshot.
    pub fn get(&self, slot: Slot) -> Option<&Arc<Record>> {
        self.records.get(slot)
    }

    /// What filters and counts use.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// What finds listed records by hashes, ids and names.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Slots of listed records.
    pub fn visible(&self) -> &RoaringBitmap {
        &self.visible
    }

    /// Slots of excluded records.
    pub fn excluded(&self) -> &RoaringBitmap {
        &self.excluded
    }

    /// Slots of listed records in ascending order of a key.
    pub fn order(&self, key: SortKey) -> &Blocks<Slot> {
        self.orders.ascending(key)
    }

    /// The [`media_key`] of the path of the record in a slot.
    pub fn path_key(&self, slot: Slot) -> u64 {
        self.path_keys.get(slot).copied().unwrap_or_default()
    }

    /// The slot of the record with this absolute path, excluded ones too.
    pub fn slot_of(&self, path: &str) -> Option<Slot> {
        self.slot_with(media_key(path), path)
    }

    fn slot_with(&self, key: u64, path: &str) -> Option<Slot> {
        let mut slots = self.by_path.get(key);
        slots.find(|slot| self.get(*slot).is_some_and(|record| &*record.path == path))
    }

    /// The record with this absolute path, excluded ones too.
    pub fn by_path(&self, path: &str) -> Option<&Arc<Record>> {
        self.get(self.slot_of(path)?)
    }

    /// Slots of the records whose path has this [`media_key`], excluded ones too.
    pub fn slots_by_media_key(&self, key: u64) -> impl Iterator<Item = Slot> {
        self.by_path.get(key)
    }

    /// The records whose path has this [`media_key`].
    pub fn by_media_key(&self, key: u64) -> impl Iterator<Item = &Arc<Record>> {
        self.by_path.get(key).filter_map(|slot| self.get(slot))
    }

    /// Versions grouped by model.
    pub fn groups(&self, grouping: Grouping) -> &Groups {
        match (grouping, &self.groups) {
            (Grouping::SameBase, [groups, _]) | (Grouping::Any, [_, groups]) => groups,
        }
    }

    /// What the functions of [`super::folders`] remember.
    pub(super) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Listed slots in an order that is not kept up; made when first asked for.
    pub fn arranged(&self, arrangement: Arrangement) -> Arc<Vec<Slot>> {
        let remembered = || self.arranged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = remembered().get(&arrangement) {
            return order.clone();
        }
        let order = Arc::new(arrangement.arrange(self));
        let mut arranged = remembered();
        if arranged.len() >= ARRANGEMENTS {
            arranged.clear();
        }
        arranged.insert(arrangement, order.clone());
        order
    }

    /// The library after these changes. Where several concern one path the last one counts.
    ///
    /// Only what a change touches is made anew; all else is shared with this snapshot.
    pub fn apply(&self, changes: Vec<Change>) -> Self {
        let mut next = Self {
            generation: self.generation + 1,
            records: self.records.clone(),
            by_path: self.by_path.clone(),
            path_keys: self.path_keys.clone(),
            free: self.free.clone(),
            end: self.end,
            visible: self.visible.clone(),
            excluded: self.excluded.clone(),
            orders: self.orders.clone(),
            properties: self.properties.clone(),
            keys: self.keys.clone(),
            groups: self.groups.clone(),
            folders: self.folders.clone(),
            arranged: Arc::default(),
        };
        let changed = next.place(self, changes);
        let count = changed.len();
        // What does not depend on each other is done side by side when it is much.
        let (before, after) = (&self.records, &next.records);
        let (properties, keys) = (&mut next.properties, &mut next.keys);
        let changed = changed.as_slice();
        let mut jobs: Vec<Job<'_>> = vec![Box::new(|| properties.update(changed))];
        jobs.extend(next.orders.update_texts(before, after, changed));
        jobs.push(Box::new(|| keys.update(changed)));
        run(jobs, count);
        let orders = &mut next.orders;
        let mut jobs: Vec<Job<'_>> = vec![Box::new(|| orders.update_numbers(before, after, changed))];
        for groups in &mut next.groups {
            jobs.push(Box::new(|| groups.update(after, changed)));
        }
        run(jobs, count);
        let groups = next.groups.iter().zip(&self.groups);
        if next.orders.are_same(&self.orders) && groups.into_iter().all(|(own, before)| own.are_same(before)) {
            next.arranged = self.arranged.clone();
        }
        if !folders::same(&self.properties, &next.properties, changed) {
            next.folders = Arc::default();
        }
        next
    }

    /// Puts records into their slots. What changed for listings, each slot once.
    fn place(&mut self, before: &Self, changes: Vec<Change>) -> Vec<Changed> {
        let mut keys = vec![0; changes.len()];
        let count = changes.len();
        let pieces = keys.chunks_mut(KEYS).zip(changes.chunks(KEYS));
        let jobs = pieces.map(|(keys, changes)| -> Job<'_> {
            Box::new(|| {
                let paths = changes.iter().map(Change::path);
                keys.iter_mut()
                    .zip(paths)
                    .for_each(|(key, path)| *key = media_key(path));
            })
        });
        run(jobs.collect(), count);
        // Of several changes of a path the last one counts, so that each slot is written once.
        let mut by_key: Vec<(u64, usize)> = keys.iter().copied().zip(0..).collect();
        by_key.sort_unstable();
        let mut outdated = RoaringBitmap::new();
        for (place, (key, index)) in by_key.iter().enumerate() {
            let mut later = by_key.iter().skip(place + 1).take_while(|(other, _)| other == key);
            let path = changes.get(*index).map(Change::path);
            if later.any(|(_, later)| changes.get(*later).map(Change::path) == path) {
                outdated.insert(*index as u32);
            }
        }
        let (mut out, mut into) = (Vec::new(), Vec::new());
        let mut changed = Vec::with_capacity(changes.len());
        let mut slots = Vec::with_capacity(changes.len());
        let (mut hidden, mut shown) = (RoaringBitmap::new(), RoaringBitmap::new());
        let (mut excluded, mut included) = (RoaringBitmap::new(), RoaringBitmap::new());
        let listed = |record: &Arc<Record>| (!record.exclude).then(|| record.clone());
        for ((index, change), key) in changes.into_iter().enumerate().zip(keys) {
            if outdated.contains(index as u32) {
                continue;
            }
            let old_slot = before.slot_with(key, change.path());
            let old = old_slot.and_then(|slot| before.get(slot));
            let new = match change {
                Change::Put(record) => Some(record),
                Change::Remove(_) => None,
            };
            let slot = match (old_slot, &new) {
                (Some(slot), Some(_)) => slot,
                (Some(slot), None) => {
                    out.push((key, slot));
                    slot
                }
                (None, Some(_)) => {
                    let slot = self.take_slot();
                    self.path_keys.set(slot, key);
                    into.push((key, slot));
                    slot
                }
                (None, None) => continue,
            };
            match (old.map(|old| old.exclude), new.as_ref().map(|new| new.exclude)) {
                (Some(true), Some(true)) | (Some(false), Some(false)) | (None, None) => {}
                (was, is) => {
                    if was == Some(false) {
                        hidden.insert(slot);
                    }
                    if is == Some(false) {
                        shown.insert(slot);
                    }
                    if was == Some(true) {
                        included.insert(slot);
                    }
                    if is == Some(true) {
                        excluded.insert(slot);
                    }
                }
            }
            changed.push(Changed {
                slot,
                before: old.and_then(listed),
                after: new.as_ref().and_then(listed),
            });
            slots.push((slot, new));
        }
        for (set, out, into) in [
            (&mut self.visible, hidden, shown),
            (&mut self.excluded, included, excluded),
        ] {
            if !out.is_empty() || !into.is_empty() {
                let set = Arc::make_mut(set);
                *set -= out;
                *set |= into;
            }
        }
        // Slots that this change frees are given away by later ones.
        if !out.is_empty() {
            Arc::make_mut(&mut self.free).extend(out.iter().map(|(_, slot)| *slot));
        }
        self.by_path.update(out, into);
        self.records.set(slots);
        changed
    }

    fn take_slot(&mut self) -> Slot {
        let freed = if self.free.is_empty() {
            None
        } else {
            Arc::make_mut(&mut self.free).pop()
        };
        freed.unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        })
    }
}
