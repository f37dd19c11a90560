//! Why a provider did not give what was asked for.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::access::effects::Undeclared;
use crate::net::budget::Held;
use crate::net::content::is_page;
use crate::net::retry_after;

/// Why there is no answer. Only [`NotFound`](Self::NotFound) and [`Gone`](Self::Gone) say something of the model itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The request that asks may not ask other hosts; a fault of the program.
    #[error(transparent)]
    Undeclared(#[from] Undeclared),
    /// The provider does not have it.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The provider had it once.
    #[error("{what} was taken down by {host}")]
    Gone {
        /// What was asked for.
        what: &'static str,
        /// Who was asked.
        host: String,
    },
    /// It is given to those with a key only.
    #[error("{host} asks for an API key. Set one in the settings")]
    KeyMissing {
        /// Who was asked.
        host: String,
    },
    /// The key is not, or no longer, a good one.
    #[error("{host} rejects the API key. Make a new one there and set it in the settings")]
    KeyRejected {
        /// Who was asked.
        host: String,
    },
    /// The provider does not give it to this account; the text is the provider's.
    #[error("{host} refuses: {reason}")]
    Forbidden {
        /// Who was asked.
        host: String,
        /// What it said.
        reason: String,
    },
    /// The provider may not give it to this country.
    #[error("{host} does not give this to the country from which it is asked")]
    Region {
        /// Who was asked.
        host: String,
    },
    /// A page for people came where data should: a guard of the site holds the server for a robot.
    #[error(
        "{host} answers with a web page instead of data; its guard seems to block this server. Try again later, or set a proxy"
    )]
    Blocked {
        /// Who was asked.
        host: String,
    },
    /// Too many requests.
    #[error("Rate limited by {host}; asked to wait {} s", .retry_after.as_secs().max(1))]
    RateLimited {
        /// Who was asked.
        host: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The host can't be reached.
    #[error("Network offline, will retry automatically later")]
    Offline {
        /// Who was asked.
        host: String,
        /// What happened, for the log.
        reason: String,
    },
    /// The host answered with an error of its own.
    #[error("{host} answers {status}; try again later")]
    Server {
        /// Who was asked.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer is none that can be used.
    #[error("{host} gave an answer that can't be used: {reason}")]
    Malformed {
        /// Who was asked.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No provider in the chain can be asked for this.
    #[error("no provider that is switched on can answer this")]
    Unsupported,
    /// A provider on this machine failed.
    #[error("the metadata archive can't be read: {0}")]
    Archive(String),
    /// Settings can't be used.
    #[error("{0}")]
    Settings(String),
}

impl ProviderError {
    /// Who was asked, where it was somebody on the net.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Gone { host, .. }
            | Self::KeyMissing { host }
            | Self::KeyRejected { host }
            | Self::Forbidden { host, .. }
            | Self::Region { host }
            | Self::Blocked { host }
            | Self::RateLimited { host, .. }
            | Self::Offline { host, .. }
            | Self::Server { host, .. }
            | Self::Malformed { host, .. } => Some(host),
            Self::NotFound(_) | Self::Undeclared(_) | Self::Unsupported | Self::Archive(_) | Self::Settings(_) => None,
        }
    }

    /// Whether it says that the provider does not have the thing; everything else may be different in a while.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Gone { .. })
    }
}

impl From<Held> for ProviderError {
    fn from(held: Held) -> Self {
        match held {
            Held::Away { host, reason } => Self::Offline { host, reason },
            Held::Limited { host, wait } => Self::RateLimited {
                host,
                retry_after: wait,
            },
        }
    }
}

/// Longest text of a provider that is passed on, in characters.
const MAX_REASON: usize = 300;

/// What an HTTP status that is no success means. `page` is whether the body is a web page, `body` its start.
pub fn refusal(
    host: &str,
    status: u16,
    headers: &HeaderMap,
    had_key: bool,
    body: &[u8],
    what: &'static str,
) -> ProviderError {
    let host = host.to_owned();
    let page = is_page(headers);
    match status {
        404 if page => ProviderError::Blocked { host },
        404 => ProviderError::NotFound(what),
        410 => ProviderError::Gone { what, host },
        429 => ProviderError::RateLimited {
            host,
            retry_after: retry_after(headers).unwrap_or(Duration::ZERO),
        },
        401 | 403 if page => ProviderError::Blocked { host },
        401 if had_key => ProviderError::KeyRejected { host },
        401 => ProviderError::KeyMissing { host },
        451 => ProviderError::Region { host },
        status if status >= 500 => ProviderError::Server { host, status },
        status => ProviderError::Forbidden {
            host,
            reason: said(body).unwrap_or_else(|| format!("status {status}")),
        },
    }
}

/// The provider's own words.
fn said(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = ["message", "error"].iter().find_map(|key| value.get(key)?.as_str())?;
    Some(text.chars().take(MAX_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&'static str, &str)], had_key: bool) -> ProviderError {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect();
        refusal("h", status, &headers, had_key, br#"{"message": "no"}"#, "Model")
    }

    #[test]
    fn a_block_page_is_no_answer_about_the_model() {
        let page = [("content-type", "text/html; charset=utf-8")];
        assert!(matches!(of(403, &page, true), ProviderError::Blocked { .. }));
        assert!(matches!(of(404, &page, false), ProviderError::Blocked { .. }));
        assert!(!of(403, &page, true).is_final() && !of(404, &page, true).is_final() && of(404, &[], true).is_final());
    }

    #[test]
    fn keys_that_are_missing_and_keys_that_are_rejected_are_told_apart() {
        assert!(matches!(of(401, &[], false), ProviderError::KeyMissing { .. }));
        assert!(matches!(of(401, &[], true), ProviderError::KeyRejected { .. }));
        assert!(matches!(of(403, &[], true), ProviderError::Forbidden { reason, .. } if reason == "no"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str| match of(429, &[("retry-after", text)], false) {
            ProviderError::RateLimited { retry_after, .. } => retry_after,
            other => panic!("{other}"),
        };
        assert_eq!(wait("7"), Duration::from_secs(7));
        let soon = std::time::SystemTime::now() + Duration::from_secs(90);
        assert!(wait(&httpdate::fmt_http_date(soon)) > Duration::from_secs(80));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Duration::ZERO);
        assert_eq!(wait("x"), Duration::ZERO);
    }
}
