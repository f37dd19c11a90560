//! The library at one moment: never changed, read without locks, replaced as a whole.

use std::collections::HashMap as StdHashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use imbl::HashMap;
use roaring::RoaringBitmap;

use super::arrangement::Arrangement;
use super::chunk::{Records, Slot};
use super::groups::{Grouping, Groups};
use super::item::media_key;
use super::orders::{Orders, PARALLEL, SortKey};
use super::record::Record;
use super::sets::{Properties, Slots};

/// How many arrangements a snapshot remembers.
const ARRANGEMENTS: usize = 8;

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

/// All records of a type with everything that finds them.
#[derive(Debug, Default)]
pub struct Snapshot {
    generation: u64,
    records: Records,
    by_path: HashMap<u64, Slots>,
    free: Vec<Slot>,
    // One more than the highest slot ever used.
    end: Slot,
    // Listed, that is not excluded.
    visible: RoaringBitmap,
    excluded: RoaringBitmap,
    orders: Orders,
    properties: Properties,
    groups: [OnceLock<Groups>; 2],
    arranged: Mutex<StdHashMap<Arrangement, Arc<Vec<Slot>>>>,
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

    /// Slots of listed records.
    pub fn visible(&self) -> &RoaringBitmap {
        &self.visible
    }

    /// Slots of excluded records.
    pub fn excluded(&self) -> &RoaringBitmap {
        &self.excluded
    }

    /// Slots of listed records in ascending order of a key.
    pub fn order(&self, key: SortKey) -> &[Slot] {
        self.orders.ascending(key)
    }

    /// The slot of the record with this absolute path, excluded ones too.
    pub fn slot_of(&self, path: &str) -> Option<Slot> {
        let slots = self.by_path.get(&media_key(path))?;
        slots
            .iter()
            .copied()
            .find(|slot| self.get(*slot).is_some_and(|record| &*record.path == path))
    }

    /// The record with this absolute path, excluded ones too.
    pub fn by_path(&self, path: &str) -> Option<&Arc<Record>> {
        self.get(self.slot_of(path)?)
    }

    /// The records whose path has this [`media_key`].
    pub fn by_media_key(&self, key: u64) -> impl Iterator<Item = &Arc<Record>> {
        self.by_path
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|slot| self.get(*slot))
    }

    /// Versions grouped by model; made when first asked for.
    pub fn groups(&self, grouping: Grouping) -> &Groups {
        self.groups[grouping as usize].get_or_init(|| Groups::of(self, grouping))
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
    pub fn apply(&self, changes: Vec<Change>) -> Self {
        let mut next = Self {
            generation: self.generation + 1,
            records: self.records.clone(),
            by_path: self.by_path.clone(),
            free: self.free.clone(),
            end: self.end,
            visible: self.visible.clone(),
            excluded: self.excluded.clone(),
            orders: self.orders.clone(),
            properties: self.properties.clone(),
            groups: Default::default(),
            arranged: Mutex::default(),
        };
        // Of several changes of a path the last one counts, so that each slot is written once.
        let last: StdHashMap<&str, usize> = changes
            .iter()
            .enumerate()
            .map(|(index, change)| (change.path(), index))
            .collect();
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let mut slots = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            let path = change.path();
            if last.get(path) != Some(&index) {
                continue;
            }
            let old_slot = next.slot_of(path);
            if let Some((slot, old)) = old_slot.and_then(|slot| Some((slot, self.get(slot)?))) {
                next.excluded.remove(slot);
                if next.visible.remove(slot) {
                    gone.push((slot, old.clone()));
                }
            }
            match change {
                Change::Remove(_) => {
                    if let Some(slot) = old_slot {
                        next.forget(path, slot);
                        slots.push((slot, None));
                    }
                }
                Change::Put(record) => {
                    let slot = old_slot.unwrap_or_else(|| next.take_slot(path));
                    if record.exclude {
                        next.excluded.insert(slot);
                    } else {
                        next.visible.insert(slot);
                        come.push((slot, record.clone()));
                    }
                    slots.push((slot, Some(record.clone())));
                }
            }
        }
        // Sets and orders do not depend on each other; for a large change both processors work.
        let (records, orders, properties) = (&mut next.records, &mut next.orders, &mut next.properties);
        let set_up_orders = || {
            let out = gone.iter().map(|(slot, _)| *slot).collect();
            let added: Vec<Slot> = come.iter().map(|(slot, _)| *slot).collect();
            records.set(slots);
            orders.update(records, &out, &added);
        };
        let mut set_up_properties = || {
            gone.iter()
                .for_each(|(slot, record)| properties.toggle(*slot, record, false));
            come.iter()
                .for_each(|(slot, record)| properties.toggle(*slot, record, true));
        };
        if come.len() < PARALLEL {
            set_up_orders();
            set_up_properties();
        } else {
            std::thread::scope(|scope| {
                scope.spawn(set_up_properties);
                set_up_orders();
            });
        }
        next
    }

    /// A free slot for a path.
    fn take_slot(&mut self, path: &str) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        });
        self.by_path.entry(media_key(path)).or_default().push(slot);
        slot
    }

    /// Gives the slot of a path back.
    fn forget(&mut self, path: &str, slot: Slot) {
        let key = media_key(path);
        if let Some(own) = self.by_path.get_mut(&key) {
            own.retain(|other| *other != slot);
            if own.is_empty() {
                self.by_path.remove(&key);
            }
        }
        self.free.push(slot);
    }
}
