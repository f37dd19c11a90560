//! Orders that are made when they are asked for, and remembered while the library stays:
//! shuffles, and versions grouped by model.

use std::collections::HashSet;

use super::chunk::Slot;
use super::groups::{Grouping, Groups};
use super::item::media_key;
use super::orders::SortKey;
use super::snapshot::Snapshot;

/// What groups are laid out along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Base {
    /// A kept-up order.
    Key {
        /// The key.
        key: SortKey,
        /// From its end.
        descending: bool,
    },
    /// A shuffle.
    Shuffle {
        /// Its seed.
        seed: u64,
    },
}

/// An order that is not kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrangement {
    /// By chance: depends on the seed and the paths alone, so that pages fit together.
    Shuffled {
        /// The seed.
        seed: u64,
    },
    /// The newest version of each group where its first version stands; records without a group last.
    Grouped {
        /// The order that is walked.
        base: Base,
        /// What a group is.
        grouping: Grouping,
    },
    /// As `Grouped`, then by number of versions.
    GroupedByVersions {
        /// Most versions first.
        descending: bool,
        /// What a group is.
        grouping: Grouping,
    },
    /// All versions, groups after each other by their size; records without a group last.
    ByVersions {
        /// Largest groups first.
        descending: bool,
        /// What a group is.
        grouping: Grouping,
    },
}

impl Arrangement {
    pub(super) fn arrange(self, snapshot: &Snapshot) -> Vec<Slot> {
        match self {
            Self::Shuffled { seed } => shuffle(snapshot, seed),
            Self::Grouped { base, grouping } => {
                let groups = snapshot.groups(grouping);
                let (order, alone) = first_of_each(snapshot, groups, base);
                let newest = order
                    .into_iter()
                    .filter_map(|group| groups.members(group).first().copied());
                newest.chain(alone).collect()
            }
            Self::GroupedByVersions { descending, grouping } => {
                let groups = snapshot.groups(grouping);
                let base = Base::Key {
                    key: SortKey::Name,
                    descending: false,
                };
                let (order, alone) = first_of_each(snapshot, groups, base);
                let newest = order.into_iter().filter_map(|group| {
                    let members = groups.members(group);
                    Some((members.len(), *members.first()?))
                });
                let mut counted: Vec<(usize, String, String, Slot)> = newest
                    .chain(alone.into_iter().map(|slot| (0, slot)))
                    .filter_map(|(count, slot)| {
                        let record = snapshot.get(slot)?;
                        Some((
                            count,
                            record.model_name.to_lowercase(),
                            record.path.to_lowercase(),
                            slot,
                        ))
                    })
                    .collect();
                counted.sort_unstable();
                if descending {
                    counted.reverse();
                }
                counted.into_iter().map(|(.., slot)| slot).collect()
            }
            Self::ByVersions { descending, grouping } => {
                let groups = snapshot.groups(grouping);
                let (mut order, alone) = first_of_each(
                    snapshot,
                    groups,
                    Base::Key {
                        key: SortKey::Name,
                        descending,
                    },
                );
                let size = |group: &usize| groups.members(*group).len();
                if descending {
                    order.sort_by_key(|group| std::cmp::Reverse(size(group)));
                } else {
                    order.sort_by_key(size);
                }
                order
                    .into_iter()
                    .flat_map(|group| groups.members(group))
                    .copied()
                    .chain(alone)
                    .collect()
            }
        }
    }
}

/// Groups in the order in which their first version stands, and the records without a group.
fn first_of_each(snapshot: &Snapshot, groups: &Groups, base: Base) -> (Vec<usize>, Vec<Slot>) {
    let (mut order, mut alone) = (Vec::with_capacity(groups.count()), Vec::new());
    let mut seen = HashSet::with_capacity(groups.count());
    let mut place = |slot: Slot| match groups.group_of(slot) {
        Some(group) if seen.insert(group) => order.push(group),
        Some(_) => {}
        None => alone.push(slot),
    };
    match base {
        Base::Key { key, descending: false } => snapshot.order(key).iter().copied().for_each(&mut place),
        Base::Key { key, descending: true } => snapshot.order(key).iter().rev().copied().for_each(&mut place),
        Base::Shuffle { seed } => {
            snapshot
                .arranged(Arrangement::Shuffled { seed })
                .iter()
                .copied()
                .for_each(&mut place);
        }
    }
    (order, alone)
}

fn shuffle(snapshot: &Snapshot, seed: u64) -> Vec<Slot> {
    let mut keyed: Vec<(u64, Slot)> = snapshot
        .visible()
        .iter()
        .filter_map(|slot| Some((scatter(seed ^ media_key(&snapshot.get(slot)?.path)), slot)))
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, slot)| slot).collect()
}

/// SplitMix64's finaliser: every bit of the input changes about half the bits of the output.
fn scatter(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
