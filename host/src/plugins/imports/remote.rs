//! `remote`: HTTP requests to hosts that the plugin's description names and the person granted.
//!
//! Each URL is checked, those of redirects too, and [`Guard`] keeps names from leading to private addresses.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, StatusCode, Url, redirect};

use super::super::instance::CallState;
use super::unsupported;
use super::wit::remote::{FetchRequest, FetchResponse, Host};
use super::wit::types::Error;
use crate::net::guard::{Guard, PrivateAddress};
use crate::plugins::Grants;

const MAX_REQUEST: usize = 1 << 20;
const MAX_ANSWER: usize = 4 << 20;
const MAX_REDIRECTS: u32 = 5;
/// Requests in one call, so that waiting for them does not make a call endless.
const MAX_IN_CALL: u32 = 16;
const CONNECT: Duration = Duration::from_secs(5);

/// Headers that say how a request travels, or whose it is; a plugin can't set them.
const OURS: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
];

/// A client for public addresses alone, or for private ones too.
fn client(private: bool) -> Result<&'static Client, Error> {
    static CLIENTS: [OnceLock<Option<Client>>; 2] = [const { OnceLock::new() }; 2];
    let built = CLIENTS[usize::from(private)].get_or_init(|| {
        Client::builder()
            .dns_resolver(Guard { private })
            .redirect(redirect::Policy::none())
            // A proxy would look names up by itself.
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(1)
            .build()
            .inspect_err(|error| tracing::error!(%error, "plugins can't make requests"))
            .ok()
    });
    built
        .as_ref()
        .ok_or_else(|| Error::Internal("this host can't make HTTP requests; its log says why".into()))
}

/// Refuses a URL that the plugin may not ask for.
fn check(url: &Url, asked: &[String], grants: &Grants) -> Result<(), Error> {
    let host = url.host_str().unwrap_or_default();
    let is_secure = url.scheme() == "https" || (url.scheme() == "http" && grants.private_addresses);
    if !is_secure {
        return Err(Error::Invalid(format!("{url} is no https URL")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Invalid(format!(
            "the URL for {host} has a user name; send it in a header"
        )));
    }
    if !asked.iter().any(|own| own.eq_ignore_ascii_case(host)) {
        return Err(Error::Unauthorised(format!(
            "the plugin's description does not name the host {host} in capabilities.remote-hosts"
        )));
    }
    if !grants.allows(host) {
        return Err(Error::Unauthorised(format!(
            "the host {host} is not granted to this plugin; grant it on the page /plugins"
        )));
    }
    let guard = Guard {
        private: grants.private_addresses,
    };
    guard
        .check(url)
        .map_err(|refused| Error::Unauthorised(refused.to_string()))
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let lower = name.to_ascii_lowercase();
        if OURS.contains(&lower.as_str()) {
            return Err(Error::Invalid(format!("the header {name} is the host's own")));
        }
        let wrong = || Error::Invalid(format!("the header {lower:?} can't be sent"));
        headers.append(
            HeaderName::from_bytes(lower.as_bytes()).map_err(|_| wrong())?,
            HeaderValue::from_str(value).map_err(|_| wrong())?,
        );
    }
    Ok(headers)
}

/// What went wrong, without the URL's query, which may hold a key.
fn explained(error: reqwest::Error) -> Error {
    let error = error.without_url();
    if let Some(refused) = PrivateAddress::behind(&error) {
        return Error::Unauthorised(refused.to_string());
    }
    if error.is_timeout() {
        return Error::Internal("the request took longer than its limit".into());
    }
    Error::Internal(format!("the request failed: {error}"))
}

impl CallState {
    async fn fetched(&mut self, request: FetchRequest) -> Result<FetchResponse, Error> {
        let (Some(_), Some(account)) = (&self.reach.outside, self.reach.account.clone()) else {
            return unsupported("remote");
        };
        let mut method = match request.method.as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            other => return Err(Error::Invalid(format!("the method {other:?} is not GET or POST"))),
        };
        if request.body.len() > MAX_REQUEST {
            return Err(Error::Invalid(format!("the body is larger than {MAX_REQUEST} bytes")));
        }
        let mut headers = headers(&request.headers)?;
        let mut url = Url::parse(&request.url)
            .map_err(|error| Error::Invalid(format!("{:?} is no URL: {error}", request.url)))?;
        check(&url, &self.reach.hosts, &self.reach.grants)?;
        self.reach.requests_made += 1;
        if self.reach.requests_made > MAX_IN_CALL {
            return Err(Error::Conflict(format!("more than {MAX_IN_CALL} requests in one call")));
        }
        let mut body = request.body;
        let until = Instant::now() + account.limits().request_time();
        let client = client(self.reach.grants.private_addresses)?;
        for _ in 0..=MAX_REDIRECTS {
            account.may_request().map_err(|limit| {
                account.ran_into(&limit);
                Error::Conflict(format!("the plugin {limit}"))
            })?;
            let left = until.saturating_duration_since(Instant::now());
            let sent = client
                .request(method.clone(), url.clone())
                .headers(headers.clone())
                .body(body.clone())
                .timeout(left)
                .send();
            let answer = sent.await.map_err(explained)?;
            let status = answer.status();
            let next = answer.headers().get(LOCATION).filter(|_| status.is_redirection());
            let Some(next) = next else {
                return read(answer).await;
            };
            let next = next.to_str().ok().and_then(|next| url.join(next).ok());
            let next = next.ok_or_else(|| Error::Internal(format!("{} redirects to no URL", host_of(&url))))?;
            check(&next, &self.reach.hosts, &self.reach.grants)?;
            if host_of(&next) != host_of(&url) || next.scheme() != url.scheme() {
                // A key for one host is none for another.
                for name in ["authorization", "cookie", "x-api-key"] {
                    headers.remove(name);
                }
            }
            if ![StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&status) {
                method = Method::GET;
                body.clear();
                headers.remove("content-type");
            }
            url = next;
        }
        Err(Error::Internal(format!(
            "more than {MAX_REDIRECTS} redirects from {}",
            host_of(&url)
        )))
    }
}

fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

async fn read(mut answer: reqwest::Response) -> Result<FetchResponse, Error> {
    let status = answer.status().as_u16();
    let texts = answer.headers().iter();
    let headers = texts
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(explained)? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(Error::Internal(format!("the answer is larger than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(FetchResponse { status, headers, body })
}

impl Host for CallState {
    async fn fetch(&mut self, request: FetchRequest) -> wasmtime::Result<Result<FetchResponse, Error>> {
        let clock = self.clock.clone();
        Ok(clock.waiting(self.fetched(request)).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
        let sent = client(false).unwrap().get("https://localhost:1/").send().await;
        let Error::Unauthorised(reason) = explained(sent.unwrap_err()) else {
            panic!("not refused")
        };
        assert!(reason.contains("localhost") && reason.contains("private"), "{reason}");
    }

    #[test]
    fn only_https_to_granted_hosts_that_were_asked_for_is_allowed() {
        let asked = ["a.example".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        let grants = Grants {
            remote_hosts: vec![
                "A.example".into(),
                "127.0.0.1".into(),
                "[::1]".into(),
                "b.example".into(),
            ],
            private_addresses: false,
        };
        let checked = |url: &str| check(&Url::parse(url).unwrap(), &asked, &grants).is_ok();
        assert!(checked("https://a.example/x?y"));
        for url in [
            "http://a.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://user:x@a.example/",
            "https://b.example/",
            "https://c.example/",
            "https://127.0.0.1/",
            "https://0x7f000001/",
            "https://[::1]/",
            "https://a.example.evil.example/",
        ] {
            assert!(!checked(url), "{url}");
        }
    }

    #[test]
    fn headers_that_say_how_a_request_travels_are_refused() {
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        assert!(headers(&pair("Accept", "text/html")).is_ok());
        for (name, value) in [("Host", "x"), ("content-Length", "3"), ("a b", "x"), ("x", "a\r\nb: c")] {
            assert!(headers(&pair(name, value)).is_err(), "{name}");
        }
    }
}
