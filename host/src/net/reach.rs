//! Clients for addresses that someone else has chosen: one that goes anywhere, and one that reaches the public internet
//! alone. Both send through the proxies that there are; behind one, nobody here can say where a name leads.

use std::sync::Arc;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

use super::budget::Budgets;
use super::guard::{Guard, PrivateAddress};

/// Variables of the environment that name proxies.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The clients. They follow no redirects: each address that is asked must be looked at.
#[derive(Debug)]
pub struct Reach {
    open: Client,
    guarded: Client,
    proxies: Proxies,
    budgets: Arc<Budgets>,
}

impl Reach {
    /// Clients by a builder, which is asked for each; `proxy` is the host of the settings' proxy, which replaces those of
    /// the environment.
    ///
    /// # Errors
    /// When it can't be built.
    pub fn new(
        builder: impl Fn() -> ClientBuilder,
        proxy: Option<&str>,
        budgets: Arc<Budgets>,
    ) -> reqwest::Result<Self> {
        let proxies = Proxies(match proxy {
            Some(host) => Arc::new([host.to_ascii_lowercase()]),
            None => PROXIES
                .iter()
                .filter_map(|name| host_of_proxy(&std::env::var(name).ok()?))
                .collect(),
        });
        let builder = || builder().redirect(Policy::none());
        Ok(Self {
            open: builder().build()?,
            guarded: builder().dns_resolver(proxies.clone()).build()?,
            proxies,
            budgets,
        })
    }

    /// What hosts want of those who ask them.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// The client for an address; `private` allows those of this machine and of private networks.
    ///
    /// # Errors
    /// When the address is a private one, or a proxy's own. That a name leads to a private one is told when it is asked.
    pub fn client_for(&self, url: &Url, private: bool) -> Result<&Client, PrivateAddress> {
        if private {
            return Ok(&self.open);
        }
        Guard { private: false }.check(url)?;
        match url.host_str() {
            // Its name is the one that the resolver lets pass.
            Some(host) if self.proxies.has(host) => Err(PrivateAddress::proxy(host)),
            _ => Ok(&self.guarded),
        }
    }
}

/// Host names of proxies. As a resolver, it lets a proxy be anywhere, and everybody else only in the public internet: so
/// what no proxy is for (`NO_PROXY`, or a scheme that has none) is guarded.
#[derive(Debug, Clone)]
struct Proxies(Arc<[String]>);

impl Proxies {
    fn has(&self, host: &str) -> bool {
        self.0.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

impl Resolve for Proxies {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.has(name.as_str());
        Guard { private }.resolve(name)
    }
}

/// The host of a variable's proxy, which may be written without a scheme; none when it is empty.
fn host_of_proxy(text: &str) -> Option<String> {
    let text = text.trim();
    let parsed = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    parsed.ok()?.host_str().map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(proxy: Option<&str>) -> Reach {
        Reach::new(|| Client::builder().no_proxy(), proxy, Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn what_no_proxy_is_for_is_guarded_though_there_is_one() {
        for proxy in [None, Some("proxy.example"), Some("127.0.0.1")] {
            let reach = reach(proxy);
            let url: Url = "http://localhost:1/".parse().unwrap();
            let client = reach.client_for(&url, false).unwrap();
            let error = client.get(url.clone()).send().await.unwrap_err();
            assert!(PrivateAddress::behind(&error).is_some(), "{proxy:?}: {error:?}");
            assert!(reach.client_for(&"http://10.0.0.1/".parse().unwrap(), false).is_err());
            assert!(reach.client_for(&"http://10.0.0.1/".parse().unwrap(), true).is_ok());
        }
    }

    #[tokio::test]
    async fn the_proxy_may_be_in_a_private_network_and_is_no_address_of_a_file() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().fallback(async || "of the proxy");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let builder = || {
            let proxy = reqwest::Proxy::http(format!("http://localhost:{port}")).unwrap();
            Client::builder().no_proxy().proxy(proxy)
        };
        let reach = Reach::new(builder, Some("localhost"), Arc::default()).unwrap();
        let url: Url = "http://file.invalid/".parse().unwrap();
        let client = reach.client_for(&url, false).unwrap();
        let text = client.get(url).send().await.unwrap().text().await.unwrap();
        assert_eq!(text, "of the proxy");
        assert!(
            reach
                .client_for(&"http://LOCALHOST:1/".parse().unwrap(), false)
                .is_err()
        );
    }

    #[test]
    fn a_proxy_is_known_by_its_host_however_it_is_written() {
        assert_eq!(
            host_of_proxy("http://u:p@Proxy.lan:3128/").as_deref(),
            Some("proxy.lan")
        );
        assert_eq!(host_of_proxy("proxy.lan:3128").as_deref(), Some("proxy.lan"));
        assert_eq!(host_of_proxy(" "), None);
    }
}
