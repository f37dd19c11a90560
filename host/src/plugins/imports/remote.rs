//! `remote`: HTTP requests to hosts that the plugin's description names and the person granted.
//!
//! Where a name leads is looked up here, and the addresses that were checked are the ones that are connected to. So
//! nothing private is reached by a name that leads there, at once or later, nor over a redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, StatusCode, Url, redirect};

use super::super::instance::CallState;
use super::unsupported;
use super::wit::remote::{FetchRequest, FetchResponse, Host};
use super::wit::types::Error;
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

/// Why a request is not made.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} leads to {1}, which is an address of this machine or of a private network")]
    Private(String, IpAddr),
}

/// Looks names up, and gives no address that may not be reached.
struct Checked {
    private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(address) = found.iter().find(|address| !private && !is_public(address.ip())) {
                // One of several is one too many: the next look-up may give it alone.
                return Err(Refused::Private(name.as_str().to_owned(), address.ip()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A client for public addresses alone, or for private ones too.
fn client(private: bool) -> Result<&'static Client, Error> {
    static CLIENTS: [OnceLock<Option<Client>>; 2] = [const { OnceLock::new() }; 2];
    let built = CLIENTS[usize::from(private)].get_or_init(|| {
        Client::builder()
            .dns_resolver(Arc::new(Checked { private }))
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

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        // Shared by carriers, protocol assignments, benchmarks, reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(address) = address.to_ipv4_mapped() {
        return is_public_v4(address);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b) {
        // Of IPv4 by a translator, and by 6to4.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Teredo and other assignments, and documentation.
        (0x2001, ..0x200) | (0x2001, 0xdb8) | (0x3fff, ..0x1000) => false,
        // Only 2000::/3 is given out.
        _ => a & 0xe000 == 0x2000,
    }
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
    // A resolver is not asked for what is an address already.
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    match literal {
        Ok(address) if !grants.private_addresses && !is_public(address) => Err(Error::Unauthorised(
            Refused::Private(host.to_owned(), address).to_string(),
        )),
        _ => Ok(()),
    }
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
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Error::Unauthorised(refused.to_string());
        }
        source = cause.source();
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

    #[test]
    fn addresses_of_machines_and_private_networks_are_told_from_public_ones() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

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
