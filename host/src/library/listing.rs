//! A page of the listing: an order, a filter, a stretch, written as bytes.

use std::sync::Arc;

use super::arrangement::{Arrangement, Base};
use super::chunk::Slot;
use super::filter::{Filter, Kept};
use super::groups::{self, Grouping};
use super::item;
use super::orders::SortKey;
use super::record::GroupKey;
use super::snapshot::Snapshot;

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

/// An ordered list of slots, borrowed where it is kept up.
enum Order<'s> {
    KeptUp { slots: &'s [Slot], descending: bool },
    Made(Arc<Vec<Slot>>),
}

impl Order<'_> {
    fn of<'s>(listing: &Listing, snapshot: &'s Snapshot) -> Order<'s> {
        if let Some(model) = &listing.model {
            // Versions of the same age stay in the order that is asked for.
            let (key, descending) = match listing.sort {
                Sort::Key { key, descending } => (key, descending),
                Sort::Random { .. } | Sort::Versions { .. } | Sort::Relevance => (SortKey::Name, false),
            };
            let of_model = |slot: &Slot| {
                let group = snapshot.get(*slot).and_then(|record| record.group());
                group.is_some_and(|group| group == *model)
            };
            let mut slots: Vec<Slot> = snapshot.order(key).iter().copied().filter(of_model).collect();
            if descending {
                slots.reverse();
            }
            groups::newest_first(snapshot, &mut slots);
            return Order::Made(Arc::new(slots));
        }
        let grouping = listing.grouping;
        let arrangement = match (listing.sort, listing.group_by_model) {
            (Sort::Key { key, descending }, false) => {
                return Order::KeptUp {
                    slots: snapshot.order(key),
                    descending,
                };
            }
            (Sort::Key { key, descending }, true) => Arrangement::Grouped {
                base: Base::Key { key, descending },
                grouping,
            },
            (Sort::Relevance, false) => {
                return Order::KeptUp {
                    slots: snapshot.order(SortKey::Name),
                    descending: false,
                };
            }
            (Sort::Relevance, true) => Arrangement::Grouped {
                base: Base::Key {
                    key: SortKey::Name,
                    descending: false,
                },
                grouping,
            },
            (Sort::Random { seed }, false) => Arrangement::Shuffled { seed },
            (Sort::Random { seed }, true) => Arrangement::Grouped {
                base: Base::Shuffle { seed },
                grouping,
            },
            (Sort::Versions { descending }, true) => Arrangement::GroupedByVersions { descending, grouping },
            (Sort::Versions { descending }, false) => Arrangement::ByVersions { descending, grouping },
        };
        Order::Made(snapshot.arranged(arrangement))
    }

    /// Calls `take` for slots `from..from + limit` of those that `kept` has, and counts them all.
    fn stretch(&self, kept: &Kept, from: usize, limit: usize, mut take: impl FnMut(Slot)) -> usize {
        let (slots, descending) = match self {
            Self::KeptUp { slots, descending } => (*slots, *descending),
            Self::Made(slots) => (slots.as_slice(), false),
        };
        let set = match kept {
            Kept::All => {
                let stretch = slots.len().min(from)..slots.len().min(from.saturating_add(limit));
                for index in stretch {
                    take(if descending {
                        slots[slots.len() - 1 - index]
                    } else {
                        slots[index]
                    });
                }
                return slots.len();
            }
            Kept::Some(set) => set,
        };
        let whole = match self {
            // Every listed record is in a kept-up order, so the set's size is the count and the walk can end early.
            Self::KeptUp { .. } => Some(set.len() as usize),
            Self::Made(_) => None,
        };
        let mut seen = 0;
        let mut visit = |slot: Slot| {
            if set.contains(slot) {
                if seen >= from && seen < from.saturating_add(limit) {
                    take(slot);
                }
                seen += 1;
            }
            whole.is_none() || seen < from.saturating_add(limit)
        };
        if whole.is_some_and(|whole| from < whole) || whole.is_none() {
            let mut forward = slots.iter();
            while let Some(slot) = if descending {
                forward.next_back()
            } else {
                forward.next()
            } {
                if !visit(*slot) {
                    break;
                }
            }
        }
        whole.unwrap_or(seen)
    }
}

impl Listing {
    /// Writes the answer: `{"items", "total", "page", "page_size", "total_pages"}`.
    /// `offline` says which roots are absent, by index.
    pub fn render(&self, snapshot: &Snapshot, offline: &[bool]) -> Vec<u8> {
        let order = Order::of(self, snapshot);
        let kept = self.kept(snapshot);
        let grouped = self.group_by_model && self.model.is_none();
        let groups = grouped.then(|| snapshot.groups(self.grouping));
        // Nearly every item is below one kilobyte.
        let mut out = Vec::with_capacity(self.page_size * 1_000 + 128);
        out.extend_from_slice(b"{\"items\":[");
        let mut first = true;
        let (from, limit) = self.stretch();
        let total = stretch_of_all(&order, &kept, from, limit, |slot| {
            let Some(record) = snapshot.get(slot) else { return };
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            let versions = groups.and_then(|groups| Some(groups.members(groups.group_of(slot)?).len() as u32));
            item::close(
                &mut out,
                record,
                versions,
                offline.get(usize::from(record.root)).copied().unwrap_or(false),
            );
        });
        envelope(&mut out, total, self.page, self.page_size);
        out
    }

    /// All slots in order, without paging.
    pub fn slots(&self, snapshot: &Snapshot) -> Vec<Slot> {
        let mut slots = Vec::new();
        let (order, kept) = (Order::of(self, snapshot), self.kept(snapshot));
        stretch_of_all(&order, &kept, 0, usize::MAX, |slot| slots.push(slot));
        slots
    }

    /// What the filter keeps: one set, or for the best match first a set for each rank.
    fn kept(&self, snapshot: &Snapshot) -> Vec<Kept> {
        let ranked = self.sort == Sort::Relevance && !self.group_by_model && self.model.is_none();
        let Some(search) = self.filter.search.as_ref().filter(|_| ranked) else {
            return vec![self.filter.run(snapshot)];
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
        let ranks = search.ranked(snapshot).into_iter();
        ranks.map(|rank| Kept::Some(rank & kept)).collect()
    }

    fn stretch(&self) -> (usize, usize) {
        stretch(self.page, self.page_size)
    }
}

/// [`Order::stretch`] over several sets after each other.
fn stretch_of_all(order: &Order, sets: &[Kept], from: usize, limit: usize, mut take: impl FnMut(Slot)) -> usize {
    let (mut before, mut taken) = (0, 0);
    for kept in sets {
        if matches!(kept, Kept::Some(set) if set.is_empty()) {
            continue;
        }
        before += order.stretch(kept, from.saturating_sub(before), limit - taken, |slot| {
            taken += 1;
            take(slot);
        });
    }
    before
}

/// First index and count of a page; a page below 1 has none.
pub fn stretch(page: i64, page_size: usize) -> (usize, usize) {
    match usize::try_from(page) {
        Ok(page) if page > 0 => ((page - 1).saturating_mul(page_size), page_size),
        _ => (0, 0),
    }
}

/// Closes a listing's answer.
pub fn envelope(out: &mut Vec<u8>, total: usize, page: i64, page_size: usize) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"],\"total\":");
    out.extend_from_slice(number.format(total).as_bytes());
    out.extend_from_slice(b",\"page\":");
    out.extend_from_slice(number.format(page).as_bytes());
    out.extend_from_slice(b",\"page_size\":");
    out.extend_from_slice(number.format(page_size).as_bytes());
    out.extend_from_slice(b",\"total_pages\":");
    out.extend_from_slice(number.format(total.div_ceil(page_size.max(1))).as_bytes());
    out.push(b'}');
}
