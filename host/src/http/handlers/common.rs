//! Routes that tools call and that belong to no type.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::json;
use crate::libraries::{self, ActivateError};
use crate::library::chunk::Slot;
use crate::library::priority_tags;
use crate::library::{Record, Snapshot};
use crate::model_types::TypeSlot;
use crate::settings::is_secret;

/// Most models asked for at once.
const MAX_IDS: usize = 1_000;

/// Takes secrets out, at any depth.
pub fn without_secrets(values: &mut Map<String, Value>) {
    values.retain(|key, _| !is_secret(key));
    values.values_mut().for_each(without_inner_secrets);
}

fn without_inner_secrets(value: &mut Value) {
    match value {
        Value::Object(inner) => without_secrets(inner),
        Value::Array(items) => items.iter_mut().for_each(without_inner_secrets),
        _ => {}
    }
}

/// GET `/api/lm/priority-tags`: the canonical names of each type's list.
pub fn priority_tags(call: &Call) -> Response {
    let active = call.app.active.load();
    let contract = &active.contract;
    let names = |id: &str| -> Vec<String> {
        let tags = priority_tags::parse(contract.priority_tags(id)).into_iter();
        tags.map(|tag| tag.name).collect()
    };
    let tags: Map<String, Value> = call
        .app
        .types
        .load()
        .iter()
        .map(|slot| (slot.info.id().to_owned(), json!(names(slot.info.id()))))
        .collect();
    json(&json!({ "success": true, "tags": tags }))
}

/// The default download root of each kind of a type's roots: the setting's, or the first root.
pub fn default_roots(call: &Call, slot: &TypeSlot) -> Vec<(String, String)> {
    let service = slot.service();
    let kinds = slot
        .info
        .descriptor
        .roots
        .iter()
        .filter(|kind| !kind.default_root_setting.is_empty());
    let chosen = kinds.map(|kind| {
        let set = call
            .app
            .active
            .load()
            .contract
            .text(&kind.default_root_setting, "")
            .to_owned();
        let own = service
            .iter()
            .flat_map(|service| service.library.roots())
            .filter(|root| *root.key == *kind.key);
        let mut own: Vec<String> = own.map(|root| root.wire.to_string()).collect();
        let root = if own.contains(&set) || own.is_empty() {
            set
        } else {
            own.swap_remove(0)
        };
        (kind.default_root_setting.clone(), root)
    });
    chosen.collect()
}

/// POST `/api/lm/settings/libraries/activate`: `{"library"}`. A switch goes on when the client leaves.
pub async fn activate_library(call: Call) -> Result<Response, ApiError> {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| ApiError::bad_request("Invalid JSON payload"))?;
    let name = ["library", "library_name"]
        .iter()
        .find_map(|key| body.get(key)?.as_str());
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    let name = name
        .ok_or_else(|| ApiError::bad_request("Library name is required"))?
        .to_owned();
    let app = call.app.clone();
    tokio::spawn(async move { libraries::activate(app, &name).await })
        .await
        .map_err(ApiError::internal)??;
    Ok(self::libraries(&call))
}

impl From<ActivateError> for ApiError {
    fn from(error: ActivateError) -> Self {
        let status = match &error {
            ActivateError::Unknown { .. } => StatusCode::NOT_FOUND,
            ActivateError::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            ActivateError::Remember { .. } | ActivateError::Open(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// GET `/api/lm/settings/libraries`.
pub fn libraries(call: &Call) -> Response {
    let active = call.app.active.load();
    let contract = &active.contract;
    let mut named = call.app.settings.libraries.as_written().clone();
    if named.is_empty() {
        let mut folders = Map::new();
        let mut library = Map::new();
        for slot in call.app.types.load().iter() {
            let service = slot.service();
            for kind in &slot.info.descriptor.roots {
                let mut own: Vec<&str> = service
                    .iter()
                    .flat_map(|service| service.library.roots())
                    .filter(|root| *root.key == *kind.key)
                    .map(|root| &*root.wire)
                    .collect();
                // In the order of the settings; those of other sources come last.
                let written = contract.get("folder_paths").and_then(|folders| folders.get(&kind.key));
                let written: Vec<&Value> = written.and_then(Value::as_array).into_iter().flatten().collect();
                own.sort_by_key(|root| {
                    written
                        .iter()
                        .position(|path| path.as_str() == Some(root))
                        .unwrap_or(usize::MAX)
                });
                folders.insert(kind.key.clone(), json!(own));
            }
            library.extend(
                default_roots(call, slot)
                    .into_iter()
                    .map(|(setting, root)| (setting, Value::from(root))),
            );
        }
        library.insert("folder_paths".into(), Value::Object(folders));
        library.insert("extra_folder_paths".into(), json!({}));
        library.insert("recipes_path".into(), json!(contract.text("recipes_path", "")));
        named.insert(active.name.clone(), Value::Object(library));
    }
    without_secrets(&mut named);
    json(&json!({ "success": true, "libraries": named, "active_library": active.name }))
}

/// A provider's id, with spaces around it allowed.
pub fn id(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// The first type, in the order of the navigation, that has files of a provider's version, with these.
pub fn of_version(types: &[Arc<TypeSlot>], version: i64) -> Option<(&Arc<TypeSlot>, Vec<Arc<Record>>)> {
    let version = u64::try_from(version).ok()?;
    first_with(types, |snapshot| snapshot.keys().version_id(version).collect())
}

/// The first type, in the order of the navigation, that has records with this id.
fn first_with(
    types: &[Arc<TypeSlot>],
    slots: impl Fn(&Snapshot) -> Vec<Slot>,
) -> Option<(&Arc<TypeSlot>, Vec<Arc<Record>>)> {
    types.iter().find_map(|slot| {
        let snapshot = slot.service()?.library.snapshot();
        let mut records: Vec<Arc<Record>> = slots(&snapshot)
            .into_iter()
            .filter_map(|slot| snapshot.get(slot).cloned())
            .collect();
        records.sort_by(|a, b| a.path.cmp(&b.path));
        (!records.is_empty()).then_some((slot, records))
    })
}

/// The versions of a provider's model that are here: the type, and one entry for each version, in the order of the paths.
/// Of several files of one version the last is named, as in the original.
fn versions(types: &[Arc<TypeSlot>], model_id: i64) -> (Option<&str>, Vec<Value>) {
    let wanted = u64::try_from(model_id).ok();
    let found = first_with(types, |snapshot| {
        wanted
            .map(|id| snapshot.keys().model_id(id).collect())
            .unwrap_or_default()
    });
    let Some((slot, records)) = found else {
        return (None, Vec::new());
    };
    let mut versions: Vec<Value> = Vec::new();
    for (id, record) in records.iter().filter_map(|record| Some((record.remote.id?, record))) {
        let entry = json!({
            "versionId": id, "name": record.remote.name, "fileName": record.file_name, "hasBeenDownloaded": true,
        });
        match versions.iter_mut().find(|known| known["versionId"] == id) {
            Some(known) => *known = entry,
            None => versions.push(entry),
        }
    }
    (Some(slot.info.id()), versions)
}

/// Versions of a model that were here once: the type, and their ids.
async fn once_here(call: &Call, model_id: i64) -> Result<(Option<String>, Vec<u64>), ApiError> {
    let Ok(model) = u64::try_from(model_id) else {
        return Ok((None, Vec::new()));
    };
    let known = call
        .app
        .downloads
        .in_ledger(move |ledger| ledger.downloaded_of(model))
        .await
        .map_err(ApiError::internal)?;
    let model_type = known.first().map(|(model_type, _)| model_type.clone());
    Ok((model_type, known.into_iter().map(|(_, id)| id).collect()))
}

/// GET `/api/lm/check-model-exists`. Of what is here `hasBeenDownloaded` is false, as the original has it.
pub async fn model_exists(call: Call) -> Result<Response, ApiError> {
    let types = call.app.types.load_full();
    let wanted = call.query.require("modelId", "Missing required parameter: modelId")?;
    let model_id = id(wanted).ok_or_else(|| ApiError::bad_request("Parameter modelId must be an integer"))?;
    let Some(version) = call.query.get("modelVersionId").filter(|text| !text.is_empty()) else {
        let (model_type, versions) = versions(&types, model_id);
        // Of a model that is here only what is here is told.
        let (model_type, once_here) = match model_type {
            Some(model_type) => (Some(model_type.to_owned()), Vec::new()),
            None => once_here(&call, model_id).await?,
        };
        return Ok(json(&json!({
            "success": true, "exists": !versions.is_empty(), "modelType": model_type, "versions": versions,
            "downloadedVersionIds": once_here,
        })));
    };
    let version = id(version).ok_or_else(|| ApiError::bad_request("Parameter modelVersionId must be an integer"))?;
    // The version alone decides; extensions send the ids of a page that may have moved.
    let found = of_version(&types, version);
    let (model_type, records) = found.map_or((None, Vec::new()), |(slot, records)| (Some(slot.info.id()), records));
    let mut model_type = model_type.map(str::to_owned);
    let mut downloaded = false;
    if let (true, Ok(id)) = (records.is_empty(), u64::try_from(version)) {
        let ids: Vec<String> = types.iter().map(|slot| slot.info.id().to_owned()).collect();
        let known = call.app.downloads.in_ledger(move |ledger| {
            let mut of = ids.into_iter();
            of.try_fold(None, |found: Option<String>, own| {
                Ok(match found {
                    None if ledger.was_downloaded(&own, id)? => Some(own),
                    found => found,
                })
            })
        });
        let known = known.await.map_err(ApiError::internal)?;
        downloaded = known.is_some();
        model_type = model_type.or(known);
    }
    let file = |record: &Arc<Record>| json!({ "fileId": null, "fileName": record.file_name, "filePath": record.path });
    Ok(json(&json!({
        "success": true,
        "exists": !records.is_empty(),
        "modelType": model_type,
        "hasBeenDownloaded": downloaded,
        "downloadedFiles": records.iter().map(file).collect::<Vec<_>>(),
    })))
}

/// GET `/api/lm/check-models-exist`. What is no number is passed over, and each id answered once. Only what is here is
/// told.
pub fn models_exist(call: &Call) -> Response {
    let types = call.app.types.load_full();
    let mut ids: Vec<i64> = Vec::new();
    for id in call.query.get("modelIds").unwrap_or_default().split(',').filter_map(id) {
        if !ids.contains(&id) && ids.len() < MAX_IDS {
            ids.push(id);
        }
    }
    let result = |model_id: i64| {
        let (model_type, versions) = versions(&types, model_id);
        json!({ "modelId": model_id, "modelType": model_type, "versions": versions, "downloadedVersionIds": [] })
    };
    let results: Vec<Value> = ids.into_iter().map(result).collect();
    json(&json!({ "success": true, "results": results }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_answered_in_tables_lists_or_capitals() {
        let mut values = json!({
            "a": [{"API_KEY": "x", "kept": [[{"token": "x"}]]}], "b": {"proxy_password": "x"}, "civitai_api_key_set": true,
        });
        without_secrets(values.as_object_mut().unwrap());
        let expected = json!({"a": [{"kept": [[{}]]}], "b": {}, "civitai_api_key_set": true});
        assert_eq!(values, expected);
    }
}
