//! The one error of the SDK.

use crate::bindings::modelshelf::plugin::types::Error as WitError;

/// What the SDK's functions return.
pub type Result<T, E = PluginError> = core::result::Result<T, E>;

/// Why a call failed. The text is shown to a person: say what happened, to what, and what to do.
///
/// The host turns each case into one HTTP status and the body `{"success": false, "error": text}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// 400: the caller's input can't be used.
    #[error("{0}")]
    Invalid(String),
    /// 401: the caller lacks a right.
    #[error("{0}")]
    Unauthorised(String),
    /// 404: the thing asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 409: it exists already, or something else is running.
    #[error("{0}")]
    Conflict(String),
    /// 501: not served yet.
    #[error("{0}")]
    Unsupported(String),
    /// 500: anything else. The text goes to the log; clients see a request id.
    #[error("{0}")]
    Internal(String),
}

impl PluginError {
    /// A 400 with this text.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// A 404 with this text.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }

    /// A 409 with this text.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::Conflict(text.into())
    }

    /// A 500 with this text, which only the log shows.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }

    /// The HTTP status that the host answers with.
    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::Unauthorised(_) => 401,
            Self::NotFound(_) => 404,
            Self::Conflict(_) => 409,
            Self::Unsupported(_) => 501,
            Self::Internal(_) => 500,
        }
    }
}

/// JSON that a plugin reads without [`Request::json`](crate::Request::json) comes from the host or from the plugin
/// itself, so that a fault in it is no fault of the caller.
impl From<serde_json::Error> for PluginError {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(format!("JSON could not be read or written: {error}"))
    }
}

impl From<WitError> for PluginError {
    fn from(error: WitError) -> Self {
        match error {
            WitError::Invalid(text) => Self::Invalid(text),
            WitError::Unauthorised(text) => Self::Unauthorised(text),
            WitError::NotFound(text) => Self::NotFound(text),
            WitError::Conflict(text) => Self::Conflict(text),
            WitError::Unsupported(text) => Self::Unsupported(text),
            WitError::Internal(text) => Self::Internal(text),
        }
    }
}

impl From<PluginError> for WitError {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Invalid(text) => Self::Invalid(text),
            PluginError::Unauthorised(text) => Self::Unauthorised(text),
            PluginError::NotFound(text) => Self::NotFound(text),
            PluginError::Conflict(text) => Self::Conflict(text),
            PluginError::Unsupported(text) => Self::Unsupported(text),
            PluginError::Internal(text) => Self::Internal(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_crosses_the_boundary_and_back() {
        let cases = [
            PluginError::Invalid("a".into()),
            PluginError::Unauthorised("b".into()),
            PluginError::NotFound("c".into()),
            PluginError::Conflict("d".into()),
            PluginError::Unsupported("e".into()),
            PluginError::Internal("f".into()),
        ];
        let statuses: Vec<u16> = cases.iter().map(PluginError::status).collect();
        assert_eq!(statuses, [400, 401, 404, 409, 501, 500]);
        for case in cases {
            assert_eq!(PluginError::from(WitError::from(case.clone())), case);
        }
    }

    #[test]
    fn a_json_fault_is_internal() {
        let fault = serde_json::from_str::<u8>("x").expect_err("x is no JSON");
        assert_eq!(PluginError::from(fault).status(), 500);
    }
}
