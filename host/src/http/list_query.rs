//! Query parameters of the listing as a [`Listing`]. Source: contract section 2.1.

use super::error::ApiError;
use super::query::Query;
use crate::library::filter::Filter;
use crate::library::haystack::Field;
use crate::library::item::media_key;
use crate::library::listing::{Listing, Sort};
use crate::library::orders::SortKey;
use crate::library::record::GroupKey;
use crate::library::search::Search;
use crate::library::text::folded;
use crate::plugins::bindings::{NamePatterns, QueryFilter};
use crate::settings::ContractSettings;

/// Largest page.
const MAX_PAGE_SIZE: i64 = 100;

/// Most patterns on names of a request.
const MAX_PATTERNS: usize = 100;
/// Most bytes of all these patterns together.
const MAX_PATTERN_BYTES: usize = 16 << 10;

/// Bounds the patterns of a request: each is compiled and run over all names.
fn check_patterns(patterns: &NamePatterns) -> Result<(), ApiError> {
    let texts = || patterns.include.iter().chain(&patterns.exclude);
    let (count, bytes) = (texts().count(), texts().map(String::len).sum::<usize>());
    if count > MAX_PATTERNS || bytes > MAX_PATTERN_BYTES {
        return Err(ApiError::bad_request(format!(
            "The request has {count} patterns on names with {bytes} bytes; at most {MAX_PATTERNS} with {MAX_PATTERN_BYTES} bytes together are read."
        )));
    }
    Ok(())
}

/// Reads the parameters of a listing; `own` is what the plugin made of its own.
///
/// # Errors
/// 400 for numbers that are none, naming the parameter, and for too many patterns.
pub fn listing(query: &Query, own: QueryFilter, settings: &ContractSettings) -> Result<Listing, ApiError> {
    let page_size = query.integer("page_size", 20)?.min(MAX_PAGE_SIZE);
    if page_size < 1 {
        return Err(ApiError::bad_request("The parameter `page_size` must be at least 1."));
    }
    check_patterns(&own.names)?;
    Ok(Listing {
        page: query.integer("page", 1)?,
        page_size: page_size as usize,
        sort: sort(query.get("sort_by").unwrap_or_default(), settings),
        group_by_model: query.flag("group_by_model", false),
        grouping: settings.grouping(),
        model: query.get("civitai_model_id").map(group),
        filter: filter(query, own, settings),
    })
}

/// `key`, `key:order` or `random:seed`; an empty text is by name.
pub fn sort(text: &str, settings: &ContractSettings) -> Sort {
    let (key, order) = text.split_once(':').unwrap_or((text, ""));
    let descending = order.eq_ignore_ascii_case("desc");
    let key = match key.trim().to_lowercase().as_str() {
        "" | "name" => settings.name_key(),
        "date" => SortKey::Date,
        "size" => SortKey::Size,
        "usage" => SortKey::Usage,
        "relevance" => return Sort::Relevance,
        "versions_count" => return Sort::Versions { descending },
        "random" => {
            let seed = match order {
                "" | "asc" | "desc" => 0,
                seed => media_key(seed),
            };
            return Sort::Random { seed };
        }
        // Any other key is the order of a scan, whatever order is asked for.
        _ => {
            return Sort::Key {
                key: SortKey::Path,
                descending: false,
            };
        }
    };
    Sort::Key { key, descending }
}

/// A model id, or the name of another group. What names no group finds nothing.
fn group(text: &str) -> GroupKey {
    text.trim()
        .parse()
        .map_or_else(|_| GroupKey::HuggingFace(text.into()), GroupKey::Model)
}

/// The filters that the listing and autocompletion share.
pub fn filter(query: &Query, own: QueryFilter, settings: &ContractSettings) -> Filter {
    let lower = |texts: Vec<String>| -> Vec<String> { texts.into_iter().map(|text| folded(text.trim())).collect() };
    let mut tags_include = query.list("tag");
    if tags_include.is_empty() {
        let list = query.get("tags").unwrap_or_default().split(',');
        tags_include.extend(list.map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    tags_include.extend(query.list("tag_include"));
    let mut sub_types = query.list("model_type");
    sub_types.extend(query.list("civitai_model_type"));
    let search = query.get("search").filter(|text| !text.is_empty()).map(|text| {
        let fields = [
            ("search_filename", true, Field::FileName),
            ("search_modelname", true, Field::ModelName),
            // Ours, so that clients of the contract find what they always found.
            ("search_trigger_words", false, Field::TriggerWords),
            ("search_tags", false, Field::Tags),
            ("search_creator", false, Field::Creator),
        ];
        Search {
            text: text.to_owned(),
            fuzzy: own.fuzzy.unwrap_or(false) || query.flag("fuzzy_search", false),
            fields: fields
                .into_iter()
                .filter(|(name, default, _)| query.flag(name, *default))
                .map(|(.., field)| field)
                .collect(),
            // Ours, too: LoraManager looks for the text as a whole.
            by_words: query.flag("search_words", false),
            in_descriptions: query.flag("search_description", false),
            ..Search::default()
        }
    });
    Filter {
        hashes: if own.hashes.is_empty() {
            hashes(query)
        } else {
            lower(own.hashes)
        },
        sfw_only: settings.show_only_sfw(),
        favorites_only: query.flag("favorites_only", false),
        update_available_only: query.flag("update_available_only", false),
        folder: query.get("folder").map(str::to_owned),
        folder_include: query.list("folder_include"),
        folder_exclude: query.list("folder_exclude"),
        recursive: query.flag("recursive", true),
        // An empty value asks for models without a base model.
        base_models: query.all("base_model").map(str::to_owned).collect(),
        sub_types: lower(sub_types),
        tags_include: lower(tags_include),
        tags_exclude: lower(query.list("tag_exclude")),
        all_tags: query
            .get("tag_logic")
            .is_some_and(|logic| logic.eq_ignore_ascii_case("all")),
        auto_tags_include: query.list("auto_tag_include"),
        auto_tags_exclude: query.list("auto_tag_exclude"),
        search,
        initial: own.initial.map(Into::into),
        names: Some(own.names),
        credit_required: query.tri_state("credit_required"),
        selling_allowed: query.tri_state("allow_selling_generated_content"),
        ..Filter::default()
    }
}

/// `hash`, else `hashes` as a JSON array.
fn hashes(query: &Query) -> Vec<String> {
    if let Some(hash) = query.get("hash").filter(|hash| !hash.is_empty()) {
        return vec![hash.to_lowercase()];
    }
    let list = query
        .get("hashes")
        .and_then(|text| serde_json::from_str::<Vec<serde_json::Value>>(text).ok());
    list.unwrap_or_default()
        .iter()
        .filter_map(|hash| Some(hash.as_str()?.to_lowercase()))
        .collect()
}
