//! Newer versions at providers: looking for them, ignoring them. Source: contract section 1.6.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::super::reason::Reason;
use super::{downloads, json};
use crate::library::Snapshot;
use crate::library::item;
use crate::library::record::Record;
use crate::model_types::TypeService;
use crate::providers::id_of;
use crate::updates::{Tracked, TrackedVersion, Wishes, has_update};
use crate::use_cases::metadata::now;
use crate::use_cases::update_check::{self, CheckError, Checked, Wanted};

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Provider(error) => error.into(),
            CheckError::Metadata(error) => error.into(),
            CheckError::Kept(_) | CheckError::Broken(_) => Self::internal(error),
        }
    }
}

/// The body; a missing or broken one is empty.
fn body(call: &Call) -> Map<String, Value> {
    serde_json::from_slice(&call.body).unwrap_or_default()
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => is_yes(text),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        _ => false,
    }
}

fn is_yes(text: &str) -> bool {
    ["1", "true", "yes"].contains(&text.trim().to_lowercase().as_str())
}

fn asks(call: &Call, key: &str) -> bool {
    call.query.get(key).is_some_and(is_yes)
}

fn ids(body: &Map<String, Value>) -> Option<HashSet<u64>> {
    let list = ["modelIds", "model_ids"]
        .iter()
        .find_map(|key| body.get(*key)?.as_array())?;
    Some(list.iter().filter_map(|id| id_of(Some(id))).collect())
}

/// POST `updates/refresh`.
pub async fn refresh(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let body = body(&call);
    let wanted = Wanted {
        models: ids(&body),
        folder: body.get("folder_path").and_then(Value::as_str).map(str::to_owned),
        force: asks(&call, "force") || is_true(body.get("force")),
    };
    let turn = call
        .app
        .refreshes
        .begin_check(&call.app, service.plugin.info().prefix());
    let turn = turn.map_err(|busy| ApiError::new(StatusCode::CONFLICT, busy.to_string()))?;
    let (app, own) = (call.app.clone(), service.clone());
    // It goes on when the client leaves.
    let check = tokio::spawn(async move { update_check::check(&app, &own, &wanted, turn.cancel()).await });
    match check.await.map_err(ApiError::internal)?? {
        Checked::Cancelled => Ok(json(
            &json!({ "success": false, "status": "cancelled", "message": "The search for updates was cancelled" }),
        )),
        Checked::Done { updates, failures } => {
            let snapshot = service.library.snapshot();
            let records: Vec<Value> = updates
                .iter()
                .map(|id| record(&call, &service, &snapshot, *id, None))
                .collect();
            call.app.hub.broadcast(
                json!({ "type": "updates_changed", "pageType": service.plugin.info().prefix() }).to_string(),
            );
            let mut answer = json!({ "success": true, "records": records });
            if !failures.is_empty() {
                let failures = failures.iter();
                answer["errors"] = failures
                    .map(|(id, error)| {
                        let mut failure = json!({ "modelId": id, "error": error.to_string() });
                        if let Some(reason) = Reason::of_provider(error) {
                            reason.add_to(&mut failure);
                        }
                        failure
                    })
                    .collect();
            }
            Ok(json(&answer))
        }
    }
}

/// POST `updates/fetch-missing-license`.
pub async fn fetch_licences(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let done = update_check::fill_licences(&call.app, &service, ids(&body(&call))).await?;
    let updated: Vec<Value> = done
        .updated
        .iter()
        .map(|(id, path)| json!({ "modelId": id, "filePath": path }))
        .collect();
    let mut answer = json!({ "success": true, "updated": updated });
    if !done.missing.is_empty() {
        answer["missingModelIds"] = json!(done.missing);
    }
    if !done.errors.is_empty() {
        let errors = done.errors.iter();
        answer["errors"] = errors
            .map(|(path, error)| json!({ "filePath": path, "error": error }))
            .collect();
    }
    Ok(json(&answer))
}

/// POST `updates/ignore`.
pub async fn ignore(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let body = body(&call);
    let model = id_of(body.get("modelId")).ok_or_else(|| ApiError::bad_request("modelId is required"))?;
    let ignored = is_true(body.get("shouldIgnore"));
    change(&call, &service, model, move |tracked| tracked.ignored = ignored).await?;
    answer(&call, &service, model, false).await
}

/// POST `updates/ignore-version`.
pub async fn ignore_version(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let body = body(&call);
    let ids = [id_of(body.get("modelId")), id_of(body.get("versionId"))];
    let [Some(model), Some(version)] = ids else {
        return Err(ApiError::bad_request("modelId and versionId are required"));
    };
    let ignored = is_true(body.get("shouldIgnore"));
    change(&call, &service, model, move |tracked| {
        tracked.version_mut(version).ignored = ignored;
    })
    .await?;
    answer(&call, &service, model, true).await
}

async fn change(
    call: &Call,
    service: &TypeService,
    model: u64,
    change: impl Fn(&mut Tracked) + Send + 'static,
) -> Result<(), ApiError> {
    let (app, model_type) = (call.app.clone(), service.plugin.info().id().to_owned());
    let done = blocking(move || app.updates.change(&model_type, &[model], |_, tracked| change(tracked)));
    done.await?.map_err(CheckError::from)?;
    let message = json!({ "type": "updates_changed", "pageType": service.plugin.info().prefix() });
    call.app.hub.broadcast(message.to_string());
    Ok(())
}

/// GET `updates/status/{model_id}` and, with `local` context, `updates/versions/{model_id}`.
pub async fn status(call: Call, service: Arc<TypeService>, local: bool) -> Result<Response, ApiError> {
    let model = call.param("model_id").trim().parse::<u64>();
    let model = model.map_err(|_| ApiError::bad_request("model_id must be an integer"))?;
    let (refresh, force) = (asks(&call, "refresh"), asks(&call, "force"));
    if refresh || force {
        let checked = call.app.updates.get(service.plugin.info().id(), model);
        let checked = checked.and_then(|tracked| tracked.checked_at);
        if force || checked.is_none_or(|at| now() - at > crate::updates::STALE) {
            update_check::check_one(&call.app, &service, model).await?;
        }
    }
    answer(&call, &service, model, local).await
}

async fn answer(call: &Call, service: &TypeService, model: u64, local: bool) -> Result<Response, ApiError> {
    let snapshot = service.library.snapshot();
    let words = match local {
        true => {
            let tracked = call.app.updates.get(service.plugin.info().id(), model);
            let tracked = tracked.iter().flat_map(|tracked| &tracked.versions);
            let here = here(&snapshot, model).filter_map(|record| record.remote.id);
            let ids = tracked.map(|version| version.id).chain(here).collect();
            Some(downloads::words_on(call, service, ids).await?)
        }
        false => None,
    };
    let record = record(call, service, &snapshot, model, words.as_ref());
    Ok(json(&json!({ "success": true, "record": record })))
}

/// Files of a provider's model that are here.
fn here(snapshot: &Snapshot, model: u64) -> impl Iterator<Item = &Arc<Record>> {
    let slots = snapshot.keys().model_id(model);
    slots
        .filter_map(|slot| snapshot.get(slot))
        .filter(move |record| record.remote.model_id == Some(model))
}

/// The contract's record of a model; an empty one when nothing is known of it, here or at a provider. With local context:
/// which of its versions count as downloaded, as far as that is noted.
fn record(
    call: &Call,
    service: &TypeService,
    snapshot: &Snapshot,
    model: u64,
    local: Option<&HashMap<u64, bool>>,
) -> Value {
    let model_type = service.plugin.info().id();
    let mut here: Vec<&Arc<Record>> = here(snapshot, model).collect();
    here.sort_by(|a, b| a.path.cmp(&b.path));
    let tracked = call.app.updates.get(model_type, model);
    let tracked = tracked.map(|own| Tracked::clone(&own)).unwrap_or_default();
    let mut in_library: Vec<u64> = here.iter().filter_map(|record| record.remote.id).collect();
    in_library.sort_unstable();
    in_library.dedup();
    let mut versions = tracked.versions.clone();
    let mut only_here: Vec<TrackedVersion> = Vec::new();
    for id in &in_library {
        let known = versions.iter().position(|own| own.id == *id);
        // What only files tell of comes first, in the order of the ids, until the provider was asked.
        match known {
            Some(place) if tracked.checked_at.is_none() && versions[place].name.is_none() => {
                only_here.push(versions.remove(place));
            }
            Some(_) => {}
            None => only_here.push(TrackedVersion {
                id: *id,
                ..TrackedVersion::default()
            }),
        }
    }
    match tracked.checked_at {
        Some(_) => versions.extend(only_here),
        None => drop(versions.splice(..0, only_here)),
    }
    let moment = now();
    let wishes = Wishes::new(&call.app.active.load().contract, moment);
    let shown = versions.iter().map(|version| {
        // Of several files of one version the last is named, as in the original.
        let file = here.iter().rfind(|record| record.remote.id == Some(version.id));
        let file = file.filter(|_| local.is_some());
        let is_here = in_library.contains(&version.id);
        let was_here = local.is_some_and(|words| words.get(&version.id).copied().unwrap_or(is_here));
        let preview = file
            .map(|record| item::preview_url(record))
            .filter(|url| !url.is_empty());
        json!({
            "versionId": version.id,
            "name": version.name,
            "baseModel": version.base_model,
            "releasedAt": version.released_at,
            "sizeBytes": version.size_bytes,
            "previewUrl": preview.or_else(|| version.preview_url.clone()),
            "isInLibrary": is_here,
            "hasBeenDownloaded": was_here,
            "shouldIgnore": version.ignored,
            "earlyAccessEndsAt": version.early_access_ends_at,
            "isEarlyAccess": version.in_early_access(moment),
            "usageControl": version.usage_control,
            "isPaid": version.is_paid(),
            "paidAccess": version.paid_access,
            "filePath": file.map(|record| &*record.path),
            "fileName": file.map(|record| &*record.file_name),
        })
    });
    json!({
        "modelType": model_type,
        "modelId": model,
        "largestVersionId": versions.iter().map(|version| version.id).max(),
        "versionIds": versions.iter().map(|version| version.id).collect::<Vec<_>>(),
        "inLibraryVersionIds": versions.iter().map(|version| version.id).filter(|id| in_library.contains(id)).collect::<Vec<_>>(),
        "lastCheckedAt": tracked.checked_at,
        "shouldIgnore": tracked.ignored,
        "hasUpdate": has_update(&tracked, &in_library, wishes),
        "versions": shown.collect::<Vec<_>>(),
    })
}
