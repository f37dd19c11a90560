//! Sort orders that are kept up: a list of slots for each key, ascending. Descending order
//! is the same list from its end.

use std::cmp::Ordering;

use super::bits::Bits;
use super::blocks::Blocks;
use super::chunk::{Records, Slot};
use super::key_index::is_bulk;
use super::order_build::{sort_numbers, sort_texts};
use super::parallel::{Job, run};
use super::record::Record;
use super::snapshot::Changed;
use super::text::{lower_cmp, natural_cmp, push_natural_key};

/// A key that a kept-up order exists for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// Model name, natural order.
    Name,
    /// File name, natural order.
    FileName,
    /// When it was added.
    Date,
    /// Bytes.
    Size,
    /// Use count.
    Usage,
    /// Path: the order of a scan.
    Path,
    /// Model name as plain text in lower case: what breaks ties of numbers.
    PlainName,
}

impl SortKey {
    /// All keys; an order's place in the list is its index.
    pub const ALL: [Self; 7] = [
        Self::Name,
        Self::FileName,
        Self::Date,
        Self::Size,
        Self::Usage,
        Self::Path,
        Self::PlainName,
    ];

    /// What is compared first, where that is a number.
    fn number(self, record: &Record) -> u64 {
        match self {
            Self::Date => ordered_bits(record.modified),
            Self::Size => record.size,
            Self::Usage => record.usage_count,
            Self::Name | Self::FileName | Self::Path | Self::PlainName => 0,
        }
    }

    /// How two records stand to each other in ascending order; never equal unless they have one path.
    ///
    /// Names compare naturally where they are the key, and as plain lower-case text where they
    /// only break ties (contract section 2.3 and what the original answers). Where that is equal
    /// too, which is rare, the path decides: compared like the name, then as it is.
    pub fn compare(self, a: &Record, b: &Record) -> Ordering {
        let by_key = match self {
            Self::Name => natural_cmp(&a.model_name, &b.model_name),
            Self::FileName => natural_cmp(&a.file_name, &b.file_name),
            Self::Path => Ordering::Equal,
            Self::PlainName | Self::Date | Self::Size | Self::Usage => self
                .number(a)
                .cmp(&self.number(b))
                .then_with(|| lower_cmp(&a.model_name, &b.model_name)),
        };
        by_key.then_with(|| self.compare_paths(a, b))
    }

    fn compare_paths(self, a: &Record, b: &Record) -> Ordering {
        let by_key = match self {
            Self::Name | Self::FileName => natural_cmp(&a.path, &b.path),
            Self::Path => Ordering::Equal,
            Self::PlainName | Self::Date | Self::Size | Self::Usage => lower_cmp(&a.path, &b.path),
        };
        by_key.then_with(|| a.path.cmp(&b.path))
    }

    /// Whether a record may stand elsewhere than its forerunner of the same path.
    fn moves(self, old: &Record, new: &Record) -> bool {
        match self {
            Self::FileName => old.file_name != new.file_name,
            Self::Path => false,
            Self::Name | Self::PlainName | Self::Date | Self::Size | Self::Usage => {
                old.model_name != new.model_name || self.number(old) != self.number(new)
            }
        }
    }

    /// Sorts slots from nothing; `plain` is the order of plain names with all of them.
    fn sort(self, records: &Records, slots: &[Slot], plain: &Blocks<Slot>) -> Vec<Slot> {
        let tie = |a: &Record, b: &Record| self.compare_paths(a, b);
        match self {
            Self::Name => sort_texts(records, slots, tie, |record, key| {
                push_natural_key(&record.model_name, key)
            }),
            Self::FileName => sort_texts(records, slots, tie, |record, key| {
                push_natural_key(&record.file_name, key)
            }),
            Self::Path => sort_texts(records, slots, tie, |record, key| key.extend(record.path.bytes())),
            Self::PlainName => sort_texts(records, slots, tie, |record, key| {
                if record.model_name.is_ascii() {
                    key.extend(record.model_name.bytes().map(|byte| byte.to_ascii_lowercase()));
                } else {
                    key.extend(record.model_name.to_lowercase().bytes());
                }
            }),
            Self::Date | Self::Size | Self::Usage => sort_numbers(records, plain, |record| self.number(record)),
        }
    }
}

/// One list of slots for each key.
#[derive(Debug, Clone, Default)]
pub struct Orders([Blocks<Slot>; 7]);

impl Orders {
    /// The slots in ascending order of a key.
    pub fn ascending(&self, key: SortKey) -> &Blocks<Slot> {
        &self.0[key as usize]
    }

    /// Whether every order is as in the other, of which this is a later one.
    pub(super) fn are_same(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own.is_same(other))
    }

    /// Works that bring the orders by texts up to a change. `before` and `after` have the
    /// records of both sides.
    pub(super) fn update_texts<'a>(
        &'a mut self,
        before: &'a Records,
        after: &'a Records,
        changed: &'a [Changed],
    ) -> impl Iterator<Item = Job<'a>> {
        let keys = SortKey::ALL.into_iter().zip(&mut self.0);
        keys.filter(|(key, _)| {
            matches!(
                key,
                SortKey::Name | SortKey::FileName | SortKey::Path | SortKey::PlainName
            )
        })
        .map(move |(key, order)| -> Job<'a> {
            Box::new(move || update(key, order, before, after, changed, &Blocks::default()))
        })
    }

    /// Brings the orders by numbers up to a change, once those by texts are.
    pub(super) fn update_numbers(&mut self, before: &Records, after: &Records, changed: &[Changed]) {
        let plain = self.ascending(SortKey::PlainName).clone();
        let keys = SortKey::ALL.into_iter().zip(&mut self.0);
        let jobs = keys
            .filter(|(key, _)| matches!(key, SortKey::Date | SortKey::Size | SortKey::Usage))
            .map(|(key, order)| -> Job<'_> {
                let plain = &plain;
                Box::new(move || update(key, order, before, after, changed, plain))
            });
        run(jobs.collect(), changed.len());
    }
}

fn update(
    key: SortKey,
    order: &mut Blocks<Slot>,
    before: &Records,
    after: &Records,
    changed: &[Changed],
    plain: &Blocks<Slot>,
) {
    let (mut out, mut into) = (Vec::new(), Vec::new());
    for change in changed {
        match (&change.before, &change.after) {
            (Some(old), Some(new)) if !key.moves(old, new) => continue,
            _ => {}
        }
        if let Some(old) = &change.before {
            out.push((change.slot, &**old));
        }
        if let Some(new) = &change.after {
            into.push((change.slot, &**new));
        }
    }
    if is_bulk(out.len() + into.len(), order.len()) {
        let mut gone = Bits::none(before.slot_bound());
        out.iter().for_each(|(slot, _)| {
            gone.insert(*slot);
        });
        let mut slots: Vec<Slot> = order.iter().filter(|slot| !gone.contains(*slot)).collect();
        if !into.is_empty() {
            slots.extend(into.iter().map(|(slot, _)| *slot));
            slots = key.sort(after, &slots, plain);
        }
        *order = Blocks::from(slots.as_slice());
        return;
    }
    // Each side's places are found among records of that side.
    let place = |order: &Blocks<Slot>, records: &Records, wanted: &Record| {
        order.partition_point(|slot| {
            let record = records.get(*slot);
            record.is_some_and(|record| key.compare(record, wanted) == Ordering::Less)
        })
    };
    let mut places: Vec<usize> = out
        .iter()
        .map(|(slot, old)| (place(order, before, old), slot))
        .filter(|(place, slot)| order.get(*place).as_ref() == Some(*slot))
        .map(|(place, _)| place)
        .collect();
    places.sort_unstable();
    order.edit(&places, &[]);
    let mut places: Vec<(usize, Slot, &Record)> = into
        .iter()
        .map(|(slot, new)| (place(order, after, new), *slot, *new))
        .collect();
    places.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| key.compare(a.2, b.2)));
    let places: Vec<(usize, Slot)> = places.into_iter().map(|(place, slot, _)| (place, slot)).collect();
    order.edit(&[], &places);
}

/// Bits whose order as an integer is `f64::total_cmp`.
pub(super) fn ordered_bits(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_numbers_order_like_the_numbers() {
        let mut numbers = [3.5, -1.0, 0.0, 1e300, -7.25, 1_700_000_000.5];
        numbers.sort_by(f64::total_cmp);
        assert!(
            numbers
                .windows(2)
                .all(|pair| ordered_bits(pair[0]) < ordered_bits(pair[1]))
        );
    }
}
