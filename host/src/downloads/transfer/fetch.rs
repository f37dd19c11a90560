//! One request for a range of a file: redirects, keys, and what an answer means.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, LOCATION,
    RANGE,
};
use reqwest::{Response, StatusCode, Url};

use super::content_range::ContentRange;
use super::error::TransferError;
use super::source::Source;
use crate::net::guard::PrivateAddress;
use crate::net::reach::Reach;
use crate::net::{cause, content, host_of, location, retry_after};

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
    /// The server's ranges can't be trusted: the file is to be asked for as a whole.
    NoRanges(TransferError),
    /// Bytes came, but too few of them: unlike with a connection that broke, they are no reason to go on for ever.
    Slow(TransferError),
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
    /// Whether the whole file is asked for, without a range; `start` is 0 then.
    pub whole: bool,
    /// Longest silence.
    pub patience: Duration,
}

/// An answer that has bytes.
pub struct Answer {
    /// The body.
    pub response: Response,
    /// Size of the whole file, in bytes.
    pub total: Option<u64>,
    /// Bytes at the start of the body that come before the first byte that was asked for.
    pub skip: u64,
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
            url = location(&url, response.headers().get(LOCATION)).ok_or_else(|| {
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
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if !self.whole {
            request = request.header(RANGE, range);
            // A weak validator does not prove that bytes are the same.
            if let Some(validator) = self.validator.filter(|validator| !validator.starts_with("W/")) {
                request = request.header(IF_RANGE, validator);
            }
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
        let is_page = content::is_page(headers);
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
            if content::is_message(headers) {
                let kind = content::media_type(headers);
                return Err(Failure::Fatal(TransferError::Message { host, kind }));
            }
            if let Some(encoding) = content::encoding(headers) {
                return Err(Failure::Fatal(TransferError::Encoded { host, encoding }));
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
            416 if self.start == 0 && !self.whole => Failure::NoRanges(refused()),
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

    /// The answer contradicts itself or names no bytes that were asked for. One request for the whole file is left.
    fn without_ranges(&self, url: &Url) -> Failure {
        let error = TransferError::Network {
            host: host_of(url),
            reason: "it names other bytes than it sends".into(),
        };
        if self.whole {
            Failure::Fatal(error)
        } else {
            Failure::NoRanges(error)
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
        let length = text(headers, CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
        let range = text(headers, CONTENT_RANGE).map(|text| ContentRange::parse(text).filter(|own| own.fits(length)));
        let (first, total) = match range {
            // A server that says which bytes these are, though it says that they are all.
            Some(Some(range)) if !is_part && !range.is_whole() => return Err(self.without_ranges(url)),
            Some(Some(range)) if range.last < self.start => return Err(self.without_ranges(url)),
            Some(Some(range)) => (range.first, range.total),
            Some(None) => return Err(self.without_ranges(url)),
            None if is_part => return Err(self.without_ranges(url)),
            None => (0, length),
        };
        if first > self.start {
            return Err(self.without_ranges(url));
        }
        // The whole file again, where only the rest was asked for.
        if !is_part && self.start > 0 {
            return Err(Failure::Restart(changed()));
        }
        if let (Some(now), Some(before)) = (&validator, self.validator)
            && now != before
        {
            return Err(Failure::Restart(changed()));
        }
        Ok(Answer {
            total,
            skip: self.start - first,
            validator,
            ranges: is_part,
            url: url.to_string(),
            response,
        })
    }
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
