//! The server's own certificate: read at the start, and again whenever its files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// How often the files are compared with what was read.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is no PEM file of this kind.
    #[error("can't use {} as the {kind} of TLS: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "certificate" or "key".
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// The two don't belong together.
    #[error("the certificate {} and the key {} can't be used together: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Size and time of both files.
type Stamps = [Option<(u64, SystemTime)>; 2];

/// A certificate chain and its key, PEM files both.
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// When one can't be used; names it.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let config = read(&certificate, &key)?;
        Ok(Self {
            certificate,
            key,
            config: ArcSwap::from_pointee(config),
        })
    }

    /// For new connections, with the newest certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key].map(|path| {
            let metadata = path.metadata().ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        })
    }

    /// Reads the files again whenever they change, until the task is aborted. A pair that can't be used changes nothing.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.stamps();
        let mut every = tokio::time::interval(CHECK_EVERY);
        loop {
            every.tick().await;
            let own = self.clone();
            let checked = tokio::task::spawn_blocking(move || {
                let now = own.stamps();
                if now != seen {
                    own.reload();
                }
                now
            });
            if let Ok(now) = checked.await {
                seen = now;
            }
        }
    }

    fn reload(&self) {
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                tracing::info!(certificate = %self.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::warn!(%error, "the new certificate is not used; the previous one stays"),
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let file = |path: &Path, kind, reason: String| TlsError::File {
        path: path.to_owned(),
        kind,
        reason,
    };
    let of_certificate = |error: rustls::pki_types::pem::Error| file(certificate, "certificate", error.to_string());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .map_err(of_certificate)?
        .collect::<Result<_, _>>()
        .map_err(of_certificate)?;
    if chain.is_empty() {
        return Err(file(certificate, "certificate", "it holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, "key", error.to_string()))?;
    let pair = |source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
