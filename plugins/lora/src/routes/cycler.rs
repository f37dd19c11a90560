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
}

/// Answers with the pool by file name, or by `model_name` when `sort_by` says so.
pub fn cycler_list(request: &Request) -> Result<Response> {
    let body: Body = request.json()?;
    let order = if body.sort_by.as_deref() == Some("model_name") {
        Order::Name
    } else {
        Order::FileName
    };
    let mut loras = Vec::new();
    library::for_each(&pool::selection(body.pool_config.as_ref())?, order, |model| {
        loras.push(Entry {
            file_name: folder_name(&model),
            model_name: model.model_name,
            folder: model.folder,
        });
        Ok(())
    })?;
    Response::success(json!({"count": loras.len(), "loras": loras}))
}
