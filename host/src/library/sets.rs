//! Which records have a tag, a base model, a folder and so on: a bitmap of slots for each
//! value, kept up with every change and shared between snapshots.

use arcstr::ArcStr;
use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};
use roaring::RoaringBitmap;

use super::chunk::Slot;
use super::license;
use super::record::{Record, Sha256};
use super::text::Initial;

/// Slots by the value of one property, sorted by value.
#[derive(Debug, Clone)]
pub struct Sets<K: Ord + Clone = ArcStr>(OrdMap<K, Arc<RoaringBitmap>>);

impl<K: Ord + Clone> Default for Sets<K> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<K: Ord + Clone> Sets<K> {
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

    fn toggle(&mut self, value: K, slot: Slot, on: bool) {
        if on {
            Arc::make_mut(self.0.entry(value).or_default()).insert(slot);
        } else if let Some(slots) = self.0.get_mut(&value) {
            Arc::make_mut(slots).remove(slot);
            if slots.is_empty() {
                self.0.remove(&value);
            }
        }
    }
}

impl Sets {
    /// Slots of a folder and of everything below it.
    pub fn below(&self, folder: &str) -> RoaringBitmap {
        if folder.is_empty() {
            return self.0.values().fold(RoaringBitmap::new(), |all, slots| all | &**slots);
        }
        let mut all = self.get(folder).cloned().unwrap_or_default();
        // `a0` is the first text after every text that starts with `a/`.
        let (start, end) = (format!("{folder}/"), format!("{folder}0"));
        for (_, slots) in self.0.range::<_, str>((
            std::ops::Bound::Included(start.as_str()),
            std::ops::Bound::Excluded(end.as_str()),
        )) {
            all |= &**slots;
        }
        all
    }

    /// Slots of values that start with this text.
    pub fn starting_with(&self, prefix: &str) -> RoaringBitmap {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.0
            .range::<_, str>(from)
            .take_while(|(value, _)| value.starts_with(prefix))
            .fold(RoaringBitmap::new(), |all, (_, slots)| all | &**slots)
    }
}

/// A few slots; nearly always one.
pub type Slots = smallvec::SmallVec<[Slot; 2]>;

/// Slots by a key of which most belong to one record, with the keys that belong to several.
#[derive(Debug, Clone)]
pub struct Keyed<K: Ord + Clone + std::hash::Hash> {
    slots: HashMap<K, Slots>,
    shared: OrdSet<K>,
}

impl<K: Ord + Clone + std::hash::Hash> Default for Keyed<K> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            shared: OrdSet::new(),
        }
    }
}

impl<K: Ord + Clone + std::hash::Hash> Keyed<K> {
    /// Slots with this key, in the order in which they came.
    pub fn get<Q: std::hash::Hash + Eq + ?Sized>(&self, key: &Q) -> &[Slot]
    where
        K: std::borrow::Borrow<Q>,
    {
        self.slots.get(key).map_or(&[], |slots| slots)
    }

    /// Keys that several records have, in order.
    pub fn shared(&self) -> impl Iterator<Item = (&K, &[Slot])> {
        self.shared
            .iter()
            .map(|key| (key, self.slots.get(key).map_or(&[][..], |slots| slots)))
    }

    pub(super) fn toggle(&mut self, key: K, slot: Slot, on: bool) {
        let slots = self.slots.entry(key.clone()).or_default();
        slots.retain(|own| *own != slot);
        if on {
            slots.push(slot);
        }
        let count = slots.len();
        if count == 0 {
            self.slots.remove(&key);
        }
        if count > 1 {
            self.shared.insert(key);
        } else {
            self.shared.remove(&key);
        }
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
    /// By kind of root.
    pub root_keys: Sets,
    /// By automatic tag.
    pub auto_tags: Sets<&'static str>,
    /// By first character of the model name.
    pub initials: Sets<Initial>,
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
    /// By SHA-256.
    pub hashes: Keyed<Sha256>,
    /// By AutoV3.
    pub autov3: Keyed<Box<str>>,
    /// By the provider's model id.
    pub model_ids: Keyed<u64>,
    /// By the provider's version id.
    pub version_ids: Keyed<u64>,
    /// By file name without extension.
    pub stems: Keyed<Box<str>>,
}

/// From this NSFW level on a preview is not safe for work.
const MATURE: u32 = 4;

impl Properties {
    /// Adds a record's properties, or takes them away.
    pub fn toggle(&mut self, slot: Slot, record: &Record, on: bool) {
        for tag in &record.tags {
            self.tags.toggle(tag.to_lowercase().into(), slot, on);
            let count = self.tag_counts.entry(tag.clone()).or_default();
            *count = if on { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.tag_counts.remove(tag);
            }
        }
        self.base_models.toggle(record.base_model.clone(), slot, on);
        self.sub_types.toggle(record.sub_type.clone(), slot, on);
        self.folders.toggle(record.folder.clone(), slot, on);
        self.root_keys.toggle(record.root_key.clone(), slot, on);
        for name in record.auto_tags.names() {
            self.auto_tags.toggle(name, slot, on);
        }
        self.initials.toggle(Initial::of(&record.model_name), slot, on);
        let flags = [
            (&mut self.favorites, record.favorite),
            (&mut self.untagged, record.tags.is_empty()),
            (&mut self.no_credit, record.license_flags & license::NO_CREDIT != 0),
            (&mut self.sell_images, record.license_flags & license::SELL_IMAGES != 0),
            (&mut self.mature, record.preview_nsfw_level >= MATURE),
            (&mut self.problems, record.problem.is_some()),
        ];
        for (set, has) in flags {
            if has {
                let set = Arc::make_mut(set);
                if on {
                    set.insert(slot)
                } else {
                    set.remove(slot)
                };
            }
        }
        if let Some(hash) = record.sha256 {
            self.hashes.toggle(hash, slot, on);
        }
        if let super::record::AutoV3::Known(hash) = &record.autov3 {
            self.autov3.toggle(hash.clone(), slot, on);
        }
        if let Some(id) = record.remote.model_id {
            self.model_ids.toggle(id, slot, on);
        }
        if let Some(id) = record.remote.id {
            self.version_ids.toggle(id, slot, on);
        }
        self.stems.toggle(record.file_name.clone(), slot, on);
    }
}
