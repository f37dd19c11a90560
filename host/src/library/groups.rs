//! Versions of one model, grouped. Source: contract section 2.2.4.

use std::collections::HashMap;

use super::chunk::Slot;
use super::orders::SortKey;
use super::record::{GroupKey, Record};
use super::snapshot::Snapshot;

/// What makes two versions one group, by the setting `version_grouping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// The same model and the same base model.
    SameBase = 0,
    /// The same model.
    Any = 1,
}

/// All groups of a snapshot.
#[derive(Debug)]
pub struct Groups {
    // By slot; NONE for a record that stands alone.
    group_of: Vec<u32>,
    // Newest version first.
    members: Vec<Vec<Slot>>,
}

const NONE: u32 = u32::MAX;

impl Groups {
    pub(super) fn of(snapshot: &Snapshot, grouping: Grouping) -> Self {
        let mut groups = Self {
            group_of: vec![NONE; snapshot.records().slot_bound()],
            members: Vec::new(),
        };
        let mut known: HashMap<(GroupKey, &str), u32> = HashMap::new();
        // Versions of the same age stay in the order of their names.
        for &slot in snapshot.order(SortKey::Name) {
            let Some(record) = snapshot.get(slot) else { continue };
            let Some(key) = record.group() else { continue };
            let base = if grouping == Grouping::SameBase {
                &*record.base_model
            } else {
                ""
            };
            let group = *known.entry((key, base)).or_insert_with(|| {
                groups.members.push(Vec::new());
                (groups.members.len() - 1) as u32
            });
            groups.group_of[slot as usize] = group;
            groups.members[group as usize].push(slot);
        }
        for members in &mut groups.members {
            newest_first(snapshot, members);
        }
        groups
    }

    /// The number of the group that a record belongs to.
    pub fn group_of(&self, slot: Slot) -> Option<usize> {
        self.group_of
            .get(slot as usize)
            .filter(|group| **group != NONE)
            .map(|group| *group as usize)
    }

    /// How many groups there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// The versions of a group, newest first.
    pub fn members(&self, group: usize) -> &[Slot] {
        self.members.get(group).map_or(&[], |members| members)
    }
}

/// Sorts versions by version id, or by when they were added where there is none, descending.
pub fn newest_first(snapshot: &Snapshot, slots: &mut [Slot]) {
    let age = |record: &Record| record.remote.id.map_or(record.modified, |id| id as f64);
    slots.sort_by(|a, b| match (snapshot.get(*a), snapshot.get(*b)) {
        (Some(a), Some(b)) => age(b).total_cmp(&age(a)),
        _ => std::cmp::Ordering::Equal,
    });
}
