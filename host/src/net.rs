//! What is read off HTTP answers and failures in more than one place: waits, hosts and causes; in [`guard`] and [`reach`], which
//! addresses may be reached at all.

pub mod budget;
pub mod guard;
pub mod reach;

use std::time::{Duration, SystemTime};

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

/// `Retry-After`: how long a server wants to be left alone, as seconds or a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Reads a body of at most so many bytes; none when it has more.
///
/// # Errors
/// When it breaks off.
pub async fn body_up_to(response: &mut reqwest::Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The host of an address, with its port where it names one.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether an answer is a page for people.
pub fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.trim_start().starts_with("text/html"))
}

/// Why a request failed: the innermost cause, which is the one that people know, such as "connection refused". No address,
/// since that may hold secrets.
pub fn cause(error: &reqwest::Error) -> String {
    let mut innermost: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = innermost.and_then(std::error::Error::source) {
        innermost = Some(inner);
    }
    let usual = if error.is_timeout() {
        "no answer in time"
    } else {
        "it broke off"
    };
    innermost.map_or_else(|| usual.to_owned(), ToString::to_string)
}
