//! The routes that only checkpoints have.

use modelshelf_plugin_sdk::library::{self, Lookup, Order, Selection};
use modelshelf_plugin_sdk::{Request, Response, Result};
use serde::Serialize;
use serde_json::json;

use crate::{CHECKPOINT, CHECKPOINT_ROOT, DIFFUSION_MODEL, DIFFUSION_MODEL_ROOT};

/// `GET info/{name}`: the whole cache entry of a checkpoint.
pub fn info(request: &Request) -> Result<Response> {
    let model = library::get(&Lookup::Reference(request.path_param("name")?.to_owned()))?;
    let entry = match model {
        Some(model) => library::entry(&model.file_path)?,
        None => None,
    };
    match entry {
        Some(entry) => Ok(Response::json_text(entry)),
        // Clients know this body, which has no `success`.
        None => Ok(Response::json(&json!({"error": "Checkpoint not found"}))?.with_status(404)),
    }
}

/// `GET checkpoints_roots`: the folders of checkpoints.
pub fn checkpoints_roots(_request: &Request) -> Result<Response> {
    roots(CHECKPOINT_ROOT)
}

/// `GET unet_roots`: the folders of diffusion models.
pub fn unet_roots(_request: &Request) -> Result<Response> {
    roots(DIFFUSION_MODEL_ROOT)
}

fn roots(key: &str) -> Result<Response> {
    let mut paths: Vec<String> = Vec::new();
    for root in library::roots()?.into_iter().filter(|root| root.key == key) {
        if !paths.contains(&root.path) {
            paths.push(root.path);
        }
    }
    Response::success(json!({"roots": paths}))
}

#[derive(Serialize)]
struct Loadable {
    name: String,
    base_model: String,
}

/// `GET loader-pool`: what a loader node may load, by name, without the files of a root that is offline.
pub fn loader_pool(request: &Request) -> Result<Response> {
    let sub_type = request.query_value("sub_type").unwrap_or(CHECKPOINT);
    if ![CHECKPOINT, DIFFUSION_MODEL].contains(&sub_type) {
        return Ok(Response::json(&json!({"error": "invalid sub_type"}))?.with_status(400));
    }
    let offline: Vec<String> = library::roots()?
        .into_iter()
        .filter(|root| !root.online)
        .map(|root| format!("{}/", root.path.trim_end_matches('/')))
        .collect();
    let which = Selection {
        sub_types: vec![sub_type.to_owned()],
        ..Selection::default()
    };
    let mut items = Vec::new();
    library::for_each(&which, Order::RelativePath, |model| {
        if !offline.iter().any(|root| model.file_path.starts_with(root.as_str())) {
            items.push(Loadable {
                name: model.relative_path,
                base_model: model.base_model,
            });
        }
        Ok(())
    })?;
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Response::json(&json!({"items": items}))
}
