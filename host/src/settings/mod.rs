//! Settings: where they come from, and what they say.
//!
//! Weakest first: defaults, the original's `settings.json` (read, never written), our own
//! `settings.toml`, what was changed while the server ran, command-line flags.

mod changed;
mod comfyui;
mod connections;
mod contract;
mod engine;
mod file;
mod libraries;
mod original;
mod root_sources;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use changed::{ChangedSettings, is_secret};
#[cfg(test)]
pub(crate) use comfyui::add as add_comfyui;
pub use connections::{ConnectionSettings, seconds};
pub use contract::ContractSettings;
pub use engine::{DownloadSettings, HashingSettings, PreviewSettings, ProviderSettings, ScanSettings};
pub use libraries::{ActiveLibrary, NamedLibraries};
pub use root_sources::{RootSources, UnknownName};

use crate::access::{AccessError, AccessPolicy, Digest, checked_token};
use crate::cli::ServeArgs;
use crate::files::foreign::ForeignError;
use crate::http::client_address::TrustedProxies;
use crate::library::history::HistorySettings;
use crate::plugins::limits::AllLimits;
use crate::plugins::{CompileSettings, Grants};
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
    /// The door refuses it: it is a pipe, a device, a link that leads nowhere, too large, or no text.
    #[error(transparent)]
    File(#[from] ForeignError),
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
    /// What is to be changed is more than is kept.
    #[error("settings that are changed while the server runs may have {most} {what}; {subject} would have {count}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there would be.
        count: usize,
        /// How much there may be.
        most: usize,
        /// What has too much.
        subject: String,
    },
    /// The token can't be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no place for data.
    #[error("this user has no data folder; name one with --data-dir")]
    NoDataFolder,
}

/// A part of the settings that is ignored or can't be used. It does not stop the start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The file, variable or setting that it is in.
    pub source: String,
    /// What is wrong, without any secret.
    pub text: String,
}

/// Whether a text can be sent in a header: visible ASCII and spaces.
pub fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A token without white space around it; none, with a warning, where no header can carry the token.
fn usable_token(token: &str, source: String, warnings: &mut Vec<Warning>) -> Option<String> {
    let token = token.trim();
    if !is_header_value(token) {
        let text = "it has characters that no header can carry and is ignored; copy it again".to_owned();
        warnings.push(Warning { source, text });
        return None;
    }
    Some(token.to_owned()).filter(|token| !token.is_empty())
}

/// Variables of the environment that name a proxy which nobody can ask.
fn unusable_proxies(variable: impl Fn(&str) -> Option<String>) -> Vec<Warning> {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let names = names.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    names
        .filter(|name| {
            let Some(text) = variable(name) else { return false };
            let text = text.trim();
            let address = match text.contains("://") {
                true => text.to_owned(),
                false => format!("http://{text}"),
            };
            !text.is_empty() && !reqwest::Url::parse(&address).is_ok_and(|url| url.has_host())
        })
        .map(|name| Warning {
            source: format!("the environment variable {name}"),
            text: "it is no address of a proxy and is ignored".into(),
        })
        .collect()
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
    /// Who may use the server.
    pub access: AccessPolicy,
    /// Proxies whose word about the client counts.
    pub trusted_proxies: TrustedProxies,
    /// Bounds on connections and bodies.
    pub connections: ConnectionSettings,
    /// Path below which a proxy serves the server, such as `/models`; empty without one.
    pub base_path: String,
    /// Files of the certificate and the key, where the server speaks TLS by itself.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Limits of plugins.
    pub limits: AllLimits,
    /// What plugins are allowed beyond the sandbox, by id.
    pub grants: std::collections::HashMap<String, Grants>,
    /// How folders are looked through and watched.
    pub scan: ScanSettings,
    /// How files are hashed.
    pub hashing: HashingSettings,
    /// How thumbnails are kept.
    pub previews: PreviewSettings,
    /// How metadata is asked for.
    pub providers: ProviderSettings,
    /// How files are downloaded.
    pub downloads: DownloadSettings,
    /// What compiling a plugin may use.
    pub compile: CompileSettings,
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
    /// What is ignored or can't be used.
    pub warnings: Vec<Warning>,
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
        let (mut sources, mut warnings) = (Vec::new(), Vec::new());
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
            comfyui::add(folder, &mut roots, &mut warnings)?;
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
            roots.add_flag(name, Path::new(folder));
        }
        roots.set_io_profiles(own.io_profiles);
        roots.set_show_hidden(own.scan.show_hidden);
        let format = |reason: String| SettingsError::Format {
            path: own_path.clone(),
            reason,
        };
        let trusted_proxies = TrustedProxies::parse(&own.server.trusted_proxies)
            .map_err(|text| format(format!("{text:?} of `trusted_proxies` is no address and no network")))?;
        let user_header = own.server.user_header.map(|name| name.trim().to_ascii_lowercase());
        if user_header.is_some() && trusted_proxies.is_empty() {
            return Err(format(
                "`user_header` needs `trusted_proxies`: anybody else could send that header".into(),
            ));
        }
        let access = AccessPolicy {
            token: checked_token(own.server.token.as_deref())?.map(Digest::of),
            require_login: own.server.require_login,
            user_header,
        };
        let changed = ChangedSettings::open(&data_folder)?;
        let libraries =
            NamedLibraries::new(contract, roots, args.library.as_deref(), &data_folder, changed).map_err(|known| {
                SettingsError::Flag {
                    flag: "--library",
                    value: args.library.clone().unwrap_or_default(),
                    reason: format!("there is no library of this name; the settings have {known}"),
                }
            })?;
        let tls = match (own.server.tls_certificate, own.server.tls_key) {
            (Some(certificate), Some(key)) => Some((absolute(&certificate)?, absolute(&key)?)),
            (None, None) => None,
            _ => {
                return Err(SettingsError::Format {
                    path: own_path.clone(),
                    reason: "`tls_certificate` and `tls_key` under [server] need each other; name both".into(),
                });
            }
        };
        let base_path = own.server.base_path.unwrap_or_default();
        let base_path = connections::base_path(&base_path).ok_or_else(|| SettingsError::Format {
            path: own_path.clone(),
            reason: format!(
                "`base_path` under [server] is {base_path:?}; write it like \"/models\", of letters, digits, `-`, `_`, `.` and `/`"
            ),
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
        let file = own_path.display();
        let mut downloads = own.downloads;
        let source = format!("`downloads.huggingface_token` of {file}");
        downloads.huggingface_token =
            usable_token(&downloads.huggingface_token, source, &mut warnings).unwrap_or_default();
        warnings.extend(unusable_proxies(|name| std::env::var(name).ok()));
        Ok(Self {
            bind: args
                .bind
                .clone()
                .or(own.server.bind)
                .unwrap_or_else(|| DEFAULT_BIND.into()),
            data_folder,
            allowed_hosts: own.server.allowed_hosts,
            allowed_origins: own.server.allowed_origins,
            access,
            trusted_proxies,
            base_path,
            connections: own.connections,
            tls,
            limits: own.limits,
            grants: own.grants,
            scan: own.scan,
            hashing: own.hashing,
            previews: own.previews,
            providers: own.providers,
            downloads,
            compile: own.compile,
            workers: own.workers,
            history: own.history,
            plugin_files,
            plugin_paths,
            plugins: own.plugins,
            libraries,
            warnings,
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
    fn tokens_and_proxies_that_can_not_be_used_are_named_and_not_shown() {
        let mut warnings = Vec::new();
        let mut usable = |token: &str| usable_token(token, "`x`".into(), &mut warnings);
        assert_eq!(usable(" abc\n").as_deref(), Some("abc"));
        assert_eq!(
            (usable(" "), usable("se\u{e9}cret"), usable("a\nb")),
            (None, None, None)
        );
        assert!(
            warnings.len() == 2 && !format!("{warnings:?}").contains("cret"),
            "{warnings:?}"
        );
        let set = |name: &str| match name {
            "HTTP_PROXY" => Some("http://a b".to_owned()),
            "https_proxy" => Some(" proxy.lan:3128 ".to_owned()),
            "ALL_PROXY" => Some(String::new()),
            _ => None,
        };
        let named: Vec<String> = unusable_proxies(set)
            .into_iter()
            .map(|warning| warning.source)
            .collect();
        assert_eq!(named, ["the environment variable HTTP_PROXY"]);
    }

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
