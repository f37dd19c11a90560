//! Versions of one model, grouped and kept up. Source: contract section 2.2.4.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;
use smallvec::SmallVec;

use super::chunk::{Records, Slot};
use super::columns::Column;
use super::item::media_key;
use super::key_index::KeyIndex;
use super::orders::SortKey;
use super::record::{GroupRef, Record};
use super::snapshot::Changed;

/// What makes two versions one group, by the setting `version_grouping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// The same model and the same base model.
    SameBase = 0,
    /// The same model.
    Any = 1,
}

/// Number of a group, the same as long as the group has members.
pub type GroupId = u32;

type Members = SmallVec<[Slot; 4]>;

/// Where a record stands among the groups; all in one place, since a walk over an order asks at random.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    // One more than the group's number; 0 for a record that stands alone.
    group: u32,
    // The newest version of the group.
    newest: Slot,
    // How many versions the group has.
    size: u32,
}

/// All groups of a library by one grouping.
#[derive(Debug, Clone)]
pub struct Groups {
    grouping: Grouping,
    places: Column<Place, 1024>,
    // By number, newest version first; empty for a number that is free.
    members: Column<Members, 128>,
    // By a hash of the group's key.
    index: KeyIndex,
    // The newest version of each group, and all versions that are in one.
    heads: Arc<RoaringBitmap>,
    grouped: Arc<RoaringBitmap>,
    free: Vec<GroupId>,
    bound: GroupId,
    // Counts the changes that touched a group.
    changes: u64,
}

impl Groups {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            places: Column::default(),
            members: Column::default(),
            index: KeyIndex::default(),
            heads: Arc::default(),
            grouped: Arc::default(),
            free: Vec::new(),
            bound: 0,
            changes: 0,
        }
    }

    /// Whether no group was touched since the other, of which this is a later one.
    pub(super) fn are_same(&self, other: &Self) -> bool {
        self.changes == other.changes
    }

    fn place(&self, slot: Slot) -> Option<&Place> {
        self.places.get(slot).filter(|place| place.group > 0)
    }

    /// The group that a record belongs to.
    pub fn group_of(&self, slot: Slot) -> Option<GroupId> {
        self.place(slot).map(|place| place.group - 1)
    }

    /// The newest version of each group.
    pub fn heads(&self) -> &RoaringBitmap {
        &self.heads
    }

    /// The records that belong to a group.
    pub fn grouped(&self) -> &RoaringBitmap {
        &self.grouped
    }

    /// The newest version of the group that a record belongs to.
    pub fn newest(&self, slot: Slot) -> Option<Slot> {
        self.place(slot).map(|place| place.newest)
    }

    /// How many versions the group of a record has; none for a record that stands alone.
    pub fn size(&self, slot: Slot) -> Option<u32> {
        self.place(slot).map(|place| place.size)
    }

    /// The versions of the group that a record belongs to; none for a record that stands alone.
    pub fn versions_of(&self, slot: Slot) -> &[Slot] {
        self.group_of(slot).map_or(&[], |group| self.members(group))
    }

    /// The versions of a group, newest first; those of the same age in the order of their names.
    pub fn members(&self, group: GroupId) -> &[Slot] {
        self.members.get(group).map_or(&[], |members| members)
    }

    /// The versions of every group, by the groups' numbers; none for a number that is free.
    pub fn iter(&self) -> impl Iterator<Item = &[Slot]> {
        self.members.iter().map(|members| &**members)
    }

    /// The versions of a model, whatever their base models: only of [`Grouping::Any`].
    pub fn versions(&self, records: &Records, model: GroupRef<'_>) -> &[Slot] {
        let found = self.index.get(hash(model, ""));
        found
            .map(|group| self.members(group))
            .find(|members| {
                let record = members.first().and_then(|slot| records.get(*slot));
                record.is_some_and(|record| record.group() == Some(model))
            })
            .unwrap_or_default()
    }

    /// Brings the groups up to a change; `records` are those after it.
    pub(super) fn update(&mut self, records: &Records, changed: &[Changed]) {
        let stays = |change: &&Changed| match (&change.before, &change.after) {
            (Some(old), Some(new)) => self.is_same(old, new),
            _ => false,
        };
        let changed: Vec<&Changed> = changed.iter().filter(|change| !stays(change)).collect();
        if changed.is_empty() {
            return;
        }
        self.changes += 1;
        let mut touched = BTreeSet::new();
        let mut leaving = Vec::new();
        let mut left = RoaringBitmap::new();
        for change in &changed {
            if let Some(group) = change.before.as_ref().and_then(|_| self.group_of(change.slot)) {
                self.places.set(change.slot, Place::default());
                left.insert(change.slot);
                // The key of a group that ends is the key of whoever leaves it.
                let model = change
                    .before
                    .as_ref()
                    .and_then(|old| Some(hash(old.group()?, self.base(old))));
                leaving.extend(model.map(|key| (key, group)));
                touched.insert(group);
            }
        }
        for group in &touched {
            if let Some(members) = self.members.get_mut(*group) {
                let places = &self.places;
                members.retain(|slot| places.get(*slot).is_some_and(|place| place.group == group + 1));
            }
        }
        leaving.sort_unstable();
        leaving.dedup();
        let out: Vec<(u64, GroupId)> = leaving
            .into_iter()
            .filter(|(_, group)| self.members(*group).is_empty())
            .collect();
        self.free.extend(out.iter().map(|(_, group)| *group));
        let mut begun = HashMap::<u64, SmallVec<[GroupId; 1]>>::new();
        for change in &changed {
            if let Some((new, model)) = change.after.as_ref().and_then(|new| Some((new, new.group()?))) {
                let key = hash(model, self.base(new));
                let own = begun.get(&key).into_iter().flatten().copied();
                let known = own.chain(self.index.get(key)).find(|group| {
                    let member = self.members(*group).first().and_then(|slot| records.get(*slot));
                    member.is_some_and(|member| member.group() == Some(model) && self.base(member) == self.base(new))
                });
                let group = known.unwrap_or_else(|| {
                    let group = self.free.pop().unwrap_or_else(|| {
                        self.bound += 1;
                        self.bound - 1
                    });
                    begun.entry(key).or_default().push(group);
                    group
                });
                if let Some(members) = self.members.get_mut(group) {
                    members.push(change.slot);
                }
                touched.insert(group);
            }
        }
        touched.iter().for_each(|group| self.settle(records, *group));
        self.gather(&touched, left);
        let into = begun
            .into_iter()
            .flat_map(|(key, groups)| groups.into_iter().map(move |group| (key, group)));
        self.index.update(out, into.collect());
    }

    /// Brings the sets up to the groups that were touched; `left` are the records that left one, for another or for none.
    fn gather(&mut self, touched: &BTreeSet<GroupId>, left: RoaringBitmap) {
        // Sorted at once and united at once: slot by slot a million of them cost several times that.
        let mut heads = Vec::with_capacity(touched.len());
        let mut members = Vec::with_capacity(touched.len());
        for group in touched {
            let own = self.members(*group);
            heads.extend(own.first());
            members.extend_from_slice(own);
        }
        heads.sort_unstable();
        members.sort_unstable();
        // In ascending order, which is what the set asks for.
        let set = |slots: Vec<Slot>| RoaringBitmap::from_sorted_iter(slots).unwrap_or_default();
        let (heads, members) = (set(heads), set(members));
        let gone = left | &members;
        for (own, now) in [(&mut self.heads, heads), (&mut self.grouped, members)] {
            let own = Arc::make_mut(own);
            *own -= &gone;
            *own |= now;
        }
    }

    /// Sorts a group's members and tells them of each other.
    fn settle(&mut self, records: &Records, group: GroupId) {
        let Some(members) = self.members.get_mut(group) else {
            return;
        };
        // Sorted before but for those that came.
        members.sort_by(|a, b| match (records.get(*a), records.get(*b)) {
            (Some(a), Some(b)) => compare(a, b),
            _ => Ordering::Equal,
        });
        let Some(newest) = members.first().copied() else { return };
        let place = Place {
            group: group + 1,
            newest,
            size: members.len() as u32,
        };
        members.iter().for_each(|slot| self.places.set(*slot, place));
    }

    /// Whether a record stays where its forerunner is.
    fn is_same(&self, old: &Record, new: &Record) -> bool {
        old.group() == new.group()
            && self.base(old) == self.base(new)
            && age(old).total_cmp(&age(new)) == Ordering::Equal
            && old.model_name == new.model_name
    }

    /// The base model where it counts.
    fn base<'r>(&self, record: &'r Record) -> &'r str {
        match self.grouping {
            Grouping::SameBase => &record.base_model,
            Grouping::Any => "",
        }
    }
}

/// A hash of a group's key; groups with the same one are told apart by their members.
fn hash(model: GroupRef<'_>, base: &str) -> u64 {
    let model = match model {
        GroupRef::Model(id) => id,
        GroupRef::HuggingFace { owner, repo } => media_key(owner).rotate_left(7) ^ media_key(repo),
    };
    model ^ media_key(base)
}

/// When a version appeared: its id, or when it was added where there is none.
pub fn age(record: &Record) -> f64 {
    record.remote.id.map_or(record.modified, |id| id as f64)
}

/// The order of versions in a group.
fn compare(a: &Record, b: &Record) -> Ordering {
    age(b).total_cmp(&age(a)).then_with(|| SortKey::Name.compare(a, b))
}
