//! Paths below the roots for autocompletion. Source: contract section 1.3.

use std::cmp::{Ordering, Reverse};

use memchr::memmem::Finder;

use super::bits::Bits;
use super::chunk::{CHUNK, Chunk, Slot};
use super::filter::{Filter, Kept};
use super::snapshot::Snapshot;
use super::text::folded;

/// A path that was found.
struct Found<'s> {
    // How many terms are at its start, where the earliest is, and its length; characters.
    rank: (Reverse<usize>, usize, usize),
    bare: &'s str,
    slot: Slot,
}

impl Found<'_> {
    fn compare(&self, other: &Self, snapshot: &Snapshot) -> Ordering {
        let path = |slot| snapshot.get(slot).map(|record| record.relative_path());
        self.rank
            .cmp(&other.rank)
            .then_with(|| self.bare.cmp(other.bare))
            .then_with(|| path(self.slot).cmp(&path(other.slot)))
    }
}

/// Paths that have every term and no `-term`, best first: most terms at the start, then the
/// earliest match, then shorter, then by name.
pub fn find(snapshot: &Snapshot, filter: Option<&Filter>, search: &str, offset: usize, limit: usize) -> Vec<String> {
    let search = folded(search);
    let (exclude, include): (Vec<&str>, Vec<&str>) = search
        .split_whitespace()
        .partition(|term| term.starts_with('-') && term.len() > 1);
    let terms = Terms {
        include: include.iter().map(|term| Finder::new(*term)).collect(),
        exclude: exclude
            .iter()
            .filter_map(|term| term.strip_prefix('-'))
            .map(Finder::new)
            .collect(),
    };
    let set = match filter.map(|filter| filter.run(snapshot)) {
        None | Some(Kept::All) => snapshot.visible().clone(),
        Some(Kept::Some(set)) => set,
    };
    let kept = Bits::of(&set, snapshot.records().slot_bound());
    let mut found = Vec::new();
    for (first, chunk) in snapshot.records().chunks() {
        terms.find(first, chunk, &kept, &mut found);
    }
    let wanted = offset.saturating_add(limit).min(found.len());
    if wanted < found.len() {
        found.select_nth_unstable_by(wanted, |a, b| a.compare(b, snapshot));
        found.truncate(wanted);
    }
    found.sort_unstable_by(|a, b| a.compare(b, snapshot));
    found
        .iter()
        .skip(offset)
        .filter_map(|found| snapshot.get(found.slot))
        .map(|record| record.relative_path().replace('/', std::path::MAIN_SEPARATOR_STR))
        .collect()
}

struct Terms<'t> {
    include: Vec<Finder<'t>>,
    exclude: Vec<Finder<'t>>,
}

impl Terms<'_> {
    fn find<'s>(&self, first: Slot, chunk: &'s Chunk, kept: &Bits, found: &mut Vec<Found<'s>>) {
        let paths = chunk.paths();
        let mut test = |index: usize| {
            let slot = first + index as Slot;
            let bare = paths.get(index);
            if kept.contains(slot)
                && let Some(rank) = self.rank(bare)
            {
                found.push(Found { rank, bare, slot });
            }
        };
        // The longest term is the rarest; the others are looked for where it is.
        let Some(rarest) = self.include.iter().max_by_key(|term| term.needle().len()) else {
            (0..CHUNK).for_each(test);
            return;
        };
        let mut from = 0;
        while let Some(place) = paths.text().as_bytes().get(from..).and_then(|rest| rarest.find(rest)) {
            let index = paths.record_at(from + place);
            test(index);
            from = paths.end_of(index).max(from + 1);
        }
    }

    fn rank(&self, bare: &str) -> Option<(Reverse<usize>, usize, usize)> {
        let bytes = bare.as_bytes();
        if self.exclude.iter().any(|term| term.find(bytes).is_some()) {
            return None;
        }
        let (mut at_start, mut earliest) = (0, None::<usize>);
        for term in &self.include {
            let place = term.find(bytes)?;
            at_start += usize::from(place == 0);
            earliest = Some(earliest.map_or(place, |earliest| earliest.min(place)));
        }
        let before = bare.get(..earliest.unwrap_or_default()).unwrap_or_default();
        Some((Reverse(at_start), count(before), count(bare)))
    }
}

/// Characters of a text.
fn count(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}
