//! What goes wrong with the API.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Something that goes wrong, for requests whose target contains `at`.
#[derive(Debug, Clone)]
pub struct Fault {
    at: String,
    // How often; `None` is always.
    times: Option<u32>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Status(u16),
    RetryAfter(String),
    Page(u16),
    Drop,
    Text(String),
}

impl Fault {
    fn new(at: &str, what: What) -> Self {
        Self {
            at: at.to_owned(),
            times: None,
            what,
        }
    }

    /// An answer with this status.
    pub fn status(at: &str, status: u16) -> Self {
        Self::new(at, What::Status(status))
    }

    /// 429 with this header `Retry-After`.
    pub fn limited(at: &str, retry_after: &str) -> Self {
        Self::new(at, What::RetryAfter(retry_after.to_owned()))
    }

    /// A page for people with this status, as guards of sites send it.
    pub fn page(at: &str, status: u16) -> Self {
        Self::new(at, What::Page(status))
    }

    /// The connection is cut.
    pub fn dropped(at: &str) -> Self {
        Self::new(at, What::Drop)
    }

    /// 200 with this body.
    pub fn text(at: &str, text: &str) -> Self {
        Self::new(at, What::Text(text.to_owned()))
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn answer(&self) -> Response {
        match &self.what {
            What::Status(status) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, axum::Json(json!({ "error": "as asked" }))).into_response()
            }
            What::RetryAfter(text) => (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, text.clone())],
                axum::Json(json!({ "error": "Too many requests" })),
            )
                .into_response(),
            What::Page(status) => (
                StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN),
                [(header::CONTENT_TYPE, "text/html; charset=UTF-8")],
                "<html><title>Just a moment...</title></html>",
            )
                .into_response(),
            What::Drop => {
                let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                let body = Body::from_stream(futures_util::stream::iter([Err::<Vec<u8>, _>(cut)]));
                ([(header::CONTENT_LENGTH, "100")], body).into_response()
            }
            What::Text(text) => ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response(),
        }
    }
}

/// The answer of the first fault that a target meets.
pub(crate) fn meet(faults: &mut Vec<Fault>, target: &str) -> Option<Response> {
    let fault = faults.iter_mut().find(|fault| target.contains(&fault.at))?;
    let answer = fault.answer();
    if let Some(times) = &mut fault.times {
        *times = times.saturating_sub(1);
    }
    faults.retain(|fault| fault.times != Some(0));
    Some(answer)
}
