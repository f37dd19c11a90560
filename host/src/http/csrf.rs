//! Which site a browser sends a request for: the defence against foreign pages that use a visitor's browser.
//!
//! These checks come on top of authentication and replace none of it.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::client_address::ClientAddress;
use super::error::ApiError;
use crate::access::effects::Effects;
use crate::settings::Settings;

/// Header that the server's own pages send. A browser lets no other site send it without asking the server first.
const PAGE_HEADER: &str = "x-modelshelf-page";
/// Headers by which browsers mark that they load ahead of the visitor.
const PREFETCH_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// Schemes of the origins of browser extensions. No page can send one.
const EXTENSIONS: [&str; 4] = [
    "chrome-extension://",
    "moz-extension://",
    "safari-web-extension://",
    "extension://",
];

/// Whose request it is, as far as its headers prove that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// It carries a token in a header that no foreign page can set, or an origin that the settings list.
    Trusted,
    /// The server's own page, or a browser extension.
    Own,
    /// A page named in `Referer` is the server's own: it counts for GET.
    OwnReferer,
    /// The visitor: address bar, bookmark, or a link in another program.
    Visitor,
    /// Another site.
    Foreign,
    /// `Referer` alone names another site.
    ForeignReferer,
    /// A browser that does not say for whom.
    Unknown,
    /// A program that is no browser.
    Program,
}

/// What the headers of a request say about its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSource {
    /// Whose request it is.
    pub site: Site,
    /// Whether it opens a page or loads a part of one, rather than being asked by a script.
    is_navigation: bool,
    /// Whether a browser loads ahead.
    is_prefetch: bool,
}

impl RequestSource {
    /// Reads the headers. `by_token` says that a valid token is in a header that no page can make a browser send.
    pub fn of(settings: &Settings, headers: &HeaderMap, client: &ClientAddress, by_token: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (mode, destination) = (text("sec-fetch-mode"), text("sec-fetch-dest"));
        let is_own = |origin: &str| {
            let hosts = [text("host"), client.forwarded_host.as_deref()];
            let host = origin.split_once("://").map(|(_, host)| host).unwrap_or_default();
            !host.is_empty() && hosts.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(host))
        };
        let origin = headers
            .get(header::ORIGIN)
            .map(|origin| origin.to_str().unwrap_or("null"));
        let from_extension = origin.is_some_and(|origin| EXTENSIONS.iter().any(|scheme| origin.starts_with(scheme)));
        let site = match text("sec-fetch-site") {
            _ if by_token || allowed_origin(settings, headers).is_some() => Site::Trusted,
            Some("same-origin") => Site::Own,
            // An extension's own request: for what a visitor opens, the mode is `navigate`.
            Some("none") if mode == Some("cors") && destination == Some("empty") => Site::Own,
            Some("none") if from_extension => Site::Own,
            Some("none") => Site::Visitor,
            Some(_) => Site::Foreign,
            None if headers.contains_key(PAGE_HEADER) => Site::Own,
            // Browsers leave Sec-Fetch-Site out over plain HTTP to an address that is not loopback.
            None => match (origin, text("referer")) {
                (Some(origin), _) if is_own(origin) || from_extension => Site::Own,
                (Some(_), _) => Site::Foreign,
                (None, Some(referer)) => match origin_of(referer) {
                    Some(origin) if is_own(origin) || is_listed(settings, origin) => Site::OwnReferer,
                    _ => Site::ForeignReferer,
                },
                (None, None) if text("user-agent").is_some_and(is_browser) => Site::Unknown,
                (None, None) => Site::Program,
            },
        };
        let is_navigation = mode == Some("navigate") || destination.is_some_and(|destination| destination != "empty");
        let is_prefetch = PREFETCH_HEADERS.iter().any(|name| {
            text(name).is_some_and(|value| {
                let value = value.to_ascii_lowercase();
                value.contains("prefetch") || value.contains("prerender") || value.contains("preview")
            })
        });
        Self {
            site,
            is_navigation,
            is_prefetch,
        }
    }

    /// Whether the request is the person's own, and not one that a page of another site can cause.
    pub fn is_own(&self) -> bool {
        match self.site {
            Site::Trusted | Site::Own | Site::OwnReferer | Site::Program => !self.is_prefetch,
            Site::Visitor | Site::Foreign | Site::ForeignReferer | Site::Unknown => false,
        }
    }

    /// Whether the request may have these effects.
    ///
    /// # Errors
    /// 403 with what to do.
    pub fn check(&self, method: &Method, effects: Effects) -> Result<(), ApiError> {
        let is_get = method == Method::GET || method == Method::HEAD;
        if effects.write {
            let opened = is_get && self.is_navigation;
            let passes = match self.site {
                Site::Trusted | Site::Own | Site::Program => true,
                Site::OwnReferer => is_get,
                Site::Visitor | Site::Foreign | Site::ForeignReferer | Site::Unknown => false,
            };
            if self.is_prefetch || opened {
                return Err(refused(
                    "This address changes something, so that opening it as a link, a picture or ahead of time does nothing.",
                ));
            }
            return if passes { Ok(()) } else { Err(refused(CHANGE)) };
        }
        if effects.network || effects.plugin {
            let passes = match self.site {
                Site::Trusted | Site::Own | Site::OwnReferer | Site::Visitor | Site::Program => !self.is_prefetch,
                Site::Foreign | Site::ForeignReferer | Site::Unknown => false,
            };
            return if passes { Ok(()) } else { Err(refused(CHANGE)) };
        }
        Ok(())
    }

    /// Whether the request may be answered at all: other sites may link to pages, and load nothing.
    ///
    /// # Errors
    /// 403.
    pub fn check_isolation(&self, method: &Method, is_page: bool) -> Result<(), ApiError> {
        let is_get = method == Method::GET || method == Method::HEAD;
        if self.site == Site::Foreign && !(is_get && is_page && self.is_navigation) {
            return Err(refused(CHANGE));
        }
        Ok(())
    }

    /// Whether the request may open a socket. Browsers let every page open one to every server.
    ///
    /// # Errors
    /// 403.
    pub fn check_socket(&self) -> Result<(), ApiError> {
        match self.site {
            Site::Trusted | Site::Own | Site::Program | Site::OwnReferer => Ok(()),
            Site::Visitor | Site::Foreign | Site::ForeignReferer | Site::Unknown => Err(refused(CHANGE)),
        }
    }
}

const CHANGE: &str = "This request came from another site. Send it from the server's own pages, with an Origin listed in \
     `allowed_origins`, or with a token (`host token new NAME`).";

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, message)
}

/// Whether a User-Agent is that of a browser. They all begin with `Mozilla/5.0 (`; Qt and others send `Mozilla/5.0` alone.
pub fn is_browser(agent: &str) -> bool {
    agent.split("Mozilla/").skip(1).any(|rest| {
        let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        rest.starts_with(" (")
    })
}

/// The Origin of a request, when it is one of those that may change state.
pub fn allowed_origin<'h>(settings: &Settings, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    is_listed(settings, origin.to_str().ok()?).then_some(origin)
}

fn is_listed(settings: &Settings, origin: &str) -> bool {
    settings
        .allowed_origins
        .iter()
        .any(|own| own.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

/// Scheme and host of an address: up to the first `/` of its path.
fn origin_of(address: &str) -> Option<&str> {
    let start = address.find("://")? + 3;
    let end = address[start..]
        .find(['/', '?', '#'])
        .map_or(address.len(), |end| start + end);
    Some(&address[..end])
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;
    use crate::http::client_address::TrustedProxies;

    const READ: Effects = Effects::NONE;
    const WRITE: Effects = Effects::WRITE;
    const NETWORK: Effects = Effects::NETWORK;
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn settings() -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let args = crate::cli::ServeArgs {
            data_dir: Some(folder.path().to_owned()),
            root: vec!["x=/x".into()],
            ..Default::default()
        };
        let mut settings = Settings::load(&args).unwrap();
        settings.allowed_origins = vec!["http://tool.example".into()];
        settings
    }

    fn source(pairs: &[(&'static str, &'static str)], by_token: bool) -> RequestSource {
        let mut headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        headers.insert("host", HeaderValue::from_static("nas:8188"));
        let client = ClientAddress::of("127.0.0.1:5".parse().ok(), false, &headers, &TrustedProxies::default());
        RequestSource::of(&settings(), &headers, &client, by_token)
    }

    /// Whether GET and POST may write, GET may ask the network, and a GET of the API may read.
    fn verdicts(pairs: &[(&'static str, &'static str)]) -> [bool; 4] {
        let source = source(pairs, false);
        [
            source.check(&Method::GET, WRITE).is_ok(),
            source.check(&Method::POST, WRITE).is_ok(),
            source.check(&Method::GET, NETWORK).is_ok(),
            source.check(&Method::GET, READ).is_ok() && source.check_isolation(&Method::GET, false).is_ok(),
        ]
    }

    #[test]
    fn each_kind_of_request_may_do_what_its_headers_prove() {
        let cors = [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
        let navigate = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let with = |site: &'static str, rest: &[(&'static str, &'static str)]| {
            let mut all = vec![("sec-fetch-site", site), ("user-agent", FIREFOX)];
            all.extend(rest);
            verdicts(&all)
        };
        assert_eq!(with("same-origin", &cors), [true; 4], "own page");
        assert_eq!(with("none", &cors), [true; 4], "extension");
        assert_eq!(
            with("none", &navigate),
            [false, false, true, true],
            "address bar, link in a mail"
        );
        assert_eq!(with("none", &[]), [false, false, true, true], "none alone");
        assert_eq!(with("same-origin", &navigate), [false, true, true, true], "own link");
        let image = [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
        assert_eq!(with("same-origin", &image), [false, true, true, true], "own picture");
        for site in ["cross-site", "same-site"] {
            for rest in [cors, navigate, image] {
                assert_eq!(with(site, &rest), [false; 4], "{site} {rest:?}");
            }
        }
        assert_eq!(verdicts(&[("user-agent", "curl/8")]), [true; 4], "script");
        assert_eq!(verdicts(&[("user-agent", "Mozilla/5.0")]), [true; 4], "Qt");
        assert_eq!(verdicts(&[]), [true; 4], "script without a name");
        assert_eq!(
            verdicts(&[("user-agent", FIREFOX)]),
            [false, false, false, true],
            "browser without a sign"
        );
        assert_eq!(
            verdicts(&[("x-modelshelf-page", "1"), ("user-agent", FIREFOX)]),
            [true; 4],
            "own page over HTTP"
        );
        assert_eq!(verdicts(&[("origin", "http://nas:8188")]), [true; 4]);
        assert_eq!(
            verdicts(&[("origin", "http://tool.example"), ("sec-fetch-site", "cross-site")]),
            [true; 4]
        );
        for origin in [
            "http://evil.example",
            "null",
            "http://nas:8189",
            "http://nas",
            "file://",
        ] {
            assert_eq!(verdicts(&[("origin", origin)]), [false; 4], "{origin}");
        }
        assert_eq!(
            verdicts(&[("origin", "http://nas:8188"), ("sec-fetch-site", "cross-site")]),
            [false; 4]
        );
        assert_eq!(
            verdicts(&[("x-modelshelf-page", "1"), ("sec-fetch-site", "cross-site")]),
            [false; 4]
        );
    }

    #[test]
    fn a_referer_of_the_own_origin_counts_for_get_over_plain_http() {
        let own = [("referer", "http://nas:8188/loras"), ("user-agent", FIREFOX)];
        assert_eq!(verdicts(&own), [true, false, true, true]);
        for referer in [
            "http://evil.example/http://nas:8188/",
            "http://nas:8188.evil.example/",
            "http://nas:8188@evil.example/",
            "nas:8188",
        ] {
            let verdict = verdicts(&[("referer", referer), ("user-agent", FIREFOX)]);
            assert_eq!(verdict, [false, false, false, true], "{referer}");
        }
        assert_eq!(
            verdicts(&[("referer", "http://tool.example/x")]),
            [true, false, true, true]
        );
    }

    #[test]
    fn what_a_browser_loads_ahead_has_no_effect() {
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            let all = [
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "cors"),
                ("sec-fetch-dest", "empty"),
                (name, value),
            ];
            assert_eq!(verdicts(&all), [false, false, false, true], "{name}");
        }
    }

    #[test]
    fn a_foreign_site_may_link_to_pages_and_load_nothing() {
        let link = source(
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            false,
        );
        assert!(link.check_isolation(&Method::GET, true).is_ok());
        assert!(link.check_isolation(&Method::GET, false).is_err());
        assert!(link.check_isolation(&Method::POST, true).is_err());
        let frame = source(
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
            false,
        );
        assert!(frame.check_isolation(&Method::GET, true).is_err());
    }

    #[test]
    fn a_token_in_a_header_proves_that_no_page_sent_it_and_opens_no_link() {
        let foreign = source(&[("sec-fetch-site", "cross-site")], true);
        assert!(foreign.check(&Method::POST, WRITE).is_ok());
        let link = source(&[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], true);
        assert!(link.check(&Method::GET, WRITE).is_err());
    }

    #[test]
    fn an_extension_may_open_a_socket_and_a_page_may_not() {
        let opens = |pairs: &[(&'static str, &'static str)]| source(pairs, false).check_socket().is_ok();
        for origin in [
            "chrome-extension://zzz",
            "moz-extension://zzz",
            "http://nas:8188",
            "http://tool.example",
        ] {
            assert!(opens(&[("origin", origin), ("user-agent", FIREFOX)]), "{origin}");
        }
        assert!(opens(&[("user-agent", "Mozilla/5.0")]) && opens(&[]));
        assert!(opens(&[
            ("origin", "http://nas:8188"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-dest", "websocket")
        ]));
        for origin in ["http://evil.example", "null", "https://chrome-extension.evil.example"] {
            assert!(!opens(&[("origin", origin)]), "{origin}");
        }
        assert!(!opens(&[
            ("origin", "chrome-extension://zzz"),
            ("sec-fetch-site", "cross-site")
        ]));
        assert!(!opens(&[("user-agent", FIREFOX)]));
    }

    #[test]
    fn only_browsers_are_taken_for_browsers() {
        assert!(is_browser(FIREFOX) && is_browser("Mozilla/4.0 (compatible; MSIE 8.0)"));
        for agent in [
            "Mozilla/5.0",
            "curl/8.0",
            "python-requests/2",
            "",
            "MozillaX/5.0 (",
            "Mozilla/5.0 Qt",
        ] {
            assert!(!is_browser(agent), "{agent}");
        }
    }
}
