//! TLS by the server itself: pages, WebSockets, and a certificate that changes while it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use modelshelf_tests::{Call, Library, Model, Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Tells a hang from a wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate for `localhost` and its key, in a folder.
struct Files(PathBuf);

impl Files {
    fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// Writes a new pair and gives the certificate.
    fn renew(&self) -> Result<CertificateDer<'static>> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(self.key(), made.signing_key.serialize_pem())?;
        std::fs::write(self.certificate(), made.cert.pem())?;
        Ok(CertificateDer::from_pem_slice(made.cert.pem().as_bytes())?)
    }

    fn settings(&self) -> String {
        let text = |path: &Path| serde_json::json!(path).to_string();
        format!(
            "[server]\ntls_certificate = {}\ntls_key = {}",
            text(&self.certificate()),
            text(&self.key())
        )
    }
}

/// A connection that trusts this certificate alone.
async fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(timeout(PATIENCE, connected).await??)
}

async fn get(address: SocketAddr, trusted: &CertificateDer<'static>, target: &str) -> Result<String> {
    let mut stream = connect(address, trusted).await?;
    let request = Call::get(target).header("Connection", "close").bytes(address);
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn server(library: &Library, files: &Files) -> Result<Server> {
    let options: ServerOptions = library.options();
    options.settings(&files.settings()).start().await
}

/// Waits until a request with this certificate is answered.
async fn wait_until_served(address: SocketAddr, trusted: &CertificateDer<'static>) -> Result<()> {
    let served = timeout(PATIENCE, async {
        while get(address, trusted, "/healthz").await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    served.await.context("the certificate is not served")
}

#[tokio::test]
async fn requests_and_websockets_work_over_tls_and_plain_http_is_told_so() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let files = Files(library.path().to_owned());
    let trusted = files.renew()?;
    let server = server(&library, &files).await?;
    let address = server.address();
    let answer = get(address, &trusted, "/healthz").await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");

    let request = format!("ws://{address}/ws/fetch-progress").into_client_request()?;
    let (_, response) = tokio_tungstenite::client_async(request, connect(address, &trusted).await?).await?;
    assert_eq!(response.status(), 101);

    let mut plain = TcpStream::connect(address).await?;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    // The request is not read, so that the end of the connection may be a reset.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("https://"),
        "{answer}"
    );
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_changes_nothing() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let files = Files(library.path().to_owned());
    let first = files.renew()?;
    let server = server(&library, &files).await?;
    let address = server.address();
    wait_until_served(address, &first).await?;
    let second = files.renew()?;
    wait_until_served(address, &second).await?;
    assert!(get(address, &first, "/healthz").await.is_err());

    std::fs::write(files.certificate(), "no certificate")?;
    let warned = timeout(PATIENCE, async {
        while !server.log().contains("certificate.pem as the certificate of TLS") {
            sleep(Duration::from_millis(50)).await;
        }
    });
    warned.await.context("no warning")?;
    wait_until_served(address, &second).await
}

#[tokio::test]
async fn a_start_without_a_usable_certificate_is_refused_and_names_the_file() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let files = Files(library.path().to_owned());
    files.renew()?;
    std::fs::write(files.key(), "no key")?;
    match server(&library, &files).await {
        Ok(_) => bail!("it started"),
        Err(error) => assert!(format!("{error:#}").contains("key.pem"), "{error:#}"),
    }
    Ok(())
}
