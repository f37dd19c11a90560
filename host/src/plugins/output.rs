//! How large the answers of a plugin are.

use super::bindings::{Derived, Descriptor, GuestError, GuestResponse, Placement, QueryFilter, Selection};
use super::error::whole_text;

/// What an export answers.
pub trait Output {
    /// Its size in bytes, as far as it grows with what the plugin says.
    fn bytes(&self) -> usize;
}

impl Output for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl Output for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl<T: Output> Output for Option<T> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Output::bytes)
    }
}

impl<T: Output> Output for Vec<T> {
    fn bytes(&self) -> usize {
        // An empty text takes memory, too.
        self.iter().map(|own| own.bytes() + size_of::<T>()).sum()
    }
}

impl<A: Output, B: Output> Output for (A, B) {
    fn bytes(&self) -> usize {
        self.0.bytes() + self.1.bytes()
    }
}

impl<T: Output> Output for Result<T, GuestError> {
    fn bytes(&self) -> usize {
        match self {
            Ok(answer) => answer.bytes(),
            Err(error) => whole_text(error).len(),
        }
    }
}

impl Output for GuestResponse {
    fn bytes(&self) -> usize {
        self.body.len() + self.content_type.len()
    }
}

impl Output for Derived {
    fn bytes(&self) -> usize {
        self.sub_type.len() + self.base_model_hint.bytes() + self.fields.len() + self.problem.bytes()
    }
}

impl Output for QueryFilter {
    fn bytes(&self) -> usize {
        self.hashes.bytes() + self.names.include.bytes() + self.names.exclude.bytes()
    }
}

impl Output for Placement {
    fn bytes(&self) -> usize {
        self.placeholders.bytes() + self.spaces.bytes() + self.root_key.len()
    }
}

impl Output for Selection {
    fn bytes(&self) -> usize {
        self.root_key.len()
    }
}

impl Output for Descriptor {
    fn bytes(&self) -> usize {
        // Asked for once at load, and made of many small parts.
        format!("{self:?}").len()
    }
}
