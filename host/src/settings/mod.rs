//! Settings: where they come from, and what they say.
//!
//! Weakest first: defaults, the original's `settings.json` (read, never written), our own
//! `settings.toml`, what was changed while the server ran, command-line flags.

mod changed;
mod comfyui;
mod contract;
mod engine;
mod file;
mod libraries;
mod original;
mod root_sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use changed::{ChangedSettings, is_secret};
pub use contract::ContractSettings;
pub use engine::{DiskSettings, DownloadSettings, HashingSettings, PreviewSettings, ProviderSettings, ScanSettings};
pub use libraries::{ActiveLibrary, NamedLibraries};
pub use root_sources::RootSources;

use crate::cli::ServeArgs;
use crate::library::history::HistorySettings;
use crate::plugins::Grants;
use crate::plugins::limits::AllLimits;
use crate::workers::WorkerSettings;

/// Port when none is set: ComfyUI-compatible tools expect the server there.
const DEFAULT_BIND: &str = "127.0.0.1:8188";

/// Why settings can't be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not follow its format.
    #[error("{} can't be used: {reason}. Nothing was changed; mend the file or name another one", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        reason: String,
    },
    /// A flag does not follow its form.
    #[error("{flag} {value:?}: {reason}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no place for data.
    #[error("this user has no data folder; name one with --data-dir")]
    NoDataFolder,
}

/// Settings in force.
#[derive(Debug)]
pub struct Settings {
    /// Address to listen on.
    pub bind: String,
    /// Folder of store, caches and `settings.toml`.
    pub data_folder: PathBuf,
    /// Host names, besides localhost and addresses, under which the server may be asked.
    pub allowed_hosts: Vec<String>,
    /// Origins, such as a browser extension's, that may change state.
    pub allowed_origins: Vec<String>,
    /// Secret that lets a tool change state from anywhere.
    pub token: Option<String>,
    /// Limits of plugins.
    pub limits: AllLimits,
    /// What plugins are allowed beyond the sandbox, by id.
    pub grants: std::collections::HashMap<String, Grants>,
    /// How folders are looked through and watched.
    pub scan: ScanSettings,
    /// How long disks may take to answer.
    pub disks: DiskSettings,
    /// How files are hashed.
    pub hashing: HashingSettings,
    /// How thumbnails are kept.
    pub previews: PreviewSettings,
    /// How metadata is asked for.
    pub providers: ProviderSettings,
    /// How files are downloaded.
    pub downloads: DownloadSettings,
    /// The bounded pool for costly work.
    pub workers: WorkerSettings,
    /// How long acts can be taken back.
    pub history: HistorySettings,
    /// Components besides the built-in ones, as absolute paths: a plugin is known by its path.
    pub plugin_files: Vec<PathBuf>,
    /// Components and crates that are followed while the server runs: what `--plugin` named, as absolute paths.
    pub plugin_paths: Vec<PathBuf>,
    /// Own table of each plugin, by id.
    pub plugins: std::collections::HashMap<String, Arc<serde_json::Map<String, serde_json::Value>>>,
    /// The libraries, each with the contract's keys and the folders of models that are in force with it.
    pub libraries: NamedLibraries,
    /// Which files were read, for the log.
    pub sources: Vec<PathBuf>,
}

impl Settings {
    /// Puts all sources together.
    ///
    /// # Errors
    /// When a named file or flag can't be used. A broken file is never overwritten or passed over.
    pub fn load(args: &ServeArgs) -> Result<Self, SettingsError> {
        let data_folder = match &args.data_dir {
            Some(folder) => folder.clone(),
            None => dirs::data_dir().ok_or(SettingsError::NoDataFolder)?.join("modelshelf"),
        };
        let own_path = args.config.clone().unwrap_or_else(|| data_folder.join("settings.toml"));
        let own = file::read(&own_path, args.config.is_some())?;
        let mut sources = Vec::new();
        let mut roots = RootSources::default();

        let asked_for_folders = !args.root.is_empty() || args.comfyui.is_some() || own.names_folders();
        let mut contract = serde_json::Map::new();
        let original = args.settings_json.clone().or_else(|| {
            let found = original::default_path()?;
            (!asked_for_folders && found.is_file()).then_some(found)
        });
        if let Some(path) = original {
            contract = original::read(&path)?;
            sources.push(path);
        }
        if own.exists {
            sources.push(own_path.clone());
        }
        contract.extend(own.contract);
        if let Some(folder) = args.comfyui.as_ref().or(own.server.comfyui.as_ref()) {
            comfyui::add(folder, &mut roots)?;
        }
        for root in &args.root {
            let (name, folder) = root
                .split_once('=')
                .filter(|(name, folder)| !name.is_empty() && !folder.is_empty())
                .ok_or_else(|| SettingsError::Flag {
                    flag: "--root",
                    value: root.clone(),
                    reason: "write it as NAME=FOLDER".into(),
                })?;
            roots.add_primary(name, Path::new(folder));
        }
        roots.set_io_profiles(own.io_profiles);
        let changed = ChangedSettings::open(&data_folder)?;
        let libraries =
            NamedLibraries::new(contract, roots, args.library.as_deref(), &data_folder, changed).map_err(|known| {
                SettingsError::Flag {
                    flag: "--library",
                    value: args.library.clone().unwrap_or_default(),
                    reason: format!("there is no library of this name; the settings have {known}"),
                }
            })?;
        // Crates are built once the server runs.
        let plugin_paths = args
            .plugin
            .iter()
            .map(|path| absolute(path))
            .collect::<Result<Vec<_>, _>>()?;
        let mut plugin_files: Vec<_> = plugin_paths.iter().filter(|path| !path.is_dir()).cloned().collect();
        for folder in args.plugin_dir.iter().chain(&own.server.plugin_dir) {
            plugin_files.extend(components(&absolute(folder)?)?);
        }
        Ok(Self {
            bind: args
                .bind
                .clone()
                .or(own.server.bind)
                .unwrap_or_else(|| DEFAULT_BIND.into()),
            data_folder,
            allowed_hosts: own.server.allowed_hosts,
            allowed_origins: own.server.allowed_origins,
            token: own.server.token.filter(|token| !token.is_empty()),
            limits: own.limits,
            grants: own.grants,
            scan: own.scan,
            disks: own.disks,
            hashing: own.hashing,
            previews: own.previews,
            providers: own.providers,
            downloads: own.downloads,
            workers: own.workers,
            history: own.history,
            plugin_files,
            plugin_paths,
            plugins: own.plugins,
            libraries,
            sources,
        })
    }
}

/// The same path from the root of the file system on, links not resolved.
fn absolute(path: &Path) -> Result<PathBuf, SettingsError> {
    std::path::absolute(path).map_err(|source| SettingsError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The components in a folder, by name.
fn components(folder: &Path) -> Result<Vec<PathBuf>, SettingsError> {
    let entries = std::fs::read_dir(folder).map_err(|source| SettingsError::Io {
        path: folder.to_owned(),
        source,
    })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_one_path_wherever_it_was_named_from() {
        let folder = tempfile::tempdir().unwrap();
        let args = ServeArgs {
            data_dir: Some(folder.path().to_owned()),
            root: vec![format!("models={}", folder.path().display())],
            plugin: vec!["x.wasm".into(), "src".into()],
            ..ServeArgs::default()
        };
        let settings = Settings::load(&args).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(settings.plugin_paths, [here.join("x.wasm"), here.join("src")]);
        // Tests run in the crate's folder, where `src` is a folder.
        assert_eq!(settings.plugin_files, [here.join("x.wasm")]);
    }
}
