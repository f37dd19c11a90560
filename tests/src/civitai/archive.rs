//! The archive of what was deleted, in the form of CivArchive's API.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::routes::missing;
use super::{CatalogModel, CatalogVersion, Inner};

/// `sha256/{hash}` and `models/{id}`.
pub(crate) fn route(inner: &Inner, parts: &[&str], version: Option<&str>) -> Response {
    let all = || {
        let models = inner.archived.values();
        models.flat_map(|model| model.versions.iter().map(move |version| (model, version)))
    };
    let version: Option<u64> = version.and_then(|id| id.parse().ok());
    let found = match parts {
        ["sha256", hash] => all().find(|(_, own)| own.files.iter().any(|file| file.sha256 == *hash)),
        // A version that is asked for alone comes with the model id 1.
        ["models", "1"] => all().find(|(_, own)| Some(own.id) == version),
        ["models", id] => {
            let id: Option<u64> = id.parse().ok();
            all().find(|(model, own)| Some(model.id) == id && version.is_none_or(|version| version == own.id))
        }
        _ => None,
    };
    found.map_or_else(
        || missing("Not found"),
        |(model, version)| Json(shown(model, version, inner.mirror.as_deref())).into_response(),
    )
}

fn shown(model: &CatalogModel, version: &CatalogVersion, mirror: Option<&str>) -> Value {
    let files = version.files.iter().map(|file| {
        json!({
            "id": file.id, "name": file.name, "type": file.kind, "sizeKB": file.size as f64 / 1024.0, "sha256": file.sha256,
            "mirrors": [
                { "url": "https://gone.example/x", "deletedAt": "2025-01-01T00:00:00Z" },
                { "url": mirror.map_or_else(|| format!("https://mirror.example/{}", file.name), str::to_owned), "deletedAt": null },
            ],
        })
    });
    json!({
        "data": {
            "id": model.id, "name": model.name, "type": model.kind, "nsfw_level": 1, "description": model.description,
            "tags": model.tags, "creator_username": model.creator, "username": model.creator, "is_nsfw": false,
            "version": {
                "id": version.id, "modelId": model.id, "name": version.name, "baseModel": version.base_model,
                "trigger": version.words, "downloadCount": 5, "ratingCount": 2, "rating": 4.5, "nsfw_level": 1,
                "deletedAt": "2025-02-01T00:00:00Z", "files": files.collect::<Vec<_>>(), "images": [],
            },
        }
    })
}
