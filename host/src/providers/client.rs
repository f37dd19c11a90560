//! HTTP to providers: key, proxy, budget, retries, kept answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use super::answers::{Answers, Known};
use super::error::{self, ProviderError};
use super::options::{Options, Proxy};
use crate::access::effects::{self, Effect};
use crate::compat::compat;
use crate::net::budget::{Budgets, HostBudget, jitter};
use crate::net::reach::Reach;
use crate::net::{BodyError, body_up_to, cause, content, host_of};

/// How often a request is made before its failure is an answer.
const TRIES: u32 = 3;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a host may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const LARGEST: usize = 64 << 20;

/// One question.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Address.
    pub url: Url,
    /// Body of a POST; without one it is a GET.
    pub body: Option<&'a Value>,
    /// What is asked for, for errors: "Model".
    pub what: &'static str,
}

/// A client with the settings of now.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    transfer: reqwest::Client,
    fetching: Reach,
    pictures: Reach,
    key: Option<HeaderValue>,
    base: Url,
    retry: Duration,
    budgets: Arc<Budgets>,
    answers: Arc<Answers>,
}

impl Client {
    /// A client by settings.
    ///
    /// # Errors
    /// When the proxy, the key or the base address can't be used.
    pub fn new(options: &Options, budgets: Arc<Budgets>, answers: Arc<Answers>) -> Result<Self, ProviderError> {
        let settings = |text: String| ProviderError::Settings(text);
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let proxy = options.proxy.as_ref().map(proxy_of).transpose()?;
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(&options.user_agent)
                .connect_timeout(CONNECT);
            match &proxy {
                Some(proxy) => builder.no_proxy().proxy(proxy.clone()),
                None => builder,
            }
        };
        let unbuilt = |error: reqwest::Error| settings(format!("HTTP can't be used: {error}"));
        let proxy_host = options.proxy.as_ref().map(|proxy| &*proxy.host);
        let key = match options.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                    .map_err(|_| settings("The API key has characters that no key has; set it again".into()))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self {
            http: builder()
                .read_timeout(SILENCE)
                .default_headers(headers)
                .build()
                .map_err(unbuilt)?,
            transfer: builder().read_timeout(SILENCE).no_gzip().build().map_err(unbuilt)?,
            // How long it waits is its user's to say.
            fetching: Reach::new(|| builder().no_gzip().http1_only(), proxy_host, budgets.clone()).map_err(unbuilt)?,
            pictures: Reach::new(|| builder().read_timeout(SILENCE), proxy_host, budgets.clone()).map_err(unbuilt)?,
            key,
            base: options.civitai.clone(),
            retry: options.retry,
            budgets,
            answers,
        })
    }

    /// The budget of the host of an address.
    pub fn budget(&self, url: &Url) -> Arc<HostBudget> {
        self.budgets.of(url)
    }

    /// For files: nothing is unpacked on the way. Budget and key are the caller's to mind.
    pub fn transfer(&self) -> &reqwest::Client {
        &self.transfer
    }

    /// For pictures at addresses that somebody else named.
    pub fn pictures(&self) -> &Reach {
        &self.pictures
    }

    /// For large files: as [`transfer`](Self::transfer), but redirects are answers, and each request at a time has a
    /// connection of its own. A silent host is not given up: that is the caller's to mind, too.
    pub fn fetching(&self) -> &Reach {
        &self.fetching
    }

    /// The key for an address; none where it must not go. Redirects to other hosts lose it.
    pub fn authorization_for(&self, url: &Url) -> Option<HeaderValue> {
        let own = url.origin() == self.base.origin();
        let known = url.scheme() == "https"
            && url.port().is_none()
            && url.path().starts_with("/api/")
            && url
                .host_str()
                .is_some_and(|host| compat().providers.civitai_hosts.iter().any(|known| known == host));
        (own || known).then(|| self.key.clone()).flatten()
    }

    /// The host of CivitAI's API.
    pub fn civitai_host(&self) -> String {
        host_of(&self.base)
    }

    /// Whether there is a key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Asks, waits where the host says so, and tries again what may go better.
    ///
    /// # Errors
    /// The last try's; and when the request that asks may not ask other hosts.
    pub async fn json(&self, ask: &Ask<'_>) -> Result<Value, ProviderError> {
        effects::require(Effect::Network)?;
        let known = match ask.body {
            None => self.answers.get(ask.url.as_str()),
            Some(_) => Known::Nothing,
        };
        let tag = match known {
            Known::Fresh(body) => return self.parse(ask, &body),
            Known::Tagged(tag) => Some(tag),
            Known::Nothing => None,
        };
        let budget = self.budgets.of(&ask.url);
        let mut attempt = 0;
        loop {
            let turn = budget.turn().await?;
            let error = match self.once(ask, tag.as_deref()).await {
                Ok(body) => {
                    budget.reached();
                    return self.parse(ask, &body);
                }
                Err(error) => error,
            };
            drop(turn);
            attempt += 1;
            let wait = match &error {
                ProviderError::RateLimited { retry_after, .. } => {
                    budget.reached();
                    let pause = budget.limited(Some(*retry_after), attempt - 1);
                    if attempt >= TRIES {
                        return Err(ProviderError::RateLimited {
                            host: host_of(&ask.url),
                            retry_after: pause,
                        });
                    }
                    // The next turn waits for it.
                    Duration::ZERO
                }
                ProviderError::Offline { reason, .. } => {
                    budget.unreachable(reason);
                    jitter(self.retry * attempt)
                }
                ProviderError::Server { .. } => {
                    budget.reached();
                    jitter(self.retry * attempt)
                }
                _ => {
                    budget.reached();
                    return Err(error);
                }
            };
            if attempt >= TRIES {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One request; a second one without `tag` when the answer that the host calls still true is not kept any more.
    async fn once(&self, ask: &Ask<'_>, tag: Option<&str>) -> Result<Bytes, ProviderError> {
        match self.request(ask, tag).await? {
            Some(body) => Ok(body),
            None => self.request(ask, None).await?.ok_or_else(|| ProviderError::Malformed {
                host: host_of(&ask.url),
                reason: "it says that nothing changed, and was not asked that".into(),
            }),
        }
    }

    /// One request; none when the host says that the answer with this tag is still true, and that is not kept any more.
    async fn request(&self, ask: &Ask<'_>, tag: Option<&str>) -> Result<Option<Bytes>, ProviderError> {
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.http.request(method, ask.url.clone());
        let key = self.authorization_for(&ask.url);
        let had_key = key.is_some();
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, key);
        }
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        if let Some(body) = ask.body {
            request = request.json(body);
        }
        let host = host_of(&ask.url);
        let offline = |error: reqwest::Error| ProviderError::Offline {
            host: host.clone(),
            reason: cause(&error),
        };
        let response = request.send().await.map_err(offline)?;
        let status = response.status();
        if status == reqwest::StatusCode::NOT_MODIFIED {
            return Ok(self.answers.still_true(ask.url.as_str()));
        }
        let headers = response.headers().clone();
        let mut response = response;
        let body = match body_up_to(&mut response, LARGEST).await {
            Ok(body) => Bytes::from(body),
            Err(BodyError::Broken(error)) => return Err(offline(error)),
            Err(error @ BodyError::TooSlow(_)) => {
                return Err(ProviderError::Offline {
                    host,
                    reason: error.to_string(),
                });
            }
            Err(error @ BodyError::TooLarge(_)) => {
                return Err(ProviderError::Malformed {
                    host,
                    reason: error.to_string(),
                });
            }
        };
        if !status.is_success() {
            return Err(error::refusal(
                &host,
                status.as_u16(),
                &headers,
                had_key,
                &body,
                ask.what,
            ));
        }
        if content::is_page(&headers) {
            return Err(ProviderError::Blocked { host });
        }
        if let Some(reason) = unusable(status, &headers) {
            return Err(ProviderError::Malformed { host, reason });
        }
        if ask.body.is_none() {
            let etag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
            self.answers
                .put(ask.url.as_str(), etag.map(str::to_owned), body.clone());
        }
        Ok(Some(body))
    }

    fn parse(&self, ask: &Ask<'_>, body: &[u8]) -> Result<Value, ProviderError> {
        serde_json::from_slice(body).map_err(|error| ProviderError::Malformed {
            host: host_of(&ask.url),
            reason: error.to_string(),
        })
    }
}

/// Why a successful answer can't be the whole object that was asked for. The client unpacks gzip and removes that header.
fn unusable(status: reqwest::StatusCode, headers: &HeaderMap) -> Option<String> {
    if status == reqwest::StatusCode::PARTIAL_CONTENT || headers.contains_key(header::CONTENT_RANGE) {
        return Some("it is only a part of the answer".into());
    }
    content::encoding(headers).map(|encoding| format!("it is encoded as {encoding}, which was not asked for"))
}

fn proxy_of(proxy: &Proxy) -> Result<reqwest::Proxy, ProviderError> {
    let unusable = |error: reqwest::Error| ProviderError::Settings(format!("The proxy can't be used: {error}"));
    let url = format!("{}://{}:{}", proxy.kind, proxy.host, proxy.port);
    let own = reqwest::Proxy::all(url).map_err(unusable)?;
    Ok(if proxy.username.is_empty() {
        own
    } else {
        own.basic_auth(&proxy.username, &proxy.password)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::http::{HeaderMap as Asked, StatusCode};
    use axum::response::IntoResponse;

    use super::*;
    use crate::settings::{ContractSettings, ProviderSettings};

    #[tokio::test]
    async fn an_answer_that_is_still_true_and_not_kept_any_more_is_asked_for_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/x", listener.local_addr().unwrap()).parse().unwrap();
        let router = axum::Router::new().fallback(async |headers: Asked| {
            if headers.contains_key("if-none-match") {
                StatusCode::NOT_MODIFIED.into_response()
            } else {
                "{}".into_response()
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let own = ProviderSettings::default();
        let options = Options::new(&own, &ContractSettings::new(serde_json::Map::new()), Path::new("/d")).unwrap();
        let answers = Arc::new(Answers::new(Duration::ZERO));
        let client = Client::new(&options, Arc::new(Budgets::new(&own)), answers).unwrap();
        let ask = Ask {
            url,
            body: None,
            what: "Model",
        };
        assert_eq!(client.once(&ask, Some("tag")).await.unwrap(), "{}");
    }
}
