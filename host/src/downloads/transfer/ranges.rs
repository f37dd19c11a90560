//! Sets of byte ranges of a file.

use serde::{Deserialize, Serialize};

/// Ranges `start..end` of bytes, in order, none touching another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The bytes from 0 to `end`.
    pub fn up_to(end: u64) -> Self {
        Self(if end == 0 { Vec::new() } else { vec![(0, end)] })
    }

    /// Whether this is what the type says, for ranges that were read from a file.
    pub fn is_sound(&self) -> bool {
        self.0.iter().all(|(start, end)| start < end) && self.0.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }

    /// Adds bytes.
    pub fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|own| own.1 < start);
        let last = self.0.partition_point(|own| own.0 <= end);
        let joined = self.0[first..last]
            .iter()
            .fold((start, end), |joined, own| (joined.0.min(own.0), joined.1.max(own.1)));
        self.0.splice(first..last, [joined]);
    }

    /// Takes bytes out.
    pub fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for &(from, to) in &self.0 {
            if from < start {
                kept.push((from, to.min(start)));
            }
            if to > end {
                kept.push((from.max(end), to));
            }
        }
        kept.retain(|(from, to)| from < to);
        self.0 = kept;
    }

    /// The end of the range that holds the byte `at`; `at` itself when none does.
    pub fn end_from(&self, at: u64) -> u64 {
        let found = self.0.iter().find(|(start, end)| *start <= at && at < *end);
        found.map_or(at, |(_, end)| *end)
    }

    /// The first bytes that are missing: where they start, and where the next known ones do, if any.
    pub fn first_gap(&self) -> (u64, Option<u64>) {
        let start = self.end_from(0);
        let next = self.0.iter().map(|(start, _)| *start).find(|own| *own > start);
        (start, next)
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Where the last range ends.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_are_found_from_the_front() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.first_gap(), (0, None));
        ranges.insert(10, 20);
        assert_eq!(ranges.first_gap(), (0, Some(10)));
        ranges.insert(0, 5);
        assert_eq!(ranges.first_gap(), (5, Some(10)));
        ranges.insert(5, 10);
        assert_eq!(ranges, Ranges::up_to(20));
    }

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_of_bytes_would(steps in proptest::collection::vec((any::<bool>(), 0u64..40, 0u64..40), 0..40)) {
            let (mut ranges, mut bytes) = (Ranges::default(), std::collections::BTreeSet::new());
            for (insert, a, b) in steps {
                let (start, end) = (a.min(b), a.max(b));
                if insert {
                    ranges.insert(start, end);
                    bytes.extend(start..end);
                } else {
                    ranges.remove(start, end);
                    bytes.retain(|byte| !(start..end).contains(byte));
                }
                prop_assert!(ranges.is_sound(), "{:?}", ranges);
                prop_assert_eq!(ranges.len(), bytes.len() as u64);
                prop_assert_eq!(ranges.end(), bytes.last().map_or(0, |last| last + 1));
                let first_missing = (0..).find(|byte| !bytes.contains(byte)).unwrap_or_default();
                prop_assert_eq!(ranges.first_gap().0, first_missing);
            }
        }
    }
}
