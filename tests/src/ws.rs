//! A WebSocket client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects; the headers replace those of an ordinary client (`Host`, `Origin`).
    ///
    /// # Errors
    /// When the upgrade is refused; [`refused`] gives the status.
    pub async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(HeaderName::try_from(*name)?, HeaderValue::from_str(value)?);
        }
        let stream = TcpStream::connect(address).await?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self(socket))
    }

    /// The next message as JSON.
    ///
    /// # Errors
    /// When none comes in ten seconds, the socket closes, or the message is no JSON text.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.0.next());
            let message = next
                .await
                .context("no message in 10 s")?
                .context("the socket was closed")??;
            match message {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("not a text message: {other:?}"),
            }
        }
    }

    /// The next message for which the condition holds; others are dropped.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let message = self.next().await?;
            if wanted(&message) {
                return Ok(message);
            }
        }
    }
}

/// The HTTP status with which an upgrade was refused.
pub fn refused(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref::<Error>()? {
        Error::Http(response) => Some(response.status().as_u16()),
        _ => None,
    }
}
