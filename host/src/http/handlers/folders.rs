//! Roots, folders and folder trees.

use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::json;
use crate::files::client_path;
use crate::library::folders as library_folders;
use crate::model_types::TypeService;

/// GET `roots`.
pub fn roots(service: &TypeService) -> Response {
    let roots: Vec<&str> = service.library.known_roots().map(|root| &*root.wire).collect();
    json(&json!({ "success": true, "roots": roots }))
}

/// GET `folders`.
pub fn folders(service: &TypeService) -> Response {
    json(&json!({ "folders": library_folders::list(&service.library.snapshot()) }))
}

/// GET `folder-tree`. The original answers the tree of all folders here; ours has the folders of that root.
pub fn folder_tree(call: &Call, service: &TypeService) -> Result<Response, ApiError> {
    let wanted = client_path(call.query.require("model_root", "model_root parameter is required")?);
    let wanted = wanted.trim_end_matches('/');
    let root = service.library.roots().iter().position(|root| *root.wire == *wanted);
    let tree = root.map_or_else(serde_json::Map::new, |root| {
        library_folders::tree(&service.library.snapshot(), u16::try_from(root).ok())
    });
    Ok(json(&json!({ "success": true, "tree": tree })))
}

/// GET `unified-folder-tree`.
pub fn unified(service: &TypeService) -> Response {
    #[derive(Serialize)]
    struct Answer<'t> {
        success: bool,
        tree: &'t RawValue,
    }
    json(&Answer {
        success: true,
        tree: library_folders::whole_tree(&service.library.snapshot()),
    })
}
