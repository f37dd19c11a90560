//! A set of slots that is quick to ask one by one, made for one request.

use roaring::RoaringBitmap;

use super::chunk::Slot;

/// One bit for each slot below a bound.
#[derive(Debug, Clone)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// No slot below this bound.
    pub fn none(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    /// The slots of a set.
    pub fn of(set: &RoaringBitmap, bound: usize) -> Self {
        let mut bits = Self::none(bound);
        each(set, |slot| {
            bits.insert(slot);
        });
        bits
    }

    /// Tells slots of `set` from the other slots of `all`; what it says of further slots means nothing.
    pub fn within(all: &RoaringBitmap, set: &RoaringBitmap, bound: usize) -> Self {
        // The smaller side is written, since that is what costs.
        if set.len() * 2 <= all.len() {
            Self::of(set, bound)
        } else {
            let mut bits = Self(vec![u64::MAX; bound.div_ceil(64)]);
            each(&(all - set), |slot| {
                if let Some(word) = bits.0.get_mut(slot as usize / 64) {
                    *word &= !(1 << (slot % 64));
                }
            });
            bits
        }
    }

    /// Whether a slot is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        self.0
            .get(slot as usize / 64)
            .is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Puts a slot in; whether it was not in before.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let Some(word) = self.0.get_mut(slot as usize / 64) else {
            return false;
        };
        let bit = 1 << (slot % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// Calls `take` for every slot of a set, ascending; quicker than the set's own iterator.
pub fn each(set: &RoaringBitmap, mut take: impl FnMut(Slot)) {
    let (mut iter, mut buffer) = (set.iter(), [0; 256]);
    loop {
        let slots = iter.next_many(&mut buffer);
        if slots.is_empty() {
            return;
        }
        slots.iter().for_each(|slot| take(*slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_small_and_large_sets_are_told_from_the_rest() {
        let all: RoaringBitmap = (0..1_000).filter(|slot| slot % 7 != 0).collect();
        for divisor in [2, 50] {
            let set: RoaringBitmap = all.iter().filter(|slot| slot % divisor != 1).collect();
            for set in [&set, &(&all - &set)] {
                let bits = Bits::within(&all, set, 1_000);
                assert!(all.iter().all(|slot| bits.contains(slot) == set.contains(slot)));
            }
        }
    }
}
