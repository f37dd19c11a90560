//! The fake host's models.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ROOT;
use super::matching;
use crate::library::{Facet, Lookup, MAX_LIMIT, Order, Page, Root, Selection};
use crate::{Model, PluginError, Result, RootKind};

/// Extensions that a reference to a model may have.
const REFERENCE_EXTENSIONS: [&str; 4] = [".safetensors", ".ckpt", ".pt", ".bin"];

pub(crate) struct FakeLibrary {
    pub roots: Vec<Root>,
    models: Vec<Model>,
    sidecars: BTreeMap<String, Map<String, Value>>,
}

impl FakeLibrary {
    pub fn new(kinds: &[RootKind]) -> Self {
        let key = kinds.first().map(|kind| kind.key.clone()).unwrap_or_default();
        let roots = vec![Root {
            path: ROOT.to_owned(),
            key,
            online: true,
        }];
        Self {
            roots,
            models: Vec::new(),
            sidecars: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, models: impl IntoIterator<Item = Model>) {
        let key = self.roots.first().map(|root| root.key.clone()).unwrap_or_default();
        for mut model in models {
            if model.root_key.is_empty() {
                model.root_key.clone_from(&key);
            }
            self.models.push(model);
        }
    }

    pub fn set_sidecar(&mut self, path: &str, fields: &Value) {
        self.sidecars
            .insert(path.to_owned(), fields.as_object().cloned().unwrap_or_default());
    }

    fn selected(&self, which: &Selection) -> Vec<&Model> {
        self.models
            .iter()
            .filter(|model| matching::is_selected(model, which))
            .collect()
    }

    pub fn query(&self, which: &Selection, order: Order, offset: u64, limit: u32) -> Result<Page> {
        let mut models = self.selected(which);
        models.sort_by(|a, b| matching::compare(a, b, order));
        let total = models.len() as u64;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let models = models
            .into_iter()
            .skip(offset)
            .take(limit.min(MAX_LIMIT) as usize)
            .cloned()
            .collect();
        Ok(Page { total, models })
    }

    pub fn random_sample(&self, which: &Selection, count: u32, seed: u64) -> Result<Vec<Model>> {
        let mut models = self.selected(which);
        fastrand::Rng::with_seed(seed).shuffle(&mut models);
        Ok(models
            .into_iter()
            .take(count.min(MAX_LIMIT) as usize)
            .cloned()
            .collect())
    }

    /// By AutoV3 nothing is found, since a model at the boundary does not carry it.
    pub fn get(&self, key: &Lookup) -> Option<&Model> {
        let first = |wanted: &dyn Fn(&Model) -> bool| self.models.iter().find(|model| wanted(model));
        match key {
            Lookup::Path(path) => first(&|model| model.file_path == *path),
            Lookup::Name(name) => {
                first(&|model| model.file_name == *name || name.ends_with(&format!("/{}", model.file_name)))
            }
            Lookup::Reference(reference) => self.by_reference(reference),
            Lookup::PathPart(part) => {
                first(&|model| model.file_path.ends_with(part.as_str()) || model.file_path.contains(part.as_str()))
            }
            Lookup::Hash(hash) => {
                let hash = hash.to_lowercase();
                match hash.len() {
                    64 => first(&|model| model.sha256 == hash),
                    10 => first(&|model| model.sha256.starts_with(&hash)),
                    _ => None,
                }
            }
        }
    }

    fn by_reference(&self, reference: &str) -> Option<&Model> {
        let bare = REFERENCE_EXTENSIONS
            .iter()
            .find_map(|extension| reference.strip_suffix(extension))
            .unwrap_or(reference);
        let full = |model: &Model| matching::with_folder(&model.folder, &model.file_name);
        let exact = self
            .models
            .iter()
            .find(|model| model.file_name == bare || full(model) == bare);
        let (folder, name) = bare.rsplit_once('/').unwrap_or(("", bare));
        let same_name = || self.models.iter().filter(|model| model.file_name == name);
        exact
            .or_else(|| same_name().find(|model| model.folder.starts_with(folder)))
            .or_else(|| same_name().next())
    }

    pub fn entry(&self, path: &str) -> Option<String> {
        let model = self.models.iter().find(|model| model.file_path == path)?;
        let mut entry = self.sidecars.get(path).cloned().unwrap_or_default();
        let known = json!({
            "file_path": model.file_path, "file_name": model.file_name, "model_name": model.model_name,
            "folder": model.folder, "size": model.size, "modified": model.modified, "sha256": model.sha256,
            "base_model": model.base_model, "tags": model.tags, "favorite": model.favorite, "notes": model.notes,
            "sub_type": model.sub_type,
        });
        if let Value::Object(known) = known {
            entry.extend(known);
        }
        Some(Value::Object(entry).to_string())
    }

    pub fn facets(&self, kind: Facet, limit: u32) -> Vec<(String, u64)> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for model in &self.models {
            let values = match kind {
                Facet::Tag => model.tags.clone(),
                Facet::BaseModel => vec![model.base_model.clone()],
                Facet::SubType => vec![model.sub_type.clone()],
                Facet::Folder => vec![model.folder.clone()],
                Facet::Initial => matching::initial_label(&model.model_name).into_iter().collect(),
            };
            for value in values {
                *counts.entry(value).or_default() += 1;
            }
        }
        let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
        if limit > 0 {
            counts.truncate(limit as usize);
        }
        counts
    }

    pub fn patch_metadata(&mut self, path: &str, patch: &str) -> Result<Model> {
        let patch: Map<String, Value> = serde_json::from_str(patch)
            .map_err(|error| PluginError::invalid(format!("a patch is one JSON object: {error}")))?;
        let Some(model) = self.models.iter_mut().find(|model| model.file_path == path) else {
            return Err(PluginError::not_found(format!("there is no model `{path}`")));
        };
        let text = |field: &str| patch.get(field).and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = text("model_name") {
            model.model_name = name;
        }
        if let Some(name) = text("base_model") {
            model.base_model = name;
        }
        if let Some(notes) = text("notes") {
            model.notes = notes;
        }
        if let Some(favorite) = patch.get("favorite").and_then(Value::as_bool) {
            model.favorite = favorite;
        }
        if let Some(tags) = patch.get("tags").and_then(Value::as_array) {
            model.tags = tags.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        let model = model.clone();
        self.sidecars.entry(path.to_owned()).or_default().extend(patch);
        Ok(model)
    }
}
