//! What providers list, with what of it is here: versions of a model, models of a user, names of base models.
//! Source: contract appendix A.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::{common, downloads, json};
use crate::compat::compat;
use crate::library::Snapshot;
use crate::model_types::{TypeService, TypeSlot};
use crate::providers::{Object, ProviderError, id_of, objects};
use crate::web_media;

/// Of some versions of a type, what is here and what was.
struct Here {
    snapshot: Arc<Snapshot>,
    words: HashMap<u64, bool>,
}

impl Here {
    async fn of(call: &Call, service: &TypeService, versions: Vec<u64>) -> Result<Self, ApiError> {
        Ok(Self {
            words: downloads::words_on(call, service, versions).await?,
            snapshot: service.library.snapshot(),
        })
    }

    fn is_in_library(&self, version: u64) -> bool {
        self.snapshot.keys().version_id(version).next().is_some()
    }

    fn was_downloaded(&self, version: u64) -> bool {
        let word = self.words.get(&version).copied();
        word.unwrap_or_else(|| self.is_in_library(version))
    }
}

/// The type whose models a provider calls this.
fn type_of<'t>(types: &'t [Arc<TypeSlot>], kind: &str) -> Option<&'t Arc<TypeSlot>> {
    let known = |slot: &&Arc<TypeSlot>| slot.info.descriptor.remote_types.iter().any(|own| own == kind);
    types.iter().find(known)
}

fn text<'o>(object: &'o Object, key: &str) -> &'o str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The first image of a version: its address, and whether it is a video.
fn first_image(version: &Object) -> Option<(&str, bool)> {
    let image = objects(version.get("images")).next()?;
    Some((image.get("url")?.as_str()?, text(image, "type") == "video"))
}

/// GET `model-versions-status`: all versions of a provider's model.
pub async fn versions(call: Call) -> Result<Response, ApiError> {
    let wanted = call.query.require("modelId", "Missing required parameter: modelId")?;
    let id = common::id(wanted).ok_or_else(|| ApiError::bad_request("Parameter modelId must be an integer"))?;
    let not_found = || ApiError::not_found("Model not found");
    let model = match call
        .app
        .providers
        .model(u64::try_from(id).map_err(|_| not_found())?)
        .await
    {
        Ok(found) => found.value,
        Err(error) if error.is_final() => return Err(not_found()),
        Err(error) => return Err(error.into()),
    };
    let listed: Vec<&Object> = objects(model.get("modelVersions")).collect();
    if listed.is_empty() {
        return Err(not_found());
    }
    let kind = text(&model, "type").to_lowercase();
    let types = call.app.types.load_full();
    let unknown = || ApiError::bad_request(format!("Model type \"{kind}\" is not supported"));
    let service = type_of(&types, &kind).ok_or_else(unknown)?.service();
    let service = service.ok_or_else(ApiError::not_ready)?;
    let ids = listed.iter().filter_map(|version| id_of(version.get("id"))).collect();
    let here = Here::of(&call, &service, ids).await?;
    let shown = listed.iter().map(|version| {
        let own = id_of(version.get("id"));
        json!({
            "id": version.get("id"),
            "name": text(version, "name"),
            "thumbnailUrl": first_image(version).map(|(url, _)| url),
            "inLibrary": own.is_some_and(|own| here.is_in_library(own)),
            "hasBeenDownloaded": own.is_some_and(|own| here.was_downloaded(own)),
        })
    });
    Ok(json(&json!({
        "success": true,
        "modelId": id,
        "modelName": text(&model, "name"),
        "modelType": kind,
        "versions": shown.collect::<Vec<_>>(),
    })))
}

/// GET `civitai/user-models`: a page of a user's models, those of types that are served, one entry for each version.
pub async fn of_user(call: Call) -> Result<Response, ApiError> {
    let user = call.query.require("username", "Missing required parameter: username")?;
    let cursor = call.query.get("cursor").filter(|cursor| !cursor.is_empty());
    let providers = &call.app.providers;
    let page = match providers.models_of_user(user, cursor).await {
        Ok(page) => page,
        Err(ProviderError::Unsupported) => {
            return Err(ApiError::new(
                StatusCode::NOT_IMPLEMENTED,
                "Metadata provider does not support user model queries",
            ));
        }
        // Whatever went wrong, as clients know it; the text says what.
        Err(error) => {
            return Err(ApiError::new(
                StatusCode::BAD_GATEWAY,
                format!("Failed to fetch user models: {error}"),
            ));
        }
    };
    // Only an estimate: without it the page is as good.
    let total = match cursor {
        None => providers.count_of_user(user).await.unwrap_or_default(),
        Some(_) => None,
    };
    let types = call.app.types.load_full();
    let mut of_types: HashMap<&str, (Vec<u64>, Arc<TypeService>)> = HashMap::new();
    let mut models = Vec::new();
    for model in &page.models {
        let Some(slot) = type_of(&types, &text(model, "type").to_lowercase()) else {
            continue;
        };
        let service = slot.service().ok_or_else(ApiError::not_ready)?;
        let of_type = of_types.entry(slot.info.id()).or_insert((Vec::new(), service));
        of_type
            .0
            .extend(objects(model.get("modelVersions")).filter_map(|version| id_of(version.get("id"))));
        models.push((slot.info.id(), model));
    }
    let mut here = HashMap::new();
    for (model_type, (ids, service)) in of_types {
        here.insert(model_type, Here::of(&call, &service, ids).await?);
    }
    let mut versions = Vec::new();
    for (model_type, model) in &models {
        let (Some(id), Some(here)) = (id_of(model.get("id")), here.get(model_type)) else {
            continue;
        };
        let tags = model.get("tags").filter(|tags| tags.is_array());
        for version in objects(model.get("modelVersions")) {
            let Some(own) = id_of(version.get("id")) else { continue };
            let thumbnail = first_image(version)
                .map(|(url, is_video)| web_media::rendition(url, is_video).unwrap_or_else(|| url.to_owned()));
            versions.push(json!({
                "modelId": id,
                "versionId": own,
                "modelName": text(model, "name"),
                "versionName": text(version, "name"),
                "type": model.get("type"),
                "tags": tags.cloned().unwrap_or_else(|| json!([])),
                "baseModel": version.get("baseModel"),
                "thumbnailUrl": thumbnail,
                "inLibrary": here.is_in_library(own),
                "hasBeenDownloaded": here.was_downloaded(own),
            }));
        }
    }
    Ok(json(&json!({
        "success": true,
        "username": user,
        "versions": versions,
        "modelCount": models.len(),
        "hasMore": page.next.is_some(),
        "nextCursor": page.next,
        "estimatedTotal": total,
    })))
}

/// GET `base-models`: names that are always known, and those that CivitAI lists. `refresh=true` asks for them anew.
pub async fn base_models(call: Call) -> Result<Response, ApiError> {
    Ok(json(
        &json!({ "success": true, "data": names(&call, call.query.flag("refresh", false)).await }),
    ))
}

/// POST `base-models/refresh`.
pub async fn refresh_base_models(call: Call) -> Result<Response, ApiError> {
    Ok(json(&json!({
        "success": true, "data": names(&call, true).await, "message": "Base models cache refreshed successfully",
    })))
}

async fn names(call: &Call, anew: bool) -> Value {
    let known = call.app.base_models.get(&call.app.providers, anew).await;
    let always: HashSet<&str> = always_known().collect();
    let mut names: Vec<&str> = always.iter().copied().collect();
    names.extend(
        known
            .names
            .iter()
            .map(String::as_str)
            .filter(|name| !always.contains(name)),
    );
    names.sort_unstable();
    json!({
        "source": known.source,
        "last_updated": known.asked_at.map(crate::moment::text),
        "hardcoded_count": always.len(),
        "remote_count": known.names.len(),
        "merged_count": names.len(),
        "models": names,
    })
}

fn always_known() -> impl Iterator<Item = &'static str> {
    let groups = compat().base_models.iter();
    groups.flat_map(|group| group.models.iter().map(String::as_str))
}

/// GET `base-models/categories`.
pub fn base_model_categories() -> Response {
    let groups = compat().base_models.iter();
    let groups: Object = groups.map(|group| (group.name.clone(), json!(group.models))).collect();
    json(&json!({ "success": true, "data": groups }))
}

/// GET `base-models/cache-status`.
pub fn base_model_state(call: &Call) -> Response {
    let state = call.app.base_models.state();
    json(&json!({
        "success": true,
        "data": {
            "has_cache": state.is_some(),
            "last_updated": state.map(|state| crate::moment::text(state.asked_at)),
            "is_expired": state.is_none_or(|state| state.is_old),
            "ttl_seconds": crate::use_cases::base_models::FRESH.as_secs(),
            "age_seconds": state.map(|state| state.age.as_secs()),
        },
    }))
}
