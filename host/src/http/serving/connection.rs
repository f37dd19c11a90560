//! One connection: TLS, requests, deadlines.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tower::ServiceExt;

use super::admission::{Activity, Admitted, RequestGuard};
use super::stream::Watched;
use super::{IsEncrypted, Serving, base_path};
use crate::settings::ConnectionSettings;
use crate::settings::seconds;

/// Largest head of a request, and largest piece that is read of a body, in bytes.
const MAX_HEAD: usize = 128 << 10;
/// Requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// How long a connection that has to end may take to say so.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// Answer to a connection for which there is no room.
pub const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
    cache-control: no-store\r\nconnection: close\r\ncontent-length: 81\r\n\r\n\
    {\"success\":false,\"error\":\"The server has too many connections. Try again later.\"}";

/// Answer to a request without TLS where TLS is needed.
const NEEDS_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    This server speaks HTTPS. Open the same address with https:// instead of http://.\n";

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    header: Duration,
    idle: Duration,
    send: Duration,
}

impl Timeouts {
    /// Those of the settings.
    pub fn new(settings: &ConnectionSettings) -> Self {
        Self {
            header: seconds(settings.header_seconds),
            idle: seconds(settings.idle_seconds),
            send: seconds(settings.send_seconds),
        }
    }

    /// When a connection in this state ends. While it has a request, when to look again.
    fn deadline(&self, activity: &Activity) -> Deadline {
        let (status, now) = (activity.status(), Instant::now());
        // A state may begin at any moment; it is noticed at most half of a deadline late.
        let look_again = now + self.header.min(self.idle) / 2;
        if status.requests > 0 {
            return Deadline::LookAgain(look_again);
        }
        let end = match status.header_since {
            Some(since) => since + self.header,
            None => status.idle_since + self.idle,
        };
        if end <= now {
            Deadline::Over
        } else {
            Deadline::LookAgain(end.min(look_again))
        }
    }
}

enum Deadline {
    LookAgain(Instant),
    Over,
}

/// Serves a connection until it ends.
pub async fn serve(
    serving: Arc<Serving>,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
    stop: watch::Receiver<bool>,
) {
    let timeouts = serving.timeouts;
    let Some(certificate) = serving.certificate.clone() else {
        let stream = Watched::new(stream, admitted, timeouts.send);
        return answer(serving, stream, peer, false, stop).await;
    };
    let activity = admitted.activity.clone();
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 1 && first[0] != TLS_HANDSHAKE {
            let mut stream = stream;
            let _ = stream.write_all(NEEDS_TLS.as_bytes()).await;
            let _ = stream.shutdown().await;
            return None;
        }
        let stream = Watched::new(stream, admitted, timeouts.send);
        match certificate.acceptor().accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, %peer, "a TLS handshake failed");
                None
            }
        }
    };
    let stream = tokio::select! {
        stream = timeout(timeouts.header, handshake) => stream.ok().flatten(),
        () = activity.close.notified() => None,
    };
    if let Some(stream) = stream {
        answer_watched(serving, stream, activity, peer, true, stop).await;
    }
}

async fn answer<S>(
    serving: Arc<Serving>,
    stream: Watched<S>,
    peer: SocketAddr,
    encrypted: bool,
    stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = stream.activity().clone();
    answer_watched(serving, stream, activity, peer, encrypted, stop).await;
}

async fn answer_watched<S>(
    serving: Arc<Serving>,
    stream: S,
    activity: Arc<Activity>,
    peer: SocketAddr,
    encrypted: bool,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = serving.timeouts;
    let requests = activity.clone();
    let service = service_fn(move |request| respond(serving.clone(), requests.clone(), request, peer, encrypted));
    let builder = builder();
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut closing: Option<Instant> = None;
    let mut timer = pin!(sleep_until(Instant::now()));
    loop {
        // Which of these it was shows below; each but the first asks for the end, or only for a look.
        let must_close = tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::trace!(%error, %peer, "a connection ended");
                }
                return;
            }
            () = activity.close.notified(), if closing.is_none() => true,
            _ = stop.wait_for(|stop| *stop), if closing.is_none() => true,
            () = timer.as_mut() => match timeouts.deadline(&activity) {
                Deadline::Over => true,
                Deadline::LookAgain(at) => {
                    timer.as_mut().reset(at);
                    false
                }
            },
        };
        match closing {
            None if must_close => {
                // A request that is being answered is answered to its end.
                connection.as_mut().graceful_shutdown();
                let end = Instant::now() + CLOSE_LIMIT;
                closing = Some(end);
                timer.as_mut().reset(end);
            }
            Some(end) if activity.status().requests == 0 && Instant::now() >= end => return,
            Some(_) => timer.as_mut().reset(Instant::now() + CLOSE_LIMIT),
            None => {}
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The deadline of this module counts from the first byte of a head; hyper's would count from the last answer.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32);
    builder
}

async fn respond(
    serving: Arc<Serving>,
    activity: Arc<Activity>,
    request: Request<Incoming>,
    peer: SocketAddr,
    encrypted: bool,
) -> Result<Response<Body>, Infallible> {
    let guard = activity.request();
    let (mut parts, body) = request.into_parts();
    base_path::strip(&serving.base_path, &mut parts.uri);
    parts.extensions.insert(ConnectInfo(peer));
    parts.extensions.insert(IsEncrypted(encrypted));
    let (body, reservation) = serving.bodies.clone().admit(body);
    if let Some(reservation) = &reservation {
        parts.extensions.insert(reservation.clone());
    }
    let mut response = match serving.router.clone().oneshot(Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some(fault) = reservation.and_then(|reservation| reservation.fault()) {
        response = fault.into_response();
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        guard.keep();
        return Ok(response);
    }
    Ok(response.map(|inner| Body::new(Answer { inner, _guard: guard })))
}

/// The body of an answer; its request counts until all is sent.
struct Answer {
    inner: Body,
    _guard: RequestGuard,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_refusal_says_its_own_length() {
        let (head, body) = super::REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
