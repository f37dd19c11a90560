//! `GET usage-tips-by-path`: a person's tips for the LoRA with that path.

use modelshelf_plugin_sdk::library::{self, Lookup};
use modelshelf_plugin_sdk::{Request, Response, Result};
use serde_json::json;

use crate::fields;

/// Answers with the tips as stored, or with an empty text for an unknown path.
pub fn usage_tips_by_path(request: &Request) -> Result<Response> {
    // ComfyUI on Windows writes `\` between folders.
    let path = request.require("relative_path")?.replace('\\', "/");
    let model = library::get(&Lookup::PathPart(path))?;
    let usage_tips = model.map(|model| fields::usage_tips(&model.fields)).unwrap_or_default();
    Response::success(json!({"usage_tips": usage_tips}))
}
