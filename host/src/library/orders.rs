//! Sort orders that are kept up: a list of slots for each key, ascending. Descending order
//! is the same list from its end.

use std::cmp::Ordering;
use std::sync::Arc;

use super::chunk::{Records, Slot};
use super::record::Record;
use super::text::natural_key;

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
}

impl SortKey {
    /// All keys; an order's place in the list is its index.
    pub const ALL: [Self; 6] = [
        Self::Name,
        Self::FileName,
        Self::Date,
        Self::Size,
        Self::Usage,
        Self::Path,
    ];

    /// What is compared first: a number, then a text.
    ///
    /// Names compare naturally where they are the key, and as plain lower-case text where they
    /// only break ties (contract section 2.3 and what the original answers).
    fn parts(self, record: &Record) -> (u64, Box<[u8]>) {
        let number = match self {
            Self::Name => return (0, natural_key(&record.model_name)),
            Self::FileName => return (0, natural_key(&record.file_name)),
            Self::Path => return (0, Box::default()),
            Self::Date => ordered_bits(record.modified),
            Self::Size => record.size,
            Self::Usage => record.usage_count,
        };
        (number, record.model_name.to_lowercase().into_bytes().into_boxed_slice())
    }

    /// What is compared where the parts are equal, which is rare: the path like the name, then as it is.
    fn compare_paths(self, a: &Record, b: &Record) -> Ordering {
        let by_key = match self {
            Self::Name | Self::FileName => natural_key(&a.path).cmp(&natural_key(&b.path)),
            Self::Path => Ordering::Equal,
            Self::Date | Self::Size | Self::Usage => a.path.to_lowercase().cmp(&b.path.to_lowercase()),
        };
        by_key.then_with(|| a.path.cmp(&b.path))
    }

    /// How two records stand to each other in ascending order.
    pub fn compare(self, a: &Record, b: &Record) -> Ordering {
        self.parts(a).cmp(&self.parts(b)).then_with(|| self.compare_paths(a, b))
    }
}

/// From so many new records on, work is spread over threads of its own.
pub(super) const PARALLEL: usize = 2_000;

/// One list of slots for each key.
#[derive(Debug, Clone, Default)]
pub struct Orders([Arc<Vec<Slot>>; 6]);

impl Orders {
    /// The slots in ascending order of a key.
    pub fn ascending(&self, key: SortKey) -> &[Slot] {
        &self.0[key as usize]
    }

    /// Takes slots out of every order and puts others in at their places. `records` has the
    /// new content; `removed` also has the slots whose record changed.
    pub fn update(&mut self, records: &Records, removed: &roaring::RoaringBitmap, added: &[Slot]) {
        let next = |key: SortKey, order: &[Slot]| {
            let kept: Vec<Slot> = match removed.is_empty() {
                true => order.to_vec(),
                false => order.iter().copied().filter(|slot| !removed.contains(*slot)).collect(),
            };
            // Placing one by one costs a binary search with fresh keys; past some share a sort
            // with keys made once is cheaper.
            Arc::new(if added.len() * 16 < kept.len() {
                insert(key, records, kept, added)
            } else {
                sort(key, records, kept.into_iter().chain(added.iter().copied()))
            })
        };
        if added.len() < PARALLEL {
            for (key, order) in SortKey::ALL.into_iter().zip(&mut self.0) {
                *order = next(key, order);
            }
            return;
        }
        std::thread::scope(|scope| {
            for (key, order) in SortKey::ALL.into_iter().zip(&mut self.0) {
                scope.spawn(move || *order = next(key, order));
            }
        });
    }
}

fn insert(key: SortKey, records: &Records, kept: Vec<Slot>, added: &[Slot]) -> Vec<Slot> {
    let mut places: Vec<(usize, Slot)> = added
        .iter()
        .filter_map(|slot| {
            let new = records.get(*slot)?;
            let place = kept.partition_point(|other| {
                records
                    .get(*other)
                    .is_some_and(|other| key.compare(other, new) == Ordering::Less)
            });
            Some((place, *slot))
        })
        .collect();
    places.sort_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| match (records.get(a.1), records.get(b.1)) {
            (Some(a), Some(b)) => key.compare(a, b),
            _ => Ordering::Equal,
        })
    });
    let mut merged = Vec::with_capacity(kept.len() + places.len());
    let mut from = 0;
    for (place, slot) in places {
        merged.extend_from_slice(&kept[from..place]);
        merged.push(slot);
        from = place;
    }
    merged.extend_from_slice(&kept[from..]);
    merged
}

fn sort(key: SortKey, records: &Records, slots: impl Iterator<Item = Slot>) -> Vec<Slot> {
    let mut keyed: Vec<_> = slots
        .filter_map(|slot| {
            let record = &**records.get(slot)?;
            Some((key.parts(record), record, slot))
        })
        .collect();
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key.compare_paths(a.1, b.1)));
    keyed.into_iter().map(|(.., slot)| slot).collect()
}

/// Bits whose order as an integer is `f64::total_cmp`.
fn ordered_bits(number: f64) -> u64 {
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
