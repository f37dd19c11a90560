//! An existing `settings.json` of the original. It is only ever read.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::SettingsError;
use crate::compat::compat;

/// Where the original keeps it on this machine.
pub fn default_path() -> Option<PathBuf> {
    Some(
        dirs::config_dir()?
            .join(&compat().settings_folder)
            .join(&compat().settings_file),
    )
}

/// Reads it.
///
/// # Errors
/// When it can't be read or is no JSON object; line and column are given.
pub fn read(path: &Path) -> Result<Map<String, Value>, SettingsError> {
    let bytes = std::fs::read(path).map_err(|source| SettingsError::Io {
        path: path.to_owned(),
        source,
    })?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut values: Map<String, Value> = serde_json::from_slice(text).map_err(|error| SettingsError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    if values.get("civitai_api_key").and_then(Value::as_str) == Some(&compat().unset_key) {
        values.remove("civitai_api_key");
    }
    Ok(values)
}

/// Puts the folders and defaults of the active library where the top level has none.
pub fn adopt_active_library(values: &mut Map<String, Value>) {
    let active = values
        .get("active_library")
        .and_then(Value::as_str)
        .unwrap_or("default")
        .to_owned();
    let libraries = values.get("libraries");
    let library = libraries
        .and_then(|libraries| libraries.get(&active))
        .and_then(Value::as_object)
        .cloned();
    for (key, value) in library.unwrap_or_default() {
        let empty = match values.get(&key) {
            None | Some(Value::Null) => true,
            Some(Value::Object(object)) => object.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if empty {
            values.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_librarys_folders_stand_in_where_the_top_level_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        std::fs::write(&path, r#"{"folder_paths": {}, "active_library": "b", "show_only_sfw": true,
            "libraries": {"b": {"folder_paths": {"vae": ["/x"]}, "show_only_sfw": false}}, "civitai_api_key": "your_civitai_api_key_here"}"#).unwrap();
        let mut values = read(&path).unwrap();
        adopt_active_library(&mut values);
        assert_eq!(values["folder_paths"]["vae"][0], "/x");
        assert_eq!(values["show_only_sfw"], true);
        assert!(!values.contains_key("civitai_api_key"));
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        std::fs::write(&path, "{\n \"a\": }").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
    }
}
