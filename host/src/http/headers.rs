//! Headers of every answer, which keep browsers strict.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Headers of every answer that has none of that name already.
const SECURITY_HEADERS: [(&str, &str); 5] = [
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

/// Adds them. Other sites can't load what is answered, except pages of `origin`, which the settings list.
pub fn add(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    let policy = if origin.is_some() {
        "cross-origin"
    } else {
        "same-origin"
    };
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static(policy));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}
