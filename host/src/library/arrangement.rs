//! Orders of versions grouped by model. They are made when they are asked for, by one pass over
//! a kept-up order, and remembered while the library stays.

use super::bits::Bits;
use super::chunk::Slot;
use super::groups::{Grouping, Groups};
use super::orders::SortKey;
use super::snapshot::Snapshot;

/// An order that is not kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrangement {
    /// The newest version of each group where its first version stands; records without a group last.
    Grouped {
        /// The order that is walked.
        key: SortKey,
        /// From its end.
        descending: bool,
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
            Self::Grouped {
                key,
                descending,
                grouping,
            } => {
                let groups = snapshot.groups(grouping);
                let mut slots = Vec::with_capacity(snapshot.len());
                let alone = first_of_each(snapshot, groups, key, descending, |newest| slots.push(newest));
                slots.extend(alone);
                slots
            }
            Self::GroupedByVersions { descending, grouping } => {
                let groups = snapshot.groups(grouping);
                let mut counted = Counted::default();
                each(snapshot, SortKey::PlainName, false, |slot| match groups.newest(slot) {
                    None => counted.push(None, slot),
                    Some(newest) if newest == slot => counted.push(groups.size(slot), slot),
                    Some(_) => {}
                });
                let mut slots = counted.ascending();
                if descending {
                    slots.reverse();
                }
                slots
            }
            Self::ByVersions { descending, grouping } => {
                let groups = snapshot.groups(grouping);
                let mut counted = Counted::default();
                let alone = first_of_each(snapshot, groups, SortKey::Name, descending, |newest| {
                    counted.push(groups.size(newest), newest);
                });
                let order = if descending {
                    counted.descending()
                } else {
                    counted.ascending()
                };
                let mut slots = Vec::with_capacity(snapshot.len());
                slots.extend(order.into_iter().flat_map(|newest| groups.versions_of(newest)));
                slots.extend(alone);
                slots
            }
        }
    }
}

/// Calls `take` for all listed slots in a kept-up order.
fn each(snapshot: &Snapshot, key: SortKey, descending: bool, mut take: impl FnMut(Slot)) {
    let slices = snapshot.order(key).slices();
    if descending {
        slices
            .rev()
            .for_each(|slots| slots.iter().rev().for_each(|slot| take(*slot)));
    } else {
        slices.for_each(|slots| slots.iter().for_each(|slot| take(*slot)));
    }
}

/// Calls `take` for the newest version of each group, in the order in which the groups' first versions stand; the
/// records without a group.
fn first_of_each(
    snapshot: &Snapshot,
    groups: &Groups,
    key: SortKey,
    descending: bool,
    mut take: impl FnMut(Slot),
) -> Vec<Slot> {
    let (mut seen, mut alone) = (Bits::none(snapshot.records().slot_bound()), Vec::new());
    each(snapshot, key, descending, |slot| match groups.newest(slot) {
        Some(newest) => {
            if seen.insert(newest) {
                take(newest);
            }
        }
        None => alone.push(slot),
    });
    alone
}

/// Numbers sorted by a small count, those of one count as they came.
#[derive(Default)]
struct Counted {
    numbers: Vec<(u32, u32)>,
    // How many there are of each count.
    sizes: Vec<usize>,
}

impl Counted {
    fn push(&mut self, count: Option<u32>, number: u32) {
        let count = count.unwrap_or_default();
        if self.sizes.len() <= count as usize {
            self.sizes.resize(count as usize + 1, 0);
        }
        if let Some(size) = self.sizes.get_mut(count as usize) {
            *size += 1;
        }
        self.numbers.push((count, number));
    }

    fn ascending(self) -> Vec<u32> {
        let mut end = 0;
        let starts = self.sizes.iter().map(|size| {
            end += size;
            end - size
        });
        let starts = starts.collect();
        self.laid_out(starts)
    }

    fn descending(self) -> Vec<u32> {
        let mut start = self.numbers.len();
        let starts = self.sizes.iter().map(|size| {
            start -= size;
            start
        });
        let starts = starts.collect();
        self.laid_out(starts)
    }

    fn laid_out(self, mut starts: Vec<usize>) -> Vec<u32> {
        let mut out = vec![0; self.numbers.len()];
        for (count, number) in self.numbers {
            if let Some(place) = starts.get_mut(count as usize) {
                if let Some(own) = out.get_mut(*place) {
                    *own = number;
                }
                *place += 1;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Counted;

    #[test]
    fn counting_keeps_the_order_of_what_counts_the_same() {
        let counted = || {
            let mut counted = Counted::default();
            for (count, number) in [(Some(2), 10), (None, 11), (Some(5), 12), (Some(2), 13), (None, 14)] {
                counted.push(count, number);
            }
            counted
        };
        assert_eq!(counted().ascending(), [11, 14, 10, 13, 12]);
        assert_eq!(counted().descending(), [12, 10, 13, 11, 14]);
    }
}
