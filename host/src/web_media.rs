//! Fetching a picture or video from an address that a person gave, without letting that address lead into the network
//! that the server stands in: names are resolved here, and a connection is made to what was checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(15);
/// For everything.
const WHOLE: Duration = Duration::from_secs(120);
/// Below this domain originals are asked for in a small rendition.
const RENDITIONS: &str = ".civitai.com";

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is no address of the web.
    #[error("{0:?} is no http or https address")]
    Address(String),
    /// It leads into a private network, or to this machine.
    #[error(
        "{0} is an address of a private network; set `private_addresses` in the table `previews` of settings.toml if it is meant"
    )]
    Private(String),
    /// The other side answered with something else than success.
    #[error("HTTP {0}")]
    Status(u16),
    /// It has too many bytes.
    #[error("it has more than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// No answer came, or it broke off.
    #[error("{0}")]
    Transport(String),
}

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The last part of the address's path.
    pub name: String,
}

/// Fetches what is at an address, at most so many bytes. Proxies are not used: behind one nobody could say where an
/// address leads. `private` allows addresses of private networks and of this machine.
///
/// # Errors
/// When the address is not allowed, or what it gives is no success.
pub async fn fetch(address: &str, most: usize, private: bool) -> Result<Fetched, FetchError> {
    let redirects = Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error("too many redirects");
        }
        match check(attempt.url(), private) {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }
    });
    let client = reqwest::Client::builder()
        .user_agent(concat!("modelshelf/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Checked { private }))
        .redirect(redirects)
        .no_proxy()
        .connect_timeout(CONNECT)
        .build()
        .map_err(transport)?;
    fetch_with(&client, address, most, private).await
}

/// As [`fetch`], with this client: names and redirects go where it lets them.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_with(
    client: &reqwest::Client,
    address: &str,
    most: usize,
    private: bool,
) -> Result<Fetched, FetchError> {
    let url = Url::parse(address).map_err(|_| FetchError::Address(address.to_owned()))?;
    check(&url, private)?;
    let name = url.path().rsplit('/').next().unwrap_or_default().to_owned();
    let mut response = client.get(url).timeout(WHOLE).send().await.map_err(transport)?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if bytes.len() + chunk.len() > most {
            return Err(FetchError::TooLarge(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Fetched { bytes, name })
}

/// The address of a small rendition of a provider's original; none where there is none. Source: contract section 7.4.
pub fn rendition(address: &str, is_video: bool) -> Option<String> {
    let mut url = Url::parse(address).ok()?;
    let path = url.path();
    if !url.host_str()?.ends_with(RENDITIONS) || !path.contains("/original=true") {
        return None;
    }
    let wanted = match is_video {
        true => "/transcode=true,width=450,optimized=true",
        false => "/width=450,optimized=true",
    };
    let path = path.replacen("/original=true", wanted, 1);
    url.set_path(&path);
    Some(url.into())
}

/// Refuses what is no address of the web, and private addresses that are written as numbers.
fn check(url: &Url, private: bool) -> Result<(), FetchError> {
    if !["http", "https"].contains(&url.scheme()) {
        return Err(FetchError::Address(url.to_string()));
    }
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    match literal {
        Ok(address) if !private && is_private(address) => Err(FetchError::Private(address.to_string())),
        _ => Ok(()),
    }
}

/// Resolves names to addresses that may be connected to.
struct Checked {
    private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let refused = found.iter().find(|found| !private && is_private(found.ip()));
            if let Some(refused) = refused {
                let what = format!("{} ({})", name.as_str(), refused.ip());
                return Err(FetchError::Private(what).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn transport(error: reqwest::Error) -> FetchError {
    FetchError::Transport(crate::net::cause(&error))
}

/// Whether an address is of a private network, of this machine, or of no machine of the public internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let embedded = address.to_ipv4_mapped().or_else(|| translated(address));
            match embedded {
                Some(address) => is_private_v4(address),
                None => {
                    address.is_loopback()
                        || address.is_unspecified()
                        || address.is_multicast()
                        || address.is_unique_local()
                        || address.is_unicast_link_local()
                        || first & 0xffc0 == 0xfec0
                        || (first == 0x2001 && second == 0xdb8)
                        || (first == 0 && second == 0)
                }
            }
        }
    }
}

/// The IPv4 address inside one of NAT64 or 6to4.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let (high, low) = match parts {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fec0::1",
            "2001:db8::1",
            "::7f00:1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "172.15.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn addresses_that_are_not_of_the_web_or_are_private_are_refused_before_anything_is_asked() {
        for address in [
            "file:///etc/passwd",
            "ftp://1.1.1.1/a",
            "",
            "a.png",
            "data:image/png;base64,AA",
        ] {
            let error = fetch(address, 10, true).await.unwrap_err();
            assert!(matches!(error, FetchError::Address(_)), "{address}: {error}");
        }
        for address in [
            "http://127.0.0.1:1/a",
            "http://[::1]:1/a",
            "http://2130706433/a",
            "http://0x7f.1/a",
        ] {
            let error = fetch(address, 10, false).await.unwrap_err();
            assert!(matches!(error, FetchError::Private(_)), "{address}: {error}");
        }
        let error = fetch("http://localhost:1/a", 10, false).await.unwrap_err();
        assert!(error.to_string().contains("private network"), "{error}");
    }

    #[test]
    fn originals_of_a_provider_are_asked_for_in_a_small_rendition() {
        let original = "https://image.civitai.com/x/1/original=true/a.jpeg";
        let small = rendition(original, false);
        assert_eq!(
            small.as_deref(),
            Some("https://image.civitai.com/x/1/width=450,optimized=true/a.jpeg")
        );
        let small = rendition(original, true).unwrap();
        assert!(small.contains("/transcode=true,width=450,optimized=true/"));
        assert_eq!(rendition("https://civitai.com/original=true/a.jpeg", false), None);
        assert_eq!(rendition("https://image.civitai.com/width=450/a.jpeg", false), None);
    }
}
