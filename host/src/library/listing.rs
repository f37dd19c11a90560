//! A page of the listing: an order, a filter, a stretch, written as bytes.

use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::arrangement::Arrangement;
use super::bits::Bits;
use super::blocks::Blocks;
use super::chunk::Slot;
use super::filter::{Filter, Kept};
use super::groups::{self, Grouping};
use super::item;
use super::order_walk::{OrderWalk, STRETCH, count_kept};
use super::orders::SortKey;
use super::record::{GroupKey, Record};
use super::shuffle::Shuffle;
use super::snapshot::Snapshot;

/// Largest page in bytes, but for its totals. Only items with huge fields ever reach it.
pub const MAX_PAGE: usize = 16 << 20;

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sort {
    /// A kept-up order.
    Key {
        /// The key.
        key: SortKey,
        /// From its end.
        descending: bool,
    },
    /// By chance.
    Random {
        /// The same seed gives the same order.
        seed: u64,
    },
    /// Best match of the search first, then by name. Without a search by name.
    Relevance,
    /// By how many versions of a model there are.
    Versions {
        /// Most first.
        descending: bool,
    },
}

/// Everything that a listing asks for.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Which records.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// One record for each group of versions.
    pub group_by_model: bool,
    /// What a group is.
    pub grouping: Grouping,
    /// Only the versions of this model, newest first.
    pub model: Option<GroupKey>,
    /// From 1.
    pub page: i64,
    /// Records on a page, 1 to 100.
    pub page_size: usize,
}

/// The order of a listing.
enum Order {
    KeptUp { key: SortKey, descending: bool },
    Shuffled(Shuffle),
    Made(Arc<Vec<Slot>>),
}

impl Order {
    fn of(listing: &Listing, snapshot: &Snapshot) -> Self {
        if let Some(model) = &listing.model {
            return Self::Made(versions(listing, model, snapshot).into());
        }
        let grouping = listing.grouping;
        let arrangement = match (listing.sort, listing.group_by_model) {
            (Sort::Key { key, descending }, false) => return Self::KeptUp { key, descending },
            (Sort::Relevance, false) => {
                return Self::KeptUp {
                    key: SortKey::Name,
                    descending: false,
                };
            }
            (Sort::Relevance, true) => Arrangement::Grouped {
                key: SortKey::Name,
                descending: false,
                grouping,
            },
            (Sort::Random { seed }, by_model) => {
                return Self::Shuffled(Shuffle {
                    seed,
                    grouping: by_model.then_some(grouping),
                });
            }
            (Sort::Key { key, descending }, true) => Arrangement::Grouped {
                key,
                descending,
                grouping,
            },
            (Sort::Versions { descending }, true) => Arrangement::GroupedByVersions { descending, grouping },
            (Sort::Versions { descending }, false) => Arrangement::ByVersions { descending, grouping },
        };
        Self::Made(snapshot.arranged(arrangement))
    }

    /// The slots at these places among those that `kept` has, and how many it has.
    fn page(&self, snapshot: &Snapshot, kept: &Kept, places: Range<usize>) -> (Vec<Slot>, usize) {
        match self {
            Self::KeptUp { key, descending } => match kept {
                Kept::All => {
                    let order = snapshot.order(*key);
                    (stretch_of(order, places, *descending), order.len())
                }
                Kept::Some(set) => (kept_of(snapshot, *key, *descending, set, places), set.len() as usize),
            },
            Self::Shuffled(shuffle) => shuffle.page(snapshot, kept, places),
            Self::Made(slots) => match kept {
                Kept::All => {
                    let places = places.start.min(slots.len())..places.end.min(slots.len());
                    (slots.get(places).unwrap_or_default().to_vec(), slots.len())
                }
                Kept::Some(set) => {
                    let bits = Bits::within(snapshot.visible(), set, snapshot.records().slot_bound());
                    let is_kept = |slot: Slot| bits.contains(slot);
                    let count = count_kept(slots, is_kept);
                    let (from, to) = (places.start.min(count), places.end.min(count));
                    let mut walk = OrderWalk::new(from, to - from, false);
                    walk.over(slots.chunks(STRETCH), is_kept);
                    (walk.page, count)
                }
            },
        }
    }
}

/// The versions of one model, newest first; those of the same age stay in the order that is asked for.
fn versions(listing: &Listing, model: &GroupKey, snapshot: &Snapshot) -> Vec<Slot> {
    let (key, descending) = match listing.sort {
        Sort::Key { key, descending } => (key, descending),
        Sort::Random { .. } | Sort::Versions { .. } | Sort::Relevance => (SortKey::Name, false),
    };
    let groups = snapshot.groups(Grouping::Any);
    let members = model.as_ref().map(|model| groups.versions(snapshot.records(), model));
    let mut versions: Vec<(Slot, &Record)> = members
        .unwrap_or_default()
        .iter()
        .filter_map(|slot| Some((*slot, &**snapshot.get(*slot)?)))
        .collect();
    versions.sort_by(|(_, a), (_, b)| {
        let by_key = if descending {
            key.compare(b, a)
        } else {
            key.compare(a, b)
        };
        groups::age(b).total_cmp(&groups::age(a)).then(by_key)
    });
    versions.into_iter().map(|(slot, _)| slot).collect()
}

/// A stretch of a kept-up order, from either end.
fn stretch_of(order: &Blocks<Slot>, places: Range<usize>, descending: bool) -> Vec<Slot> {
    if descending {
        let len = order.len();
        let places = len.saturating_sub(places.end)..len.saturating_sub(places.start);
        order.range(places).rev().collect()
    } else {
        order.range(places).collect()
    }
}

/// A set of at most one in so many records is sorted by itself, not found along the order: a
/// step along the order costs some nanoseconds, a comparison of records a hundred times that.
const SPARSE: usize = 500;

/// The slots of a set at some places in a kept-up order.
fn kept_of(
    snapshot: &Snapshot,
    key: SortKey,
    descending: bool,
    set: &RoaringBitmap,
    places: Range<usize>,
) -> Vec<Slot> {
    let (order, count) = (snapshot.order(key), set.len() as usize);
    let (from, to) = (places.start.min(count), places.end.min(count));
    // Counted in ascending order.
    let (from, to) = if descending {
        (count - to, count - from)
    } else {
        (from, to)
    };
    let mut page = if from >= to {
        Vec::new()
    } else if count.saturating_mul(SPARSE) < order.len() {
        let mut records: Vec<(Slot, &Record)> = set
            .iter()
            .filter_map(|slot| Some((slot, &**snapshot.get(slot)?)))
            .collect();
        records.sort_unstable_by(|(_, a), (_, b)| key.compare(a, b));
        let page = records.get(from..to).unwrap_or_default();
        page.iter().map(|(slot, _)| *slot).collect()
    } else {
        // From the end that is nearer, and no further than to the end of the page.
        let from_end = from > count - to;
        let (skip, take) = (from.min(count - to), to - from);
        let mut walk = OrderWalk::new(skip, take, from_end);
        if from_end {
            walk.over_set(order.slices().rev(), order.len(), snapshot, set);
        } else {
            walk.over_set(order.slices(), order.len(), snapshot, set);
        }
        let mut page = walk.page;
        if from_end {
            page.reverse();
        }
        page
    };
    if descending {
        page.reverse();
    }
    page
}

impl Listing {
    /// Writes the answer: `{"items", "total", "page", "page_size", "total_pages"}`.
    /// `offline` says which roots are absent, by index.
    pub fn render(&self, snapshot: &Snapshot, offline: &[bool]) -> Vec<u8> {
        let grouped = self.group_by_model && self.model.is_none();
        let groups = grouped.then(|| snapshot.groups(self.grouping));
        // Nearly every item is below one kilobyte.
        let mut out = Vec::with_capacity(self.page_size * 1_000 + 128);
        out.extend_from_slice(b"{\"items\":[");
        let mut left_out = Vec::new();
        let (page, total) = self.at(snapshot, self.places());
        for slot in page {
            let Some(record) = snapshot.get(slot) else { continue };
            let versions = groups.and_then(|groups| groups.size(slot));
            let closing = item::Closing {
                version_count: versions,
                offline: offline.get(usize::from(record.root)).copied().unwrap_or(false),
                update_available: self.filter.updates.as_ref().is_some_and(|own| own.contains(slot)),
            };
            push_item(&mut out, record, &mut left_out, |out| {
                item::close_with(out, record, &closing);
            });
        }
        envelope(&mut out, total, self.page, self.page_size, &left_out);
        out
    }

    /// All slots in order, without paging.
    pub fn slots(&self, snapshot: &Snapshot) -> Vec<Slot> {
        self.at(snapshot, 0..usize::MAX).0
    }

    /// The slots of the page.
    #[cfg(test)]
    pub(super) fn page_of(&self, snapshot: &Snapshot) -> Vec<Slot> {
        self.at(snapshot, self.places()).0
    }

    /// The slots at these places, and how many there are in all.
    fn at(&self, snapshot: &Snapshot, places: Range<usize>) -> (Vec<Slot>, usize) {
        let order = Order::of(self, snapshot);
        let ranked = self.sort == Sort::Relevance && !self.group_by_model && self.model.is_none();
        let Some(search) = self.filter.search.as_ref().filter(|_| ranked) else {
            return order.page(snapshot, &self.filter.run(snapshot), places);
        };
        let others = Filter {
            search: None,
            ..self.filter.clone()
        };
        let kept = others.run(snapshot);
        let kept = match &kept {
            Kept::All => snapshot.visible(),
            Kept::Some(set) => set,
        };
        let (mut page, mut before) = (Vec::new(), 0);
        for rank in search.ranked(snapshot, &self.filter.deadline) {
            let (set, from) = (rank & kept, before);
            before += set.len() as usize;
            if set.is_empty() || from >= places.end || before <= places.start {
                continue;
            }
            let own = places.start.saturating_sub(from)..places.end.saturating_sub(from);
            page.extend(order.page(snapshot, &Kept::Some(set), own).0);
        }
        (page, before)
    }

    fn places(&self) -> Range<usize> {
        let (from, limit) = stretch(self.page, self.page_size);
        from..from.saturating_add(limit)
    }
}

/// First index and count of a page; a page below 1 has none.
pub fn stretch(page: i64, page_size: usize) -> (usize, usize) {
    match usize::try_from(page) {
        Ok(page) if page > 0 => ((page - 1).saturating_mul(page_size), page_size),
        _ => (0, 0),
    }
}

/// Adds an item to an answer that ends with `[` or an item, unless the answer would become larger than [`MAX_PAGE`].
pub fn push_item<'r>(
    out: &mut Vec<u8>,
    record: &'r Record,
    left_out: &mut Vec<&'r str>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let before = out.len();
    if out.last() != Some(&b'[') {
        out.push(b',');
    }
    write(out);
    if out.len() > MAX_PAGE {
        out.truncate(before);
        left_out.push(&record.path);
    }
}

/// Closes a listing's answer. Items that were left out are named by their paths, in `left_out`: totals count them, so
/// that page numbers stay what they are.
pub fn envelope(out: &mut Vec<u8>, total: usize, page: i64, page_size: usize, left_out: &[&str]) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"],\"total\":");
    out.extend_from_slice(number.format(total).as_bytes());
    out.extend_from_slice(b",\"page\":");
    out.extend_from_slice(number.format(page).as_bytes());
    out.extend_from_slice(b",\"page_size\":");
    out.extend_from_slice(number.format(page_size).as_bytes());
    out.extend_from_slice(b",\"total_pages\":");
    out.extend_from_slice(number.format(total.div_ceil(page_size.max(1))).as_bytes());
    if !left_out.is_empty() {
        out.extend_from_slice(format!(",\"left_out\":{}", serde_json::Value::from(left_out)).as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::snapshot_tests::named;

    #[test]
    fn a_page_leaves_out_what_would_make_it_too_large_and_names_it() {
        let (small, huge) = (named("small"), named("huge"));
        let (mut out, mut left_out) = (b"{\"items\":[".to_vec(), Vec::new());
        push_item(&mut out, &huge, &mut left_out, |out| out.resize(MAX_PAGE + 1, b' '));
        push_item(&mut out, &small, &mut left_out, |out| out.extend_from_slice(b"1"));
        push_item(&mut out, &huge, &mut left_out, |out| out.resize(MAX_PAGE + 1, b' '));
        push_item(&mut out, &small, &mut left_out, |out| out.extend_from_slice(b"2"));
        envelope(&mut out, 4, 1, 4, &left_out);
        let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(answer["items"], serde_json::json!([1, 2]));
        assert_eq!((&answer["total"], &answer["total_pages"]), (&4.into(), &1.into()));
        assert_eq!(answer["left_out"], serde_json::json!([huge.path, huge.path]));
    }
}
