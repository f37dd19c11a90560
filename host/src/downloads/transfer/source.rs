//! Where a file comes from.

use reqwest::Url;

/// A key that some addresses want to see.
#[derive(Clone)]
pub struct Bearer {
    /// The secret.
    pub token: String,
    /// It is sent only to addresses that start with one of these, and never along a redirect elsewhere.
    pub prefixes: Vec<String>,
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bearer")
            .field("prefixes", &self.prefixes)
            .finish_non_exhaustive()
    }
}

/// A file that can be fetched.
#[derive(Debug, Clone)]
pub struct Source {
    /// Addresses of the same bytes; the next is asked when one has failed.
    pub urls: Vec<String>,
    /// The key.
    pub bearer: Option<Bearer>,
    /// The setting that holds the key, for texts.
    pub key_setting: &'static str,
    /// Whether the version must be bought or waited for, as the provider says.
    pub gated: bool,
    /// SHA-256 that the file should have, lower-case hex.
    pub sha256: Option<String>,
}

impl Source {
    /// The key, if this address may see it.
    pub fn key_for(&self, url: &Url) -> Option<&str> {
        let bearer = self.bearer.as_ref()?;
        let text = url.as_str();
        bearer
            .prefixes
            .iter()
            .any(|prefix| text.starts_with(prefix.as_str()))
            .then_some(bearer.token.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_to_its_addresses_alone_and_into_no_log() {
        let source = Source {
            urls: Vec::new(),
            bearer: Some(Bearer {
                token: "secret".into(),
                prefixes: vec!["https://a.example/api/download/".into()],
            }),
            key_setting: "key",
            gated: false,
            sha256: None,
        };
        let key = |url: &str| source.key_for(&Url::parse(url).unwrap()).is_some();
        assert!(key("https://a.example/api/download/models/1"));
        for other in [
            "http://a.example/api/download/models/1",
            "https://a.example/other",
            "https://a.example.evil/api/download/1",
            "https://b.example/api/download/1",
        ] {
            assert!(!key(other), "{other}");
        }
        assert!(!format!("{source:?}").contains("secret"));
    }
}
