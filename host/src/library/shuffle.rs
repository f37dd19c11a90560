//! Random order: a page of it by rank, without sorting what is not on the page.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::bits::each;
use super::chunk::Slot;
use super::filter::Kept;
use super::groups::{Grouping, Groups};
use super::snapshot::Snapshot;

/// A random order of a library: depends on the seed and the paths alone, so that pages fit together.
#[derive(Debug, Clone, Copy)]
pub struct Shuffle {
    /// The seed.
    pub seed: u64,
    /// Whether one record stands for each group of versions: the newest; records without a group last.
    pub grouping: Option<Grouping>,
}

impl Shuffle {
    /// The slots at these places among those that `kept` has, and how many it has.
    pub fn page(self, snapshot: &Snapshot, kept: &Kept, places: Range<usize>) -> (Vec<Slot>, usize) {
        let set = match kept {
            Kept::All => snapshot.visible(),
            Kept::Some(set) => set,
        };
        let keys = Keys {
            seed: self.seed,
            snapshot,
        };
        let Some(grouping) = self.grouping else {
            let count = set.len() as usize;
            return (select(&Listed { keys, set }, count, places), count);
        };
        let groups = snapshot.groups(grouping);
        let newest = Standing {
            keys,
            set,
            groups,
            alone: false,
        };
        let alone = Standing { alone: true, ..newest };
        let (grouped, single) = (newest.count(), alone.count());
        let mut page = select(&newest, grouped, places.clone());
        let rest = places.start.saturating_sub(grouped)..places.end.saturating_sub(grouped);
        page.extend(select(&alone, single, rest));
        (page, grouped + single)
    }
}

/// The keys of slots by which a shuffle sorts.
#[derive(Clone, Copy)]
struct Keys<'s> {
    seed: u64,
    snapshot: &'s Snapshot,
}

impl Keys<'_> {
    fn of(self, slot: Slot) -> u64 {
        scatter(self.seed ^ self.snapshot.path_key(slot))
    }
}

/// Slots with their keys.
trait Keyed {
    fn each(&self, take: impl FnMut(u64, Slot));
}

/// All slots of a set.
struct Listed<'s> {
    keys: Keys<'s>,
    set: &'s RoaringBitmap,
}

impl Keyed for Listed<'_> {
    fn each(&self, mut take: impl FnMut(u64, Slot)) {
        each(self.set, |slot| take(self.keys.of(slot), slot));
    }
}

/// The slots of a set that are the newest of their group, or those without a group.
#[derive(Clone, Copy)]
struct Standing<'s> {
    keys: Keys<'s>,
    set: &'s RoaringBitmap,
    groups: &'s Groups,
    alone: bool,
}

impl Standing<'_> {
    fn has(&self, slot: Slot) -> bool {
        match self.groups.newest(slot) {
            None => self.alone,
            Some(newest) => !self.alone & (newest == slot),
        }
    }

    fn count(&self) -> usize {
        let mut count = 0;
        each(self.set, |slot| count += usize::from(self.has(slot)));
        count
    }
}

impl Keyed for Standing<'_> {
    fn each(&self, mut take: impl FnMut(u64, Slot)) {
        each(self.set, |slot| {
            if self.has(slot) {
                take(self.keys.of(slot), slot);
            }
        });
    }
}

/// The slots at some places in ascending order of their keys, of which there are `count`.
///
/// Keys spread evenly, so a page's keys lie near a known share of all keys: one pass counts the
/// smaller ones and collects those around, and only these are sorted.
fn select(keyed: &impl Keyed, count: usize, places: Range<usize>) -> Vec<Slot> {
    let (from, to) = (places.start.min(count), places.end.min(count));
    if from >= to {
        return Vec::new();
    }
    // Six standard deviations of a rank; what lies outside anyway is found by the next, wider turn.
    let mut margin = 3 * count.isqrt() + 16;
    loop {
        let bound = |place: usize| ((place as u128 * u128::from(u64::MAX)) / count as u128) as u64;
        let low = bound(from.saturating_sub(margin));
        let high = bound(to.saturating_add(margin).min(count));
        let (mut below, mut near) = (0usize, Vec::new());
        keyed.each(|key, slot| {
            // Which side a key is on can't be guessed, that it is near hardly ever is true.
            below += usize::from(key < low);
            if key.wrapping_sub(low) <= high - low {
                near.push((key, slot));
            }
        });
        if below <= from && below + near.len() >= to {
            near.sort_unstable();
            let page = near.get(from - below..to - below).unwrap_or_default();
            return page.iter().map(|(_, slot)| *slot).collect();
        }
        if low == 0 && high == u64::MAX {
            // The count was wrong, which is a mistake elsewhere; whoever asks gets what there is.
            return near.into_iter().map(|(_, slot)| slot).collect();
        }
        margin = margin.saturating_mul(16);
    }
}

/// SplitMix64's finaliser: every bit of the input changes about half the bits of the output.
fn scatter(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<u64>);

    impl Keyed for Given {
        fn each(&self, mut take: impl FnMut(u64, Slot)) {
            (0..).zip(&self.0).for_each(|(slot, key)| take(*key, slot));
        }
    }

    #[test]
    fn pages_by_rank_are_stretches_of_the_whole_order() {
        let keys: Vec<u64> = (0..5_000).map(scatter).collect();
        let uneven: Vec<u64> = (0..5_000).map(|number| scatter(number) >> 40).collect();
        for keys in [keys, uneven] {
            let keyed = Given(keys.clone());
            let whole = select(&keyed, keys.len(), 0..usize::MAX);
            assert!(
                whole
                    .windows(2)
                    .all(|pair| keys[pair[0] as usize] <= keys[pair[1] as usize])
            );
            assert_eq!(whole.len(), keys.len());
            for start in [0, 1, 2_500, 4_950, 4_999, 5_000, 9_000] {
                let page = select(&keyed, keys.len(), start..start + 100);
                assert_eq!(page, &whole[start.min(5_000)..(start + 100).min(5_000)]);
            }
        }
    }
}
