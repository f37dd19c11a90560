//! Folders by name, before it is known which type each name belongs to.

use std::collections::{BTreeMap, HashMap};
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
}

impl RootSources {
    /// Adds a folder.
    pub fn add_primary(&mut self, name: &str, folder: &Path) {
        self.primary.entry(name.to_owned()).or_default().push(folder.to_owned());
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
                all.extend(roots::arrange(
                    folders.filter_map(|folder| self.root(folder, &kind.key)).collect(),
                ));
            }
        }
        roots::distinct(all)
    }

    fn root(&self, folder: &Path, key: &str) -> Option<Root> {
        let mut root = Root::new(folder, key)?;
        root.io = self.io_profiles.get(&root.path).copied();
        Some(root)
    }

    /// Names that no type claims, for a warning.
    pub fn unclaimed<'a>(&'a self, types: impl Iterator<Item = &'a TypeInfo>) -> Vec<&'a str> {
        let claimed: Vec<&str> = types
            .flat_map(|info| &info.descriptor.roots)
            .flat_map(|kind| std::iter::once(&kind.key).chain(&kind.folders))
            .map(String::as_str)
            .collect();
        let names = self
            .primary
            .iter()
            .chain(&self.extra)
            .filter(|(_, folders)| !folders.is_empty());
        names
            .map(|(name, _)| name.as_str())
            .filter(|name| !claimed.contains(name))
            .collect()
    }
}
