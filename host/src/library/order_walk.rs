//! A page of a filtered list, found by a walk along an order.

use roaring::RoaringBitmap;

use super::bits::Bits;
use super::chunk::Slot;
use super::snapshot::Snapshot;

/// Slots of a long list that are passed over together.
pub(super) const STRETCH: usize = 512;
/// To ask a set for one slot costs about as much as to spread out so many of its slots.
const QUESTION: usize = 8;

/// Collects the `take` slots behind the first `skip` of those that are kept.
pub(super) struct OrderWalk {
    skip: usize,
    take: usize,
    // Each slice from its end.
    backwards: bool,
    /// What was found so far.
    pub page: Vec<Slot>,
}

impl OrderWalk {
    pub fn new(skip: usize, take: usize, backwards: bool) -> Self {
        Self {
            skip,
            take,
            backwards,
            page: Vec::new(),
        }
    }

    /// Goes on over these slices of an order until the page is found.
    pub fn over<'s>(&mut self, slices: impl Iterator<Item = &'s [Slot]>, is_kept: impl Fn(Slot) -> bool) {
        if self.is_done() {
            return;
        }
        for slots in slices {
            if self.skip > 0 {
                let count = count_kept(slots, &is_kept);
                if count <= self.skip {
                    self.skip -= count;
                    continue;
                }
            }
            let (skip, left) = (self.skip, self.take - self.page.len());
            let kept = |slot: &&Slot| is_kept(**slot);
            if self.backwards {
                self.page.extend(slots.iter().rev().filter(kept).skip(skip).take(left));
            } else {
                self.page.extend(slots.iter().filter(kept).skip(skip).take(left));
            }
            self.skip = 0;
            if self.is_done() {
                return;
            }
        }
    }

    /// Goes over an order of `len` slots for those of a set. The set itself is asked as long as that costs less than to
    /// spread it out: few steps where what is kept lies evenly, but all of a folder's or a month's records lie together.
    pub fn over_set<'s>(
        &mut self,
        mut slices: impl Iterator<Item = &'s [Slot]>,
        len: usize,
        snapshot: &Snapshot,
        set: &RoaringBitmap,
    ) {
        let count = set.len() as usize;
        let worth = count.min(len.saturating_sub(count)) / QUESTION;
        let expected = len.saturating_mul(self.skip + self.take) / count.max(1);
        if expected <= worth {
            self.over(slices.by_ref().take(worth.div_ceil(STRETCH)), |slot| set.contains(slot));
        }
        if !self.is_done() {
            let bits = Bits::within(snapshot.visible(), set, snapshot.records().slot_bound());
            self.over(slices, |slot| bits.contains(slot));
        }
    }

    fn is_done(&self) -> bool {
        self.page.len() >= self.take
    }
}

/// How many slots are kept. Counting all costs less than a guess at each that is wrong half of the time.
pub(super) fn count_kept(slots: &[Slot], is_kept: impl Fn(Slot) -> bool) -> usize {
    slots.iter().map(|slot| usize::from(is_kept(*slot))).sum()
}
