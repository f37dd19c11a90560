//! The forms in which a record leaves the server: a listed item, the raw cache entry, and
//! the `model` of the plugin interface.
//!
//! An item is serialised when its record changes. What depends on the request or on the
//! state of a disk closes the object and is written when it is listed.

use arcstr::ArcStr;
use std::collections::HashSet;
use std::io::Write;
use std::sync::OnceLock;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::preview;
use super::record::{AutoV3, Record};
use crate::plugins::bindings::{Model, RemoteIdentity};

/// What percent-encoding leaves alone in a query value.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// URL of a preview as the contract has it; empty without one.
pub fn preview_url(record: &Record) -> String {
    record.preview.as_ref().map_or_else(String::new, |preview| {
        format!(
            "/api/lm/previews?path={}",
            utf8_percent_encode(&preview.path, UNRESERVED)
        )
    })
}

/// A number for a record that stays the same as long as its path does, for URLs.
pub fn media_key(path: &str) -> u64 {
    // FNV-1a: it only has to spread, and must be the same after every start.
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// URL of a preview that changes with its content, so that it can be cached for good.
fn media_url(record: &Record, prefix: &str) -> String {
    record.preview.as_ref().map_or_else(String::new, |preview| {
        let version = (preview.stamp.mtime_ns as u64) ^ preview.stamp.size.rotate_left(48);
        format!(
            "/api/lm/{prefix}/media/{:016x}?v={version:016x}",
            media_key(&record.path)
        )
    })
}

#[derive(Serialize)]
struct Item<'a> {
    model_name: &'a str,
    file_name: &'a str,
    preview_url: &'a str,
    preview_nsfw_level: u32,
    base_model: &'a str,
    folder: &'a str,
    sha256: &'a str,
    file_path: &'a str,
    file_size: u64,
    modified: f64,
    tags: &'a [ArcStr],
    from_civitai: bool,
    notes: &'a str,
    favorite: bool,
    exclude: bool,
    skip_metadata_refresh: bool,
    sub_type: &'a str,
    civitai: Slim<'a>,
    auto_tags: Vec<&'static str>,
    hf_url: &'a str,
    // Beyond the contract, for our own pages.
    media_url: &'a str,
    media_type: &'static str,
    root_key: &'a str,
    base_model_hint: &'a str,
    problem: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aliases: &'a [Box<str>],
}

#[derive(Serialize)]
struct Slim<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(rename = "modelId", skip_serializing_if = "Option::is_none")]
    model_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "trainedWords", skip_serializing_if = "Option::is_none")]
    trained_words: Option<&'a [Box<str>]>,
}

/// Keys that a plugin's `format` can't take over.
fn own_keys() -> &'static HashSet<&'static str> {
    static KEYS: OnceLock<HashSet<&'static str>> = OnceLock::new();
    KEYS.get_or_init(|| {
        HashSet::from([
            "model_name",
            "file_name",
            "preview_url",
            "preview_nsfw_level",
            "base_model",
            "folder",
            "sha256",
            "file_path",
            "file_size",
            "modified",
            "tags",
            "from_civitai",
            "notes",
            "favorite",
            "exclude",
            "skip_metadata_refresh",
            "sub_type",
            "civitai",
            "auto_tags",
            "hf_url",
            "media_url",
            "media_type",
            "root_key",
            "base_model_hint",
            "problem",
            "aliases",
            "update_available",
            "version_count",
            "offline",
        ])
    })
}

/// Serialises a record up to, and without, the closing members that [`close`] writes.
/// `extra` is the text of the object that the plugin's `format` gave.
pub fn open(record: &Record, prefix: &str, extra: &str) -> Box<[u8]> {
    let (preview_url, media_url, sha256) = (preview_url(record), media_url(record, prefix), record.sha256_hex());
    let item = Item {
        model_name: &record.model_name,
        file_name: &record.file_name,
        preview_url: &preview_url,
        preview_nsfw_level: record.preview_nsfw_level,
        base_model: &record.base_model,
        folder: &record.folder,
        sha256: &sha256,
        file_path: &record.path,
        file_size: record.size,
        modified: record.modified,
        tags: &record.tags,
        from_civitai: record.from_civitai,
        notes: &record.notes,
        favorite: record.favorite,
        exclude: record.exclude,
        skip_metadata_refresh: record.skip_metadata_refresh,
        sub_type: &record.sub_type,
        civitai: Slim {
            id: record.remote.id,
            model_id: record.remote.model_id,
            name: record.remote.name.as_deref(),
            trained_words: record.remote.trained_words.as_deref(),
        },
        auto_tags: record.auto_tags.names().collect(),
        hf_url: record.hf_url.as_deref().unwrap_or_default(),
        media_url: &media_url,
        media_type: match &record.preview {
            None => "",
            Some(preview) if preview::is_video(&preview.path) => "video",
            Some(_) => "image",
        },
        root_key: &record.root_key,
        base_model_hint: record.base_model_hint.as_deref().unwrap_or_default(),
        problem: record.problem.as_deref(),
        aliases: &record.aliases,
    };
    // Writing these types into memory can't fail.
    let mut bytes = serde_json::to_vec(&item).unwrap_or_else(|_| b"{".to_vec());
    bytes.pop();
    if let Ok(members) = serde_json::from_str::<std::collections::BTreeMap<String, &RawValue>>(extra) {
        for (key, value) in members.iter().filter(|(key, _)| !own_keys().contains(key.as_str())) {
            let _ = write!(bytes, ",{}:{}", Value::from(key.as_str()), value.get());
        }
    }
    bytes.into_boxed_slice()
}

/// What closes an item: it depends on the request, the disk and the provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Closing {
    /// Versions of the model, where items stand for models.
    pub version_count: Option<u32>,
    /// Whether its disk is away.
    pub offline: bool,
    /// Whether its provider has a newer version.
    pub update_available: bool,
}

/// Writes a whole item of which no update is known.
pub fn close(out: &mut Vec<u8>, record: &Record, version_count: Option<u32>, offline: bool) {
    let closing = Closing {
        version_count,
        offline,
        update_available: false,
    };
    close_with(out, record, &closing);
}

/// Writes a whole item.
pub fn close_with(out: &mut Vec<u8>, record: &Record, closing: &Closing) {
    out.extend_from_slice(&record.item);
    out.extend_from_slice(if closing.update_available {
        b",\"update_available\":true,\"version_count\":".as_slice()
    } else {
        b",\"update_available\":false,\"version_count\":"
    });
    match closing.version_count {
        Some(count) => out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(if closing.offline || record.is_offline() {
        b",\"offline\":true}"
    } else {
        b",\"offline\":false}"
    });
}

/// The raw cache entry of contract section 4.6, as the `info` routes answer it.
pub fn entry(record: &Record) -> Value {
    let mut entry = json!({
        "file_path": record.path,
        "file_name": record.file_name,
        "model_name": record.model_name,
        "folder": record.folder,
        "size": record.size,
        "modified": record.modified,
        "sha256": record.sha256_hex(),
        "autov3": match &record.autov3 {
            AutoV3::Unchecked => Value::Null,
            AutoV3::Absent => json!(""),
            AutoV3::Known(hash) => json!(hash),
        },
        "base_model": record.base_model,
        "preview_url": record.preview.as_ref().map_or("", |preview| &preview.path),
        "preview_nsfw_level": record.preview_nsfw_level,
        "from_civitai": record.from_civitai,
        "favorite": record.favorite,
        "notes": record.notes,
        "usage_tips": "",
        "metadata_source": record.metadata_source,
        "exclude": record.exclude,
        "db_checked": record.db_checked,
        "last_checked_at": record.last_checked_at,
        "tags": record.tags,
        "civitai": slim(record),
        "civitai_deleted": record.civitai_deleted,
        "skip_metadata_refresh": record.skip_metadata_refresh,
        "hf_url": record.hf_url.as_deref().unwrap_or_default(),
        "license_flags": record.license_flags,
        "sub_type": record.sub_type,
        "hash_status": record.hash_status.as_str(),
    });
    // Ours, and there only where this server computed the hashes.
    if let (Some(entry), Some(blake3)) = (entry.as_object_mut(), &record.blake3) {
        entry.insert("blake3".into(), json!(blake3.hex()));
    }
    if let (Some(entry), Ok(fields)) = (
        entry.as_object_mut(),
        serde_json::from_str::<Map<String, Value>>(&record.fields),
    ) {
        entry.extend(fields);
    }
    entry
}

/// What the library keeps of the provider's object; null when it has nothing.
pub fn slim(record: &Record) -> Value {
    let remote = &record.remote;
    let mut slim = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            slim.insert(key.to_owned(), value);
        }
    };
    set("id", remote.id.map(Value::from));
    set("modelId", remote.model_id.map(Value::from));
    set("name", remote.name.as_deref().map(Value::from));
    set(
        "creator",
        remote.creator.as_deref().map(|name| json!({ "username": name })),
    );
    set("trainedWords", remote.trained_words.as_ref().map(|words| json!(words)));
    set(
        "model",
        remote.model_type.as_deref().map(|name| json!({ "type": name })),
    );
    if slim.is_empty() {
        Value::Null
    } else {
        Value::Object(slim)
    }
}

/// What a plugin sees of the provider's identity.
pub fn remote_identity(record: &Record) -> RemoteIdentity {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    RemoteIdentity {
        version_id: record.remote.id,
        model_id: record.remote.model_id,
        version_name: text(record.remote.name.as_deref()),
        creator: text(record.remote.creator.as_deref()),
        model_type: text(record.remote.model_type.as_deref()),
    }
}

/// What a plugin sees of a record.
pub fn model(record: &Record) -> Model {
    Model {
        file_path: record.path.to_string(),
        relative_path: record.relative_path().to_owned(),
        file_name: record.file_name.to_string(),
        folder: record.folder.to_string(),
        root_key: record.root_key.to_string(),
        model_name: record.model_name.to_string(),
        base_model: record.base_model.to_string(),
        sub_type: record.sub_type.to_string(),
        sha256: record.sha256_hex(),
        size: record.size,
        modified: record.modified,
        tags: record.tags.iter().map(ToString::to_string).collect(),
        trigger_words: record.trained_words().iter().map(ToString::to_string).collect(),
        favorite: record.favorite,
        notes: record.notes.to_string(),
        license_flags: record.license_flags.into(),
        usage_count: record.usage_count,
        remote: remote_identity(record),
        fields: record.fields.to_string(),
    }
}
