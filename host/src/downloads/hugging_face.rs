//! Files of repositories at Hugging Face. Source of the routes there: its Hub API, `GET /api/models/{repo}/tree/{revision}`
//! and `GET /{repo}/resolve/{revision}/{path}`.

use serde::Deserialize;
use serde_json::Value;

use super::error::DownloadError;
use super::install::{self, Origin};
use super::ledger::QueueRow;
use super::resolve::{self, Plan, Resolved};
use super::transfer::{Key, Source};
use super::wanted::{RepoFile, Wanted};
use crate::http::app::App;
use crate::settings::DownloadSettings;

/// Where it is unless settings say otherwise.
const SITE: &str = "https://huggingface.co";
/// The setting that holds the key.
const KEY: &str = "huggingface_token";
/// Folder below a root that files of repositories go into.
const FOLDER: &str = "huggingface";

/// Why a repository can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// It is not there.
    #[error("Repo '{0}' not found")]
    NotFound(String),
    /// Another answer.
    #[error(
        "Hugging Face answered with status {0}. A private or gated repository needs the setting `huggingface_token`"
    )]
    Status(u16),
    /// No answer.
    #[error("Hugging Face can't be reached: {0}. Check the network and the settings `proxy_*`")]
    Network(String),
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoEntry {
    /// Path within it.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, where it is stored as a large file.
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type", default)]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    #[serde(default)]
    size: u64,
}

/// The site.
#[derive(Debug)]
pub struct HuggingFace {
    site: String,
    key: Option<Key>,
}

impl HuggingFace {
    /// The site that settings name.
    pub fn new(settings: &DownloadSettings) -> Self {
        let site = settings.huggingface.trim_end_matches('/');
        let site = if site.is_empty() { SITE } else { site };
        let token = settings.huggingface_token.trim();
        Self {
            site: site.to_owned(),
            key: Key::below(format!("{site}/"), token).filter(|_| !token.is_empty()),
        }
    }

    /// All files of a revision, at any depth.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub async fn files(&self, app: &App, repo: &str, revision: &str) -> Result<Vec<RepoEntry>, HubError> {
        let url = format!(
            "{}/api/models/{repo}/tree/{}?recursive=true",
            self.site,
            encoded(revision)
        );
        let client = app.providers.client();
        let mut request = client.transfer().get(&url);
        if let (Some(key), Ok(url)) = (&self.key, reqwest::Url::parse(&url))
            && let Some(value) = key.value_for(&url)
        {
            request = request.header(reqwest::header::AUTHORIZATION, value);
        }
        let network = |error: reqwest::Error| HubError::Network(crate::net::cause(&error));
        let response = request.send().await.map_err(network)?;
        match response.status().as_u16() {
            200 => {}
            404 => return Err(HubError::NotFound(repo.to_owned())),
            status => return Err(HubError::Status(status)),
        }
        let entries: Vec<Value> = response.json().await.map_err(network)?;
        let entries = entries
            .into_iter()
            .filter_map(|entry| serde_json::from_value::<TreeEntry>(entry).ok());
        let files = entries
            .filter(|entry| entry.kind != "directory")
            .map(|entry| RepoEntry {
                size: entry.lfs.as_ref().map_or(entry.size, |lfs| lfs.size.max(entry.size)),
                sha256: entry.lfs.map(|lfs| lfs.oid.to_lowercase()),
                path: entry.path,
            });
        Ok(files.collect())
    }
}

/// Looks up a file of a repository.
///
/// # Errors
/// Why it can't be downloaded. A repository that can't be listed is no reason: its file is then fetched without a hash to
/// prove it by.
pub async fn resolve(
    app: &App,
    site: &HuggingFace,
    file: &RepoFile,
    wanted: &Wanted,
) -> Result<Resolved, DownloadError> {
    let place = &wanted.place;
    let root = std::path::PathBuf::from(&place.model_root);
    if place.model_root.is_empty() {
        return Err(DownloadError::NoFolder);
    }
    let service = {
        let types = app.types.load();
        let services = types.iter().filter_map(|slot| slot.service());
        let mut of_root = services.filter(|service| install::check_root(service, &root).is_ok());
        of_root.next().ok_or(DownloadError::Outside)?
    };
    let name = install::file_name(file.file.rsplit('/').next().unwrap_or_default())?;
    if service.plugin.info().extension_of(&name).is_none() {
        return Err(DownloadError::Kind(name));
    }
    let relative = if place.use_default_paths {
        format!("{FOLDER}/{}", file.repo)
    } else {
        place.relative_path.clone()
    };
    let target = install::folder_below(&root, &relative)?.join(name);
    if target.is_file() {
        return Err(DownloadError::Exists(service.plugin.info().id().to_owned()));
    }
    let entries = site.files(app, &file.repo, &file.revision).await;
    let sha256 = match entries {
        Ok(entries) => entries
            .into_iter()
            .find(|entry| entry.path == file.file)
            .and_then(|entry| entry.sha256),
        Err(error) => {
            tracing::info!(repo = file.repo, %error, "a repository is not listed, so that its file has no known hash");
            None
        }
    };
    let path: Vec<String> = file.file.split('/').map(encoded).collect();
    let url = format!(
        "{}/{}/resolve/{}/{}",
        site.site,
        file.repo,
        encoded(&file.revision),
        path.join("/")
    );
    let source = Source {
        urls: vec![url],
        key: site.key.clone(),
        key_setting: KEY,
        gated: false,
        sha256,
    };
    Ok(Resolved::Plan(Box::new(Plan {
        service,
        source,
        target,
        origin: Origin {
            version: None,
            source: resolve::NOBODY,
            autov3: None,
            hf_url: Some(format!("{SITE}/{}", file.repo)),
        },
        row: QueueRow {
            model_name: file.repo.clone(),
            version_name: file.file.clone(),
            ..QueueRow::default()
        },
        picture: None,
    })))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%2E", ".")
        .replace("%5F", "_")
}
