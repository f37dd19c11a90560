//! A provider's word merged into a sidecar.

use serde_json::{Map, Value};

use crate::{Json, MergeInput, PluginError, Result};

use super::base_model;

type Object = Map<String, Value>;

/// Fields of `civitai.model` that say what others may do with a model.
const LICENCE_FIELDS: [&str; 4] = [
    "allowNoCredit",
    "allowCommercialUse",
    "allowDerivatives",
    "allowDifferentLicense",
];
/// The start of the SHA-256 of nothing, which some trainers write into a header.
const AUTOV3_OF_NOTHING: &str = "e3b0c44298fc";

/// The sidecar fields to set for a provider's version: `civitai`, `model_name`, `modelDescription`, `tags`, `base_model`
/// and `autov3`, each only where it has something to say.
///
/// The new version goes over the stored one member by member, except that an archive's word never replaces that of
/// the CivitAI API. Trigger words are united, the stored ones first. Name and base model follow the provider; description,
/// tags and creator only fill what is empty. A field in [`MergeInput::edited`] stays as it is: sidecar fields by name,
/// trigger words as `trainedWords` or `civitai.trainedWords`. The record's bookkeeping (`from_civitai`, `last_checked_at`
/// and the like) and the preview are the host's.
///
/// # Errors
/// `Invalid` when the provider's version is no JSON object, `Internal` when the sidecar is none.
pub fn merge_remote(input: &MergeInput) -> Result<Json> {
    let sidecar: Object = serde_json::from_str(&input.sidecar)
        .map_err(|error| PluginError::internal(format!("The sidecar is no JSON object: {error}")))?;
    let mut remote: Object = serde_json::from_str(&input.remote_version)
        .map_err(|error| PluginError::invalid(format!("The provider's version is no JSON object: {error}")))?;
    drop_workflows(&mut remote);

    let is_edited = |field: &str| input.edited.iter().any(|edited| edited == field);
    let words_edited = is_edited("trainedWords") || is_edited("civitai.trainedWords");
    let stored = sidecar
        .get("civitai")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let model = remote.get("model").and_then(Value::as_object);

    let mut set = Object::new();
    if let Some(name) = model
        .and_then(|model| text(model, "name"))
        .filter(|_| !is_edited("model_name"))
    {
        set.insert("model_name".into(), name.into());
    }
    if let Some(description) = model.and_then(|model| text(model, "description"))
        && text(&sidecar, "modelDescription").is_none()
        && !is_edited("modelDescription")
    {
        set.insert("modelDescription".into(), description.into());
    }
    if let Some(tags) = model.and_then(|model| list(model, "tags"))
        && list(&sidecar, "tags").is_none()
        && !is_edited("tags")
    {
        set.insert("tags".into(), tags.clone().into());
    }
    if let Some(name) = text(&remote, "baseModel").filter(|_| !is_edited("base_model")) {
        set.insert("base_model".into(), base_model::from_provider(name).into());
    }
    if let Some(autov3) = autov3(&sidecar, &remote) {
        set.insert("autov3".into(), autov3.into());
    }
    set.insert(
        "civitai".into(),
        merge_version(stored, remote, &input.source, words_edited).into(),
    );
    Ok(serde_json::to_string(&set)?)
}

fn merge_version(stored: Object, remote: Object, source: &str, words_edited: bool) -> Object {
    let words = if words_edited {
        stored.get("trainedWords").cloned()
    } else {
        united_words(&stored, &remote)
    };
    let creator = remote.get("model").and_then(|model| model.get("creator")).cloned();
    let stored_model = stored
        .get("model")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let remote_model = remote
        .get("model")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();

    if is_from_api(&stored) && source != "civitai_api" {
        let mut kept = stored;
        let model = with_missing(stored_model, &remote_model);
        if !model.is_empty() {
            kept.insert("model".into(), model.into());
        }
        return kept;
    }
    let mut merged = stored;
    merged.extend(remote);
    if !merged.contains_key("source") && source != "civitai_api" {
        // Tells the next merge that the API may replace this.
        merged.insert("source".into(), source.into());
    } else if source == "civitai_api" {
        merged.remove("source");
    }
    let model = with_missing(remote_model, &stored_model);
    if !model.is_empty() {
        merged.insert("model".into(), model.into());
    }
    match words {
        Some(words) => merged.insert("trainedWords".into(), words),
        None if words_edited => merged.remove("trainedWords"),
        None => None,
    };
    let has_creator = merged.get("creator").is_some_and(|creator| !is_empty(creator));
    if let Some(creator) = creator.filter(|creator| !has_creator && !is_empty(creator)) {
        merged.insert("creator".into(), creator);
    }
    merged
}

/// The model with the other's licence where it has none itself.
fn with_missing(mut model: Object, other: &Object) -> Object {
    for field in LICENCE_FIELDS {
        if let Some(value) = other.get(field)
            && !model.contains_key(field)
        {
            model.insert(field.into(), value.clone());
        }
    }
    model
}

fn is_from_api(version: &Object) -> bool {
    let archived = matches!(text(version, "source"), Some("archive_db" | "civarchive"));
    !archived && version.contains_key("files") && version.contains_key("images")
}

/// Stored words first, so that what a person sees keeps its order.
fn united_words(stored: &Object, remote: &Object) -> Option<Value> {
    let mut words: Vec<Value> = Vec::new();
    let all = [stored, remote]
        .into_iter()
        .filter_map(|version| version.get("trainedWords")?.as_array())
        .flatten();
    for word in all.filter(|word| word.is_string()) {
        if !words.contains(word) {
            words.push(word.clone());
        }
    }
    (!words.is_empty()).then(|| words.into())
}

/// The provider's AutoV3 of this very file, when the sidecar has none.
fn autov3(sidecar: &Object, remote: &Object) -> Option<String> {
    let sha256 = text(sidecar, "sha256")?;
    if text(sidecar, "autov3").is_some() {
        return None;
    }
    let hash = remote.get("files")?.as_array()?.iter().find_map(|file| {
        let hashes = file.get("hashes")?;
        let same = hashes.get("SHA256")?.as_str()?.eq_ignore_ascii_case(sha256);
        same.then(|| hashes.get("AutoV3")?.as_str()).flatten()
    })?;
    let short = hash.get(..12)?.to_lowercase();
    let is_hex = short.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && short != AUTOV3_OF_NOTHING).then_some(short)
}

/// Whole workflows hide in the images' metadata; a sidecar has no use for them.
fn drop_workflows(remote: &mut Object) {
    let images = remote
        .get_mut("images")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    for meta in images.filter_map(|image| image.get_mut("meta")?.as_object_mut()) {
        meta.remove("comfy");
    }
}

fn text<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str().filter(|text| !text.is_empty())
}

fn list<'a>(object: &'a Object, field: &str) -> Option<&'a Vec<Value>> {
    object.get(field)?.as_array().filter(|list| !list.is_empty())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
