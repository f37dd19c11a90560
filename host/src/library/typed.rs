//! What of a sidecar a person typed, so that no provider's word replaces it.
//!
//! Mostly the sidecar tells by itself: a name that is neither the file's nor the one that the provider gave was typed,
//! here or in another program. Where it can't tell, an edit leaves a mark in the field `edited_fields`, which other
//! programs keep.

use serde_json::{Map, Value};

use super::metadata;
use super::sidecar::Sidecar;

/// The field with the marks.
pub const MARKS: &str = "edited_fields";
/// Trigger words, as marks and the plugin interface name them.
const WORDS: &str = "civitai.trainedWords";

/// Leaves marks for an edit that is about to be made.
pub fn mark(sidecar: &mut Sidecar, edit: &Map<String, Value>) {
    let no_word = |pointer: &str| {
        let stored = sidecar.civitai().and_then(|stored| at(stored, pointer));
        stored.is_none_or(str::is_empty)
    };
    let is_empty = |key: &str| match edit.get(key) {
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    };
    let mut marks = Vec::new();
    if edit.contains_key("model_name") && no_word("model.name") {
        marks.push("model_name");
    }
    if edit.contains_key("base_model") && no_word("baseModel") {
        marks.push("base_model");
    }
    // A provider only fills what is empty, so only emptying needs a mark.
    marks.extend(["tags", "modelDescription"].into_iter().filter(|key| is_empty(key)));
    if edit
        .get("civitai")
        .is_some_and(|civitai| civitai.get("trainedWords").is_some())
    {
        marks.push(WORDS);
    }
    let own: Vec<String> = sidecar.texts(MARKS).into_iter().map(str::to_owned).collect();
    let new = marks.into_iter().filter(|mark| !own.iter().any(|other| other == mark));
    let all: Vec<String> = own.iter().cloned().chain(new.map(str::to_owned)).collect();
    if all.len() > own.len() {
        sidecar.0.insert(MARKS.into(), all.into());
    }
}

/// The fields that a person typed, as the plugin interface names them.
pub fn fields(sidecar: &Sidecar) -> Vec<String> {
    let mut fields: Vec<String> = sidecar.texts(MARKS).into_iter().map(str::to_owned).collect();
    let stored = |pointer: &str| {
        let word = sidecar.civitai().and_then(|stored| at(stored, pointer));
        word.filter(|word| !word.is_empty())
    };
    let name = sidecar.text("model_name");
    if stored("model.name").is_some_and(|word| !name.is_empty() && name != word && name != sidecar.text("file_name")) {
        fields.push("model_name".into());
    }
    let base = sidecar.text("base_model");
    let is_other = |word: &str| {
        !base.is_empty() && base != metadata::UNKNOWN_BASE_MODEL && base != word && base != metadata::base_model(word)
    };
    if stored("baseModel").is_some_and(is_other) {
        fields.push("base_model".into());
    }
    fields
}

fn at<'v>(stored: &'v Map<String, Value>, pointer: &str) -> Option<&'v str> {
    match pointer.split_once('.') {
        Some((outer, inner)) => stored.get(outer)?.get(inner)?.as_str(),
        None => stored.get(pointer)?.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sidecar(value: Value) -> Sidecar {
        Sidecar::of(value.as_object().cloned().unwrap())
    }

    #[test]
    fn a_name_that_is_neither_the_files_nor_the_providers_was_typed() {
        let with = |name: &str| {
            sidecar(json!({"file_name": "f", "model_name": name, "base_model": "SDXL 1.0",
            "civitai": {"model": {"name": "P"}, "baseModel": "SDXL Lightning"}}))
        };
        assert_eq!(fields(&with("mine")), ["model_name"]);
        assert!(fields(&with("P")).is_empty() && fields(&with("f")).is_empty());
        let mut other = with("P");
        other.0.insert("base_model".into(), json!("Pony"));
        assert_eq!(fields(&other), ["base_model"]);
    }

    #[test]
    fn an_edit_is_marked_only_where_nothing_else_tells() {
        let edit = json!({"model_name": "mine", "tags": [], "notes": "n", "civitai": {"trainedWords": ["a"]}});
        let mut unknown = sidecar(json!({"file_name": "f", "civitai": {}}));
        mark(&mut unknown, edit.as_object().unwrap());
        assert_eq!(fields(&unknown), ["model_name", "tags", WORDS]);
        mark(&mut unknown, edit.as_object().unwrap());
        assert_eq!(fields(&unknown).len(), 3);
        let mut plain = sidecar(json!({"file_name": "f", "civitai": {"model": {"name": "P"}}}));
        mark(
            &mut plain,
            json!({"model_name": "mine", "tags": ["a"]}).as_object().unwrap(),
        );
        assert!(!plain.0.contains_key(MARKS));
    }
}
