//! CivArchive, which keeps what CivitAI has deleted. Source: contract section 7.3.

use std::sync::Arc;

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::client::{Ask, Client};
use super::error::ProviderError;
use super::options::Source;
use super::provider::{Answer, Object, Provider, id_of, objects};

const MODEL: &str = "Model";
const VERSION: &str = "Model version";
/// Its own ids; those of CivitAI are smaller.
const OWN_IDS: u64 = 100_000_000;

/// The API at some address.
pub struct CivArchive {
    client: Arc<Client>,
    base: Url,
}

impl CivArchive {
    /// `base` is without a slash at its end.
    pub fn new(client: Arc<Client>, base: Url) -> Self {
        Self { client, base }
    }

    async fn ask(&self, path: &[&str], version: Option<u64>, what: &'static str) -> Result<Object, ProviderError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ProviderError::Settings(format!("{} is no base address", self.base)))?
            .pop_if_empty()
            .extend(path);
        if let Some(version) = version {
            url.query_pairs_mut()
                .append_pair("modelVersionId", &version.to_string());
        }
        let ask = Ask { url, body: None, what };
        match self.client.json(&ask).await? {
            Value::Object(mut object) => match object.remove("data") {
                Some(Value::Object(data)) => Ok(data),
                _ => Ok(object),
            },
            _ => Err(ProviderError::Malformed {
                host: crate::net::host_of(&self.base),
                reason: "an object was expected".into(),
            }),
        }
    }

    async fn by_ids(&self, model: Option<u64>, version: Option<u64>) -> Result<Object, ProviderError> {
        // A version that is asked for alone goes with the model id 1.
        let model = model.unwrap_or(1).to_string();
        let payload = self.ask(&["models", &model], version, VERSION).await?;
        version_of(&payload, version).ok_or(ProviderError::NotFound(VERSION))
    }
}

impl Provider for CivArchive {
    fn source(&self) -> Source {
        Source::CivArchive
    }

    fn version_by_hash<'a>(&'a self, sha256: &'a str) -> Answer<'a, Object> {
        Box::pin(async move {
            let payload = self.ask(&["sha256", &sha256.to_lowercase()], None, MODEL).await?;
            if let Some(version) = version_of(&payload, None) {
                return Ok(version);
            }
            // Only files: they name their version.
            let named = objects(payload.get("files")).find_map(|file| {
                let ids = [file.get("model_id"), file.get("model_version_id")].map(id_of);
                let [Some(model), Some(version)] = ids else {
                    return None;
                };
                (model < OWN_IDS && version < OWN_IDS).then_some((model, version))
            });
            let (model, version) = named.ok_or(ProviderError::NotFound(MODEL))?;
            self.by_ids(Some(model), Some(version)).await
        })
    }

    fn version(&self, model: Option<u64>, version: Option<u64>) -> Answer<'_, Object> {
        Box::pin(self.by_ids(model, version))
    }

    fn model(&self, model: u64) -> Answer<'_, Object> {
        Box::pin(async move {
            let payload = self.ask(&["models", &model.to_string()], None, MODEL).await?;
            let mut version = version_of(&payload, None).ok_or(ProviderError::NotFound(MODEL))?;
            let mut whole = match version.remove("model") {
                Some(Value::Object(model)) => model,
                _ => Object::new(),
            };
            whole.insert("id".into(), model.into());
            if let Some(creator) = version.get("creator") {
                whole.insert("creator".into(), creator.clone());
            }
            whole.insert("modelVersions".into(), json!([version]));
            Ok(whole)
        })
    }
}

/// A payload as a version in CivitAI's form; none where it has no version, or not the one that was asked for.
fn version_of(payload: &Object, wanted: Option<u64>) -> Option<Object> {
    let model = payload.get("model").and_then(Value::as_object).unwrap_or(payload);
    let own = payload.get("version").or_else(|| model.get("version"))?.as_object()?;
    let mut version = own.clone();
    if wanted.is_some_and(|wanted| id_of(version.get("id")) != Some(wanted)) {
        return None;
    }
    let renamed = [("trigger", "trainedWords"), ("nsfw_level", "nsfwLevel")];
    for (from, to) in renamed {
        if let Some(value) = version.remove(from) {
            version.entry(to).or_insert(value);
        }
    }
    let stats: Map<String, Value> = ["downloadCount", "ratingCount", "rating"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), version.remove(key)?)))
        .collect();
    if !stats.is_empty() {
        version.entry("stats").or_insert(stats.into());
    }
    let files = objects(version.get("files")).map(file_of).collect::<Vec<_>>();
    version.insert("files".into(), sorted(files).into());
    let text = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| model.get(*key).filter(|value| value.is_string()).cloned())
    };
    let mut inner = Map::new();
    for (key, names) in [
        ("name", &["name"][..]),
        ("type", &["type"]),
        ("description", &["description"]),
    ] {
        if let Some(value) = text(names) {
            inner.insert(key.into(), value);
        }
    }
    let nsfw = model
        .get("nsfw")
        .or_else(|| model.get("is_nsfw"))
        .and_then(Value::as_bool);
    inner.insert("nsfw".into(), nsfw.unwrap_or(false).into());
    inner.insert(
        "tags".into(),
        model
            .get("tags")
            .filter(|tags| tags.is_array())
            .cloned()
            .unwrap_or_else(|| json!([])),
    );
    if id_of(version.get("modelId")).is_none()
        && let Some(id) = version.remove("civitai_model_id").or_else(|| model.get("id").cloned())
    {
        version.insert("modelId".into(), id);
    }
    version.insert("model".into(), inner.into());
    let creator = text(&["creator_username", "username"]);
    let image = text(&["creator_image"]);
    match model.get("creator").filter(|creator| creator.is_object()) {
        Some(creator) => version.insert("creator".into(), creator.clone()),
        None => creator.and_then(|name| version.insert("creator".into(), json!({ "username": name, "image": image }))),
    };
    let is_deleted = ["deletedAt", "deleted_at"]
        .iter()
        .any(|key| version.get(*key).is_some_and(|at| !at.is_null()));
    version.insert("is_deleted".into(), is_deleted.into());
    version.insert("source".into(), "civarchive".into());
    Some(version)
}

/// A file in CivitAI's form.
fn file_of(file: &Object) -> Object {
    let mut own = file.clone();
    if let Some(hash) = own
        .remove("sha256")
        .and_then(|hash| hash.as_str().map(str::to_uppercase))
    {
        own.insert("hashes".into(), json!({ "SHA256": hash }));
    }
    own.insert("primary".into(), true.into());
    let live = objects(file.get("mirrors")).find(|mirror| {
        let deleted = mirror.get("deletedAt").or_else(|| mirror.get("deleted_at"));
        deleted.is_none_or(Value::is_null)
    });
    if let Some(url) = live.and_then(|mirror| mirror.get("url")) {
        own.insert("downloadUrl".into(), url.clone());
    }
    if let Some(format) = format_of(file) {
        let metadata = own.entry("metadata").or_insert_with(|| json!({}));
        if let Value::Object(metadata) = metadata {
            metadata.entry("format").or_insert(format.into());
        }
    }
    own
}

fn format_of(file: &Object) -> Option<&'static str> {
    let name = file.get("name")?.as_str()?.to_lowercase();
    let known = [
        (".safetensors", "SafeTensor"),
        (".ckpt", "PickleTensor"),
        (".pt", "PickleTensor"),
        (".gguf", "GGUF"),
        (".zip", "Other"),
    ];
    known
        .iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map(|(_, format)| *format)
}

/// The safest format first.
fn sorted(mut files: Vec<Object>) -> Vec<Object> {
    let place = |file: &Object| {
        let name = file
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_lowercase();
        match name.rsplit('.').next() {
            Some("safetensors") => 0,
            Some("ckpt") => 1,
            _ => 2,
        }
    };
    files.sort_by_key(place);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_becomes_a_version_in_the_usual_form() {
        let payload = json!({
            "id": 7, "name": "A", "type": "X", "tags": ["t"], "creator_username": "u",
            "version": {"id": 70, "name": "v1", "trigger": ["w"], "downloadCount": 3, "deletedAt": "2025-01-01",
                "files": [
                    {"id": 1, "name": "a.zip", "mirrors": []},
                    {"id": 2, "name": "a.safetensors", "sha256": "ab", "mirrors": [
                        {"url": "gone", "deletedAt": "2025"}, {"url": "live", "deletedAt": null}]},
                ]},
        });
        let version = Value::Object(version_of(payload.as_object().unwrap(), Some(70)).unwrap());
        assert_eq!(
            (&version["trainedWords"], &version["stats"]),
            (&json!(["w"]), &json!({"downloadCount": 3}))
        );
        assert_eq!(
            (&version["modelId"], &version["source"]),
            (&json!(7), &json!("civarchive"))
        );
        assert_eq!(
            version["model"],
            json!({"name": "A", "type": "X", "nsfw": false, "tags": ["t"]})
        );
        let file = &version["files"][0];
        assert_eq!((&file["downloadUrl"], &file["primary"]), (&json!("live"), &json!(true)));
        assert_eq!(
            (&file["hashes"]["SHA256"], &file["metadata"]["format"]),
            (&json!("AB"), &json!("SafeTensor"))
        );
        assert!(version_of(payload.as_object().unwrap(), Some(71)).is_none());
    }
}
