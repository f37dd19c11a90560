//! Our own `settings.toml`: the tables of `Tables`, and beside them the contract's keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::SettingsError;
use super::engine::{DiskSettings, DownloadSettings, HashingSettings, PreviewSettings, ProviderSettings, ScanSettings};
use crate::library::history::HistorySettings;
use crate::library::io_profile::IoProfile;
use crate::plugins::Grants;
use crate::plugins::limits::{AllLimits, Limits};
use crate::workers::WorkerSettings;

/// The table `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTable {
    /// Address to listen on.
    pub bind: Option<String>,
    /// Further host names.
    pub allowed_hosts: Vec<String>,
    /// Further origins.
    pub allowed_origins: Vec<String>,
    /// Secret for tools.
    pub token: Option<String>,
    /// Folder of a ComfyUI.
    pub comfyui: Option<PathBuf>,
    /// Folder of components.
    pub plugin_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tables {
    server: ServerTable,
    limits: Limits,
    scan: ScanSettings,
    disks: DiskSettings,
    hashing: HashingSettings,
    previews: PreviewSettings,
    providers: ProviderSettings,
    downloads: DownloadSettings,
    history: HistorySettings,
    workers: WorkerSettings,
    io_profiles: HashMap<PathBuf, IoProfile>,
    plugins: HashMap<String, Map<String, Value>>,
    #[serde(flatten)]
    contract: Map<String, Value>,
}

/// What the file says.
#[derive(Debug, Default)]
pub struct OwnSettings {
    /// Whether there is such a file.
    pub exists: bool,
    /// `[server]`.
    pub server: ServerTable,
    /// `[limits]`, and `[plugins.ID.limits]`.
    pub limits: AllLimits,
    /// `[plugins.ID.grants]`.
    pub grants: HashMap<String, Grants>,
    /// `[scan]`.
    pub scan: ScanSettings,
    /// `[disks]`.
    pub disks: DiskSettings,
    /// `[hashing]`.
    pub hashing: HashingSettings,
    /// `[previews]`.
    pub previews: PreviewSettings,
    /// `[providers]`.
    pub providers: ProviderSettings,
    /// `[downloads]`.
    pub downloads: DownloadSettings,
    /// `[workers]`.
    pub workers: WorkerSettings,
    /// `[history]`.
    pub history: HistorySettings,
    /// `[io_profiles]`: folder to profile.
    pub io_profiles: HashMap<PathBuf, IoProfile>,
    /// `[plugins.ID]`.
    pub plugins: HashMap<String, Arc<Map<String, Value>>>,
    /// The contract's keys.
    pub contract: Map<String, Value>,
}

impl OwnSettings {
    /// Whether it says where models are.
    pub fn names_folders(&self) -> bool {
        let filled = |key: &str| {
            self.contract
                .get(key)
                .and_then(Value::as_object)
                .is_some_and(|paths| !paths.is_empty())
        };
        self.server.comfyui.is_some() || filled("folder_paths") || filled("libraries")
    }
}

/// Reads the file; a missing one is an error only when the person named it.
///
/// # Errors
/// With line and column where it can't be parsed, and for unknown keys in our own tables.
pub fn read(path: &Path, must_exist: bool) -> Result<OwnSettings, SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(OwnSettings::default()),
        Err(source) => {
            return Err(SettingsError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let format = |reason: String| SettingsError::Format {
        path: path.to_owned(),
        reason,
    };
    let mut tables: Tables = toml::from_str(&text).map_err(|error| format(error.to_string()))?;
    let (mut own_limits, mut grants) = (HashMap::new(), HashMap::new());
    for (id, table) in &mut tables.plugins {
        if let Some(Value::Object(own)) = table.remove("limits") {
            let own = tables.limits.with(own);
            let own = own.map_err(|error| format(format!("[plugins.{id}.limits]: {error}")))?;
            own_limits.insert(id.clone(), own);
        }
        if let Some(own) = table.remove("grants") {
            let own = serde_json::from_value(own).map_err(|error| format(format!("[plugins.{id}.grants]: {error}")))?;
            grants.insert(id.clone(), own);
        }
    }
    Ok(OwnSettings {
        exists: true,
        server: tables.server,
        limits: AllLimits {
            general: tables.limits,
            own: own_limits,
        },
        grants,
        scan: tables.scan,
        disks: tables.disks,
        hashing: tables.hashing,
        previews: tables.previews,
        providers: tables.providers,
        downloads: tables.downloads,
        workers: tables.workers,
        history: tables.history,
        io_profiles: tables.io_profiles,
        plugins: tables
            .plugins
            .into_iter()
            .map(|(id, table)| (id, Arc::new(table)))
            .collect(),
        contract: tables.contract,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OwnSettings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, true)
    }

    #[test]
    fn tables_and_the_contracts_keys_are_told_apart() {
        let own = parse("show_only_sfw = true\n[server]\nbind = '127.0.0.1:1'\n[limits]\nmemory_mib = 8\n[folder_paths]\nmodels = ['/a']\n[plugins.x]\ny = 1").unwrap();
        assert_eq!(own.server.bind.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(own.limits.general.memory_mib, 8);
        assert_eq!(own.plugins["x"]["y"], 1);
        assert!(own.names_folders() && own.contract["show_only_sfw"] == true);
    }

    #[test]
    fn a_plugin_has_limits_and_grants_beside_its_own_settings() {
        let own = parse("[limits]\ncall_ms = 7\n[plugins.x]\ny = 1\n[plugins.x.limits]\nmemory_mib = 8\n[plugins.x.grants]\nremote_hosts = ['a.example']").unwrap();
        assert_eq!((own.limits.of("x").memory_mib, own.limits.of("x").call_ms), (8, 7));
        assert_eq!(own.grants["x"].remote_hosts, ["a.example"]);
        assert_eq!(own.plugins["x"].keys().collect::<Vec<_>>(), ["y"]);
        let error = parse("[plugins.x.limits]\nmemory = 8").unwrap_err().to_string();
        assert!(
            error.contains("plugins.x.limits") && error.contains("memory"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_place() {
        let error = parse("[server]\nbnd = 'x'").unwrap_err().to_string();
        assert!(
            error.contains("settings.toml") && error.contains("bnd") && error.contains("line 2"),
            "{error}"
        );
    }
}
