//! What settings say of providers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::error::ProviderError;
use crate::compat::compat;
use crate::settings::{ContractSettings, ProviderSettings, Warning, is_header_value};

/// Setting with the key.
const KEY: &str = "civitai_api_key";
/// What requests say they come from when settings name nothing else.
const USER_AGENT: &str = concat!("Modelshelf/", env!("CARGO_PKG_VERSION"));

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

impl Proxy {
    /// A proxy that nothing gets through.
    fn nowhere() -> Self {
        Self {
            kind: String::from("http"),
            // RFC 2606: never a host.
            host: "proxy-settings-can-not-be-used.invalid".into(),
            port: 1,
            username: String::new(),
            password: String::new(),
        }
    }
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
    pub fn new(own: &ProviderSettings, contract: &ContractSettings, data_folder: &Path) -> Result<Self, ProviderError> {
        let mut options = Self::without_secrets(own, contract, data_folder)?;
        options.key = key(contract)?;
        options.proxy = proxy(contract)?;
        options.user_agent = user_agent(own)?;
        Ok(options)
    }

    /// As [`Self::new`], for a start that nothing of this stops: a key that can't be used is none, and while a proxy can't
    /// be used nobody is asked, since a request must not go around it. Each is named by its setting.
    ///
    /// # Errors
    /// When the address of a provider can't be used.
    pub fn usable(
        own: &ProviderSettings,
        contract: &ContractSettings,
        data_folder: &Path,
    ) -> Result<(Self, Vec<Warning>), ProviderError> {
        let mut options = Self::without_secrets(own, contract, data_folder)?;
        let mut warnings = Vec::new();
        let mut warn = |source: String, error: ProviderError| {
            let text = error.to_string();
            warnings.push(Warning { source, text });
        };
        match key(contract) {
            Ok(key) => options.key = key,
            Err(error) => warn(contract.source_of(KEY), error),
        }
        match proxy(contract) {
            Ok(proxy) => options.proxy = proxy,
            Err(error) => {
                options.proxy = Some(Proxy::nowhere());
                warn(contract.source_of("proxy_host"), error);
            }
        }
        match user_agent(own) {
            Ok(user_agent) => options.user_agent = user_agent,
            Err(error) => warn("`providers.user_agent` of settings.toml".into(), error),
        }
        Ok((options, warnings))
    }

    fn without_secrets(
        own: &ProviderSettings,
        contract: &ContractSettings,
        data_folder: &Path,
    ) -> Result<Self, ProviderError> {
        let names = &compat().providers;
        let url = |set: &str, usual: &str, key: &str| {
            let set = set.trim();
            let text = if set.is_empty() { usual } else { set }.trim_end_matches('/');
            let url = Url::parse(text).ok().filter(|url| url.has_host());
            url.ok_or_else(|| ProviderError::Settings(format!("`providers.{key}` is no address: {text:?}")))
        };
        Ok(Self {
            civitai: url(&own.civitai, &names.civitai, "civitai")?,
            civarchive: url(&own.civarchive, &names.civarchive, "civarchive")?,
            archive_db: archive_path(own, data_folder),
            order: order(contract),
            key: None,
            proxy: None,
            user_agent: USER_AGENT.to_owned(),
            retry: Duration::try_from_secs_f64(own.retry_seconds).unwrap_or_default(),
        })
    }
}

/// The key, without white space around it.
fn key(contract: &ContractSettings) -> Result<Option<String>, ProviderError> {
    let key = contract.text(KEY, "").trim();
    if !is_header_value(key) {
        return Err(ProviderError::Settings(format!(
            "The API key (`{KEY}`) has characters that no key has, so no key is sent; copy the key again"
        )));
    }
    Ok(Some(key.to_owned()).filter(|key| !key.is_empty()))
}

fn user_agent(own: &ProviderSettings) -> Result<String, ProviderError> {
    match own.user_agent.trim() {
        "" => Ok(USER_AGENT.to_owned()),
        text if is_header_value(text) => Ok(text.to_owned()),
        _ => Err(ProviderError::Settings(
            "`providers.user_agent` has characters that no header has, so the usual one is sent".into(),
        )),
    }
}

/// Where the archive of metadata lies.
pub fn archive_path(own: &ProviderSettings, data_folder: &Path) -> PathBuf {
    let named = own.archive_db.clone();
    named.unwrap_or_else(|| data_folder.join("civitai.sqlite"))
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
    let port = port.filter(|port| *port > 0);
    let port = port.ok_or_else(|| ProviderError::Settings("`proxy_port` is no port number".into()))?;
    // The address is often pasted whole.
    let host = host
        .split_once("://")
        .map_or(host, |(_, host)| host)
        .trim_end_matches('/');
    let is_host = |url: &Url| url.host_str().is_some() && url.port_or_known_default() == Some(port);
    let url = Url::parse(&format!("http://{host}:{port}")).ok().filter(is_host);
    if url.is_none_or(|url| url.path() != "/" || !url.username().is_empty()) {
        return Err(ProviderError::Settings(
            "`proxy_host` is no host name or address; write the host alone, and the port into `proxy_port`".into(),
        ));
    }
    Ok(Some(Proxy {
        kind,
        host: host.to_owned(),
        port,
        username: contract.text("proxy_username", "").trim().to_owned(),
        password: contract.text("proxy_password", "").trim().to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: serde_json::Value) -> Result<Options, ProviderError> {
        let contract = ContractSettings::new(values.as_object().cloned().unwrap());
        Options::new(&ProviderSettings::default(), &contract, Path::new("/d"))
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
    fn keys_and_proxies_are_trimmed() {
        let set = serde_json::json!({"civitai_api_key": " abc\n", "proxy_enabled": true, "proxy_host": " http://h/ ", "proxy_port": " 80 ", "proxy_username": "u\n"});
        let options = options(set).unwrap();
        assert_eq!(options.key.as_deref(), Some("abc"));
        let proxy = options.proxy.unwrap();
        assert_eq!(
            (proxy.host.as_str(), proxy.port, proxy.username.as_str()),
            ("h", 80, "u")
        );
    }

    #[test]
    fn what_can_not_be_used_is_named_without_its_value_and_stops_nothing() {
        let set = serde_json::json!({"civitai_api_key": "schl\u{fc}ssel", "proxy_enabled": true, "proxy_host": "a b", "proxy_port": 80});
        assert!(options(set.clone()).is_err());
        let contract = ContractSettings::new(set.as_object().cloned().unwrap());
        let own = ProviderSettings {
            user_agent: "a\nb".into(),
            ..ProviderSettings::default()
        };
        let (options, warnings) = Options::usable(&own, &contract, Path::new("/d")).unwrap();
        assert!(options.key.is_none() && options.user_agent == USER_AGENT);
        assert!(
            options.proxy.is_some(),
            "nothing goes around a proxy that can't be used"
        );
        let texts: Vec<&str> = warnings.iter().map(|warning| warning.text.as_str()).collect();
        assert!(
            texts[0].contains(KEY) && texts[1].contains("proxy_host") && texts[2].contains("user_agent"),
            "{texts:?}"
        );
        assert!(!format!("{warnings:?}").contains("schl"));
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
