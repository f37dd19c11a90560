//! Where a file comes from.

use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderValue;

type Rule = dyn Fn(&Url) -> Option<HeaderValue> + Send + Sync;

/// Says which addresses may see a key, and what they are sent: the value of `Authorization`.
#[derive(Clone)]
pub struct Key(Arc<Rule>);

impl Key {
    /// A key by its rule.
    pub fn new(rule: impl Fn(&Url) -> Option<HeaderValue> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// What this address is sent as `Authorization`.
    pub fn value_for(&self, url: &Url) -> Option<HeaderValue> {
        (self.0)(url)
    }

    /// A secret that is sent to addresses that start with this text, which ends in a slash.
    pub fn below(prefix: String, token: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(Self::new(move |url| {
            url.as_str().starts_with(&prefix).then(|| value.clone())
        }))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// A file that can be fetched.
#[derive(Debug, Clone)]
pub struct Source {
    /// Addresses of the same bytes; the next is asked when one has failed.
    pub urls: Vec<String>,
    /// The key. It is asked for each address anew, so that it does not go along a redirect elsewhere.
    pub key: Option<Key>,
    /// The setting that holds the key, for texts.
    pub key_setting: &'static str,
    /// Whether the version must be bought or waited for, as the provider says.
    pub gated: bool,
    /// SHA-256 that the file should have, lower-case hex.
    pub sha256: Option<String>,
}

impl Source {
    /// What this address is sent as `Authorization`.
    pub fn key_for(&self, url: &Url) -> Option<HeaderValue> {
        self.key.as_ref()?.value_for(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_to_its_addresses_alone_and_into_no_log() {
        let source = Source {
            urls: Vec::new(),
            key: Key::below("https://a.example/api/".into(), "secret"),
            key_setting: "key",
            gated: false,
            sha256: None,
        };
        let key = |url: &str| source.key_for(&Url::parse(url).unwrap());
        let value = key("https://a.example/api/models/1").unwrap();
        assert!(value == "Bearer secret" && !format!("{value:?}").contains("secret"));
        for other in [
            "http://a.example/api/1",
            "https://a.example/other",
            "https://a.example.evil/api/1",
            "https://b.example/api/1",
        ] {
            assert!(key(other).is_none(), "{other}");
        }
        assert!(!format!("{source:?}").contains("secret"));
    }
}
