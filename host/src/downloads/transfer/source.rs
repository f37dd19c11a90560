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

/// Which hosts a file may come from, along redirects too.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// Any.
    Any,
    /// That of this address alone.
    Of(Url),
    /// These and those below them, over HTTPS.
    Below(&'static [String]),
}

impl Hosts {
    /// Whether this address may be asked.
    pub fn has(&self, url: &Url) -> bool {
        let is_below = |host: &str, name: &str| {
            host.strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match self {
            Self::Any => true,
            Self::Of(own) => own.origin() == url.origin(),
            Self::Below(names) => {
                let host = url.host_str().unwrap_or_default();
                let is_usual = url.scheme() == "https" && url.port().is_none();
                is_usual && names.iter().any(|name| is_below(host, name))
            }
        }
    }
}

/// Which addresses of this machine and of private networks a file may come from, along redirects too.
#[derive(Debug, Clone, Default)]
pub struct Private {
    /// Whether all.
    pub all: bool,
    /// Those with the origin of one of these, which settings name.
    pub named: Vec<Url>,
}

impl Private {
    /// Whether this address may be asked wherever it leads.
    pub fn has(&self, url: &Url) -> bool {
        self.all || self.named.iter().any(|own| own.origin() == url.origin())
    }
}

/// The size that a provider names for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedSize {
    /// In bytes.
    pub bytes: u64,
    /// How far the true size may be from it, in bytes: some providers round.
    pub slack: u64,
}

impl NamedSize {
    /// A size in whole bytes.
    pub fn exact(bytes: u64) -> Self {
        Self { bytes, slack: 0 }
    }

    /// A size in KiB, perhaps rounded to whole ones. None when it is no size.
    pub fn of_kib(kib: f64) -> Option<Self> {
        let bytes = (kib * 1024.0).round();
        (bytes.is_finite() && bytes > 0.0).then_some(Self {
            bytes: bytes as u64,
            slack: 1024,
        })
    }

    /// Whether a file of this many bytes has it.
    pub fn fits(&self, bytes: u64) -> bool {
        self.bytes.abs_diff(bytes) <= self.slack
    }

    /// The largest size that fits, in bytes.
    pub fn most(&self) -> u64 {
        self.bytes.saturating_add(self.slack)
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
    /// Size that the provider names. Where no hash proves the file, it must fit.
    pub size: Option<NamedSize>,
    /// Who may be asked for it.
    pub hosts: Hosts,
    /// Who may be asked although they are no hosts of the public internet.
    pub private: Private,
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
            size: None,
            hosts: Hosts::Any,
            private: Private::default(),
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

    #[test]
    fn a_file_comes_from_its_hosts_alone() {
        let url = |text: &str| Url::parse(text).unwrap();
        let names: &'static [String] = Vec::leak(vec!["a.example".to_owned()]);
        let below = Hosts::Below(names);
        for (address, expected) in [
            ("https://a.example/x", true),
            ("https://cdn.a.example/x?y=1", true),
            ("http://a.example/x", false),
            ("https://a.example:8443/x", false),
            ("https://nota.example/x", false),
            ("https://a.example.evil/x", false),
            ("https://127.0.0.1/x", false),
        ] {
            assert_eq!(below.has(&url(address)), expected, "{address}");
        }
        let one = Hosts::Of(url("http://127.0.0.1:80/a"));
        assert!(one.has(&url("http://127.0.0.1/b")) && !one.has(&url("http://127.0.0.1:81/a")));
        assert!(Hosts::Any.has(&url("ftp://x/")));
    }

    #[test]
    fn a_size_in_kib_may_be_rounded_and_one_in_bytes_is_exact() {
        let size = NamedSize::of_kib(1.5).unwrap();
        assert!(size.fits(1536) && size.fits(2000) && !size.fits(4000) && size.most() == 2560);
        assert!(NamedSize::exact(10).fits(10) && !NamedSize::exact(10).fits(11));
        for no_size in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(NamedSize::of_kib(no_size), None);
        }
    }
}
