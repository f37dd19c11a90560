//! HTTP requests that the host makes for the plugin, to hosts that its descriptor names and the person granted.

use crate::Result;
#[cfg(target_family = "wasm")]
use crate::bindings::modelshelf::plugin::remote as import;

pub use crate::bindings::modelshelf::plugin::remote::{FetchRequest, FetchResponse};

impl FetchRequest {
    /// A `GET` of an `https` URL.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A `POST` of at most 1 MiB to an `https` URL.
    pub fn post(url: impl Into<String>, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self {
            method: "POST".to_owned(),
            url: url.into(),
            headers,
            body,
        }
    }
}

/// Makes the request. An HTTP error status is no error here; a body above 4 MiB is.
///
/// # Errors
/// `Unauthorised` or `Invalid` for a host that was not granted or lies in a private address range; `Internal` when the
/// other side can't be reached.
pub fn fetch(request: &FetchRequest) -> Result<FetchResponse> {
    super::in_component_or_test!(
        import::fetch(request).map_err(Into::into),
        crate::testing::state::fetch(request),
    )
}
