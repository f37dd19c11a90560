//! Which records have a tag, a base model, a folder and so on: a bitmap of slots for each
//! value, kept up with every change and shared between snapshots.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arcstr::ArcStr;
use imbl::OrdMap;
use roaring::RoaringBitmap;

use super::chunk::Slot;
use super::license;
use super::record::Record;
use super::snapshot::Changed;
use super::text::{Initial, folded};

/// Slots by the value of one property, sorted by value.
#[derive(Debug, Clone)]
pub struct Sets<K: Ord + Clone = ArcStr>(OrdMap<K, Arc<RoaringBitmap>>);

impl<K: Ord + Clone> Default for Sets<K> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<K: Ord + Clone + Hash> Sets<K> {
    /// The slots that have this value.
    pub fn get<Q: Ord + ?Sized>(&self, value: &Q) -> Option<&RoaringBitmap>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(value).map(AsRef::as_ref)
    }

    /// All values with their slots, in order of the values.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &RoaringBitmap)> {
        self.0.iter().map(|(value, slots)| (value, &**slots))
    }

    fn update(&mut self, moves: Moves<K>) {
        for (value, (out, mut into)) in moves.into_lists() {
            let slots = Arc::make_mut(self.0.entry(value.clone()).or_default());
            out.iter().for_each(|slot| {
                slots.remove(*slot);
            });
            into.sort_unstable();
            into.dedup();
            match RoaringBitmap::from_sorted_iter(into.iter().copied()) {
                Ok(new) if slots.is_empty() => *slots = new,
                _ => slots.extend(into),
            }
            if slots.is_empty() {
                self.0.remove(&value);
            }
        }
    }
}

/// Slots that leave and join the sets of values.
struct Moves<K> {
    places: HashMap<K, usize>,
    slots: Vec<(Vec<Slot>, Vec<Slot>)>,
    // Records after each other often have the same value.
    last: Option<(K, usize)>,
}

impl<K> Default for Moves<K> {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            last: None,
        }
    }
}

impl<K: Hash + Eq + Clone> Moves<K> {
    fn leaves(&mut self, value: K, slot: Slot) {
        self.of(value).0.push(slot);
    }

    fn joins(&mut self, value: K, slot: Slot) {
        self.of(value).1.push(slot);
    }

    fn of(&mut self, value: K) -> &mut (Vec<Slot>, Vec<Slot>) {
        let place = match &self.last {
            Some((last, place)) if *last == value => *place,
            _ => {
                let next = self.slots.len();
                let place = *self.places.entry(value.clone()).or_insert(next);
                if place == next {
                    self.slots.push(Default::default());
                }
                self.last = Some((value, place));
                place
            }
        };
        &mut self.slots[place]
    }

    fn lists(&self) -> impl Iterator<Item = (&K, &(Vec<Slot>, Vec<Slot>))> {
        let places = self.places.iter();
        places.filter_map(|(value, place)| Some((value, self.slots.get(*place)?)))
    }

    /// All values with the slots that leave and join.
    fn into_lists(self) -> impl Iterator<Item = (K, (Vec<Slot>, Vec<Slot>))> {
        let mut slots = self.slots;
        let places = self.places.into_iter();
        places.filter_map(move |(value, place)| Some((value, std::mem::take(slots.get_mut(place)?))))
    }
}

impl Sets {
    /// Slots of values that start with this text.
    pub fn starting_with(&self, prefix: &str) -> RoaringBitmap {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.0
            .range::<_, str>(from)
            .take_while(|(value, _)| value.starts_with(prefix))
            .fold(RoaringBitmap::new(), |all, (_, slots)| all | &**slots)
    }
}

/// Everything that filters and counts use. Excluded records are in none of it.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    /// By tag in lower case.
    pub tags: Sets,
    /// Records for each tag as typed.
    pub tag_counts: OrdMap<ArcStr, u32>,
    /// By base model.
    pub base_models: Sets,
    /// By sub-type.
    pub sub_types: Sets,
    /// By folder below the root.
    pub folders: Sets,
    /// By folder or any folder above it; `""` is no key, since everything would have it.
    pub below: Sets,
    /// By index of the root.
    pub roots: Sets<u16>,
    /// By kind of root.
    pub root_keys: Sets,
    /// By automatic tag.
    pub auto_tags: Sets<&'static str>,
    /// By class of the model name's first character.
    pub initials: Sets<Initial>,
    /// By the model name's first character as it is.
    pub first_characters: Sets<char>,
    /// Favourites.
    pub favorites: Arc<RoaringBitmap>,
    /// Without tags.
    pub untagged: Arc<RoaringBitmap>,
    /// Usable without credit.
    pub no_credit: Arc<RoaringBitmap>,
    /// Whose images may be sold.
    pub sell_images: Arc<RoaringBitmap>,
    /// Whose preview is R or above.
    pub mature: Arc<RoaringBitmap>,
    /// With something wrong.
    pub problems: Arc<RoaringBitmap>,
}

impl Properties {
    /// Slots of a folder and of everything below it; `""` has all that there is.
    pub fn below(&self, folder: &str, all: &RoaringBitmap) -> RoaringBitmap {
        match folder {
            "" => all.clone(),
            folder => self.below.get(folder).cloned().unwrap_or_default(),
        }
    }
}

/// A folder and those above it, without the root.
fn above(folder: &str) -> impl Iterator<Item = &str> {
    let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
    ends.filter_map(|end| folder.get(..end))
        .filter(|above| !above.is_empty())
}

/// From this NSFW level on a preview is not safe for work.
const MATURE: u32 = 4;

/// What is true of a record or not.
const FLAGS: [fn(&Record) -> bool; 6] = [
    |record| record.favorite,
    |record| record.tags.is_empty(),
    |record| record.license_flags & license::NO_CREDIT != 0,
    |record| record.license_flags & license::SELL_IMAGES != 0,
    |record| record.preview_nsfw_level >= MATURE,
    |record| record.problem.is_some(),
];

/// Notes where a property leaves and joins, if it is not the same on both sides.
macro_rules! moved {
    ($moves:ident, $change:ident, |$record:ident| $value:expr) => {
        let (old, new) = $change.both(|$record| $value);
        if old != new {
            if let Some(old) = old {
                $moves.leaves(old, $change.slot);
            }
            if let Some(new) = new {
                $moves.joins(new, $change.slot);
            }
        }
    };
}

impl Properties {
    /// Brings all sets up to a change.
    pub(super) fn update(&mut self, changed: &[Changed]) {
        self.update_tags(changed);
        let (mut base_models, mut sub_types, mut folders) = (Moves::default(), Moves::default(), Moves::default());
        let (mut roots, mut root_keys, mut auto_tags) = (Moves::default(), Moves::default(), Moves::default());
        let (mut initials, mut first_characters) = (Moves::default(), Moves::default());
        let mut flags = [(); FLAGS.len()].map(|()| (Vec::new(), Vec::new()));
        for change in changed {
            moved!(base_models, change, |record| record.base_model.clone());
            moved!(sub_types, change, |record| record.sub_type.clone());
            moved!(folders, change, |record| record.folder.clone());
            moved!(roots, change, |record| record.root);
            moved!(root_keys, change, |record| record.root_key.clone());
            moved!(initials, change, |record| Initial::of(&record.model_name));
            moved!(first_characters, change, |record| {
                record.model_name.chars().next().unwrap_or_default()
            });
            let (old, new) = change.both(|record| record.auto_tags);
            if old != new {
                old.iter()
                    .flat_map(|tags| tags.names())
                    .for_each(|name| auto_tags.leaves(name, change.slot));
                new.iter()
                    .flat_map(|tags| tags.names())
                    .for_each(|name| auto_tags.joins(name, change.slot));
            }
            for (flag, (out, into)) in FLAGS.iter().zip(&mut flags) {
                let side = |record: &Option<Arc<Record>>| record.as_deref().is_some_and(flag);
                match (side(&change.before), side(&change.after)) {
                    (true, false) => out.push(change.slot),
                    (false, true) => into.push(change.slot),
                    _ => {}
                }
            }
        }
        self.base_models.update(base_models);
        self.sub_types.update(sub_types);
        let mut below = Moves::<ArcStr>::default();
        for (folder, (out, into)) in folders.lists() {
            for above in above(folder) {
                let own = below.of(if above == folder.as_str() {
                    folder.clone()
                } else {
                    above.into()
                });
                own.0.extend(out);
                own.1.extend(into);
            }
        }
        self.below.update(below);
        self.folders.update(folders);
        self.roots.update(roots);
        self.root_keys.update(root_keys);
        self.auto_tags.update(auto_tags);
        self.initials.update(initials);
        self.first_characters.update(first_characters);
        let sets = [
            &mut self.favorites,
            &mut self.untagged,
            &mut self.no_credit,
            &mut self.sell_images,
            &mut self.mature,
            &mut self.problems,
        ];
        for (set, (out, into)) in sets.into_iter().zip(flags) {
            if !out.is_empty() || !into.is_empty() {
                let set = Arc::make_mut(set);
                out.iter().for_each(|slot| {
                    set.remove(*slot);
                });
                set.extend(into);
            }
        }
    }

    fn update_tags(&mut self, changed: &[Changed]) {
        let mut typed = Moves::<ArcStr>::default();
        for change in changed {
            let (old, new) = change.both(|record| &record.tags);
            if old != new {
                old.into_iter()
                    .flatten()
                    .for_each(|tag| typed.leaves(tag.clone(), change.slot));
                new.into_iter()
                    .flatten()
                    .for_each(|tag| typed.joins(tag.clone(), change.slot));
            }
        }
        let mut lower = Moves::<ArcStr>::default();
        for (tag, (out, into)) in typed.into_lists() {
            let count = self.tag_counts.entry(tag.clone()).or_default();
            *count = (*count + into.len() as u32).saturating_sub(out.len() as u32);
            if *count == 0 {
                self.tag_counts.remove(&tag);
            }
            // Filters compare tags in any case, and without the spaces that some metadata files have around them.
            let bare = tag.trim();
            let is_folded = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
            let key: ArcStr = if bare.len() != tag.len() || !bare.bytes().all(is_folded) {
                match folded(bare) {
                    same if *tag == *same => tag,
                    other => other.into(),
                }
            } else {
                tag
            };
            let own = lower.of(key);
            own.0.extend(out);
            own.1.extend(into);
        }
        self.tags.update(lower);
    }
}
