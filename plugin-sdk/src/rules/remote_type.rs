//! Which provider types belong to a model type.

use crate::{Descriptor, PluginError, Result};

/// Whether a provider's type is one of the descriptor's `remote_types`, in any case.
///
/// # Errors
/// `Invalid`: "Model type mismatch. Expected LORA, LoCon, or DORA, got Checkpoint".
pub fn validate(descriptor: &Descriptor, remote_type: &str) -> Result<()> {
    let lower = remote_type.to_lowercase();
    if descriptor
        .remote_types
        .iter()
        .any(|accepted| accepted.to_lowercase() == lower)
    {
        return Ok(());
    }
    let expected = &descriptor.remote_types_text;
    Err(PluginError::invalid(format!(
        "Model type mismatch. Expected {expected}, got {remote_type}"
    )))
}
