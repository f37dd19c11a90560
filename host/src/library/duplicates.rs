//! Copies of one file, and different files with one name. Source: contract sections 6.7 and 6.9.

use std::sync::Arc;

use super::filter::NO_TAGS;
use super::record::{Record, Sha256};
use super::snapshot::Snapshot;

/// Which models of a duplicate group are wanted. Tags compare in exact case here, and every
/// included one is needed.
#[derive(Debug, Clone, Default)]
pub struct DuplicateFilter {
    /// Exact base models, any of them.
    pub base_models: Vec<String>,
    /// Tags, all of them.
    pub tags_include: Vec<String>,
    /// None of these tags.
    pub tags_exclude: Vec<String>,
    /// Sub-types in lower case, any of them.
    pub sub_types: Vec<String>,
    /// Start of the folder's path.
    pub folder: Option<String>,
    /// Only favourites.
    pub favorites_only: bool,
}

impl DuplicateFilter {
    fn keep(&self, record: &Record) -> bool {
        let has = |tag: &String| match tag.as_str() {
            NO_TAGS => record.tags.is_empty(),
            tag => record.tags.iter().any(|own| **own == *tag),
        };
        (self.base_models.is_empty() || self.base_models.iter().any(|base| **base == *record.base_model))
            && self.tags_include.iter().all(has)
            && !self.tags_exclude.iter().any(has)
            && (self.sub_types.is_empty() || self.sub_types.iter().any(|own| **own == *record.sub_type))
            && self
                .folder
                .as_deref()
                .is_none_or(|folder| record.folder.starts_with(folder))
            && (!self.favorites_only || record.favorite)
    }
}

/// Groups of two or more with the same whole-file hash, the likely original first.
pub fn duplicates<'s>(snapshot: &'s Snapshot, filter: &DuplicateFilter) -> Vec<(Sha256, Vec<&'s Arc<Record>>)> {
    let groups = snapshot.keys().copies(snapshot.records()).filter_map(|slots| {
        let mut records: Vec<_> = slots
            .iter()
            .filter_map(|slot| snapshot.get(*slot))
            .filter(|record| filter.keep(record))
            .collect();
        if records.len() < 2 {
            return None;
        }
        originals_first(&mut records);
        Some((records.first()?.sha256?, records))
    });
    groups.collect()
}

/// Names that look like copies go last: `(2)`, `copy`, and whatever is longer than the shortest.
fn originals_first(records: &mut [&Arc<Record>]) {
    let shortest = records
        .iter()
        .map(|record| record.file_name.chars().count())
        .min()
        .unwrap_or_default();
    records.sort_by_cached_key(|record| {
        let lower = record.file_name.to_lowercase();
        let numbered = lower.match_indices('(').any(|(start, _)| {
            let rest = lower[start + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with(')') && rest.len() + start + 1 < lower.len()
        });
        let score = usize::from(numbered) * 50 + usize::from(lower.contains("copy")) * 50;
        (
            score + record.file_name.chars().count() - shortest,
            lower,
            record.path.clone(),
        )
    });
}

/// Models of one file name in several folders, sorted by that name.
pub fn filename_conflicts(snapshot: &Snapshot) -> Vec<(&str, Vec<&Arc<Record>>)> {
    let groups = snapshot.keys().namesakes(snapshot.records()).filter_map(|slots| {
        // The contract counts only files that have a hash, and two extensions of one name in one
        // folder are no conflict.
        let hashed = slots
            .iter()
            .filter_map(|slot| snapshot.get(*slot))
            .filter(|record| record.sha256.is_some());
        let mut records: Vec<_> = hashed.collect();
        let first = *records.first()?;
        let elsewhere = |record: &&Arc<Record>| record.folder != first.folder || record.root != first.root;
        if !records.iter().any(elsewhere) {
            return None;
        }
        records.sort_by(|a, b| a.path.cmp(&b.path));
        Some((&*first.file_name, records))
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by(|a, b| a.0.cmp(b.0));
    groups
}
