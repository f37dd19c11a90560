//! One request for a range of a file: redirects, keys, and what an answer means.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use reqwest::{Response, StatusCode, Url};

use super::error::TransferError;
use super::source::Source;
use crate::net::guard::PrivateAddress;
use crate::net::reach::Reach;
use crate::net::{cause, host_of, is_page, retry_after};

/// Most redirects of one request.
const REDIRECTS: usize = 10;
/// Parts of a path that a provider sends people to who are not signed in.
const SIGN_IN: [&str; 3] = ["/login", "/sign-in", "/signin"];

/// Why a request gave no bytes, and what may help.
#[derive(Debug)]
pub enum Failure {
    /// It may go well the next time, after this long if the server said so.
    Retry(TransferError, Option<Duration>),
    /// The address that a redirect gave has expired: the canonical one gives another.
    Expired(TransferError),
    /// What was fetched so far is of no use: the file is another one, or comes whole only.
    Restart(TransferError),
    /// It will not go well.
    Fatal(TransferError),
}

/// A request for bytes of a file.
pub struct Request<'a> {
    /// Sends it.
    pub reach: &'a Reach,
    /// What is fetched.
    pub source: &'a Source,
    /// The canonical address.
    pub canonical: &'a str,
    /// Where it led the last time.
    pub resolved: Option<&'a str>,
    /// What the file was the last time.
    pub validator: Option<&'a str>,
    /// First byte.
    pub start: u64,
    /// The byte after the last one.
    pub end: u64,
    /// Longest silence.
    pub patience: Duration,
}

/// An answer that has bytes.
pub struct Answer {
    /// The body.
    pub response: Response,
    /// Size of the whole file.
    pub total: Option<u64>,
    /// What the file is.
    pub validator: Option<String>,
    /// Whether ranges are served.
    pub ranges: bool,
    /// Where the canonical address led.
    pub url: String,
}

impl Request<'_> {
    /// Asks, along redirects.
    ///
    /// # Errors
    /// What the answer means.
    pub async fn send(&self) -> Result<Answer, Failure> {
        let parse = |text: &str| {
            Url::parse(text).map_err(|error| {
                Failure::Fatal(TransferError::Address {
                    url: text.to_owned(),
                    reason: error.to_string(),
                })
            })
        };
        let mut url = parse(self.resolved.unwrap_or(self.canonical))?;
        for _ in 0..REDIRECTS {
            if !self.source.hosts.has(&url) {
                return Err(Failure::Fatal(TransferError::Address {
                    url: host_of(&url),
                    reason: "this file is not expected to come from there".into(),
                }));
            }
            let response = self.ask(&url).await?;
            if !response.status().is_redirection() {
                return self.understand(&url, response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = location.and_then(|location| url.join(location).ok()).ok_or_else(|| {
                Failure::Fatal(TransferError::Refused {
                    host: host_of(&url),
                    status: response.status().as_u16(),
                })
            })?;
        }
        Err(Failure::Fatal(TransferError::Refused {
            host: host_of(&url),
            status: StatusCode::LOOP_DETECTED.as_u16(),
        }))
    }

    async fn ask(&self, url: &Url) -> Result<Response, Failure> {
        let range = format!("bytes={}-{}", self.start, self.end.saturating_sub(1));
        let client = self.reach.client_for(url, self.source.private.has(url));
        let client = client.map_err(|refused| Failure::Fatal(refused.into()))?;
        if let Some(wait) = self.reach.budgets().pause(url) {
            let host = host_of(url);
            return Err(Failure::Retry(TransferError::RateLimited { host, wait }, Some(wait)));
        }
        let mut request = client
            .get(url.clone())
            .header(ACCEPT_ENCODING, "identity")
            .header(RANGE, range);
        // A weak validator does not prove that bytes are the same.
        if let Some(validator) = self.validator.filter(|validator| !validator.starts_with("W/")) {
            request = request.header(IF_RANGE, validator);
        }
        if let Some(key) = self.source.key_for(url) {
            request = request.header(AUTHORIZATION, key);
        }
        match tokio::time::timeout(self.patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_builder() => Err(Failure::Fatal(TransferError::Address {
                url: url.to_string(),
                reason: error.to_string(),
            })),
            Ok(Err(error)) => Err(match PrivateAddress::behind(&error) {
                Some(refused) => Failure::Fatal(refused.clone().into()),
                None => Failure::Retry(broken(url, &error), None),
            }),
            Err(_) => Err(Failure::Retry(silent(url, self.patience), None)),
        }
    }

    fn understand(&self, url: &Url, response: Response) -> Result<Answer, Failure> {
        let headers = response.headers();
        let (status, host) = (response.status(), host_of(url));
        let is_page = is_page(headers);
        let signed = self.source.key_for(url).is_some() || self.resolved_with_key();
        if status == StatusCode::PARTIAL_CONTENT || status == StatusCode::OK {
            if is_page {
                let sign_in = SIGN_IN.iter().any(|part| url.path().contains(part));
                return Err(Failure::Fatal(if sign_in {
                    self.no_key(host, signed)
                } else {
                    TransferError::Page { host }
                }));
            }
            return self.content(url, response);
        }
        let elsewhere = url.as_str() != self.canonical;
        let gone = || TransferError::Gone {
            host: host.clone(),
            status: status.as_u16(),
        };
        let refused = || TransferError::Refused {
            host: host.clone(),
            status: status.as_u16(),
        };
        Err(match status.as_u16() {
            401 | 403 | 404 | 410 if elsewhere => Failure::Expired(refused()),
            403 | 503 if is_page => Failure::Retry(TransferError::Page { host }, None),
            401..=403 => Failure::Fatal(self.no_key(host, signed)),
            404 | 410 => Failure::Fatal(gone()),
            451 => Failure::Fatal(TransferError::Region { host }),
            416 => Failure::Restart(refused()),
            429 => {
                let wait = retry_after(headers);
                self.reach.budgets().limited(url, wait);
                let error = TransferError::RateLimited {
                    host,
                    wait: wait.unwrap_or_default(),
                };
                Failure::Retry(error, wait)
            }
            408 | 425 | 500.. => Failure::Retry(refused(), retry_after(headers)),
            _ => Failure::Fatal(refused()),
        })
    }

    fn resolved_with_key(&self) -> bool {
        Url::parse(self.canonical).is_ok_and(|url| self.source.key_for(&url).is_some())
    }

    fn no_key(&self, host: String, signed: bool) -> TransferError {
        let setting = self.source.key_setting;
        match (self.source.gated, signed) {
            (true, _) => TransferError::EarlyAccess,
            (false, true) => TransferError::KeyRejected { host, setting },
            (false, false) => TransferError::KeyMissing { host, setting },
        }
    }

    fn content(&self, url: &Url, response: Response) -> Result<Answer, Failure> {
        let headers = response.headers();
        let validator = text(headers, ETAG)
            .or_else(|| text(headers, LAST_MODIFIED))
            .map(str::to_owned);
        let changed = || TransferError::Network {
            host: host_of(url),
            reason: "the file there changed, or is given out only as a whole".into(),
        };
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let (first, total) = if is_part {
            content_range(headers).ok_or_else(|| Failure::Restart(changed()))?
        } else {
            (0, response.content_length())
        };
        if first != self.start {
            return Err(Failure::Restart(changed()));
        }
        if let (Some(now), Some(before)) = (&validator, self.validator)
            && now != before
        {
            return Err(Failure::Restart(changed()));
        }
        Ok(Answer {
            total,
            validator,
            ranges: is_part,
            url: url.to_string(),
            response,
        })
    }
}

/// First byte and size of the whole, of `bytes 0-9/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    Some((first, total.trim().parse().ok()))
}

fn text(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A connection that broke.
pub fn broken(url: &Url, error: &reqwest::Error) -> TransferError {
    TransferError::Network {
        host: host_of(url),
        reason: cause(error),
    }
}

/// A connection over which nothing came.
pub fn silent(url: &Url, patience: Duration) -> TransferError {
    TransferError::Network {
        host: host_of(url),
        reason: format!("nothing came for {} s", patience.as_secs()),
    }
}
