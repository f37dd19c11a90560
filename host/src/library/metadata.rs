//! From a sidecar to the typed fields of a record, and the sidecar of a file that has none.

use arcstr::ArcStr;

use serde_json::{Map, Value, json};

use super::auto_tags::AutoTags;
use super::field_bounds;
use super::item;
use super::license;
use super::record::{AutoV3, HashStatus, Record, Remote, Sha256};
use super::sidecar::{self, Sidecar};
use crate::files::foreign;
use crate::plugins::TypeInfo;

/// Base model of a file about which nothing is known.
pub const UNKNOWN_BASE_MODEL: &str = "Unknown";

/// Fields of a sidecar that have a typed place in a record or are read from disk when asked
/// for; the others go to the plugin.
const TYPED: [&str; 26] = [
    "file_name",
    "model_name",
    "file_path",
    "size",
    "modified",
    "sha256",
    "base_model",
    "preview_url",
    "preview_nsfw_level",
    "notes",
    "from_civitai",
    "civitai",
    "tags",
    "modelDescription",
    "civitai_deleted",
    "favorite",
    "exclude",
    "db_checked",
    "skip_metadata_refresh",
    "metadata_source",
    "last_checked_at",
    "hash_status",
    "autov3",
    "trainedWords",
    "hf_url",
    "folder",
];

/// Fills the typed fields of `record` from its sidecar, within [`field_bounds`].
pub fn fill(record: &mut Record, sidecar: &Sidecar) {
    let name = sidecar.text("model_name");
    record.model_name = if name.trim().is_empty() {
        record.file_name.clone()
    } else {
        name.into()
    };
    record.size = sidecar
        .0
        .get("size")
        .and_then(Value::as_u64)
        .unwrap_or(record.stamp.size);
    record.modified = sidecar.number("modified");
    record.sha256 = Sha256::parse(sidecar.text("sha256"));
    record.hash_status = HashStatus::parse(sidecar.text("hash_status"));
    record.autov3 = match sidecar.0.get("autov3") {
        None => AutoV3::Unchecked,
        Some(Value::String(text)) if !text.is_empty() => AutoV3::Known(text.to_lowercase().into()),
        Some(_) => AutoV3::Absent,
    };
    record.base_model = sidecar.text("base_model").into();
    record.preview_nsfw_level = level(sidecar);
    record.notes = sidecar.text("notes").into();
    record.from_civitai = sidecar.flag("from_civitai", true);
    record.tags = sidecar.texts("tags").into_iter().map(ArcStr::from).collect();
    record.civitai_deleted = sidecar.flag("civitai_deleted", false);
    record.favorite = sidecar.flag("favorite", false);
    record.exclude = sidecar.flag("exclude", false);
    record.db_checked = sidecar.flag("db_checked", false);
    record.skip_metadata_refresh = sidecar.flag("skip_metadata_refresh", false);
    record.metadata_source = Some(sidecar.text("metadata_source"))
        .filter(|text| !text.is_empty())
        .map(ArcStr::from);
    record.last_checked_at = sidecar.number("last_checked_at");
    record.hf_url = Some(sidecar.text("hf_url"))
        .filter(|text| !text.is_empty())
        .map(Box::from);
    record.remote = remote(sidecar.civitai());
    let model = sidecar
        .civitai()
        .and_then(|civitai| civitai.get("model"))
        .and_then(Value::as_object);
    record.license_flags = license::flags(model);
    field_bounds::bound(record);
    record.auto_tags = auto_tags(record);
}

/// The level of the preview; some tools write it as a text.
fn level(sidecar: &Sidecar) -> u32 {
    let text = sidecar.text("preview_nsfw_level").trim();
    text.parse()
        .unwrap_or_else(|_| sidecar.number("preview_nsfw_level") as u32)
}

fn auto_tags(record: &Record) -> AutoTags {
    let texts = [
        &*record.file_name,
        &*record.base_model,
        record.remote.name.as_deref().unwrap_or_default(),
    ];
    AutoTags::find(texts, &record.base_model, record.tags.iter().map(AsRef::as_ref))
}

/// The slim part of a provider's version object.
fn remote(civitai: Option<&Map<String, Value>>) -> Remote {
    let Some(civitai) = civitai else {
        return Remote::default();
    };
    // Some tools write ids as texts.
    let id = |value: Option<&Value>| match value {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let text = |object: Option<&Map<String, Value>>, key: &str| {
        let text = object?.get(key)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let object = |key: &str| civitai.get(key).and_then(Value::as_object);
    Remote {
        id: id(civitai.get("id")),
        model_id: id(civitai.get("modelId")),
        name: text(Some(civitai), "name").map(Into::into),
        creator: text(object("creator"), "username").map(Into::into),
        trained_words: trained_words(civitai.get("trainedWords"))
            .filter(|words| !words.is_empty())
            .map(|words| words.into_iter().map(Box::from).collect()),
        model_type: text(object("model"), "type").map(Into::into),
        has_model: object("model").is_some_and(|model| !model.is_empty()),
    }
}

/// A list of words; a single text, as some tools write it, is a list of one.
fn trained_words(value: Option<&Value>) -> Option<Vec<&str>> {
    match value {
        Some(Value::String(word)) if !word.is_empty() => Some(vec![word]),
        other => sidecar::texts(other),
    }
}

/// The sidecar of a new file: the contract's defaults, and what a provider's version object
/// (from another program's `.civitai.info`) says of it.
pub fn new_sidecar(record: &Record, info: &TypeInfo, now: f64, version: Option<&Map<String, Value>>) -> Sidecar {
    let mut sidecar = sidecar_of(info, &record.file_name, &record.path, record.stamp.size, now);
    if let Some(preview) = &record.preview {
        sidecar.0.insert("preview_url".into(), json!(preview.path));
    }
    if let Some(version) = version {
        adopt_version(&mut sidecar, version, true);
    }
    sidecar
}

/// The contract's defaults for a file of this name, path and size, added `now` (seconds since 1970).
pub fn sidecar_of(info: &TypeInfo, file_name: &str, path: &str, size: u64, now: f64) -> Sidecar {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    set("file_name", json!(file_name));
    set("model_name", json!(file_name));
    set("file_path", json!(path));
    set("size", json!(size));
    set("modified", json!(now));
    set("sha256", json!(""));
    set("base_model", json!(UNKNOWN_BASE_MODEL));
    set("preview_url", json!(""));
    set("preview_nsfw_level", json!(0));
    set("notes", json!(""));
    set("from_civitai", json!(info.descriptor.new_from_remote));
    set("civitai", json!({}));
    set("tags", json!([]));
    set("modelDescription", json!(""));
    set("civitai_deleted", json!(false));
    set("favorite", json!(false));
    set("exclude", json!(false));
    set("db_checked", json!(false));
    set("skip_metadata_refresh", json!(false));
    set("metadata_source", Value::Null);
    set("last_checked_at", json!(0));
    set(
        "hash_status",
        json!(if info.hashes_at_scan() { "completed" } else { "pending" }),
    );
    set("trainedWords", json!([]));
    for (key, value) in &info.new_sidecar_fields {
        fields.insert(key.clone(), value.clone());
    }
    Sidecar::of(fields)
}

/// The sidecar of a file whose own is missing or can't be used, from what the library knows of it.
pub fn of_record(record: &Record, info: &TypeInfo) -> Sidecar {
    let mut sidecar = new_sidecar(record, info, record.modified, None);
    let mut set = |key: &str, value: Value| {
        sidecar.0.insert(key.to_owned(), value);
    };
    if let Ok(fields) = serde_json::from_str::<Map<String, Value>>(&record.fields) {
        fields.into_iter().for_each(|(key, value)| set(&key, value));
    }
    set("model_name", json!(record.model_name));
    set("size", json!(record.size));
    set("sha256", json!(record.sha256_hex()));
    set("hash_status", json!(record.hash_status.as_str()));
    set("base_model", json!(record.base_model));
    set("preview_nsfw_level", json!(record.preview_nsfw_level));
    set("notes", json!(record.notes));
    set("from_civitai", json!(record.from_civitai));
    set("tags", json!(record.tags));
    set("civitai_deleted", json!(record.civitai_deleted));
    set("favorite", json!(record.favorite));
    set("exclude", json!(record.exclude));
    set("skip_metadata_refresh", json!(record.skip_metadata_refresh));
    set("metadata_source", json!(record.metadata_source));
    set("last_checked_at", json!(record.last_checked_at));
    if let Some(url) = &record.hf_url {
        set("hf_url", json!(url));
    }
    let slim = item::slim(record);
    if slim.is_object() {
        set("civitai", slim);
    }
    sidecar
}

/// Puts a provider's version object into a sidecar that has none. Names are taken only for a
/// new sidecar: in an existing one they may be a person's.
pub fn adopt_version(sidecar: &mut Sidecar, version: &Map<String, Value>, is_new: bool) {
    let model = version.get("model").and_then(Value::as_object);
    let mut set = |key: &str, value: Value| {
        sidecar.0.insert(key.to_owned(), value);
    };
    set("from_civitai", json!(true));
    set("civitai", Value::Object(version.clone()));
    if is_new {
        let name = model
            .and_then(|model| model.get("name"))
            .filter(|name| name.as_str().is_some_and(|text| !text.is_empty()));
        if let Some(name) = name {
            set("model_name", name.clone());
        }
        if let Some(base) = version.get("baseModel").and_then(Value::as_str) {
            set("base_model", json!(base_model(base)));
        }
        let primary = primary_file(version);
        if let Some(kib) = primary.and_then(|file| file.get("sizeKB")).and_then(Value::as_f64) {
            set("size", json!((kib * 1024.0) as u64));
        }
        let hash = primary
            .and_then(|file| file.pointer("/hashes/SHA256"))
            .and_then(Value::as_str);
        if let Some(hash) = hash.and_then(Sha256::parse) {
            set("sha256", json!(hash.hex()));
            set("hash_status", json!("completed"));
        }
    }
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    for (own, theirs) in [("tags", "tags"), ("modelDescription", "description")] {
        if empty(sidecar.0.get(own))
            && let Some(value) = model
                .and_then(|model| model.get(theirs))
                .filter(|value| !empty(Some(value)))
        {
            sidecar.0.insert(own.to_owned(), value.clone());
        }
    }
}

/// The file that a version object calls its primary one.
pub fn primary_file(version: &Map<String, Value>) -> Option<&Value> {
    let files = version.get("files")?.as_array()?;
    files
        .iter()
        .find(|file| file.get("primary") == Some(&Value::Bool(true)))
}

/// A provider's base model in the words that the library uses. Source: contract section 5.7.
pub fn base_model(text: &str) -> String {
    const KNOWN: [(&str, &str); 10] = [
        ("sd_1.5", "SD 1.5"),
        ("sd-v1-5", "SD 1.5"),
        ("sd-v2-1", "SD 2.1"),
        ("sdxl", "SDXL 1.0"),
        ("sd-v2", "SD 2.0"),
        ("flux1", "Flux.1 D"),
        ("flux.1 d", "Flux.1 D"),
        ("illustrious", "Illustrious"),
        ("il", "Illustrious"),
        ("pony", "Pony"),
    ];
    if text.is_empty() {
        return UNKNOWN_BASE_MODEL.to_owned();
    }
    let lower = text.to_lowercase();
    KNOWN
        .iter()
        .find(|(key, _)| lower.contains(key))
        .map_or_else(|| text.to_owned(), |(_, name)| (*name).to_owned())
}

/// Whether a sidecar is another file's: two files that differ only in their extension share
/// one, and it stays with the one that it names.
pub fn is_anothers(record: &Record, sidecar: &Sidecar) -> bool {
    let named = sidecar.text("file_path");
    let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    named != &*record.path && folder(named) == folder(&record.path) && foreign::is_taken(std::path::Path::new(named))
}

/// Whether a sidecar is as [`new_sidecar`] made it, so that nothing of it is a person's or a provider's. `was` is what
/// the file is taken for; what both say is no difference.
pub fn is_untouched(sidecar: &Sidecar, was: &Record) -> bool {
    let name = sidecar.text("model_name");
    let base = sidecar.text("base_model");
    (name == sidecar.text("file_name") || name == &*was.model_name)
        && (base.is_empty() || base == UNKNOWN_BASE_MODEL || base == &*was.base_model)
        && sidecar.civitai().is_none_or(Map::is_empty)
        && sidecar.text("notes").is_empty()
        && sidecar.texts("tags").is_empty()
        && !sidecar.flag("favorite", false)
        && !sidecar.flag("exclude", false)
}

/// Corrects what a moved or renamed file made untrue; whether anything changed.
pub fn repair(record: &Record, sidecar: &mut Sidecar) -> bool {
    let mut changed = false;
    let mut set = |key: &str, value: Value| {
        if sidecar.0.get(key) != Some(&value) {
            sidecar.0.insert(key.to_owned(), value);
            changed = true;
        }
    };
    set("file_name", json!(record.file_name));
    set("file_path", json!(record.path));
    if let Some(preview) = &record.preview {
        set("preview_url", json!(preview.path));
    }
    changed
}

/// The object of the fields that no typed field covers, as text; what a plugin sees of a sidecar.
pub fn untyped(sidecar: &Sidecar) -> String {
    let mut rest: Vec<(&str, &Value)> = sidecar
        .0
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !TYPED.contains(key))
        .collect();
    rest.sort_unstable_by_key(|(key, _)| *key);
    serde_json::to_string(&field_bounds::shown(rest.into_iter())).unwrap_or_else(|_| "{}".into())
}
