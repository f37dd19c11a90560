//! Paths below the roots for autocompletion. Source: contract section 1.3.

use super::filter::{Filter, Kept};
use super::snapshot::Snapshot;

/// Endings that are not searched.
const ENDINGS: [&str; 4] = [".safetensors", ".ckpt", ".pt", ".bin"];

/// Paths that have every term and no `-term`, best first: most terms at the start, then the
/// earliest match, then shorter, then by name.
pub fn find(snapshot: &Snapshot, filter: Option<&Filter>, search: &str, offset: usize, limit: usize) -> Vec<String> {
    let search = search.to_lowercase();
    let (exclude, include): (Vec<&str>, Vec<&str>) = search
        .split_whitespace()
        .partition(|term| term.starts_with('-') && term.len() > 1);
    let kept = filter.map_or(Kept::All, |filter| filter.run(snapshot));
    let mut found = Vec::new();
    for slot in snapshot.visible() {
        if let Kept::Some(set) = &kept
            && !set.contains(slot)
        {
            continue;
        }
        let Some(record) = snapshot.get(slot) else { continue };
        let path = record.relative_path();
        let lower = path.to_lowercase();
        let bare = ENDINGS
            .iter()
            .find_map(|ending| lower.strip_suffix(ending))
            .unwrap_or(&lower);
        if exclude.iter().any(|term| bare.contains(&term[1..])) {
            continue;
        }
        let Some(places) = include.iter().map(|term| bare.find(term)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let at_start = places.iter().filter(|place| **place == 0).count();
        let earliest = places.iter().min().map_or(0, |place| bare[..*place].chars().count());
        let rank = (
            std::cmp::Reverse(at_start),
            earliest,
            bare.chars().count(),
            bare.to_owned(),
        );
        found.push((rank, path));
    }
    found.sort();
    found
        .into_iter()
        .skip(offset)
        .take(limit)
        .map(|(_, path)| path.replace('/', std::path::MAIN_SEPARATOR_STR))
        .collect()
}
