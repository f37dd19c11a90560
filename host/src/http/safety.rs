//! Who may ask, and from where: the Host allow-list against DNS rebinding, the origin check
//! before anything changes, and the headers that keep pages from being misused.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::error::ApiError;
use crate::settings::Settings;

/// Headers of every answer.
pub const SECURITY_HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; connect-src 'self'; \
         font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Header that carries the token, beside `Authorization: Bearer`.
const TOKEN_HEADER: &str = "x-modelshelf-token";
/// Header that our own pages send. A browser lets no other site send it without asking us first.
const PAGE_HEADER: &str = "x-modelshelf-page";
/// Headers that say that a proxy stands between the client and us.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Refuses a request for a host that is not this server's.
///
/// An address can't be rebound by a foreign name server, so every address literal passes; of
/// names only `localhost` and the configured ones do.
///
/// # Errors
/// 421.
pub fn check_host(settings: &Settings, headers: &HeaderMap, authority: Option<&str>) -> Result<(), ApiError> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or(authority)
        .unwrap_or_default();
    let name = host_name(host);
    let allowed = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || settings.allowed_hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
    if allowed {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::MISDIRECTED_REQUEST,
        format!(
            "This server does not answer for the host {name:?}. Use its address, or add the name to `allowed_hosts` under [server] in settings.toml."
        ),
    ))
}

/// The name or address of a Host header, without port and brackets.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    })
}

/// Refuses a change that a foreign web page may have asked for.
///
/// Passes: the token; `Sec-Fetch-Site: same-origin` or `none`; an allow-listed Origin, or our
/// own; the header of our own pages. A browser always sends one of these headers, so a request
/// on the loopback interface that has none, and does not call itself a browser, is a script of
/// the person's own. That last rule ends where a token is set, or a proxy makes every client
/// look local.
///
/// # Errors
/// 403.
pub fn check_change(settings: &Settings, headers: &HeaderMap, peer: Option<SocketAddr>) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = &settings.token {
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if bearer
            .or_else(|| text(TOKEN_HEADER))
            .is_some_and(|given| same(given, token))
        {
            return Ok(());
        }
    }
    let origin = text("origin");
    if allowed_origin(settings, headers).is_some() {
        return Ok(());
    }
    let passes = match (text("sec-fetch-site"), origin) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, _) if headers.contains_key(PAGE_HEADER) => true,
        // Browsers leave Sec-Fetch-Site out over plain HTTP to an address that is not loopback.
        (None, Some(origin)) => {
            let host = text("host").unwrap_or_default();
            !host.is_empty()
                && origin
                    .split_once("://")
                    .is_some_and(|(_, own)| own.eq_ignore_ascii_case(host))
        }
        (None, None) => {
            let browser = text("user-agent").is_some_and(|agent| agent.contains("Mozilla/"));
            let proxied = PROXY_HEADERS.iter().any(|name| headers.contains_key(*name));
            let local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
            local && !browser && !proxied && settings.token.is_none()
        }
    };
    if passes {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "This request would change something, and came from another site or another machine. Send it from the server's own pages, \
         with an Origin listed in `allowed_origins`, or with the token of [server] in settings.toml.",
    ))
}

/// The Origin of a request, when it is one of those that may change state.
pub fn allowed_origin<'h>(settings: &Settings, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    let listed = settings
        .allowed_origins
        .iter()
        .any(|own| own.trim_end_matches('/').eq_ignore_ascii_case(text));
    listed.then_some(origin)
}

/// Compares in a time that does not depend on where two texts differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |differences, (a, b)| differences | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
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
        settings.allowed_origins = vec!["chrome-extension://abc".into()];
        settings.token = Some("secret".into());
        settings
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_hosts() {
        let check = |host: &'static str| check_host(&settings(), &headers(&[("host", host)]), None).is_ok();
        for host in [
            "127.0.0.1:8188",
            "[::1]:8188",
            "localhost",
            "LOCALHOST:1",
            "192.168.1.5",
            "nas.lan:8188",
        ] {
            assert!(check(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8188",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil.example",
        ] {
            assert!(!check(host), "{host}");
        }
    }

    #[test]
    fn a_script_on_this_machine_needs_no_sign_until_a_token_is_set_or_a_proxy_stands_between() {
        let local: Option<SocketAddr> = "127.0.0.1:5".parse().ok();
        let remote: Option<SocketAddr> = "192.168.1.9:5".parse().ok();
        let mut settings = settings();
        assert!(check_change(&settings, &headers(&[]), local).is_err());
        settings.token = None;
        assert!(check_change(&settings, &headers(&[]), local).is_ok());
        assert!(check_change(&settings, &headers(&[]), remote).is_err());
        assert!(check_change(&settings, &headers(&[("x-forwarded-for", "10.0.0.9")]), local).is_err());
    }

    #[test]
    fn changes_need_a_sign_that_no_foreign_page_sent_them() {
        let local: Option<SocketAddr> = "127.0.0.1:5".parse().ok();
        let remote: Option<SocketAddr> = "192.168.1.9:5".parse().ok();
        let check =
            |pairs: &[(&'static str, &'static str)], peer| check_change(&settings(), &headers(pairs), peer).is_ok();
        assert!(check(&[("sec-fetch-site", "same-origin")], remote));
        assert!(check(&[("sec-fetch-site", "none")], local));
        assert!(!check(&[("sec-fetch-site", "cross-site")], local));
        assert!(!check(&[("sec-fetch-site", "same-site")], local));
        assert!(check(
            &[("sec-fetch-site", "cross-site"), ("origin", "chrome-extension://abc")],
            local
        ));
        assert!(check(
            &[("origin", "http://192.168.1.5:8188"), ("host", "192.168.1.5:8188")],
            remote
        ));
        assert!(!check(
            &[("origin", "http://evil.example"), ("host", "192.168.1.5:8188")],
            remote
        ));
        assert!(!check(&[("origin", "null"), ("host", "127.0.0.1:8188")], local));
        assert!(check(&[("x-modelshelf-page", "1")], remote));
        assert!(!check(
            &[("x-modelshelf-page", "1"), ("sec-fetch-site", "cross-site")],
            remote
        ));
        assert!(!check(&[("user-agent", "Mozilla/5.0")], local));
        assert!(
            check(&[("authorization", "Bearer secret")], remote)
                && !check(&[("authorization", "Bearer secreT")], remote)
        );
        assert!(check(&[("x-modelshelf-token", "secret")], remote));
    }
}
