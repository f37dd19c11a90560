//! An existing `settings.json` of the original. It is only ever read.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::SettingsError;
use crate::compat::compat;
use crate::files::foreign::{self, ForeignFile};
use crate::files::foreign_json;

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
    let bytes = ForeignFile::existing(path)?.read_at_most(foreign::SETTINGS_FILE)?;
    let format = |reason: String| SettingsError::Format {
        path: path.to_owned(),
        reason,
    };
    let Value::Object(mut values) = foreign_json::read(&bytes).map_err(|error| format(error.to_string()))? else {
        return Err(format("it is no JSON object".into()));
    };
    if values.get("civitai_api_key").and_then(Value::as_str) == Some(&compat().unset_key) {
        values.remove("civitai_api_key");
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_never_filled_in_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        std::fs::write(&path, r#"{"a": 1, "civitai_api_key": "your_civitai_api_key_here"}"#).unwrap();
        let values = read(&path).unwrap();
        assert!(values.contains_key("a") && !values.contains_key("civitai_api_key"));
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        std::fs::write(&path, "{\n \"a\": }").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
    }
}
