//! Which addresses a request may reach that someone else has chosen: those of the public internet, unless private ones
//! are allowed. Names are looked up here, and the addresses that were checked are the ones that are connected to; so
//! nothing private is reached by a name that leads there, at once or later.
//!
//! A client that is to be guarded takes a [`Guard`] as its resolver, asks no proxy (which would look names up by
//! itself), and calls [`Guard::check`] for every URL, those of redirects too: no resolver is asked for what is an
//! address already.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A host that may not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} leads to {leads_to}, which is an address of this machine or of a private network")]
pub struct PrivateAddress {
    host: String,
    leads_to: String,
}

impl PrivateAddress {
    /// The host of a proxy, which requests are sent through and not to.
    pub fn proxy(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            leads_to: "the proxy".into(),
        }
    }

    /// The refusal that made a request fail, if one did.
    pub fn behind<'error>(error: &'error (dyn Error + 'static)) -> Option<&'error Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refused) = error.downcast_ref() {
                return Some(refused);
            }
            next = error.source();
        }
        None
    }
}

/// Lets requests reach what they may.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Whether addresses of this machine and of private networks may be reached.
    pub private: bool,
}

impl Guard {
    /// Refuses a URL whose host is a private address that is written as one.
    ///
    /// # Errors
    /// When it is.
    pub fn check(self, url: &Url) -> Result<(), PrivateAddress> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) => self.allow(host, address),
            Err(_) => Ok(()),
        }
    }

    fn allow(self, host: &str, address: IpAddr) -> Result<(), PrivateAddress> {
        if self.private || is_public(address) {
            return Ok(());
        }
        Err(PrivateAddress {
            host: host.to_owned(),
            leads_to: address.to_string(),
        })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                // One of several is one too many: the next look-up may give it alone.
                guard.allow(name.as_str(), address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet. Source: IANA's registries of special-purpose addresses.
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
            "64:ff9b::a00:1",
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
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_private_address_in_any_notation_is_seen_in_a_url() {
        let checked = |url: &str, private| Guard { private }.check(&Url::parse(url).unwrap()).is_ok();
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "https://[::1]:1/",
            "https://[::ffff:10.0.0.1]/",
        ] {
            assert!(!checked(url, false), "{url}");
            assert!(checked(url, true), "{url}");
        }
        assert!(checked("https://1.1.1.1/", false));
        assert!(checked("https://localhost/", false), "names are the resolver's");
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
        let client = reqwest::Client::builder()
            .dns_resolver(Guard { private: false })
            .no_proxy()
            .build()
            .unwrap();
        let error = client.get("http://localhost:1/").send().await.unwrap_err();
        let refused = PrivateAddress::behind(&error).expect("the refusal is the cause");
        assert_eq!(refused.host, "localhost");
    }
}
