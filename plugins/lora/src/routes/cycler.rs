//! `POST cycler-list`: the LoRAs of a pool in order, for a node that steps through them.

use modelshelf_plugin_sdk::library::{self, Order};
use modelshelf_plugin_sdk::{Request, Response, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::folder_name;
use crate::pool;

#[derive(Deserialize)]
struct Body {
    pool_config: Option<Value>,
    sort_by: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    file_name: String,
    model_name: String,
    folder: String,
    #[serde(skip)]
    place: (String, String),
}

/// Answers with the pool by file name, or by `model_name` when `sort_by` says so.
pub fn cycler_list(request: &Request) -> Result<Response> {
    let body: Body = request.json()?;
    let by_model_name = body.sort_by.as_deref() == Some("model_name");
    let mut loras: Vec<Entry> = Vec::new();
    library::for_each(
        &pool::selection(body.pool_config.as_ref())?,
        Order::RelativePath,
        |model| {
            let name = if by_model_name {
                &model.model_name
            } else {
                &model.file_name
            };
            loras.push(Entry {
                place: (name.to_lowercase(), model.file_path.to_lowercase()),
                file_name: folder_name(&model),
                model_name: model.model_name,
                folder: model.folder,
            });
            Ok(())
        },
    )?;
    // A node counts positions, so the order must be the one that clients know: plain text, not natural.
    loras.sort_by(|a, b| a.place.cmp(&b.place));
    Response::success(json!({"count": loras.len(), "loras": loras}))
}
