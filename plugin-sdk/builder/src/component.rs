//! From a core module to a component.

use wit_component::ComponentEncoder;

/// Why a compiled module can't become a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The module carries no interface description.
    #[error(
        "the module exports no Modelshelf interface: call the SDK's export macro in the crate, and give the crate `crate-type = [\"cdylib\"]`"
    )]
    NoInterface,
    /// The module is broken, or imports something that a plugin can't have.
    #[error("the module can't become a component: {0}")]
    Encode(String),
}

/// Wraps a core module, with the interface description that the SDK's macro put in it, into a component, and validates
/// the result.
///
/// # Errors
/// When the module has no such description, or needs what its interface doesn't offer (WASI among it).
pub fn componentise(core: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let (stripped, _) = wit_component::metadata::decode(core).map_err(encode_error)?;
    if stripped.is_none() {
        return Err(ComponentError::NoInterface);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(ComponentEncoder::encode)
        .map_err(encode_error)
}

// The encoder's error type belongs to a crate that this one doesn't depend on; its text is all that is needed.
fn encode_error(error: impl std::fmt::Display) -> ComponentError {
    ComponentError::Encode(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_an_interface_is_named_as_such() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(matches!(componentise(empty), Err(ComponentError::NoInterface)));
    }

    #[test]
    fn bytes_that_are_no_module_are_an_error() {
        assert!(matches!(
            componentise(b"<!DOCTYPE html>"),
            Err(ComponentError::Encode(_))
        ));
        assert!(componentise(b"").is_err());
    }
}
