//! WebSockets. Clients only listen; what they send is read and dropped.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use serde_json::json;

use super::authentication::Caller;
use super::query::Query;
use crate::access::{Identity, Scope};
use crate::app::App;
use crate::downloads::ledger::new_id;
use crate::hub::Event;

/// Largest message of a client, in bytes; none is looked at.
const MAX_MESSAGE: usize = 4 << 10;
/// How often it is checked whether a socket's session or token was ended.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// `/ws/fetch-progress` and `/ws/batch-import-progress`: every general broadcast.
pub async fn general(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(error) = check(&caller) {
        return error;
    }
    let upgrade = upgrade.max_message_size(MAX_MESSAGE);
    // Before the client knows that the socket is open, so that it misses nothing.
    let messages = app.hub.general();
    upgrade.on_upgrade(move |socket| forward(socket, Vec::new(), messages, app, caller))
}

/// `/ws/init-progress`: the last message of each type, then all that follow.
pub async fn init(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(error) = check(&caller) {
        return error;
    }
    let upgrade = upgrade.max_message_size(MAX_MESSAGE);
    upgrade.on_upgrade(move |socket| {
        let (latest, receiver) = app.hub.init_progress();
        forward(socket, latest, receiver, app, caller)
    })
}

/// `/ws/download-progress?id=`: its id, then the messages of that download. It need not have begun.
pub async fn download(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(error) = check(&caller) {
        return error;
    }
    let id = Query::parse(query.as_deref()).get("id").unwrap_or_default().to_owned();
    let id = if id.is_empty() { new_id() } else { id };
    let upgrade = upgrade.max_message_size(MAX_MESSAGE);
    upgrade.on_upgrade(move |socket| {
        let messages = app.downloads.board().listen(&id);
        let first = json!({ "type": "download_id", "download_id": id });
        forward(socket, vec![first.to_string()], messages, app, caller)
    })
}

#[expect(clippy::result_large_err, reason = "the error is the answer")]
fn check(caller: &Caller) -> Result<(), Response> {
    let checked = caller.require(Some(Scope::Read));
    checked
        .and_then(|()| caller.source.check_socket())
        .map_err(IntoResponse::into_response)
}

/// What a channel of messages carries.
trait Outgoing: Clone + Send {
    /// The JSON text for the client; none for what is not meant for clients.
    fn text(&self) -> Option<&str>;
}

impl Outgoing for Arc<str> {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Outgoing for Event {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Message(text) => Some(text),
            Self::Marker(_) => None,
        }
    }
}

async fn forward<M: Outgoing>(
    mut socket: WebSocket,
    first: Vec<String>,
    mut messages: Receiver<M>,
    app: Arc<App>,
    caller: Caller,
) {
    let mut checks = tokio::time::interval(CHECK_EVERY);
    for message in first {
        if socket.send(Message::Text(message.into())).await.is_err() {
            return;
        }
    }
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(message) => {
                    if let Some(text) = message.text()
                        && socket.send(Message::Text(text.into())).await.is_err()
                    {
                        return;
                    }
                }
                // A client that fell behind goes on with what is new.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            _ = checks.tick() => {
                let holds = |identity: &Identity| app.access.still_holds(&identity.principal);
                if !caller.identity.as_ref().is_some_and(holds) {
                    return;
                }
            }
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}
