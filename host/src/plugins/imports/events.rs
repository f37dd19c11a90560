//! `events`: messages of the plugin's own types to the clients of the general WebSocket.

use serde_json::Value;

use super::super::instance::CallState;
use super::unsupported;
use super::wit::events::Host;
use super::wit::types::Error;

const MAX_BYTES: usize = 64 << 10;

impl Host for CallState {
    async fn broadcast(&mut self, kind: String, payload: String) -> wasmtime::Result<Result<(), Error>> {
        let Some(hub) = &self.reach.hub else {
            return Ok(unsupported("events"));
        };
        if !self.reach.events.contains(&kind) {
            let reason = format!("the plugin's description does not name the event {kind:?} in capabilities.events");
            return Ok(Err(Error::Unauthorised(reason)));
        }
        if payload.len() > MAX_BYTES {
            return Ok(Err(Error::Invalid(format!(
                "the event {kind:?} is larger than {MAX_BYTES} bytes"
            ))));
        }
        match serde_json::from_str::<Value>(&payload) {
            Ok(Value::Object(mut message)) => {
                message.insert("type".into(), Value::String(kind));
                hub.broadcast(Value::Object(message).to_string());
                Ok(Ok(()))
            }
            _ => Ok(Err(Error::Invalid(format!(
                "the payload of the event {kind:?} is no JSON object"
            )))),
        }
    }
}
