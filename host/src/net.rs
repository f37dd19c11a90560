//! Reading HTTP answers and failures of other servers: waits, bodies, hosts and causes. [`guard`] and [`reach`] decide which
//! addresses may be reached at all, [`pace`] ends answers that come too slowly.

pub mod budget;
pub mod content;
pub mod guard;
pub mod pace;
pub mod reach;

use std::time::{Duration, SystemTime};

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

/// `Retry-After`: how long a server wants to be left alone, as seconds or a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Longest time that a body of bounded size may take. 64 MiB in two minutes is about 0.5 MB/s.
const BODY_LIMIT: Duration = Duration::from_secs(120);

/// Why the body of an answer was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than was allowed, in bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not end in time.
    #[error("the answer did not end within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The connection broke.
    #[error("{}", cause(.0))]
    Broken(#[from] reqwest::Error),
}

/// Reads a body of at most `most` bytes within two minutes.
///
/// # Errors
/// When it is larger, slower, or breaks off.
pub async fn body_up_to(response: &mut reqwest::Response, most: usize) -> Result<Vec<u8>, BodyError> {
    body_within(response, most, BODY_LIMIT).await
}

async fn body_within(response: &mut reqwest::Response, most: usize, limit: Duration) -> Result<Vec<u8>, BodyError> {
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > most {
                return Err(BodyError::TooLarge(most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    tokio::time::timeout(limit, read)
        .await
        .unwrap_or(Err(BodyError::TooSlow(limit)))
}

/// The address that a `Location` header leads to from `base`. Servers write names of files there in raw UTF-8 or Latin-1,
/// so bytes beyond ASCII are percent-encoded instead of refused. None when the header is missing or is no address.
pub fn location(base: &Url, value: Option<&HeaderValue>) -> Option<Url> {
    let encoded = percent_encoding::percent_encode(value?.as_bytes(), percent_encoding::CONTROLS).to_string();
    base.join(&encoded).ok()
}

/// The host of an address, with its port where it names one.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_in_raw_utf8_or_latin1_is_an_address() {
        let base: Url = "https://a.example/x/y".parse().unwrap();
        let to = |bytes: &[u8]| location(&base, HeaderValue::from_bytes(bytes).ok().as_ref()).map(String::from);
        assert_eq!(
            to("/Modèle v1.safetensors".as_bytes()).as_deref(),
            Some("https://a.example/Mod%C3%A8le%20v1.safetensors")
        );
        assert_eq!(
            to(b"z%20\xe8?a=b%2F").as_deref(),
            Some("https://a.example/x/z%20%E8?a=b%2F")
        );
        assert_eq!(to(b"https://b.example/").as_deref(), Some("https://b.example/"));
        assert_eq!(location(&base, None), None);
    }

    #[tokio::test]
    async fn an_answer_that_trickles_or_has_no_end_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(async || {
            let drops = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>("x"), ()))
            });
            axum::body::Body::from_stream(drops)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut response = reqwest::get(&url).await.unwrap();
        let read = body_within(&mut response, 1 << 20, Duration::from_millis(60)).await;
        assert!(matches!(read, Err(BodyError::TooSlow(_))));
        let mut response = reqwest::get(&url).await.unwrap();
        let read = body_within(&mut response, 5, Duration::from_secs(60)).await;
        assert!(matches!(read, Err(BodyError::TooLarge(5))));
    }
}
