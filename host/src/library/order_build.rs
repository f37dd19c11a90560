//! Sorting a whole library at once.

use std::cmp::Ordering;

use super::blocks::Blocks;
use super::chunk::{Records, Slot};
use super::record::Record;

/// Slots sorted by the bytes that `write` appends for a record, equal ones by `tie`.
///
/// All keys lie behind each other in one piece of memory, and the sixteen bytes behind what they
/// have in common decide most comparisons.
pub fn sort_texts(
    records: &Records,
    slots: &[Slot],
    tie: impl Fn(&Record, &Record) -> Ordering,
    write: impl Fn(&Record, &mut Vec<u8>),
) -> Vec<Slot> {
    struct Keyed<'r> {
        prefix: u128,
        start: usize,
        end: usize,
        slot: Slot,
        record: &'r Record,
    }
    let mut keys = Vec::with_capacity(slots.len() * 32);
    let mut keyed: Vec<Keyed<'_>> = slots
        .iter()
        .filter_map(|slot| {
            let record = &**records.get(*slot)?;
            let start = keys.len();
            write(record, &mut keys);
            Some(Keyed {
                prefix: 0,
                start,
                end: keys.len(),
                slot: *slot,
                record,
            })
        })
        .collect();
    let key = |own: &Keyed<'_>| keys.get(own.start..own.end).unwrap_or_default();
    let first = keyed.first().map(key).unwrap_or_default();
    let common = keyed.iter().fold(first.len(), |common, own| {
        let pairs = first.iter().zip(key(own)).take(common);
        pairs.take_while(|(a, b)| a == b).count()
    });
    for own in &mut keyed {
        let mut prefix = [0; 16];
        let rest = key(own).get(common..).unwrap_or_default();
        prefix.iter_mut().zip(rest).for_each(|(byte, own)| *byte = *own);
        own.prefix = u128::from_be_bytes(prefix);
    }
    keyed.sort_unstable_by(|a, b| {
        a.prefix
            .cmp(&b.prefix)
            .then_with(|| key(a).cmp(key(b)))
            .then_with(|| tie(a.record, b.record))
    });
    keyed.into_iter().map(|own| own.slot).collect()
}

/// The slots of an order sorted by a number, equal ones as they stand in the order.
pub fn sort_numbers(records: &Records, order: &Blocks<Slot>, number: impl Fn(&Record) -> u64) -> Vec<Slot> {
    let mut numbered: Vec<(u64, u32, Slot)> = order
        .iter()
        .enumerate()
        .filter_map(|(place, slot)| Some((number(records.get(slot)?), place as u32, slot)))
        .collect();
    numbered.sort_unstable();
    numbered.into_iter().map(|(.., slot)| slot).collect()
}
