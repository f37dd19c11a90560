//! Files of repositories at Hugging Face. Source of the routes there: its Hub API, `GET /api/models/{repo}/tree/{revision}`
//! and `GET /{repo}/resolve/{revision}/{path}`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, LINK};
use serde::Deserialize;
use serde_json::Value;

use super::error::DownloadError;
use super::install::{self, Origin};
use super::ledger::QueueRow;
use super::resolve::{self, Plan, Resolved};
use super::transfer::{Hosts, Key, NamedSize, Source};
use super::wanted::{RepoFile, Wanted};
use crate::app::App;
use crate::net::{BodyError, body_up_to, cause, content, retry_after};
use crate::providers::Client;
use crate::settings::DownloadSettings;

/// Where it is unless settings say otherwise.
const SITE: &str = "https://huggingface.co";
/// The setting that holds the key.
const KEY: &str = "huggingface_token";
/// Folder below a root that files of repositories go into.
const FOLDER: &str = "huggingface";

/// Pages of a list that are read; each has a thousand files.
const PAGES: usize = 200;
/// Largest page that is read, in bytes.
const LARGEST: usize = 16 << 20;
/// How often a page is asked for before its failure is the answer.
const TRIES: u32 = 4;
/// A longer break than this is not waited for.
const LONGEST_BREAK: Duration = Duration::from_secs(60);

/// Why a repository can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// It is not there.
    #[error("Repo '{0}' not found")]
    NotFound(String),
    /// The repository is there, and the file is not.
    #[error("Repo '{repo}' has no file '{file}'")]
    NoFile {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
    },
    /// Its list has no end.
    #[error("Repo '{0}' lists more files than this server reads. Download the file in a browser")]
    TooLong(String),
    /// Another answer.
    #[error(
        "Hugging Face answered with status {0}. A private or gated repository needs the setting `huggingface_token`"
    )]
    Status(u16),
    /// It can't answer now.
    #[error("Hugging Face answered with status {0}; it is busy or down. Try again later")]
    Busy(u16),
    /// Its answer is none that can be used.
    #[error("Hugging Face gave a list that can't be read: {0}. Try again later, or download the file in a browser")]
    Answer(String),
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
    first_wait: Duration,
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
            first_wait: Duration::try_from_secs_f64(settings.retry_seconds).unwrap_or_default(),
        }
    }

    /// All files of a revision, at any depth.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub async fn files(&self, app: &App, repo: &str, revision: &str) -> Result<Vec<RepoEntry>, HubError> {
        let first = format!(
            "{}/api/models/{repo}/tree/{}?recursive=true",
            self.site,
            encoded(revision)
        );
        let mut next = Some(Url::parse(&first).map_err(|error| HubError::Network(error.to_string()))?);
        let client = app.providers.client();
        let mut files = Vec::new();
        for _ in 0..PAGES {
            let Some(url) = next else {
                return Ok(files);
            };
            let (entries, following) = self.page(&client, &url, repo).await?;
            next = following;
            let entries = entries
                .into_iter()
                .filter_map(|entry| serde_json::from_value::<TreeEntry>(entry).ok());
            files.extend(
                entries
                    .filter(|entry| entry.kind != "directory")
                    .map(|entry| RepoEntry {
                        size: entry.lfs.as_ref().map_or(entry.size, |lfs| lfs.size.max(entry.size)),
                        sha256: entry.lfs.map(|lfs| lfs.oid.to_lowercase()),
                        path: entry.path,
                    }),
            );
        }
        Err(HubError::TooLong(repo.to_owned()))
    }

    /// A page of a list, and the address of the next one. What may go better is tried again.
    async fn page(&self, client: &Client, url: &Url, repo: &str) -> Result<(Vec<Value>, Option<Url>), HubError> {
        let network = |error: reqwest::Error| HubError::Network(cause(&error));
        let budget = client.budget(url);
        let mut tries = 1;
        loop {
            let turn = budget
                .turn()
                .await
                .map_err(|held| HubError::Network(held.to_string()))?;
            let mut request = client.transfer().get(url.clone());
            if let Some(value) = self.key.as_ref().and_then(|key| key.value_for(url)) {
                request = request.header(AUTHORIZATION, value);
            }
            let (error, wait) = match request.send().await {
                Ok(mut response) => match response.status().as_u16() {
                    200 => {
                        let next = next_page(url, response.headers());
                        let is_encoded = content::encoding(response.headers()).is_some();
                        match body_up_to(&mut response, LARGEST).await {
                            Ok(_) if is_encoded => {
                                return Err(HubError::Answer("it is encoded, which was not asked for".into()));
                            }
                            Ok(body) => {
                                let entries = serde_json::from_slice(&body);
                                return Ok((entries.map_err(|error| HubError::Answer(error.to_string()))?, next));
                            }
                            Err(BodyError::TooLarge(_)) => return Err(HubError::TooLong(repo.to_owned())),
                            Err(BodyError::Broken(error)) => (network(error), None),
                            Err(error @ BodyError::TooSlow(_)) => (HubError::Network(error.to_string()), None),
                        }
                    }
                    404 => return Err(HubError::NotFound(repo.to_owned())),
                    status @ (408 | 425 | 429 | 500..) => {
                        let wait = retry_after(response.headers());
                        if status == 429 {
                            client.fetching().budgets().limited(url, wait);
                        }
                        (HubError::Busy(status), wait)
                    }
                    status => return Err(HubError::Status(status)),
                },
                Err(error) => (network(error), None),
            };
            drop(turn);
            let wait = wait.unwrap_or_else(|| self.first_wait.saturating_mul(1 << tries));
            if tries >= TRIES || wait > LONGEST_BREAK {
                return Err(error);
            }
            tracing::info!(%error, "the list of a repository is asked for again");
            tokio::time::sleep(wait).await;
            tries += 1;
        }
    }
}

/// The address of the next page of a list, of `Link: <https://...>; rel="next"`; one at another host is none.
fn next_page(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next = links.flat_map(|links| links.split(',')).find_map(|link| {
        let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.split(';').any(|part| {
            let (name, value) = part.split_once('=').unwrap_or_default();
            name.trim() == "rel" && value.trim().trim_matches('"') == "next"
        });
        is_next.then_some(address)
    })?;
    url.join(next).ok().filter(|next| next.origin() == url.origin())
}

/// Looks up a file of a repository; `before` is where an earlier run of this download wrote.
///
/// # Errors
/// Why it can't be downloaded. Without the list of the repository nobody could tell whether what arrives is the file: only
/// files that are not stored as large ones have no hash there.
pub async fn resolve(
    app: &Arc<App>,
    site: &HuggingFace,
    file: &RepoFile,
    wanted: &Wanted,
    before: Option<&Path>,
) -> Result<Resolved, DownloadError> {
    let place = &wanted.place;
    let root = PathBuf::from(&place.model_root);
    if place.model_root.is_empty() {
        return Err(DownloadError::NoFolder);
    }
    let (own, named) = (app.clone(), root.clone());
    let service = tokio::task::spawn_blocking(move || install::library_with(&own, &named)).await;
    let service = service
        .map_err(|error| DownloadError::Broken(error.to_string()))?
        .ok_or(DownloadError::Outside)?;
    let name = install::file_name(file.file.rsplit('/').next().unwrap_or_default())?;
    if service.plugin.info().extension_of(&name).is_none() {
        return Err(DownloadError::Kind(name));
    }
    let relative = if place.use_default_paths {
        format!("{FOLDER}/{}", file.repo)
    } else {
        place.relative_path.clone()
    };
    let target = install::folder(&service, &root, &relative).await?.join(name);
    if before != Some(&*target) && tokio::fs::metadata(&target).await.is_ok_and(|there| there.is_file()) {
        return Err(DownloadError::Exists(service.plugin.info().id().to_owned()));
    }
    let entries = site.files(app, &file.repo, &file.revision).await?;
    let entry = entries.into_iter().find(|entry| entry.path == file.file);
    let entry = entry.ok_or_else(|| HubError::NoFile {
        repo: file.repo.clone(),
        file: file.file.clone(),
    })?;
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
        sha256: entry.sha256,
        size: (entry.size > 0).then(|| NamedSize::exact(entry.size)),
        hosts: Hosts::Any,
        private: resolve::private(app),
    };
    Ok(Resolved::Plan(Box::new(Plan {
        service,
        source,
        target,
        origin: Origin {
            version: None,
            source: resolve::NOBODY,
            autov3: None,
            hf_url: Some(page(&file.repo)),
        },
        row: QueueRow {
            model_name: file.repo.clone(),
            version_name: file.file.clone(),
            ..QueueRow::default()
        },
        picture: None,
    })))
}

/// The page of a repository, as `hf_url` has it.
pub fn page(repo: &str) -> String {
    format!("{SITE}/{repo}")
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%2E", ".")
        .replace("%5F", "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_of_a_list_is_at_the_same_host() {
        let url = Url::parse("https://hub.example/api/models/o/r/tree/main").unwrap();
        let next = |link: &str| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            next_page(&url, &headers).map(String::from)
        };
        let page = "https://hub.example/api/models/o/r/tree/main?cursor=a";
        assert_eq!(next(&format!("<{page}>; rel=\"next\"")).as_deref(), Some(page));
        assert_eq!(
            next(&format!("</x>; rel=prev, <{page}>; rel=next")).as_deref(),
            Some(page)
        );
        assert_eq!(next("<https://evil.example/>; rel=\"next\""), None);
        assert_eq!(next("</x>; rel=\"prev\""), None);
    }
}
