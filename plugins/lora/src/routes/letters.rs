//! `GET letter-counts`: how many names start with which letter.

use modelshelf_plugin_sdk::library::{self, Facet};
use modelshelf_plugin_sdk::{Request, Response, Result};
use serde_json::{Map, Value, json};

/// Answers with every class, also those that no name starts with, in the order of the page's bar.
pub fn letter_counts(_request: &Request) -> Result<Response> {
    let letters = ('A'..='Z').map(String::from);
    let classes = ["#".to_owned()]
        .into_iter()
        .chain(letters)
        .chain(["@".to_owned(), "漢".to_owned()]);
    let mut counts: Map<String, Value> = classes.map(|class| (class, 0.into())).collect();
    for (class, count) in library::facets(Facet::Initial, 0)? {
        counts.insert(class, count.into());
    }
    Response::success(json!({"letter_counts": counts}))
}
