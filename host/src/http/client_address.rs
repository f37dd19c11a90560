//! Where a request comes from: the peer of the connection, or the client that a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Headers that say that a proxy stands between the client and the server.
const PROXY_HEADERS: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Proxies whose word about the client counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses addresses (`127.0.0.1`) and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// The text that is neither.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let parsed = texts.iter().map(|text| {
            let net = text.trim().parse::<IpNet>().ok();
            net.or_else(|| Some(IpNet::from(text.trim().parse::<IpAddr>().ok()?)))
                .ok_or_else(|| text.clone())
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address is one of them.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|own| own.contains(&address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The client of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The client, as far as it is known: the peer, or whom a trusted proxy names.
    pub address: IpAddr,
    /// Whether the client's connection is encrypted.
    pub is_https: bool,
    /// Whether a header says that a proxy is between.
    pub is_proxied: bool,
    /// Whether the peer is a trusted proxy.
    pub is_trusted_proxy: bool,
    /// The host that the client asked a trusted proxy for.
    pub forwarded_host: Option<String>,
}

impl ClientAddress {
    /// The client of a request with these headers. An unknown peer is no loopback address.
    pub fn of(peer: Option<SocketAddr>, is_https: bool, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
        let is_trusted_proxy = trusted.has(peer);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let mut client = Self {
            peer,
            address: peer,
            is_https,
            is_proxied: PROXY_HEADERS.iter().any(|name| headers.contains_key(*name)),
            is_trusted_proxy,
            forwarded_host: None,
        };
        if !is_trusted_proxy {
            return client;
        }
        // Each proxy adds the address that it saw at the end; what is before the last untrusted one may be made up.
        let lines = headers.get_all("x-forwarded-for").iter();
        let listed: Vec<&str> = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .collect();
        for text in listed.iter().rev() {
            let Some(address) = address_of(text) else { break };
            client.address = address;
            if !trusted.has(address) {
                break;
            }
        }
        if let Some(scheme) = text("x-forwarded-proto") {
            client.is_https = scheme.eq_ignore_ascii_case("https");
        }
        client.forwarded_host = text("x-forwarded-host").map(str::to_owned);
        client
    }
}

/// An address with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let address = plain.or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn of(peer: &str, pairs: &[(&'static str, &'static str)]) -> ClientAddress {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let trusted = TrustedProxies::parse(&["127.0.0.1".into(), "10.0.0.0/8".into()]).unwrap();
        ClientAddress::of(peer.parse().ok(), false, &headers.collect(), &trusted)
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let forged = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https")];
        let client = of("192.168.0.5:1", &forged);
        assert_eq!(client.address.to_string(), "192.168.0.5");
        assert!(client.is_proxied && !client.is_https && !client.is_trusted_proxy);
        let client = of(
            "127.0.0.1:1",
            &[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")],
        );
        assert_eq!(client.address.to_string(), "203.0.113.7");
        assert!(client.is_https && client.is_trusted_proxy);
    }

    #[test]
    fn what_a_client_wrote_before_its_proxy_did_does_not_count() {
        let client = of(
            "127.0.0.1:1",
            &[("x-forwarded-for", "127.0.0.1, 203.0.113.7, 10.1.1.1")],
        );
        assert_eq!(client.address.to_string(), "203.0.113.7");
        let client = of("127.0.0.1:1", &[("x-forwarded-for", "1.2.3.4, nonsense")]);
        assert_eq!(client.address.to_string(), "127.0.0.1");
        let client = of("127.0.0.1:1", &[("x-forwarded-for", "[2001:db8::1]:443")]);
        assert_eq!(client.address.to_string(), "2001:db8::1");
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        assert_eq!(
            TrustedProxies::parse(&["10.0.0.0/99".into()]).unwrap_err(),
            "10.0.0.0/99"
        );
    }
}
