//! What the black-box tests and the benchmarks share: the real server as a process, a plain HTTP and WebSocket client,
//! and model files made to measure.
//!
//! Nothing here knows the server's code. Everything goes over a loopback socket or through files.

pub mod bench;
pub mod binary;
pub mod civitai;
pub mod component;
pub mod demo;
pub mod http;
pub mod library;
pub mod model;
pub mod mount;
pub mod server;
pub mod views;
pub mod weights;
pub mod ws;

pub use http::{Call, Connection, Reply};
pub use library::Library;
pub use model::Model;
pub use mount::{HangingDisk, Mount, skip};
pub use server::{Server, ServerOptions};

use serde_json::Value;

/// Collects one text field of each listed item: `field(&page, "file_name")`.
///
/// Absent fields are empty texts, so that an assertion shows them rather than a panic.
pub fn field(page: &Value, name: &str) -> Vec<String> {
    page["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item[name].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The file names of the listed items, in order.
pub fn names(page: &Value) -> Vec<String> {
    field(page, "file_name")
}

/// The file names of the listed items, sorted: for filters, where the order is not the subject.
pub fn sorted_names(page: &Value) -> Vec<String> {
    let mut names = names(page);
    names.sort();
    names
}
