//! The folders of a ComfyUI: its `models` folder and what its `extra_model_paths.yaml` adds.

use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use super::{RootSources, SettingsError};
use crate::compat::compat;
use crate::files::foreign::{self, ForeignFile};

/// Adds every folder that this ComfyUI would look into, under ComfyUI's own names.
///
/// # Errors
/// When the folder is not there, or its YAML can't be parsed.
pub fn add(folder: &Path, roots: &mut RootSources) -> Result<(), SettingsError> {
    let models = folder.join(&compat().models_folder);
    let entries = std::fs::read_dir(&models).or_else(|error| {
        // A folder that is itself a `models` folder is fine, too.
        if folder.is_dir() {
            std::fs::read_dir(folder)
        } else {
            Err(error)
        }
    });
    for entry in entries.map_err(|source| SettingsError::Io {
        path: models.clone(),
        source,
    })? {
        let Ok(entry) = entry else { continue };
        if let Some(name) = entry.file_name().to_str()
            && entry.path().is_dir()
        {
            roots.add_primary(name, &entry.path());
        }
    }
    for name in &compat().extra_paths {
        let path = folder.join(name);
        if foreign::is_taken(&path) {
            add_yaml(&path, roots)?;
        }
    }
    Ok(())
}

/// Each top-level entry is an installation: `base_path`, and under other names one folder or
/// several, one a line.
fn add_yaml(path: &Path, roots: &mut RootSources) -> Result<(), SettingsError> {
    let text = ForeignFile::existing(path)?.read_text(foreign::SETTINGS_FILE)?;
    let yaml: Value = serde_yaml_ng::from_str(&text).map_err(|error| SettingsError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let Value::Mapping(installations) = yaml else {
        return Ok(());
    };
    let beside = path.parent().unwrap_or(Path::new("."));
    for installation in installations.values().filter_map(Value::as_mapping) {
        let base = installation
            .get("base_path")
            .and_then(Value::as_str)
            .map_or_else(|| beside.to_owned(), |base| beside.join(expand_home(base.trim())));
        for (name, folders) in installation {
            let (Some(name), Some(folders)) = (name.as_str(), folders.as_str()) else {
                continue;
            };
            if name == "base_path" || name == "is_default" {
                continue;
            }
            for folder in folders.lines().map(str::trim).filter(|line| !line.is_empty()) {
                roots.add_primary(name, &base.join(expand_home(folder)));
            }
        }
    }
    Ok(())
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), dirs::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}
