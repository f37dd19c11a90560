//! Errors as clients see them: one place turns every error into a status and a JSON body.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::reason::Reason;
use crate::access::{AccessError, LoginError};
use crate::files::rooted::RootedPathError;
use crate::plugins::CallError;
use crate::plugins::bindings::GuestError;
use crate::plugins::error::text;
use crate::providers::ProviderError;
use crate::workers::WorkError;

/// An answer that is an error: `{"success": false, "error": …}`.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// For a person: what happened, to what, and what to do.
    pub message: String,
    /// The same for pages, which say it in the person's language; none where `message` is all there is.
    pub reason: Option<Reason>,
}

impl ApiError {
    /// Any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            reason: None,
        }
    }

    /// Adds what pages say instead of `message`.
    #[must_use]
    pub fn with_reason(mut self, reason: Option<Reason>) -> Self {
        self.reason = reason;
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 404 in the words of the contract's middleware.
    pub fn no_route() -> Self {
        Self::not_found("404: Not Found")
    }

    /// 503 of a type that is not there yet.
    pub fn not_ready() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service not ready")
    }

    /// 401, 403 or 429 of a login that failed.
    pub fn from_login(error: &LoginError) -> Self {
        let status = match error {
            LoginError::Wrong => StatusCode::UNAUTHORIZED,
            LoginError::NotAdmin => StatusCode::FORBIDDEN,
            LoginError::Slow(_) => StatusCode::TOO_MANY_REQUESTS,
            LoginError::Access(error) => return Self::from_access(error),
        };
        Self::new(status, error.to_string())
    }

    /// 400 for what a person can mend in the request, else 500.
    pub fn from_access(error: &AccessError) -> Self {
        match error {
            AccessError::WeakPassword
            | AccessError::LongPassword
            | AccessError::TokenName
            | AccessError::NoScope
            | AccessError::TooManyTokens(_) => Self::bad_request(error.to_string()),
            _ => Self::internal(error),
        }
    }

    /// 500 whose cause goes to the log under an id, and the id to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let id = format!("{:08x}", rand::random::<u32>());
        tracing::error!(request_id = id, "{cause}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Internal error; the server's log has the reason under request id {id}"),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "success": false, "error": self.message });
        if let Some(reason) = &self.reason {
            reason.add_to(&mut body);
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let guest = match &error {
            CallError::Guest(guest) => guest,
            CallError::Quarantined { .. } => return Self::not_ready(),
            other => return Self::internal(other),
        };
        let status = match guest {
            GuestError::Invalid(_) => StatusCode::BAD_REQUEST,
            GuestError::Unauthorised(_) => StatusCode::UNAUTHORIZED,
            GuestError::NotFound(_) => StatusCode::NOT_FOUND,
            GuestError::Conflict(_) => StatusCode::CONFLICT,
            GuestError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            GuestError::Internal(_) => return Self::internal(text(guest)),
        };
        Self::new(status, text(guest))
    }
}

impl From<WorkError> for ApiError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Busy | WorkError::Late(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            WorkError::Panicked => Self::internal(error),
        }
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        let status = match &error {
            ProviderError::NotFound(_) => StatusCode::NOT_FOUND,
            ProviderError::Gone { .. } => StatusCode::GONE,
            ProviderError::KeyMissing { .. } | ProviderError::KeyRejected { .. } => StatusCode::UNAUTHORIZED,
            ProviderError::Forbidden { .. } => StatusCode::FORBIDDEN,
            ProviderError::Region { .. } => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            ProviderError::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            ProviderError::Offline { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ProviderError::Blocked { .. } | ProviderError::Server { .. } | ProviderError::Malformed { .. } => {
                StatusCode::BAD_GATEWAY
            }
            ProviderError::Unsupported => StatusCode::SERVICE_UNAVAILABLE,
            ProviderError::Archive(_) | ProviderError::Settings(_) | ProviderError::Undeclared(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string()).with_reason(Reason::of_provider(&error))
    }
}

impl From<RootedPathError> for ApiError {
    fn from(error: RootedPathError) -> Self {
        match &error {
            RootedPathError::Outside(_) => Self::new(StatusCode::FORBIDDEN, "403: Forbidden"),
            RootedPathError::Missing(_) | RootedPathError::NotAFile(_) | RootedPathError::Foreign(_) => {
                Self::no_route()
            }
            RootedPathError::TooLong(_) => Self::bad_request(error.to_string()),
            RootedPathError::Io { .. } => Self::internal(&error),
        }
    }
}
