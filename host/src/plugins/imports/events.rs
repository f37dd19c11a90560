//! `events`: messages of the plugin's own types to the clients of the general WebSocket.

use serde_json::Value;

use super::super::instance::CallState;
use super::unsupported;
use super::wit::events::Host;
use super::wit::types::Error;
use crate::hub::OWN_EVENTS;

const MAX_BYTES: usize = 64 << 10;
/// Most messages in one call, so that a plugin can't push others' out of slow clients' backlogs.
const MAX_EVENTS: u32 = 64;

impl Host for CallState {
    async fn broadcast(&mut self, kind: String, payload: String) -> wasmtime::Result<Result<(), Error>> {
        let Some(outside) = &self.reach.outside else {
            return Ok(unsupported("events"));
        };
        if OWN_EVENTS.contains(&kind.as_str()) {
            return Ok(Err(Error::Unauthorised(format!(
                "the event {kind:?} is the host's own"
            ))));
        }
        self.reach.events_sent += 1;
        if self.reach.events_sent > MAX_EVENTS {
            return Ok(Err(Error::Conflict(format!(
                "more than {MAX_EVENTS} events in one call"
            ))));
        }
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
                if let Err(limit) = self.account.may_send() {
                    self.account.ran_into(&limit);
                    return Ok(Err(Error::Conflict(limit.to_string())));
                }
                message.insert("type".into(), Value::String(kind));
                outside.hub.broadcast(Value::Object(message).to_string());
                Ok(Ok(()))
            }
            _ => Ok(Err(Error::Invalid(format!(
                "the payload of the event {kind:?} is no JSON object"
            )))),
        }
    }
}
