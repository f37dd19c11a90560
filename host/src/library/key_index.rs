//! Finding slots by a key of 64 bits: ids as they are, hashes by their first eight bytes,
//! texts by a hash. What is found is compared with the record by whoever asks.

use std::ops::RangeInclusive;

use imbl::OrdSet;

use super::blocks::Blocks;
use super::chunk::Slot;

/// Slots by key, in order of the keys.
#[derive(Debug, Clone, Default)]
pub struct KeyIndex(Blocks<(u64, Slot)>);

impl KeyIndex {
    /// Slots with this key.
    pub fn get(&self, key: u64) -> impl Iterator<Item = Slot> {
        self.range(key..=key)
    }

    /// Slots whose keys lie in a range, in order of the keys.
    pub fn range(&self, keys: RangeInclusive<u64>) -> impl Iterator<Item = Slot> {
        let from = self.0.partition_point(|(own, _)| own < keys.start());
        self.0
            .range(from..usize::MAX)
            .take_while(move |(own, _)| own <= keys.end())
            .map(|(_, slot)| slot)
    }

    /// Takes pairs out and puts others in.
    pub fn update(&mut self, mut out: Vec<(u64, Slot)>, mut into: Vec<(u64, Slot)>) {
        out.sort_unstable();
        into.sort_unstable();
        if is_bulk(out.len() + into.len(), self.0.len()) {
            self.merge(&out, into);
            return;
        }
        let place = |pairs: &Blocks<(u64, Slot)>, pair: &(u64, Slot)| pairs.partition_point(|own| own < pair);
        let places: Vec<usize> = out
            .iter()
            .map(|pair| (place(&self.0, pair), pair))
            .filter(|(place, pair)| self.0.get(*place).as_ref() == Some(*pair))
            .map(|(place, _)| place)
            .collect();
        self.0.edit(&places, &[]);
        let places: Vec<_> = into.into_iter().map(|pair| (place(&self.0, &pair), pair)).collect();
        self.0.edit(&[], &places);
    }

    fn merge(&mut self, out: &[(u64, Slot)], into: Vec<(u64, Slot)>) {
        let mut out = out.iter().copied().peekable();
        let mut all = Vec::with_capacity(self.0.len() + into.len());
        let mut into = into.into_iter().peekable();
        for pair in self.0.iter() {
            while out.next_if(|gone| *gone < pair).is_some() {}
            if out.next_if_eq(&pair).is_some() {
                continue;
            }
            while let Some(new) = into.next_if(|new| *new < pair) {
                all.push(new);
            }
            all.push(pair);
        }
        all.extend(into);
        self.0 = Blocks::from(all.as_slice());
    }
}

/// Whether so many changes of a list of this length are made by one pass over it.
pub(super) fn is_bulk(changes: usize, length: usize) -> bool {
    changes * 8 >= length
}

/// A key index that also knows which keys several slots have.
#[derive(Debug, Clone, Default)]
pub struct SharedKeys {
    index: KeyIndex,
    shared: OrdSet<u64>,
}

impl SharedKeys {
    /// The index.
    pub fn index(&self) -> &KeyIndex {
        &self.index
    }

    /// Keys that several slots have, in order.
    pub fn shared(&self) -> impl Iterator<Item = u64> {
        self.shared.iter().copied()
    }

    /// Takes pairs out and puts others in.
    pub fn update(&mut self, out: Vec<(u64, Slot)>, into: Vec<(u64, Slot)>) {
        if is_bulk(out.len() + into.len(), self.index.0.len()) {
            self.index.update(out, into);
            let mut last = None;
            let twice = self.index.0.iter().filter_map(|(key, _)| {
                let again = last == Some(key);
                last = Some(key);
                again.then_some(key)
            });
            self.shared = twice.collect();
            return;
        }
        let mut keys: Vec<u64> = out.iter().chain(&into).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        self.index.update(out, into);
        for key in keys {
            if self.index.get(key).nth(1).is_some() {
                self.shared.insert(key);
            } else {
                self.shared.remove(&key);
            }
        }
    }
}
