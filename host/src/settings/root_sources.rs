//! Folders by name, before it is known which type each name belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::library::io_profile::IoProfile;
use crate::library::roots::{self, Root};
use crate::plugins::TypeInfo;

/// Folders by the name that settings, flags or ComfyUI give them.
#[derive(Debug, Clone, Default)]
pub struct RootSources {
    primary: BTreeMap<String, Vec<PathBuf>>,
    extra: BTreeMap<String, Vec<PathBuf>>,
    io_profiles: HashMap<PathBuf, IoProfile>,
    show_hidden: bool,
    // Folders that come first in their kind, the last one named first.
    defaults: Vec<PathBuf>,
    // Names that the command line gives.
    flags: BTreeSet<String>,
}

/// A name of folders that no model type uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// It.
    pub name: String,
    /// The most similar name that some type uses, when it may be meant.
    pub closest: Option<String>,
    /// Whether the command line gives it.
    pub is_flag: bool,
}

impl RootSources {
    /// Adds a folder.
    pub fn add_primary(&mut self, name: &str, folder: &Path) {
        self.primary.entry(name.to_owned()).or_default().push(folder.to_owned());
    }

    /// Adds a folder that comes before the others of its name, also before those that were added so earlier.
    pub fn add_default(&mut self, name: &str, folder: &Path) {
        self.primary
            .entry(name.to_owned())
            .or_default()
            .insert(0, folder.to_owned());
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        self.defaults.insert(0, absolute.components().collect());
    }

    /// Adds a folder of the command line.
    pub fn add_flag(&mut self, name: &str, folder: &Path) {
        self.add_primary(name, folder);
        self.flags.insert(name.to_owned());
    }

    /// The folders of a name, in the order in which they were added.
    #[cfg(test)]
    pub fn named(&self, name: &str) -> &[PathBuf] {
        self.primary.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Sets whether hidden files and folders are looked at, too.
    pub fn set_show_hidden(&mut self, show_hidden: bool) {
        self.show_hidden = show_hidden;
    }

    /// Sets the I/O profiles of folders.
    pub fn set_io_profiles(&mut self, profiles: HashMap<PathBuf, IoProfile>) {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        self.io_profiles = profiles
            .into_iter()
            // Without the slash at the end that `Root` takes away.
            .map(|(path, profile)| (absolute(path).components().collect(), profile))
            .collect();
    }

    /// Adds `folder_paths` and `extra_folder_paths`.
    pub fn add_contract(&mut self, settings: &Map<String, Value>) {
        for (key, into) in [
            ("folder_paths", &mut self.primary),
            ("extra_folder_paths", &mut self.extra),
        ] {
            for (name, folders) in settings.get(key).and_then(Value::as_object).into_iter().flatten() {
                let folders: Vec<&str> = match folders {
                    Value::String(folder) => vec![folder],
                    Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                    _ => Vec::new(),
                };
                let folders = folders
                    .into_iter()
                    .filter(|folder| !folder.trim().is_empty())
                    .map(PathBuf::from);
                into.entry(name.clone()).or_default().extend(folders);
            }
        }
    }

    /// All folders, as they are written.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let all = self.primary.values().chain(self.extra.values()).flatten();
        all.map(PathBuf::as_path)
    }

    /// The roots of a type: each kind's primary folders sorted, then each kind's extra ones;
    /// every real folder once.
    pub fn roots_of(&self, info: &TypeInfo) -> Vec<Root> {
        let mut all = Vec::new();
        for source in [&self.primary, &self.extra] {
            for kind in &info.descriptor.roots {
                let names = std::iter::once(&kind.key).chain(kind.folders.iter().filter(|name| **name != kind.key));
                let folders = names.filter_map(|name| source.get(name)).flatten();
                let mut arranged = roots::arrange(folders.filter_map(|folder| self.root(folder, &kind.key)).collect());
                let default = |root: &Root| self.defaults.iter().position(|folder| *folder == root.path);
                arranged.sort_by_key(|root| default(root).unwrap_or(usize::MAX));
                all.extend(arranged);
            }
        }
        roots::distinct(all)
    }

    fn root(&self, folder: &Path, key: &str) -> Option<Root> {
        let mut root = Root::new(folder, key)?;
        root.io = self.io_profiles.get(&root.path).copied();
        root.show_hidden = self.show_hidden;
        Some(root)
    }

    /// Names of folders that no type uses, each with the one that may be meant.
    pub fn unknown<'a>(&self, types: impl Iterator<Item = &'a TypeInfo>) -> Vec<UnknownName> {
        let known: BTreeSet<&str> = types
            .flat_map(|info| &info.descriptor.roots)
            .flat_map(|kind| std::iter::once(&kind.key).chain(&kind.folders))
            .map(String::as_str)
            .collect();
        let names = self.primary.iter().chain(&self.extra);
        let names: BTreeSet<&String> = names
            .filter(|(_, folders)| !folders.is_empty())
            .map(|(name, _)| name)
            .collect();
        names
            .into_iter()
            .filter(|name| !known.contains(name.as_str()))
            .map(|name| UnknownName {
                name: name.clone(),
                closest: closest(name, &known).map(str::to_owned),
                is_flag: self.flags.contains(name),
            })
            .collect()
    }
}

/// The known name that a person may have meant by another one.
fn closest<'k>(name: &str, known: &BTreeSet<&'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    let distance = |other: &&str| strsim::osa_distance(&name, &plain(other));
    let best = known.iter().min_by_key(|other| distance(other))?;
    // A third of the letters may be wrong.
    (distance(best) * 3 <= best.chars().count().max(name.chars().count())).then_some(*best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_has_the_closest_known_one() {
        let known = BTreeSet::from(["loras", "checkpoints", "diffusion_models", "vae"]);
        for (name, meant) in [
            ("lora", Some("loras")),
            ("Loras", Some("loras")),
            ("checkpoint", Some("checkpoints")),
            ("chekcpoints", Some("checkpoints")),
            ("diffusion-models", Some("diffusion_models")),
            ("vea", Some("vae")),
            ("clip_vision", None),
            ("x", None),
        ] {
            assert_eq!(closest(name, &known), meant, "{name}");
        }
    }
}
