//! Random order: a page of it by rank, without sorting what is not on the page.

use std::ops::Range;

use super::bits::{Bits, each};
use super::chunk::Slot;
use super::filter::Kept;
use super::groups::Grouping;
use super::snapshot::Snapshot;

/// A random order of a library: depends on the seed and the paths alone, so that pages fit together.
#[derive(Debug, Clone, Copy)]
pub struct Shuffle {
    /// The seed.
    pub seed: u64,
    /// Whether one record stands for each group of versions: the newest, where the first of
    /// them comes; records without a group last.
    pub grouping: Option<Grouping>,
}

impl Shuffle {
    /// The slots at these places among those that `kept` has, and how many it has.
    pub fn page(self, snapshot: &Snapshot, kept: &Kept, places: Range<usize>) -> (Vec<Slot>, usize) {
        let set = match kept {
            Kept::All => snapshot.visible(),
            Kept::Some(set) => set,
        };
        let key = |slot: Slot| scatter(self.seed ^ snapshot.path_key(slot));
        let Some(grouping) = self.grouping else {
            let count = set.len() as usize;
            let keyed = |take: &mut dyn FnMut(u64, Slot)| each(set, |slot| take(key(slot), slot));
            return (select(keyed, count, places), count);
        };
        let groups = snapshot.groups(grouping);
        let bits = match kept {
            Kept::All => None,
            Kept::Some(set) => Some(Bits::of(set, snapshot.records().slot_bound())),
        };
        let is_kept = |slot: Slot| bits.as_ref().is_none_or(|bits| bits.contains(slot));
        let newest = || {
            let kept = groups
                .iter()
                .filter(|members| members.first().is_some_and(|slot| is_kept(*slot)));
            kept.filter_map(|members| Some((*members.first()?, members)))
        };
        let grouped = newest().count();
        let mut alone = Vec::new();
        each(set, |slot| {
            if groups.newest(slot).is_none() {
                alone.push(slot);
            }
        });
        let keyed = |take: &mut dyn FnMut(u64, Slot)| {
            newest().for_each(|(first, members)| {
                let key = members.iter().map(|slot| key(*slot)).min();
                take(key.unwrap_or_default(), first);
            });
        };
        let mut page = select(keyed, grouped, places.clone());
        let rest = places.start.saturating_sub(grouped)..places.end.saturating_sub(grouped);
        let keyed = |take: &mut dyn FnMut(u64, Slot)| alone.iter().for_each(|slot| take(key(*slot), *slot));
        page.extend(select(keyed, alone.len(), rest));
        (page, grouped + alone.len())
    }
}

/// The slots at some places in ascending order of their keys, of which there are `count`.
///
/// Keys spread evenly, so a page's keys lie near a known share of all keys: one pass counts the
/// smaller ones and collects those around, and only these are sorted.
fn select(keyed: impl Fn(&mut dyn FnMut(u64, Slot)), count: usize, places: Range<usize>) -> Vec<Slot> {
    let (from, to) = (places.start.min(count), places.end.min(count));
    if from >= to {
        return Vec::new();
    }
    // Six standard deviations of a rank; what lies outside anyway is found by the next, wider turn.
    let mut margin = 3 * count.isqrt() + 16;
    loop {
        let bound = |place: usize| ((place as u128 * u128::from(u64::MAX)) / count as u128) as u64;
        let low = bound(from.saturating_sub(margin));
        let high = bound((to + margin).min(count));
        let (mut below, mut near) = (0, Vec::with_capacity((to - from) + 2 * margin));
        keyed(&mut |key, slot| {
            if key < low {
                below += 1;
            } else if key <= high {
                near.push((key, slot));
            }
        });
        if below <= from && below + near.len() >= to {
            near.sort_unstable();
            return near
                .get(from - below..to - below)
                .unwrap_or_default()
                .iter()
                .map(|(_, slot)| *slot)
                .collect();
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

    #[test]
    fn pages_by_rank_are_stretches_of_the_whole_order() {
        let keys: Vec<u64> = (0..5_000).map(scatter).collect();
        let uneven: Vec<u64> = (0..5_000).map(|number| scatter(number) >> 40).collect();
        for keys in [keys, uneven] {
            let keyed = |take: &mut dyn FnMut(u64, Slot)| (0..).zip(&keys).for_each(|(slot, key)| take(*key, slot));
            let whole = select(keyed, keys.len(), 0..usize::MAX);
            assert!(
                whole
                    .windows(2)
                    .all(|pair| keys[pair[0] as usize] <= keys[pair[1] as usize])
            );
            assert_eq!(whole.len(), keys.len());
            for start in [0, 1, 2_500, 4_950, 4_999, 5_000, 9_000] {
                let page = select(keyed, keys.len(), start..start + 100);
                assert_eq!(page, &whole[start.min(5_000)..(start + 100).min(5_000)]);
            }
        }
    }
}
