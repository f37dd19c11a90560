//! What every provider can be asked.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::error::ProviderError;
use super::options::Source;

/// A JSON object: versions and models are open formats, kept as they come.
pub type Object = Map<String, Value>;
/// An answer on its way.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// Most ids or hashes of one question.
pub const BATCH: usize = 100;

/// A page of the models of one user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserModels {
    /// At most [`BATCH`], the newest first, each with its versions.
    pub models: Vec<Object>,
    /// What asks for the next page; none on the last one.
    pub next: Option<String>,
}

/// Someone who knows models. A version comes with its model inside: name, type, description, tags, licence and creator.
pub trait Provider: Send + Sync {
    /// Who it is.
    fn source(&self) -> Source;

    /// The version that has a file with this SHA-256 (lower-case hex).
    fn version_by_hash<'a>(&'a self, sha256: &'a str) -> Answer<'a, Object>;

    /// A version by its id, its model's, or both. With the model alone, its newest version.
    fn version(&self, model: Option<u64>, version: Option<u64>) -> Answer<'_, Object>;

    /// A model with its versions in `modelVersions`.
    fn model(&self, model: u64) -> Answer<'_, Object>;

    /// Several models, at most [`BATCH`]; unknown ones are missing in the answer.
    fn models<'a>(&'a self, _models: &'a [u64]) -> Answer<'a, Vec<Object>> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }

    /// Versions by hashes of their files, at most [`BATCH`], without their models inside; unknown ones are missing.
    fn versions_by_hashes<'a>(&'a self, _sha256: &'a [String]) -> Answer<'a, Vec<Object>> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }

    /// A page of a user's models; the first one without a cursor.
    fn models_of_user<'a>(&'a self, _user: &'a str, _cursor: Option<&'a str>) -> Answer<'a, UserModels> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }

    /// How many models a user has; none when that is not said.
    fn count_of_user<'a>(&'a self, _user: &'a str) -> Answer<'a, Option<u64>> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }

    /// Names of base models that are in use.
    fn base_models(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }
}

/// An id, also where some tool wrote it as a text.
pub fn id_of(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Objects of a list.
pub fn objects(value: Option<&Value>) -> impl Iterator<Item = &Object> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

/// SHA-256 of a file of a version, in lower case.
pub fn sha256_of(file: &Object) -> Option<String> {
    let hash = file.get("hashes")?.get("SHA256")?.as_str()?;
    (!hash.is_empty()).then(|| hash.to_lowercase())
}

/// Puts what only the model says into one of its versions. Source: contract section 7.1.
pub fn enrich(version: &mut Object, model: &Object) {
    const OF_THE_MODEL: [&str; 10] = [
        "name",
        "type",
        "nsfw",
        "poi",
        "description",
        "tags",
        "allowNoCredit",
        "allowCommercialUse",
        "allowDerivatives",
        "allowDifferentLicense",
    ];
    let mut inner = match version.get("model") {
        Some(Value::Object(inner)) => inner.clone(),
        _ => Object::new(),
    };
    for key in OF_THE_MODEL {
        if let Some(value) = model.get(key).filter(|value| !value.is_null()) {
            inner.insert(key.to_owned(), value.clone());
        }
    }
    version.insert("model".into(), inner.into());
    if let Some(creator) = model.get("creator").filter(|creator| creator.is_object()) {
        version.insert("creator".into(), creator.clone());
    }
    if id_of(version.get("modelId")).is_none()
        && let Some(id) = model.get("id")
    {
        version.insert("modelId".into(), id.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_gets_what_its_model_says_and_keeps_its_own() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let mut version = object(json!({"id": 2, "name": "v1", "model": {"name": "old", "mine": 1}}));
        let model = object(
            json!({"id": 1, "name": "A", "tags": ["t"], "description": null, "creator": {"username": "u"}, "allowNoCredit": false}),
        );
        enrich(&mut version, &model);
        assert_eq!(
            Value::Object(version),
            json!({"id": 2, "name": "v1", "model": {"name": "A", "mine": 1, "tags": ["t"], "allowNoCredit": false},
                "creator": {"username": "u"}, "modelId": 1})
        );
    }
}
