//! Which host names the server answers for: the defence against DNS rebinding.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::error::ApiError;
use crate::settings::Settings;

/// Refuses a request for a host that is not this server's, or that does not say one host clearly.
///
/// An address can't be rebound by a foreign name server, so every address literal passes; of
/// names only `localhost` and the configured ones do.
///
/// # Errors
/// 400 for several or malformed hosts, 421 for a foreign one.
pub fn check_host(settings: &Settings, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let malformed = || ApiError::bad_request("The request does not name one host in its Host header.");
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts
        .next()
        .map(|host| host.to_str().map_err(|_| malformed()))
        .transpose()?;
    if hosts.next().is_some() {
        return Err(malformed());
    }
    // HTTP/2 and the absolute form name the host in the address; RFC 9112 has that one count, so both must be ours.
    let authority = uri.authority().map(Authority::as_str);
    let named = [host, authority].into_iter().flatten();
    if host.is_none() && authority.is_none() {
        return Err(malformed());
    }
    for name in named {
        let name = host_name(name).ok_or_else(malformed)?;
        if !is_own(settings, &name) {
            return Err(ApiError::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "This server does not answer for the host {:?}. Use its address, or add the name to `allowed_hosts` under [server] in settings.toml.",
                    name.text()
                ),
            ));
        }
    }
    Ok(())
}

enum HostName<'h> {
    Address(&'h str),
    Name(&'h str),
}

impl HostName<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Address(text) | Self::Name(text) => text,
        }
    }
}

fn is_own(settings: &Settings, host: &HostName<'_>) -> bool {
    match host {
        HostName::Address(_) => true,
        HostName::Name(name) => {
            name.eq_ignore_ascii_case("localhost")
                || name.to_ascii_lowercase().ends_with(".localhost")
                || settings.allowed_hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
        }
    }
}

/// The name or address of a Host header, without port and brackets; none when it is malformed.
fn host_name(host: &str) -> Option<HostName<'_>> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address = address.parse::<Ipv6Addr>().is_ok().then_some(address)?;
            (HostName::Address(address), rest)
        }
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, rest) = host.split_at(end);
            let is_name = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
            let name = is_name.then_some(name)?;
            match name.parse::<Ipv4Addr>() {
                Ok(_) => (HostName::Address(name), rest),
                Err(_) => (HostName::Name(name), rest),
            }
        }
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(name)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn settings() -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let args = crate::cli::ServeArgs {
            data_dir: Some(folder.path().to_owned()),
            root: vec!["x=/x".into()],
            ..Default::default()
        };
        let mut settings = Settings::load(&args).unwrap();
        settings.allowed_hosts = vec!["nas.lan".into()];
        settings
    }

    fn check(hosts: &[&'static str], uri: &'static str) -> u16 {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        match check_host(&settings(), &headers, &Uri::from_static(uri)) {
            Ok(()) => 200,
            Err(error) => error.status.as_u16(),
        }
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_hosts() {
        for host in [
            "127.0.0.1:8188",
            "[::1]:8188",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "a.localhost",
            "192.168.1.5",
            "nas.lan:8188",
            "NAS.lan",
        ] {
            assert_eq!(check(&[host], "/"), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8188",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "nas.lan.evil.example",
            "2130706433",
            "0x7f.1",
        ] {
            assert_eq!(check(&[host], "/"), 421, "{host}");
        }
    }

    #[test]
    fn malformed_several_and_missing_hosts_are_refused() {
        for host in [
            "",
            "[127.0.0.1]evil.example",
            "[127.0.0.1]",
            "[::1",
            "[::1]evil.example",
            "[::1]:80:80",
            "127.0.0.1:80:80",
            "127.0.0.1:x",
            "127.0.0.1:123456",
            "user@127.0.0.1",
            "127.0.0.1/evil.example",
            "127.0.0.1, evil.example",
            "localhost evil.example",
        ] {
            assert_eq!(check(&[host], "/"), 400, "{host}");
        }
        assert_eq!(check(&[], "/"), 400);
        assert_eq!(check(&["127.0.0.1", "127.0.0.1"], "/"), 400);
        assert_eq!(check(&["127.0.0.1", "evil.example"], "/"), 400);
    }

    #[test]
    fn the_absolute_form_must_name_this_server_too() {
        assert_eq!(check(&["127.0.0.1"], "http://evil.example/"), 421);
        assert_eq!(check(&["evil.example"], "http://127.0.0.1/"), 421);
        assert_eq!(check(&["127.0.0.1"], "http://127.0.0.1/"), 200);
        assert_eq!(check(&[], "http://127.0.0.1/"), 200);
    }
}
