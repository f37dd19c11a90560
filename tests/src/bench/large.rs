//! What is asked of a large library.

use anyhow::{Context, Result};

use super::data::{BASES, TAGS, terms};
use crate::http::Call;
use crate::server::Server;

const LIST: &str = "/api/lm/loras/list";

/// A row of the tables: calls that are sent in turn over one connection.
pub struct Scenario {
    /// The table that it belongs to.
    pub group: &'static str,
    /// What is asked.
    pub name: String,
    /// The calls.
    pub calls: Vec<Call>,
    /// Milliseconds to stay below at p99.
    pub target: Option<f64>,
}

/// Every `sort_by` of the contract.
const SORTS: [&str; 13] = [
    "name",
    "name:desc",
    "date",
    "date:desc",
    "size",
    "size:desc",
    "usage",
    "usage:desc",
    "versions_count",
    "versions_count:desc",
    "random:seed",
    "random:another",
    "anything",
];

/// Filters that keep much, little and nothing.
const FILTERS: [(&str, &[(&str, &str)]); 13] = [
    ("one tag", &[("tag_include", "style")]),
    ("without a tag", &[("tag_exclude", "style")]),
    (
        "two tags, both",
        &[("tag_include", "style"), ("tag_include", "woman"), ("tag_logic", "all")],
    ),
    ("without tags", &[("tag_include", "__no_tags__")]),
    ("a base model", &[("base_model", "Pony")]),
    (
        "all base models but one",
        &[
            ("base_model", "Pony"),
            ("base_model", "SD 1.5"),
            ("base_model", "Flux.1 D"),
            ("base_model", "Illustrious"),
        ],
    ),
    ("a folder with what is below it", &[("folder", "SDXL 1.0")]),
    ("without a folder", &[("folder_exclude", "SDXL 1.0")]),
    ("favourites", &[("favorites_only", "true")]),
    ("usable without credit", &[("credit_required", "false")]),
    ("images may be sold", &[("allow_selling_generated_content", "true")]),
    ("a first letter", &[("first_letter", "A")]),
    (
        "base model, two tags, favourites",
        &[
            ("base_model", "Pony"),
            ("tag_include", "style"),
            ("tag_exclude", "man"),
            ("favorites_only", "true"),
        ],
    ),
];

fn list(pairs: &[(&str, &str)]) -> Call {
    Call::get(LIST).query(&[("page_size", "100")]).query(pairs)
}

/// Milliseconds that a listing may take.
fn limit(size: usize) -> f64 {
    if size <= 100_000 { 2.0 } else { 10.0 }
}

/// The first, a middle and the last page of a listing, as the server counts them.
async fn pages(server: &Server, pairs: &[(&str, &str)]) -> Result<Vec<Call>> {
    let page = server
        .get_json(LIST, &[&[("page_size", "100")], pairs].concat())
        .await?;
    let pages = page["total_pages"].as_u64().context("total_pages")?.max(1);
    let numbers = [1, pages.div_ceil(2), pages];
    Ok(numbers
        .iter()
        .map(|page| list(pairs).query(&[("page", &page.to_string())]))
        .collect())
}

/// Everything that is asked of a library of this size.
///
/// # Errors
/// When the server does not answer.
pub async fn scenarios(server: &Server, size: usize) -> Result<Vec<Scenario>> {
    let target = Some(limit(size));
    let mut all = Vec::new();
    for (grouped, of_each) in [("false", ""), ("true", ", one item for each model")] {
        for sort in SORTS {
            all.push(Scenario {
                group: "sorts",
                name: format!("{sort}{of_each}"),
                calls: pages(server, &[("sort_by", sort), ("group_by_model", grouped)]).await?,
                target,
            });
        }
    }
    for (name, filter) in FILTERS {
        let mut calls = Vec::new();
        for sort in ["name", "date:desc", "random:seed", "versions_count:desc"] {
            calls.extend(pages(server, &[filter, &[("sort_by", sort)]].concat()).await?);
        }
        all.push(Scenario {
            group: "filters",
            name: name.into(),
            calls,
            target,
        });
    }
    let searches = |fuzzy: &str| -> Vec<Call> {
        let terms = terms().into_iter();
        terms
            .map(|term| list(&[("search", &term), ("fuzzy_search", fuzzy)]))
            .collect()
    };
    let mut other = |name: &str, calls: Vec<Call>, target: Option<f64>| {
        all.push(Scenario {
            group: "others",
            name: name.into(),
            calls,
            target,
        });
    };
    let one = |path: &str| vec![Call::get(path)];
    other(
        "search, another term each time",
        searches("false"),
        (size == 100_000).then_some(5.0),
    );
    other("fuzzy search", searches("true"), (size == 100_000).then_some(5.0));
    other("a name pattern", vec![list(&[("name_pattern_include", "ember")])], None);
    other(
        "a regular expression on names",
        vec![list(&[
            ("name_pattern_include", "^(ember|halo).*7"),
            ("name_pattern_use_regex", "true"),
        ])],
        None,
    );
    other(
        "versions of one model",
        vec![list(&[("civitai_model_id", "50010")])],
        None,
    );
    other("folder tree", one("/api/lm/loras/unified-folder-tree"), None);
    other("folders", one("/api/lm/loras/folders"), None);
    other("most frequent tags", one("/api/lm/loras/top-tags"), None);
    other("base models", one("/api/lm/loras/base-models"), None);
    other("duplicates", one("/api/lm/loras/find-duplicates"), None);
    other("filename conflicts", one("/api/lm/loras/find-filename-conflicts"), None);
    other(
        "paths for autocompletion",
        terms()
            .iter()
            .map(|term| Call::get("/api/lm/loras/relative-paths").query(&[("search", term)]))
            .collect(),
        None,
    );
    Ok(all)
}

/// Listings as a few people at work ask for them.
pub fn mixed(size: usize) -> Vec<Call> {
    let pages = size.div_ceil(100);
    let mut calls = Vec::new();
    for (place, ((base, _), tag)) in BASES.iter().zip(TAGS).enumerate() {
        let deep = (1 + pages * place / BASES.len()).to_string();
        calls.push(list(&[]));
        calls.push(list(&[("sort_by", "date:desc"), ("page", &deep)]));
        calls.push(list(&[
            ("base_model", base),
            ("tag_include", tag),
            ("sort_by", "size:desc"),
        ]));
        calls.push(list(&[("folder", base)]));
    }
    calls
}
