//! CivitAI's REST API, version 1. Source: contract section 7.1.

use std::sync::Arc;

use reqwest::Url;
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::error::ProviderError;
use super::options::Source;
use super::provider::{Answer, BATCH, Object, Provider, enrich, id_of, objects, sha256_of};

const MODEL: &str = "Model";
const VERSION: &str = "Model version";

/// The API at some address.
pub struct Civitai {
    client: Arc<Client>,
    base: Url,
}

impl Civitai {
    /// `base` is without a slash at its end.
    pub fn new(client: Arc<Client>, base: Url) -> Self {
        Self { client, base }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, ProviderError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ProviderError::Settings(format!("{} is no base address", self.base)))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)], what: &'static str) -> Result<Value, ProviderError> {
        let url = self.url(path, query)?;
        let ask = Ask { url, body: None, what };
        self.client.json(&ask).await
    }

    async fn object(&self, path: &[&str], what: &'static str) -> Result<Object, ProviderError> {
        match self.get(path, &[], what).await? {
            Value::Object(object) => Ok(object),
            other => Err(self.malformed(&format!("an object was expected, not {}", kind(&other)))),
        }
    }

    fn malformed(&self, reason: &str) -> ProviderError {
        ProviderError::Malformed {
            host: crate::net::host_of(&self.base),
            reason: reason.to_owned(),
        }
    }

    /// A version with its model's facts. A model that is gone leaves the version as it is.
    async fn with_model(&self, mut version: Object) -> Result<Object, ProviderError> {
        if let Some(model) = id_of(version.get("modelId")) {
            match self.model(model).await {
                Ok(model) => enrich(&mut version, &model),
                Err(error) if error.is_final() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(version)
    }

    async fn version_of(&self, model: u64, version: Option<u64>) -> Result<Object, ProviderError> {
        let model = self.model(model).await?;
        let listed = |wanted: u64| objects(model.get("modelVersions")).find(|own| id_of(own.get("id")) == Some(wanted));
        let first = || objects(model.get("modelVersions")).next();
        let chosen = match version {
            Some(wanted) => listed(wanted).or_else(|| {
                tracing::warn!(
                    version = wanted,
                    "the model does not list this version; its newest is taken"
                );
                first()
            }),
            None => first(),
        };
        let chosen = chosen.ok_or(ProviderError::NotFound(VERSION))?;
        let Some(id) = id_of(chosen.get("id")) else {
            return Err(self.malformed("a version without an id"));
        };
        let mut whole = match self.object(&["model-versions", &id.to_string()], VERSION).await {
            Ok(whole) => whole,
            Err(error) if error.is_final() => self.by_file(chosen).await.unwrap_or_else(|| chosen.clone()),
            Err(error) => return Err(error),
        };
        enrich(&mut whole, &model);
        Ok(whole)
    }

    /// A version by the hash of its main file.
    async fn by_file(&self, version: &Object) -> Option<Object> {
        let primary = |file: &&Object| file.get("primary") == Some(&Value::Bool(true));
        let file = objects(version.get("files"))
            .find(primary)
            .or_else(|| objects(version.get("files")).next())?;
        let hash = sha256_of(file)?;
        self.object(&["model-versions", "by-hash", &hash], VERSION).await.ok()
    }
}

impl Provider for Civitai {
    fn source(&self) -> Source {
        Source::CivitaiApi
    }

    fn version_by_hash<'a>(&'a self, sha256: &'a str) -> Answer<'a, Object> {
        Box::pin(async move {
            let version = self.object(&["model-versions", "by-hash", sha256], MODEL).await?;
            self.with_model(version).await
        })
    }

    fn version(&self, model: Option<u64>, version: Option<u64>) -> Answer<'_, Object> {
        Box::pin(async move {
            match (model, version) {
                (Some(model), version) => self.version_of(model, version).await,
                (None, Some(version)) => {
                    let version = self.object(&["model-versions", &version.to_string()], VERSION).await?;
                    self.with_model(version).await
                }
                (None, None) => Err(ProviderError::NotFound(VERSION)),
            }
        })
    }

    fn model(&self, model: u64) -> Answer<'_, Object> {
        Box::pin(async move { self.object(&["models", &model.to_string()], MODEL).await })
    }

    fn models<'a>(&'a self, models: &'a [u64]) -> Answer<'a, Vec<Object>> {
        Box::pin(async move {
            let ids: Vec<String> = models.iter().take(BATCH).map(u64::to_string).collect();
            let ids = ids.join(",");
            let limit = BATCH.to_string();
            let query = [("ids", ids.as_str()), ("nsfw", "true"), ("limit", limit.as_str())];
            let answer = self.get(&["models"], &query, MODEL).await?;
            Ok(objects(answer.get("items")).cloned().collect())
        })
    }

    fn versions_by_hashes<'a>(&'a self, sha256: &'a [String]) -> Answer<'a, Vec<Object>> {
        Box::pin(async move {
            let hashes: Vec<String> = sha256.iter().take(BATCH).map(|hash| hash.to_uppercase()).collect();
            let body = json!(hashes);
            let ask = Ask {
                url: self.url(&["model-versions", "by-hash"], &[])?,
                body: Some(&body),
                what: VERSION,
            };
            let answer = self.client.json(&ask).await?;
            if !answer.is_array() {
                return Err(self.malformed("a list was expected"));
            }
            Ok(objects(Some(&answer)).cloned().collect())
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
