//! Which records a request wants. Source: contract section 2.2.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::patterns;
use super::record::{Blake3, Sha256};
use super::search::Search;
use super::snapshot::Snapshot;
use super::text::Initial;
use crate::plugins::bindings::{Initial as GuestInitial, NamePatterns};
use crate::workers::Deadline;

/// Stands for "no tags" among tag filters.
pub const NO_TAGS: &str = "__no_tags__";

/// A first character that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WantedInitial {
    /// One of the classes.
    Class(Initial),
    /// Exactly this character, in any case.
    Character(char),
}

impl From<GuestInitial> for WantedInitial {
    fn from(initial: GuestInitial) -> Self {
        match initial {
            GuestInitial::Digit => Self::Class(Initial::Digit),
            GuestInitial::Symbol => Self::Class(Initial::Symbol),
            GuestInitial::Cjk => Self::Class(Initial::Cjk),
            GuestInitial::Letter(c) if c.is_ascii_alphabetic() => {
                Self::Class(Initial::Letter(c.to_ascii_uppercase() as u8))
            }
            GuestInitial::Letter(c) => Self::Character(c),
        }
    }
}

/// What a record must have. Empty and absent parts ask nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// SHA-256, BLAKE3 or AutoV3 in lower case, any of them. When not empty, nothing else applies.
    pub hashes: Vec<String>,
    /// Only previews below R.
    pub sfw_only: bool,
    /// Only favourites.
    pub favorites_only: bool,
    /// Only with a newer version at the provider.
    pub update_available_only: bool,
    /// Models that have one. None stands for no model.
    pub updates: Option<Arc<RoaringBitmap>>,
    /// One folder.
    pub folder: Option<String>,
    /// Any of these folders.
    pub folder_include: Vec<String>,
    /// None of these folders, nor what is below them.
    pub folder_exclude: Vec<String>,
    /// Whether folders mean what is below them too.
    pub recursive: bool,
    /// Folders that start with one of these texts.
    pub folder_prefix_include: Vec<String>,
    /// No folder that starts with one of these texts.
    pub folder_prefix_exclude: Vec<String>,
    /// One kind of root.
    pub root_key: Option<String>,
    /// Exact base models, any of them.
    pub base_models: Vec<String>,
    /// Sub-types in lower case, any of them.
    pub sub_types: Vec<String>,
    /// Tags in lower case.
    pub tags_include: Vec<String>,
    /// Tags in lower case; exclude wins.
    pub tags_exclude: Vec<String>,
    /// Whether all included tags are needed.
    pub all_tags: bool,
    /// Automatic tags, exact case, any of them.
    pub auto_tags_include: Vec<String>,
    /// No automatic tag of these.
    pub auto_tags_exclude: Vec<String>,
    /// Text search.
    pub search: Option<Search>,
    /// First character of the model name.
    pub initial: Option<WantedInitial>,
    /// Patterns on names.
    pub names: Option<NamePatterns>,
    /// Usable without credit (false) or needing it (true).
    pub credit_required: Option<bool>,
    /// Whether images may be sold.
    pub selling_allowed: Option<bool>,
    /// When searches and patterns have to end. The result is incomplete when it is over.
    pub deadline: Deadline,
}

/// The slots that a filter keeps.
#[derive(Debug)]
pub enum Kept {
    /// Every listed record.
    All,
    /// These.
    Some(RoaringBitmap),
}

impl Kept {
    fn and(&mut self, set: RoaringBitmap) {
        match self {
            Self::All => *self = Self::Some(set),
            Self::Some(own) => *own &= set,
        }
    }

    fn and_ref(&mut self, set: Option<&RoaringBitmap>) {
        match (&mut *self, set) {
            (Self::All, set) => *self = Self::Some(set.cloned().unwrap_or_default()),
            (Self::Some(own), Some(set)) => *own &= set,
            (Self::Some(own), None) => own.clear(),
        }
    }

    fn without(&mut self, all: &RoaringBitmap, set: &RoaringBitmap) {
        match self {
            Self::All => *self = Self::Some(all - set),
            Self::Some(own) => *own -= set,
        }
    }
}

impl Filter {
    /// The slots that pass, as of one snapshot.
    pub fn run(&self, snapshot: &Snapshot) -> Kept {
        let (properties, all) = (snapshot.properties(), snapshot.visible());
        let mut kept = Kept::All;
        if !self.hashes.is_empty() {
            kept.and(self.by_hash(snapshot));
        } else {
            if self.sfw_only {
                kept.without(all, &properties.mature);
            }
            if self.favorites_only {
                kept.and_ref(Some(&properties.favorites));
            }
            self.by_folder(snapshot, &mut kept);
            let any_of = |sets: &super::sets::Sets, values: &[String]| {
                values
                    .iter()
                    .filter_map(|value| sets.get(value.as_str()))
                    .fold(RoaringBitmap::new(), |sum, set| sum | set)
            };
            if !self.base_models.is_empty() {
                kept.and(any_of(&properties.base_models, &self.base_models));
            }
            self.by_tag(snapshot, &mut kept);
            if !self.sub_types.is_empty() {
                kept.and(any_of(&properties.sub_types, &self.sub_types));
            }
            let auto = |names: &[String]| {
                names
                    .iter()
                    .filter_map(|name| properties.auto_tags.get(name.as_str()))
                    .fold(RoaringBitmap::new(), |sum, set| sum | set)
            };
            if !self.auto_tags_include.is_empty() {
                kept.and(auto(&self.auto_tags_include));
            }
            if !self.auto_tags_exclude.is_empty() {
                kept.without(all, &auto(&self.auto_tags_exclude));
            }
            if let Some(search) = &self.search {
                kept.and(search.run(snapshot, &self.deadline) & all);
            }
            self.by_name(snapshot, &mut kept);
            match self.credit_required {
                Some(true) => kept.without(all, &properties.no_credit),
                Some(false) => kept.and_ref(Some(&properties.no_credit)),
                None => {}
            }
            match self.selling_allowed {
                Some(true) => kept.and_ref(Some(&properties.sell_images)),
                Some(false) => kept.without(all, &properties.sell_images),
                None => {}
            }
        }
        if self.update_available_only {
            kept.and_ref(self.updates.as_deref());
        }
        kept
    }

    fn by_hash(&self, snapshot: &Snapshot) -> RoaringBitmap {
        let (keys, records) = (snapshot.keys(), snapshot.records());
        let mut found = RoaringBitmap::new();
        for hash in &self.hashes {
            if let Some(sha256) = Sha256::parse(hash) {
                found.extend(keys.sha256(records, &sha256));
                found.extend(keys.blake3(records, &Blake3(sha256.0)));
            }
            found.extend(keys.autov3(records, hash));
        }
        found
    }

    fn by_folder(&self, snapshot: &Snapshot, kept: &mut Kept) {
        let (properties, all) = (snapshot.properties(), snapshot.visible());
        let folders = &properties.folders;
        for folder in &self.folder_exclude {
            kept.without(all, &properties.below(folder.trim_end_matches('/'), all));
        }
        let one = |folder: &str| {
            let folder = folder.trim_end_matches('/');
            match self.recursive {
                true => properties.below(folder, all),
                false => folders.get(folder).cloned().unwrap_or_default(),
            }
        };
        if !self.folder_include.is_empty() {
            kept.and(
                self.folder_include
                    .iter()
                    .fold(RoaringBitmap::new(), |sum, folder| sum | one(folder)),
            );
        }
        if let Some(folder) = &self.folder
            && !(folder.is_empty() && self.recursive)
        {
            kept.and(one(folder));
        }
        if !self.folder_prefix_include.is_empty() {
            let prefixes = self.folder_prefix_include.iter();
            kept.and(prefixes.fold(RoaringBitmap::new(), |sum, prefix| sum | folders.starting_with(prefix)));
        }
        for prefix in &self.folder_prefix_exclude {
            kept.without(all, &folders.starting_with(prefix));
        }
        if let Some(key) = &self.root_key {
            kept.and_ref(snapshot.properties().root_keys.get(key.as_str()));
        }
    }

    fn by_tag(&self, snapshot: &Snapshot, kept: &mut Kept) {
        let (properties, all) = (snapshot.properties(), snapshot.visible());
        let set = |tag: &String| match tag.as_str() {
            NO_TAGS => Some(&*properties.untagged),
            tag => properties.tags.get(tag.trim()),
        };
        let include: Vec<&String> = self
            .tags_include
            .iter()
            .filter(|tag| !self.tags_exclude.contains(tag))
            .collect();
        if !include.is_empty() {
            let any = |tags: &[&String]| {
                tags.iter()
                    .filter_map(|tag| set(tag))
                    .fold(RoaringBitmap::new(), |sum, own| sum | own)
            };
            if self.all_tags {
                let named: Vec<&&String> = include.iter().filter(|tag| **tag != NO_TAGS).collect();
                let mut found = RoaringBitmap::new();
                if let Some((first, rest)) = named.split_first() {
                    found = set(first).cloned().unwrap_or_default();
                    for tag in rest {
                        match set(tag) {
                            Some(own) => found &= own,
                            None => found.clear(),
                        }
                    }
                }
                if named.len() < include.len() {
                    found |= &*properties.untagged;
                }
                kept.and(found);
            } else {
                kept.and(any(&include));
            }
        }
        for tag in &self.tags_exclude {
            if let Some(own) = set(tag) {
                kept.without(all, own);
            }
        }
    }

    fn by_name(&self, snapshot: &Snapshot, kept: &mut Kept) {
        let properties = snapshot.properties();
        match self.initial {
            Some(WantedInitial::Class(initial)) => kept.and_ref(properties.initials.get(&initial)),
            Some(WantedInitial::Character(wanted)) => {
                let same = |first: &char| first.to_lowercase().eq(wanted.to_lowercase());
                let sets = properties.first_characters.iter().filter(|(first, _)| same(first));
                kept.and(sets.fold(RoaringBitmap::new(), |sum, (_, set)| sum | set));
            }
            None => {}
        }
        if let Some(patterns) = self.names.as_ref().filter(|names| patterns::are_any(names)) {
            let found = match &*kept {
                Kept::All => patterns::run(patterns, snapshot, snapshot.visible(), &self.deadline),
                Kept::Some(set) => patterns::run(patterns, snapshot, set, &self.deadline),
            };
            *kept = Kept::Some(found);
        }
    }
}
