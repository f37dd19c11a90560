//! Fetching a picture or video from an address that a person gave, without letting that address lead into the network
//! that the server stands in.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::LOCATION;

use crate::net::guard::PrivateAddress;
use crate::net::reach::Reach;
use crate::net::{BodyError, body_up_to, location, retry_after};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// For everything.
const WHOLE: Duration = Duration::from_secs(120);
/// A host that wants to be left alone for longer is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Below this domain originals are asked for in a small rendition.
const RENDITIONS: &str = ".civitai.com";

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is no address of the web.
    #[error("{0:?} is no http or https address")]
    Address(String),
    /// It leads into a private network, or to this machine.
    #[error("{0}; set `private_addresses` in the table `previews` of settings.toml if it is meant")]
    Private(#[from] PrivateAddress),
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

impl FetchError {
    /// Whether it says more of the network, or of the whole host, than of this address.
    pub fn is_of_network(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Address(_) | Self::Private(_) | Self::TooLarge(_) => false,
        }
    }
}

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The last part of the address's path.
    pub name: String,
}

/// Fetches what is at an address, at most so many bytes. `private` allows addresses of private networks and of this
/// machine, redirects too. Through a proxy, nobody here could say where a name leads.
///
/// # Errors
/// When the address is not allowed, or what it gives is no success.
pub async fn fetch(reach: &Reach, address: &str, most: usize, private: bool) -> Result<Fetched, FetchError> {
    let url = Url::parse(address).map_err(|_| FetchError::Address(address.to_owned()))?;
    let fetched = tokio::time::timeout(WHOLE, followed(reach, url, most, private)).await;
    fetched.unwrap_or_else(|_| Err(FetchError::Transport("no answer in time".into())))
}

async fn followed(reach: &Reach, mut url: Url, most: usize, private: bool) -> Result<Fetched, FetchError> {
    let name = url.path().rsplit('/').next().unwrap_or_default().to_owned();
    for _ in 0..=MAX_REDIRECTS {
        if !["http", "https"].contains(&url.scheme()) {
            return Err(FetchError::Address(url.to_string()));
        }
        let client = reach.client_for(&url, private)?;
        if let Some(pause) = reach.budgets().pause(&url) {
            if pause > LONGEST_PAUSE {
                return Err(FetchError::Status(429));
            }
            tokio::time::sleep(pause).await;
        }
        let mut response = client.get(url.clone()).send().await.map_err(transport)?;
        let status = response.status();
        if status.is_redirection() {
            let to = location(&url, response.headers().get(LOCATION));
            url = to.ok_or_else(|| FetchError::Status(status.as_u16()))?;
            continue;
        }
        if !status.is_success() {
            if status.as_u16() == 429 {
                reach.budgets().limited(&url, retry_after(response.headers()));
            }
            return Err(FetchError::Status(status.as_u16()));
        }
        let bytes = body_up_to(&mut response, most).await.map_err(|error| match error {
            BodyError::TooLarge(most) => FetchError::TooLarge(most),
            BodyError::Broken(error) => transport(error),
            error @ BodyError::TooSlow(_) => FetchError::Transport(error.to_string()),
        })?;
        return Ok(Fetched { bytes, name });
    }
    Err(FetchError::Transport("too many redirects".into()))
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

fn transport(error: reqwest::Error) -> FetchError {
    match PrivateAddress::behind(&error) {
        Some(refused) => FetchError::Private(refused.clone()),
        None => FetchError::Transport(crate::net::cause(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn reach() -> Reach {
        Reach::new(reqwest::Client::builder, None, Arc::default()).unwrap()
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
            let error = fetch(&reach(), address, 10, true).await.unwrap_err();
            assert!(matches!(error, FetchError::Address(_)), "{address}: {error}");
        }
        for address in ["http://127.0.0.1:1/a", "http://2130706433/a", "http://localhost:1/a"] {
            let error = fetch(&reach(), address, 10, false).await.unwrap_err();
            assert!(matches!(error, FetchError::Private(_)), "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn redirects_are_followed_and_lead_into_no_private_network() {
        // A proxy answers for hosts of the public internet.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/picture", axum::routing::get(async || "picture"))
            .fallback(async |uri: axum::http::Uri| {
                let to = uri.query().unwrap_or_default().to_owned();
                (axum::http::StatusCode::FOUND, [(LOCATION, to)])
            });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let builder = || {
            let proxy = reqwest::Proxy::http(proxy.clone()).unwrap();
            // As with `NO_PROXY`.
            let direct = reqwest::NoProxy::from_string("localhost");
            reqwest::Client::builder().no_proxy().proxy(proxy.no_proxy(direct))
        };
        let reach = Reach::new(builder, Some("127.0.0.1"), Arc::default()).unwrap();
        let to = async |to: &str| fetch(&reach, &format!("http://a.invalid/x?{to}"), 10, false).await;
        assert_eq!(to("/picture").await.unwrap().bytes, b"picture");
        for inside in ["http://localhost:1/a", "http://127.0.0.1:1/a", "http://10.0.0.1/a"] {
            let error = to(inside).await.unwrap_err();
            assert!(matches!(error, FetchError::Private(_)), "{inside}: {error}");
        }
        assert!(matches!(to("ftp://a.invalid/").await, Err(FetchError::Address(_))));
        assert!(to("/x?/x").await.is_err());
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_read_to_its_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/a.png", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(async || vec![0_u8; 100]);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let error = fetch(&reach(), &address, 99, true).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge(99)), "{error}");
        assert_eq!(fetch(&reach(), &address, 100, true).await.unwrap().bytes.len(), 100);
    }

    #[tokio::test]
    async fn a_pause_that_a_host_asks_for_is_noted_for_everybody() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/a.png", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .fallback(async || (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "600")]));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (reach, url) = (reach(), address.parse().unwrap());
        for _ in 0..2 {
            let error = fetch(&reach, &address, 10, true).await.unwrap_err();
            assert!(matches!(error, FetchError::Status(429)), "{error}");
            assert!(reach.budgets().pause(&url).unwrap() > Duration::from_secs(590));
        }
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
