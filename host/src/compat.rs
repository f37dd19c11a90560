//! Names of other programs' files and URLs, read from `compat.toml` at build time.

use std::sync::OnceLock;

use serde::Deserialize;

/// See `compat.toml`.
#[derive(Debug, Deserialize)]
pub struct Compat {
    /// Folder of the original's settings below the user's configuration folder.
    pub settings_folder: String,
    /// File of the original's settings.
    pub settings_file: String,
    /// URL prefix of its static files.
    pub static_prefix: String,
    /// Placeholder below that prefix.
    pub placeholder: String,
    /// Value of an API key that was never filled in.
    pub unset_key: String,
    /// ComfyUI's folder of models.
    pub models_folder: String,
    /// ComfyUI's files with further folders.
    pub extra_paths: Vec<String>,
    /// Endings, with their dot, of files that are not finished.
    pub unfinished_endings: Vec<String>,
    /// Folders that operating systems and other programs keep for themselves.
    pub system_folders: Vec<String>,
    /// Where metadata of models comes from.
    pub providers: ProviderNames,
    /// Base models that are always known.
    pub base_models: Vec<BaseModelGroup>,
}

/// See `[[base_models]]` in `compat.toml`.
#[derive(Debug, Deserialize)]
pub struct BaseModelGroup {
    /// Name of the group.
    pub name: String,
    /// Names of base models.
    pub models: Vec<String>,
}

/// See `[providers]` in `compat.toml`.
#[derive(Debug, Deserialize)]
pub struct ProviderNames {
    /// Base of CivitAI's API.
    pub civitai: String,
    /// Hosts that get its key.
    pub civitai_hosts: Vec<String>,
    /// Base of CivArchive's API.
    pub civarchive: String,
    /// Kinds of files of a version that are weights.
    pub weights: Vec<String>,
    /// Variable of the environment with CivitAI's key.
    pub key_variable: String,
    /// Addresses of the archive of metadata.
    pub archive: Vec<String>,
    /// Hosts that it may come from.
    pub archive_hosts: Vec<String>,
}

impl Compat {
    /// URL of the placeholder image.
    pub fn placeholder_url(&self) -> String {
        format!("/{}/{}", self.static_prefix, self.placeholder)
    }
}

/// The names.
pub fn compat() -> &'static Compat {
    static COMPAT: OnceLock<Compat> = OnceLock::new();
    COMPAT.get_or_init(|| {
        toml::from_str(include_str!("../compat.toml"))
            .unwrap_or_else(|error| unreachable!("compat.toml is part of the build: {error}"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_names_of_other_programs_can_be_read() {
        assert!(super::compat().placeholder_url().ends_with(".png"));
    }
}
