//! Random order: a page of it by rank, without sorting what is not on the page.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::bits::each;
use super::chunk::Slot;
use super::filter::Kept;
use super::groups::Grouping;
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
        // Keys depend on the paths, so that an order outlives the slots.
        let key = |slot| scatter(self.seed ^ snapshot.path_key(slot));
        let Some(grouping) = self.grouping else {
            return (select(set, key, places), set.len() as usize);
        };
        let groups = snapshot.groups(grouping);
        let (newest, alone) = (set & groups.heads(), set - groups.grouped());
        let grouped = newest.len() as usize;
        let mut page = select(&newest, key, places.clone());
        let rest = places.start.saturating_sub(grouped)..places.end.saturating_sub(grouped);
        page.extend(select(&alone, key, rest));
        (page, grouped + alone.len() as usize)
    }
}

/// The slots of a set at some places in ascending order of their keys.
///
/// Keys spread evenly, so a page's keys lie near a known share of all keys: one pass counts the
/// smaller ones and collects those around, and only these are sorted.
fn select(set: &RoaringBitmap, key: impl Fn(Slot) -> u64, places: Range<usize>) -> Vec<Slot> {
    let count = set.len() as usize;
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
        each(set, |slot| {
            let key = key(slot);
            // Which side a key is on can't be guessed, that it is near hardly ever is true.
            below += usize::from(key < low);
            if key.wrapping_sub(low) <= high - low {
                near.push((key, slot));
            }
        });
        // The widest margin has all.
        if below <= from && below + near.len() >= to {
            near.sort_unstable();
            let page = near.get(from - below..to - below).unwrap_or_default();
            return page.iter().map(|(_, slot)| *slot).collect();
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
            let (set, key) = ((0..5_000).collect(), |slot: Slot| keys[slot as usize]);
            let whole = select(&set, key, 0..usize::MAX);
            assert!(
                whole
                    .windows(2)
                    .all(|pair| keys[pair[0] as usize] <= keys[pair[1] as usize])
            );
            assert_eq!(whole.len(), keys.len());
            for start in [0, 1, 2_500, 4_950, 4_999, 5_000, 9_000] {
                let page = select(&set, key, start..start + 100);
                assert_eq!(page, &whole[start.min(5_000)..(start + 100).min(5_000)]);
            }
        }
    }
}
