//! Settings that were changed while the server ran, in files of the data folder. They are stronger than every file that a
//! person writes, and weaker than the command line and the environment.
//!
//! Secrets are in a file of their own that nobody but its owner can read.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SettingsError;
use super::libraries::belongs_to_a_library;
use crate::compat::compat;
use crate::files::foreign::{ForeignFile, Links};
use crate::files::{atomic, own};

/// The files in the data folder.
const FILE: &str = "changed_settings.json";
const SECRETS: &str = "secrets.json";
/// Value that takes a secret away.
const DELETE: &str = "__DELETE__";
/// Parts of a key's name that make it a secret.
const SECRET: [&str; 4] = ["api_key", "password", "token", "secret"];

/// Longest name of a setting in bytes.
const MAX_NAME: usize = 128;
/// Largest value in bytes of JSON.
const MAX_VALUE: usize = 64 << 10;
/// Settings that are kept, those of all libraries counted.
const MAX_KEYS: usize = 512;
/// Bytes of JSON of all that is kept.
const MAX_BYTES: usize = 1 << 20;

/// Whether a setting must never be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|part| key.contains(part)) && !key.ends_with("_set")
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Values {
    // For every library.
    settings: Map<String, Value>,
    // What belongs to one, by its name.
    libraries: Map<String, Value>,
}

#[derive(Debug, Clone, Default)]
struct State {
    values: Values,
    secrets: Map<String, Value>,
}

impl State {
    /// Refuses what is more than is kept. Each answer with settings and each change holds all of it.
    fn check(&self) -> Result<(), SettingsError> {
        let libraries = self.values.libraries.values().filter_map(Value::as_object);
        let all: Vec<_> = libraries
            .chain([&self.values.settings, &self.secrets])
            .flatten()
            .collect();
        within("settings", all.len(), MAX_KEYS, || "all libraries together".into())?;
        let mut bytes = 0;
        for (key, value) in all {
            within("bytes in the name of one", key.len(), MAX_NAME, || {
                format!("`{}…`", &key[..key.floor_char_boundary(MAX_NAME)])
            })?;
            let size = serde_json::to_vec(value).map_or(0, |text| text.len());
            within("bytes of JSON in one", size, MAX_VALUE, || format!("`{key}`"))?;
            bytes += key.len() + size;
        }
        within("bytes of JSON in all", bytes, MAX_BYTES, || "they".into())
    }
}

fn within(
    what: &'static str,
    count: usize,
    most: usize,
    subject: impl FnOnce() -> String,
) -> Result<(), SettingsError> {
    if count <= most {
        return Ok(());
    }
    Err(SettingsError::TooMuch {
        what,
        count,
        most,
        subject: subject(),
    })
}

/// Changed settings.
#[derive(Debug, Default)]
pub struct ChangedSettings {
    folder: PathBuf,
    // The key of the environment.
    key: Option<String>,
    state: Mutex<State>,
}

impl ChangedSettings {
    /// Reads what was changed in earlier runs. A file that can't be used is put aside with a warning.
    ///
    /// # Errors
    /// When a file may be whole and can't be read now; it is never overwritten then.
    pub fn open(data_folder: &Path) -> Result<Self, SettingsError> {
        let values: Option<Values> = own::read_json(&data_folder.join(FILE))?;
        let secrets: Option<Map<String, Value>> = own::read_json(&data_folder.join(SECRETS))?;
        let key = std::env::var(&compat().providers.key_variable).ok();
        Ok(Self {
            folder: data_folder.to_owned(),
            key: key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()),
            state: Mutex::new(State {
                values: values.unwrap_or_default(),
                secrets: secrets.unwrap_or_default(),
            }),
        })
    }

    /// Puts what was changed over what files say for a library.
    pub fn apply(&self, library: &str, contract: &mut Map<String, Value>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let own = state.values.libraries.get(library).and_then(Value::as_object);
        let changed = [Some(&state.values.settings), own, Some(&state.secrets)];
        for (key, value) in changed.into_iter().flatten().flatten() {
            contract.insert(key.clone(), value.clone());
        }
        if let Some(key) = &self.key {
            contract.insert("civitai_api_key".into(), key.as_str().into());
        }
    }

    /// Changes settings while this library is active, and keeps them; `check` says with the new ones in force whether they
    /// can be used. Blocks.
    ///
    /// # Errors
    /// [`SettingsError::TooMuch`], the reason of `check`, or why a file can't be written; nothing is different then.
    pub fn change<E: From<SettingsError>>(
        &self,
        library: &str,
        changes: &Map<String, Value>,
        check: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let before = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut after = state.clone();
            for (key, value) in changes {
                put(&mut after, library, key, value);
            }
            after.check()?;
            std::mem::replace(&mut *state, after)
        };
        let done = check().and_then(|()| self.save(&before).map_err(E::from));
        if done.is_err() {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = before;
        }
        done
    }

    fn save(&self, before: &State) -> Result<(), SettingsError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if state.secrets != before.secrets {
            let path = self.folder.join(SECRETS);
            owners_alone(&path)
                .and_then(|()| write(&path, &state.secrets))
                .map_err(|source| SettingsError::Io { path, source })?;
        }
        if state.values != before.values {
            let path = self.folder.join(FILE);
            write(&path, &state.values).map_err(|source| SettingsError::Io { path, source })?;
        }
        Ok(())
    }
}

fn put(state: &mut State, library: &str, key: &str, value: &Value) {
    let key = key.to_owned();
    if is_secret(&key) {
        let value = match value {
            Value::String(text) if text == DELETE => "".into(),
            other => other.clone(),
        };
        state.secrets.insert(key, value);
    } else if belongs_to_a_library(&key) {
        let own = state
            .values
            .libraries
            .entry(library)
            .or_insert_with(|| Map::new().into());
        if let Value::Object(own) = own {
            own.insert(key, value.clone());
        }
    } else {
        state.values.settings.insert(key, value.clone());
    }
}

fn write(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?;
    atomic::write(path, &text)
}

/// Makes an empty file for its owner alone where there is none: a write keeps the rights of what is there.
fn owners_alone(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(0o600);
        let file = ForeignFile::open_with(&mut options, path, Links::Follow)?;
        let alone = std::fs::Permissions::from_mode(0o600);
        file.map_or(Ok(()), |file| file.as_file().set_permissions(alone))
    }
    #[cfg(not(unix))]
    {
        ForeignFile::open_with(&mut options, path, Links::Follow)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(changed: &ChangedSettings, values: Value) -> Result<(), SettingsError> {
        changed.change("a", values.as_object().unwrap(), || Ok(()))
    }

    fn applied(changed: &ChangedSettings, library: &str) -> Map<String, Value> {
        let mut contract = json!({"show_only_sfw": false}).as_object().cloned().unwrap();
        changed.apply(library, &mut contract);
        contract
    }

    #[test]
    fn changes_are_kept_and_a_librarys_own_stay_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let changed = ChangedSettings::open(folder.path()).unwrap();
        change(
            &changed,
            json!({"show_only_sfw": true, "default_x_root": "/x", "civitai_api_key": "k"}),
        )
        .unwrap();
        let again = ChangedSettings::open(folder.path()).unwrap();
        for changed in [&changed, &again] {
            let a = applied(changed, "a");
            assert_eq!(
                (&a["show_only_sfw"], &a["default_x_root"]),
                (&json!(true), &json!("/x"))
            );
            assert_eq!(a["civitai_api_key"], "k");
            assert!(!applied(changed, "b").contains_key("default_x_root"));
        }
        let open = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!open.contains("api_key"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join(SECRETS))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        change(&again, json!({"civitai_api_key": DELETE})).unwrap();
        assert_eq!(applied(&again, "a")["civitai_api_key"], "");
    }

    #[test]
    fn what_is_kept_is_bounded_in_names_values_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let changed = ChangedSettings::open(folder.path()).unwrap();
        let name = "n".repeat(MAX_NAME + 1);
        let refused =
            |values: Value| change(&changed, values).is_err_and(|error| error.to_string().contains("may have"));
        assert!(refused(json!({ name: 1 })));
        assert!(refused(json!({ "a": "x".repeat(MAX_VALUE) })));
        assert!(refused(
            (0..=MAX_KEYS)
                .map(|index| (index.to_string(), Value::from(1)))
                .collect::<Map<_, _>>()
                .into()
        ));
        let large = "x".repeat(MAX_VALUE - 2);
        let fitting = (0..64).find(|index| change(&changed, json!({ format!("k{index}"): large })).is_err());
        assert_eq!(fitting, Some(MAX_BYTES / MAX_VALUE - 1));
        // Nothing of what was refused is kept, and what is there can be made smaller.
        assert!(!applied(&changed, "a").contains_key("a"));
        change(&changed, json!({"k0": ""})).unwrap();
        assert!(std::fs::metadata(folder.path().join(FILE)).unwrap().len() < 2 * MAX_BYTES as u64);
    }

    #[test]
    fn what_can_not_be_used_changes_nothing_and_a_broken_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let changed = ChangedSettings::open(folder.path()).unwrap();
        let values = json!({"proxy_port": "x"});
        let refused = changed.change("a", values.as_object().unwrap(), || Err(SettingsError::NoDataFolder));
        assert!(refused.is_err() && !applied(&changed, "a").contains_key("proxy_port"));
        std::fs::write(folder.path().join(SECRETS), "{\"civitai_api_key\": hidden").unwrap();
        let changed = ChangedSettings::open(folder.path()).unwrap();
        assert!(!applied(&changed, "a").contains_key("civitai_api_key"));
        assert!(!folder.path().join(SECRETS).exists());
    }
}
