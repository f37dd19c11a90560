//! What settings say of providers.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::error::ProviderError;
use crate::compat::compat;
use crate::settings::{ContractSettings, ProviderSettings};

/// A proxy for all requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `http`, `https`, `socks4`, `socks5` or `socks5h`.
    pub kind: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Empty where none is needed.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No password in any log.
        write!(formatter, "{}://{}:{}", self.kind, self.host, self.port)
    }
}

/// Who can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// CivitAI's REST API.
    CivitaiApi,
    /// CivArchive.
    CivArchive,
    /// The SQLite archive on this machine.
    ArchiveDb,
}

impl Source {
    /// As `metadata_source` in sidecars has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CivitaiApi => "civitai_api",
            Self::CivArchive => "civarchive",
            Self::ArchiveDb => "archive_db",
        }
    }
}

/// Everything that the chain is made from.
#[derive(Clone, PartialEq)]
pub struct Options {
    /// Base of CivitAI's API.
    pub civitai: Url,
    /// Base of CivArchive's.
    pub civarchive: Url,
    /// The archive.
    pub archive_db: PathBuf,
    /// Who is asked, in this order.
    pub order: Vec<Source>,
    /// Key of CivitAI.
    pub key: Option<String>,
    /// Proxy; without one the environment's count.
    pub proxy: Option<Proxy>,
    /// What requests say they come from.
    pub user_agent: String,
    /// Wait before the first retry.
    pub retry: Duration,
}

impl Options {
    /// Puts settings together.
    ///
    /// # Errors
    /// When an address or a port can't be used; the setting is named.
    pub fn new(
        own: &ProviderSettings,
        contract: &ContractSettings,
        data_folder: &std::path::Path,
    ) -> Result<Self, ProviderError> {
        let names = &compat().providers;
        let url = |set: &str, usual: &str, key: &str| {
            let text = if set.is_empty() { usual } else { set }.trim_end_matches('/');
            let url = Url::parse(text).ok().filter(|url| url.has_host());
            url.ok_or_else(|| ProviderError::Settings(format!("`providers.{key}` is no address: {text:?}")))
        };
        Ok(Self {
            civitai: url(&own.civitai, &names.civitai, "civitai")?,
            civarchive: url(&own.civarchive, &names.civarchive, "civarchive")?,
            archive_db: own
                .archive_db
                .clone()
                .unwrap_or_else(|| data_folder.join("civitai.sqlite")),
            order: order(contract),
            key: Some(contract.text("civitai_api_key", "").to_owned()).filter(|key| !key.is_empty()),
            proxy: proxy(contract)?,
            user_agent: if own.user_agent.is_empty() {
                concat!("Modelshelf/", env!("CARGO_PKG_VERSION")).to_owned()
            } else {
                own.user_agent.clone()
            },
            retry: Duration::try_from_secs_f64(own.retry_seconds).unwrap_or_default(),
        })
    }
}

/// Source: contract section 7.3.
fn order(contract: &ContractSettings) -> Vec<Source> {
    let mut order = vec![Source::CivitaiApi, Source::CivArchive, Source::ArchiveDb];
    if contract.text("metadata_provider_order", "civitai_archive_sqlite") == "civitai_sqlite_archive" {
        order.swap(1, 2);
    }
    order.retain(|source| match source {
        Source::CivitaiApi => true,
        Source::CivArchive => contract.flag("enable_civarchive_api", true),
        Source::ArchiveDb => contract.flag("enable_metadata_archive_db", false),
    });
    order
}

fn proxy(contract: &ContractSettings) -> Result<Option<Proxy>, ProviderError> {
    let host = contract.text("proxy_host", "").trim();
    let no_port = match contract.get("proxy_port") {
        None | Some(serde_json::Value::Null) => true,
        Some(value) => value.as_str().is_some_and(|text| text.trim().is_empty()),
    };
    // Pages change one setting after the other: half a proxy is none.
    if !contract.flag("proxy_enabled", false) || host.is_empty() || no_port {
        return Ok(None);
    }
    let kind = contract.text("proxy_type", "http").trim().to_lowercase();
    if !["http", "https", "socks4", "socks5", "socks5h"].contains(&kind.as_str()) {
        return Err(ProviderError::Settings(format!(
            "`proxy_type` is {kind:?}; it must be http, https, socks4 or socks5"
        )));
    }
    let port = match contract.get("proxy_port") {
        Some(serde_json::Value::Number(number)) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(Some(Proxy {
        kind,
        host: host.to_owned(),
        port: port.ok_or_else(|| ProviderError::Settings("`proxy_port` is no port number".into()))?,
        username: contract.text("proxy_username", "").to_owned(),
        password: contract.text("proxy_password", "").to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: serde_json::Value) -> Result<Options, ProviderError> {
        let contract = ContractSettings::new(values.as_object().cloned().unwrap());
        Options::new(&ProviderSettings::default(), &contract, std::path::Path::new("/d"))
    }

    #[test]
    fn the_chain_follows_the_three_settings() {
        let order = |values| options(values).unwrap().order;
        assert_eq!(order(serde_json::json!({})), [Source::CivitaiApi, Source::CivArchive]);
        let all = serde_json::json!({"enable_metadata_archive_db": true, "metadata_provider_order": "civitai_sqlite_archive"});
        assert_eq!(order(all), [Source::CivitaiApi, Source::ArchiveDb, Source::CivArchive]);
        assert_eq!(
            order(serde_json::json!({"enable_civarchive_api": false})),
            [Source::CivitaiApi]
        );
    }

    #[test]
    fn a_proxy_is_taken_when_it_is_switched_on_and_its_password_is_never_printed() {
        let set = serde_json::json!({"proxy_enabled": true, "proxy_type": "socks5", "proxy_host": "h", "proxy_port": "1080", "proxy_username": "u", "proxy_password": "hidden"});
        let proxy = options(set).unwrap().proxy.unwrap();
        assert_eq!((proxy.kind.as_str(), proxy.port), ("socks5", 1080));
        assert!(!format!("{proxy:?}").contains("hidden"));
        assert!(options(serde_json::json!({"proxy_host": "h"})).unwrap().proxy.is_none());
        assert!(options(serde_json::json!({"proxy_enabled": true, "proxy_host": "h", "proxy_port": "x"})).is_err());
    }
}
