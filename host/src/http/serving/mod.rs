//! Connections: accepting them within bounds, TLS, deadlines, and the memory of request bodies.
//!
//! `axum::serve` has no bounds at all: a client that sends half a header holds a file handle for ever.

mod admission;
mod base_path;
mod bodies;
mod connection;
mod handles;
mod stream;
mod tls;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use admission::{Admission, Limits};
use bodies::BodyMemory;
use connection::Timeouts;

pub use bodies::BodyReservation;
pub use handles::raise_limit;
pub use tls::{Certificate, TlsError};

use crate::settings::ConnectionSettings;

/// Pause after the system refused a connection, for example for lack of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether a request came over TLS. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsEncrypted(pub bool);

impl IsEncrypted {
    /// Whether this request came over TLS.
    pub fn of(request: &Request) -> bool {
        request.extensions().get().is_some_and(|Self(is)| *is)
    }
}

/// Everything that connections share.
struct Serving {
    router: Router,
    admission: Arc<Admission>,
    timeouts: Timeouts,
    bodies: Arc<BodyMemory>,
    certificate: Option<Arc<Certificate>>,
    base_path: String,
}

/// How connections are served.
pub struct ServingOptions<'s> {
    /// Bounds of connections and bodies.
    pub settings: &'s ConnectionSettings,
    /// Number of files that the process may have open.
    pub handles: u64,
    /// Certificate of TLS; plain HTTP without one.
    pub certificate: Option<Arc<Certificate>>,
    /// Path below which a proxy serves the server; empty without one. Requests come with it, or without it where the
    /// proxy takes it off.
    pub base_path: String,
}

/// The server's accept loop.
pub struct Server {
    listener: TcpListener,
    serving: Arc<Serving>,
    has_no_bound: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl Server {
    /// A server for this router. `has_no_bound` says which addresses may have any number of connections.
    pub fn new(
        listener: TcpListener,
        router: Router,
        options: ServingOptions<'_>,
        has_no_bound: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
    ) -> Self {
        let ServingOptions {
            settings,
            handles,
            certificate,
            base_path,
        } = options;
        let limits = Limits::new(settings, handles);
        if limits.total < settings.total {
            tracing::warn!(
                connections = limits.total,
                handles,
                "the limit of open files allows fewer connections than `total` of [connections]; raise it with `ulimit -n` or LimitNOFILE"
            );
        }
        Self {
            listener,
            serving: Arc::new(Serving {
                router,
                admission: Arc::new(Admission::new(limits)),
                timeouts: Timeouts::new(settings),
                bodies: Arc::new(BodyMemory::new(settings)),
                certificate,
                base_path,
            }),
            has_no_bound: Box::new(has_no_bound),
        }
    }

    /// Accepts connections until `stop` says true or its sender is gone, then waits until all have ended.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        // Each connection holds a sender; none is left when all have ended.
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &stop, &alive),
                Err(error) => self.not_accepted(&error).await,
            }
        }
        drop((self.listener, alive));
        let _ = all_ended.recv().await;
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, stop: &watch::Receiver<bool>, alive: &mpsc::Sender<()>) {
        let address = peer.ip().to_canonical();
        let Some(admitted) = self.serving.admission.admit(address, !(self.has_no_bound)(address)) else {
            if self.serving.certificate.is_none() {
                // One attempt: nothing waits for a client that is refused. By the system's own call, since the runtime does not
                // know yet that a new socket can be written to.
                if let Ok(mut stream) = stream.into_std() {
                    let _ = stream.write(connection::REFUSAL.as_bytes());
                }
            }
            return;
        };
        let _ = stream.set_nodelay(true);
        let serving = self.serving.clone();
        let (stop, alive) = (stop.clone(), alive.clone());
        tokio::spawn(async move {
            connection::serve(serving, stream, peer, admitted, stop).await;
            drop(alive);
        });
    }

    async fn not_accepted(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        tracing::warn!(%error, "a connection could not be accepted");
        self.serving.admission.make_room();
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
