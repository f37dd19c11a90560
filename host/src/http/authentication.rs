//! Who makes a request: session cookie, token, the user that a proxy names, or the person on this machine.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client_address::ClientAddress;
use super::csrf::{RequestSource, is_browser};
use super::error::ApiError;
use crate::access::{Access, Identity, LoginError, Principal, Scope, Scopes};
use crate::compat::compat;
use crate::settings::Settings;

/// Header that carries a token, beside `Authorization`.
const TOKEN_HEADER: &str = "x-modelshelf-token";
/// What anybody may ask for: whether the server lives, and the way to log in.
const OPEN: [(&str, &str); 5] = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("GET", "/api/access/me"),
    ("POST", "/api/access/login"),
];
/// Static files of the login page.
const LOGIN_FILES: [&str; 10] = [
    "app.webmanifest",
    "css/base.css",
    "css/controls.css",
    "css/login.css",
    "css/tokens.css",
    "images/favicon.svg",
    "js/bootstrap.js",
    "js/login/main.js",
    "js/theme-boot.js",
    "vendor/inter-latin.woff2",
];

/// The maker of a request. Handlers find it in the request's context.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who; none only where anybody may ask.
    pub identity: Option<Identity>,
    /// From which address.
    pub client: ClientAddress,
    /// For which site.
    pub source: RequestSource,
}

impl Caller {
    /// Reads a request's headers.
    ///
    /// # Errors
    /// When a token was sent that is nobody's, where a login is needed.
    pub fn of(
        settings: &Settings,
        access: &Access,
        headers: &HeaderMap,
        client: ClientAddress,
    ) -> (Self, Option<LoginError>) {
        let (identity, by_token, error) = match authenticate(access, headers, &client) {
            Ok(found) => (
                found.as_ref().map(|(identity, _)| identity.clone()),
                found.is_some_and(|(_, own)| own),
                None,
            ),
            Err(error) => (None, false, Some(error)),
        };
        let source = RequestSource::of(settings, headers, &client, by_token);
        let caller = Self {
            identity,
            client,
            source,
        };
        (caller, error)
    }

    /// Refuses a request that needs more than its maker has.
    ///
    /// # Errors
    /// 401 without an identity, 403 without the scope.
    pub fn require(&self, scope: Option<Scope>) -> Result<(), ApiError> {
        let Some(scope) = scope else { return Ok(()) };
        match &self.identity {
            None => Err(not_logged_in()),
            Some(identity) if identity.scopes.allows(scope) => Ok(()),
            Some(_) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                format!(
                    "This token has no scope `{0}`. Make one that has with `host token new NAME --scope {0}`.",
                    scope.name()
                ),
            )),
        }
    }
}

/// Whether anybody may ask for this.
pub fn is_open(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let file = static_file(path)
        .and_then(|rest| rest.split_once('/'))
        .map(|(_, file)| file);
    OPEN.contains(&(method, path)) || (method == "GET" && file.is_some_and(|file| LOGIN_FILES.contains(&file)))
}

/// The path of a static file with its version, below either folder.
fn static_file(path: &str) -> Option<&str> {
    let (folder, rest) = path.strip_prefix('/')?.split_once('/')?;
    (folder == "static" || folder == compat().static_prefix).then_some(rest)
}

/// Whether a path is that of a page, which other sites may link to.
pub fn is_page(path: &str) -> bool {
    let parts = ["/api/", "/ws/", "/locales/"];
    static_file(path).is_none() && !parts.iter().any(|start| path.starts_with(start))
}

/// The identity, and whether it is proved by a header that no foreign page can make a browser send.
fn authenticate(
    access: &Access,
    headers: &HeaderMap,
    client: &ClientAddress,
) -> Result<Option<(Identity, bool)>, LoginError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let authorization = text("authorization").and_then(|value| value.split_once(' '));
    let bearer = authorization.and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()));
    // Browsers send a remembered name and password to this server for every site, so they prove an identity and no site.
    let basic = authorization.and_then(|(scheme, token)| match scheme.eq_ignore_ascii_case("basic") {
        true => basic_password(token.trim()),
        false => None,
    });
    let is_local = !access.login_required() && client.peer.is_loopback() && !client.is_proxied;
    let cookie = || {
        if !headers.contains_key(header::COOKIE) {
            return None;
        }
        let name = access.cookie_name();
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(own, _)| *own == name)
            .find_map(|(_, value)| access.session(value))
    };
    let given = bearer.or_else(|| text(TOKEN_HEADER)).map(|token| (token, true));
    let given = given.or_else(|| basic.as_deref().map(|token| (token, false)));
    if let Some((token, by_header)) = given {
        match access.token(token, client.address) {
            Ok(identity) => return Ok(Some((identity, by_header))),
            // What else was sent may be good.
            Err(error) => match cookie() {
                Some(identity) => return Ok(Some((identity, false))),
                None if is_local => {}
                None => return Err(error),
            },
        }
    } else if let Some(identity) = cookie() {
        return Ok(Some((identity, false)));
    }
    if let Some(name) = &access.policy().user_header
        && client.is_trusted_proxy
        && let Some(user) = text(name).filter(|user| !user.is_empty())
    {
        let identity = Identity {
            principal: Principal::ProxyUser(user.chars().take(100).collect()),
            scopes: Scopes::ALL,
        };
        return Ok(Some((identity, false)));
    }
    Ok(is_local.then_some((Identity::LOCAL, false)))
}

/// The password of HTTP Basic; the name says nothing here.
fn basic_password(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

fn not_logged_in() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "Log in on the page /login, or send a token as `Authorization: Bearer TOKEN`, as `X-Modelshelf-Token: TOKEN` or as the password \
         of HTTP Basic. Make one with `host token new NAME`.",
    )
}

/// The answer to who is not logged in: the login page for a person who opens a page, 401 for all else, and 429 after too
/// many failed tries.
pub fn refusal(
    base_path: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    error: Option<&LoginError>,
) -> Response {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let wants_page = text("accept").contains("text/html") || text("sec-fetch-mode") == "navigate";
    if (method == Method::GET || method == Method::HEAD) && is_page(uri.path()) && wants_page {
        let next = uri.path_and_query().map_or("/", |path| path.as_str());
        let next = format!("{base_path}{next}");
        let login = format!(
            "{base_path}/login?next={}",
            utf8_percent_encode(&next, NON_ALPHANUMERIC)
        );
        let headers = [
            (header::LOCATION, login),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        return (StatusCode::FOUND, headers).into_response();
    }
    let mut response = match error {
        Some(error) => ApiError::from_login(error),
        None => not_logged_in(),
    }
    .into_response();
    let own = response.headers_mut();
    if let Some(LoginError::Slow(wait)) = error {
        own.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    // Programs then send the name and password of their address; a browser would ask the person in a window of its own.
    let from_browser = headers.contains_key("sec-fetch-mode")
        || headers.contains_key("x-modelshelf-page")
        || is_browser(text("user-agent"));
    let scheme = if from_browser {
        "Bearer realm=\"Modelshelf\""
    } else {
        "Basic realm=\"Modelshelf\", charset=\"UTF-8\""
    };
    own.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_and_the_login_page_are_open() {
        for (method, path) in [
            ("GET", "/healthz"),
            ("HEAD", "/readyz"),
            ("GET", "/login"),
            ("POST", "/api/access/login"),
            ("GET", "/static/abc/css/login.css"),
        ] {
            assert!(is_open(&method.parse().unwrap(), path), "{path}");
        }
        for (method, path) in [
            ("GET", "/version"),
            ("GET", "/"),
            ("GET", "/login/x"),
            ("POST", "/login"),
            ("GET", "/api/access/login"),
            ("GET", "/api/lm/health-check"),
            ("GET", "/static/abc/js/main.js"),
            ("GET", "/static/abc/x/css/login.css"),
            ("GET", "/locales/en.json"),
            ("POST", "/static/abc/css/login.css"),
        ] {
            assert!(!is_open(&method.parse().unwrap(), path), "{path}");
        }
    }

    #[test]
    fn the_password_of_http_basic_may_hold_colons() {
        assert_eq!(basic_password("eDphOmI=").as_deref(), Some("a:b"));
        assert_eq!(basic_password("eA=="), None);
        assert_eq!(basic_password("%"), None);
    }
}
