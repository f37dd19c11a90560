//! Named libraries (contract section 4.9): sets of folders and defaults, of which one is active.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ChangedSettings, ContractSettings, RootSources};
use crate::files::foreign::ForeignError;
use crate::files::own;

/// Name of the only library where settings name none.
const UNNAMED: &str = "default";
/// File in the data folder with the choice that was made while the server ran.
const CHOICE: &str = "active_library.json";
/// What a library says of itself, and not of the settings that are in force with it.
const DESCRIPTION: [&str; 3] = ["metadata", "created_at", "updated_at"];

/// What is in force while a library is active.
#[derive(Debug)]
pub struct ActiveLibrary {
    /// Its name.
    pub name: String,
    /// Different each time that settings are put together, so that answers by other settings are told apart.
    pub revision: u64,
    /// The contract's keys, the library's own among them.
    pub contract: ContractSettings,
    /// Where its folders are.
    pub roots: RootSources,
}

/// All libraries that settings name.
#[derive(Debug)]
pub struct NamedLibraries {
    named: Map<String, Value>,
    // The contract's keys without those of any library.
    base: Map<String, Value>,
    // Folders of the command line and of a ComfyUI; they belong to every library.
    everywhere: RootSources,
    // The one that the settings call active.
    said: String,
    start: String,
    choice: PathBuf,
    changed: ChangedSettings,
}

/// A choice, and what the settings said when it was made.
#[derive(Debug, Serialize, Deserialize)]
struct Choice {
    library: String,
    settings: String,
}

impl NamedLibraries {
    /// The libraries of these settings. The one to start with is `asked`, else the one that was chosen last, unless the
    /// settings call another one active than they did then, else the one that the settings call active.
    ///
    /// # Errors
    /// The known names, when none of them is `asked`.
    pub fn new(
        base: Map<String, Value>,
        everywhere: RootSources,
        asked: Option<&str>,
        data_folder: &Path,
        changed: ChangedSettings,
    ) -> Result<Self, String> {
        let named = base
            .get("libraries")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let said = base.get("active_library").and_then(Value::as_str);
        let said = match named.keys().next() {
            None => said.filter(|name| !name.is_empty()).unwrap_or(UNNAMED),
            // As the original, which takes the first when the active one is not there.
            Some(first) => said.filter(|name| named.contains_key(*name)).unwrap_or(first),
        };
        let mut libraries = Self {
            said: said.to_owned(),
            start: said.to_owned(),
            named,
            base,
            everywhere,
            choice: data_folder.join(CHOICE),
            changed,
        };
        if let Some(asked) = asked {
            if !libraries.contains(asked) {
                return Err(libraries.names().collect::<Vec<_>>().join(", "));
            }
            libraries.start = asked.to_owned();
        } else if let Some(choice) = libraries.chosen() {
            libraries.start = choice;
        }
        Ok(libraries)
    }

    /// Their names, in the order of the settings; one when settings name none.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let unnamed = self.named.is_empty().then_some(self.said.as_str());
        self.named.keys().map(String::as_str).chain(unnamed)
    }

    /// The libraries as the settings have them; empty when they name none.
    pub fn as_written(&self) -> &Map<String, Value> {
        &self.named
    }

    /// The library to start with.
    pub fn start(&self) -> ActiveLibrary {
        self.library(&self.start)
    }

    /// What is in force while this library is active.
    pub fn get(&self, name: &str) -> Option<ActiveLibrary> {
        self.contains(name).then(|| self.library(name))
    }

    /// What was changed while the server ran.
    pub fn changed(&self) -> &ChangedSettings {
        &self.changed
    }

    /// Remembers for the next start that this library was chosen.
    ///
    /// # Errors
    /// When the file in the data folder, whose path is given, can't be written.
    pub fn remember(&self, name: &str) -> Result<(), (PathBuf, std::io::Error)> {
        let choice = Choice {
            library: name.to_owned(),
            settings: self.said.clone(),
        };
        let written = serde_json::to_vec_pretty(&choice)
            .map_err(std::io::Error::from)
            .and_then(|text| crate::files::atomic::write(&self.choice, &text));
        written.map_err(|error| (self.choice.clone(), error))
    }

    fn contains(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// The choice of an earlier run, if it still counts.
    fn chosen(&self) -> Option<String> {
        let warn = |error: &ForeignError| tracing::warn!("the chosen library is not known: {error}");
        let choice: Choice = own::read_json(&self.choice).inspect_err(warn).ok()??;
        (choice.settings == self.said && self.contains(&choice.library)).then_some(choice.library)
    }

    fn library(&self, name: &str) -> ActiveLibrary {
        let mut contract = self.base.clone();
        if name != self.said {
            // The top level mirrors the library that the settings call active.
            contract.retain(|key, _| !belongs_to_a_library(key));
        }
        if let Some(library) = self.named.get(name).and_then(Value::as_object) {
            adopt(&mut contract, library);
        }
        self.changed.apply(name, &mut contract);
        let mut roots = self.everywhere.clone();
        roots.add_contract(&contract);
        ActiveLibrary {
            revision: rand::random(),
            name: name.to_owned(),
            contract: ContractSettings::new(contract),
            roots,
        }
    }
}

/// Keys of the top level that a library has for itself.
pub(super) fn belongs_to_a_library(key: &str) -> bool {
    ["folder_paths", "extra_folder_paths", "recipes_path"].contains(&key)
        || (key.starts_with("default_") && key.ends_with("_root"))
}

/// Puts a library's values where the top level has none.
fn adopt(values: &mut Map<String, Value>, library: &Map<String, Value>) {
    for (key, value) in library {
        let empty = match values.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::Object(object)) => object.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if empty && !DESCRIPTION.contains(&key.as_str()) {
            values.insert(key.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(active: &str) -> Map<String, Value> {
        let value = json!({
            "active_library": active,
            "show_only_sfw": true,
            "folder_paths": {"vae": ["/top"]},
            "default_vae_root": "/top",
            "libraries": {
                "a": {"folder_paths": {"vae": ["/a"]}, "extra_folder_paths": {"vae": ["/a2"]}, "created_at": "then"},
                "b": {"folder_paths": {"vae": ["/b"]}, "default_vae_root": "/b", "show_only_sfw": false},
            },
        });
        value.as_object().cloned().unwrap()
    }

    fn open(values: Map<String, Value>, asked: Option<&str>, data: &Path) -> Result<NamedLibraries, String> {
        NamedLibraries::new(values, RootSources::default(), asked, data, ChangedSettings::default())
    }

    #[test]
    fn the_top_level_counts_for_the_active_library_and_not_for_others() {
        let data = tempfile::tempdir().unwrap();
        let libraries = open(settings("a"), None, data.path()).unwrap();
        let a = libraries.start();
        assert_eq!(a.name, "a");
        assert_eq!(a.contract.get("folder_paths"), Some(&json!({"vae": ["/top"]})));
        assert_eq!(a.contract.get("extra_folder_paths"), Some(&json!({"vae": ["/a2"]})));
        assert_eq!(a.contract.text("default_vae_root", ""), "/top");
        assert_eq!(a.contract.get("created_at"), None);
        let b = libraries.get("b").unwrap();
        assert_eq!(b.contract.get("folder_paths"), Some(&json!({"vae": ["/b"]})));
        assert_eq!(b.contract.get("extra_folder_paths"), None);
        assert_eq!(b.contract.text("default_vae_root", ""), "/b");
        assert!(b.contract.show_only_sfw(), "what is not a library's own stays");
        assert!(libraries.get("c").is_none());
    }

    #[test]
    fn a_choice_lasts_until_the_settings_say_something_new() {
        let data = tempfile::tempdir().unwrap();
        open(settings("a"), None, data.path()).unwrap().remember("b").unwrap();
        let start = |active: &str, asked: Option<&str>| open(settings(active), asked, data.path()).map(|own| own.start);
        assert_eq!(start("a", None).as_deref(), Ok("b"));
        assert_eq!(start("a", Some("a")).as_deref(), Ok("a"));
        assert_eq!(start("a", Some("x")), Err("a, b".into()));
        let mut third = settings("a");
        third["libraries"]["c"] = json!({});
        third["active_library"] = json!("c");
        assert_eq!(open(third, None, data.path()).unwrap().start, "c");
        // The chosen one is gone.
        let mut without = settings("a");
        without["libraries"].as_object_mut().unwrap().remove("b");
        assert_eq!(open(without, None, data.path()).unwrap().start, "a");
        // A spoilt file is passed over.
        std::fs::write(data.path().join(CHOICE), "{").unwrap();
        assert_eq!(start("a", None).as_deref(), Ok("a"));
    }

    #[test]
    fn settings_without_libraries_have_one() {
        let data = tempfile::tempdir().unwrap();
        let libraries = open(Map::new(), None, data.path()).unwrap();
        assert_eq!(libraries.names().collect::<Vec<_>>(), ["default"]);
        assert!(libraries.get("default").is_some() && libraries.get("a").is_none());
        // The first, when the active one is not there.
        assert_eq!(open(settings("gone"), None, data.path()).unwrap().start, "a");
    }
}
