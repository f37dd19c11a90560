//! Answers to requests.

use serde::Serialize;

use crate::{Response, Result};

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    #[serde(flatten)]
    members: T,
}

impl Response {
    /// A 200 with this value as JSON.
    ///
    /// # Errors
    /// `Internal` when the value has no JSON form.
    pub fn json(value: &impl Serialize) -> Result<Self> {
        Ok(Self::with_body("application/json", serde_json::to_vec(value)?))
    }

    /// A 200 with a text that is JSON already.
    pub fn json_text(text: String) -> Self {
        Self::with_body("application/json", text.into_bytes())
    }

    /// A 200 with `{"success": true}` and the members of an object.
    ///
    /// # Errors
    /// `Internal` when the value is no object.
    pub fn success(members: impl Serialize) -> Result<Self> {
        Self::json(&Success { success: true, members })
    }

    /// A 200 with any body. The host serves `text/html` as plain text.
    pub fn with_body(content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: content_type.to_owned(),
            body,
        }
    }

    /// The same answer with another status, 200 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn success_puts_its_members_beside_the_flag() {
        let answer = Response::success(json!({"count": 2})).expect("an object");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.content_type, "application/json");
        assert_eq!(answer.body, br#"{"success":true,"count":2}"#);
    }

    #[test]
    fn success_of_something_else_than_an_object_is_an_error() {
        assert_eq!(Response::success([1, 2]).expect_err("no object").status(), 500);
    }
}
