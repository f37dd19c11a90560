//! Messages to the clients that listen on the general WebSocket.

use serde::Serialize;

use crate::Result;
#[cfg(target_family = "wasm")]
use crate::bindings::modelshelf::plugin::events as import;

/// Sends an object with `type` set to `kind`, at most 64 KiB.
///
/// # Errors
/// `Invalid` when the payload is no object or too large; `Unauthorised` when the descriptor doesn't ask for events of that
/// kind.
pub fn broadcast(kind: &str, payload: &impl Serialize) -> Result<()> {
    let payload = serde_json::to_string(payload)?;
    super::in_component_or_test!(
        import::broadcast(kind, &payload).map_err(Into::into),
        crate::testing::state::with(|state| state.broadcast(kind, &payload)),
    )
}
