//! Moving models into other folders.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::super::reason::Reason;
use super::editing::{MAX_MODELS, act, body};
use super::json;
use crate::files::client_path;
use crate::library::editing::EditError;
use crate::library::item;
use crate::library::moving::{Destination, MovePlan, Moved, Planned};
use crate::library::path_template::PathTemplate;
use crate::library::trash::noted;
use crate::model_types::TypeService;

const MISSING: &str = "File path and target path are required";

/// What both routes are asked for.
#[derive(Deserialize, Default)]
struct Options {
    #[serde(default)]
    target_path: Option<String>,
    #[serde(default)]
    use_default_paths: bool,
    #[serde(default)]
    dry_run: bool,
}

struct Wish {
    paths: Vec<String>,
    target: String,
    template: Option<PathTemplate>,
    dry_run: bool,
}

impl Wish {
    fn new(
        call: &Call,
        service: &TypeService,
        fields: Map<String, Value>,
        paths: Vec<String>,
        missing: &str,
    ) -> Result<Self, ApiError> {
        let options: Options = serde_json::from_value(Value::Object(fields))
            .map_err(|error| ApiError::bad_request(format!("The body can't be used: {error}")))?;
        let target = options.target_path.filter(|target| !target.is_empty());
        let target = target.ok_or_else(|| ApiError::bad_request(missing))?;
        if paths.is_empty() || paths.iter().any(String::is_empty) {
            return Err(ApiError::bad_request(missing));
        }
        if paths.len() > MAX_MODELS {
            return Err(ApiError::bad_request(format!(
                "`file_paths` must name at most {MAX_MODELS} models."
            )));
        }
        Ok(Self {
            paths,
            template: options.use_default_paths.then(|| template(call, service)),
            target: client_path(&target),
            dry_run: options.dry_run,
        })
    }

    fn to(&self) -> Destination<'_> {
        Destination {
            folder: &self.target,
            template: self.template.as_ref(),
        }
    }

    fn error(&self, error: &EditError) -> String {
        match error {
            EditError::Outside(path) if *path == self.target => outside("Target", path),
            EditError::Outside(path) => outside("Source", path),
            error => error.to_string(),
        }
    }
}

/// The template by which a type's models are filed now.
pub fn template(call: &Call, service: &TypeService) -> PathTemplate {
    let info = service.plugin.info();
    let default = &info.descriptor.default_path_template;
    call.app.active.load().contract.path_template(info.id(), default)
}

fn outside(what: &str, path: &str) -> String {
    format!("{what} path '{path}' is outside configured library directories")
}

/// POST `move_model`. `dry_run`, `undo_id` are ours.
pub async fn move_model(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let mut fields = body(&call)?;
    let path = match fields.shift_remove("file_path") {
        Some(Value::String(path)) => path,
        _ => String::new(),
    };
    let wish = Wish::new(&call, &service, fields, vec![client_path(&path)], MISSING)?;
    if wish.dry_run {
        return plan(&call, &service, wish).await;
    }
    let wish = Arc::new(wish);
    let asked = wish.clone();
    let done = act(&call, &service, move |library, tools| {
        Ok(library.move_models(tools, &asked.paths, &asked.to()))
    })
    .await?;
    let failed = |error: &EditError| {
        let answer =
            json!({ "success": false, "error": wish.error(error), "original_file_path": path, "new_file_path": null });
        let status = match error.is_too_long() {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Ok((status, axum::Json(answer)).into_response())
    };
    let moves = match done {
        Ok(moves) => moves,
        Err(error) => return failed(&error),
    };
    match moves.models.into_iter().next().map(|moved| moved.result) {
        Some(Ok((new_path, _))) if moves.undo_id.is_none() => Ok(json(&json!({
            "success": true, "message": SAME, "original_file_path": path, "new_file_path": new_path,
        }))),
        Some(Ok((new_path, record))) => Ok(json(&json!({
            "success": true, "original_file_path": path, "new_file_path": new_path,
            "cache_entry": record.as_deref().map(item::entry), "undo_id": moves.undo_id,
        }))),
        Some(Err(error)) => failed(&error),
        None => Err(ApiError::internal(format!(
            "moving {path} was cancelled before it began"
        ))),
    }
}

const SAME: &str = "Source and target directories are the same";

/// POST `move_models_bulk`: one act, with one undo. `dry_run`, `undo_id` are ours.
pub async fn move_models(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let missing = "File paths and target path are required";
    let mut fields = body(&call)?;
    let given = match fields.shift_remove("file_paths") {
        Some(Value::Array(paths)) => paths,
        _ => Vec::new(),
    };
    let given: Option<Vec<String>> = given.iter().map(|path| path.as_str().map(str::to_owned)).collect();
    let given = given.ok_or_else(|| ApiError::bad_request("`file_paths` must hold texts only."))?;
    let paths = given.iter().map(|path| client_path(path)).collect();
    let wish = Wish::new(&call, &service, fields, paths, missing)?;
    if wish.dry_run {
        return plan(&call, &service, wish).await;
    }
    let wish = Arc::new(wish);
    let asked = wish.clone();
    let done = act(&call, &service, move |library, tools| {
        Ok(library.move_models(tools, &asked.paths, &asked.to()))
    })
    .await?;
    let result = |(path, moved): (&String, Moved)| match moved.result {
        Ok((new_path, _)) if new_path == moved.path => json!({
            "original_file_path": path, "new_file_path": new_path, "success": true, "message": SAME, "cache_entry": null,
        }),
        // The original says no more of a success, and clients may compare it.
        Ok((new_path, record)) => json!({
            "original_file_path": path, "new_file_path": new_path, "success": true, "message": "Unknown",
            "cache_entry": record.as_deref().map(item::entry),
        }),
        Err(error) => {
            let mut result = not_moved(path, &wish.error(&error));
            if let Some(reason) = Reason::of_edit(&error) {
                reason.add_to(&mut result);
            }
            result
        }
    };
    let (results, undo_id): (Vec<Value>, _) = match done {
        Ok(moves) => (given.iter().zip(moves.models).map(result).collect(), moves.undo_id),
        Err(error) => {
            let error = wish.error(&error);
            (given.iter().map(|path| not_moved(path, &error)).collect(), None)
        }
    };
    let succeeded = results.iter().filter(|result| result["success"] == true).count();
    Ok(json(&json!({
        "success": succeeded > 0,
        "message": format!("Moved {succeeded} of {} models", given.len()),
        "success_count": succeeded,
        "failure_count": results.len() - succeeded,
        "results": results,
        "undo_id": undo_id,
    })))
}

fn not_moved(path: &str, error: &str) -> Value {
    json!({
        "original_file_path": path, "new_file_path": null, "success": false, "message": error, "cache_entry": null,
    })
}

async fn plan(call: &Call, service: &Arc<TypeService>, wish: Wish) -> Result<Response, ApiError> {
    let planned = act(call, service, move |library, tools| {
        let plans = library.plan_moves(tools, &wish.paths, &wish.to());
        let shown = plans.map(|plans| shown(&plans, |error| wish.error(error)));
        Ok(shown.map_err(|error| wish.error(&error)))
    });
    match planned.await? {
        Ok(shown) => Ok(json(&shown)),
        Err(error) => Err(ApiError::bad_request(error)),
    }
}

/// A plan as both routes and auto-organise answer it.
pub fn shown(plans: &[Planned], error: impl Fn(&EditError) -> String) -> Value {
    let planned: Vec<&MovePlan> = plans.iter().filter_map(|(_, plan)| plan.as_ref().ok()).collect();
    let results: Vec<Value> = plans
        .iter()
        .map(|(path, plan)| match plan {
            Ok(plan) => one(path, plan),
            Err(reason) => {
                let mut result = json!({
                    "original_file_path": path, "new_file_path": null, "success": false, "error": error(reason),
                });
                if let Some(reason) = Reason::of_edit(reason) {
                    reason.add_to(&mut result);
                }
                result
            }
        })
        .collect();
    let moving = || planned.iter().filter(|plan| !plan.files.is_empty());
    json!({
        "success": true,
        "dry_run": true,
        "move_count": moving().count(),
        "failure_count": plans.len() - planned.len(),
        "clash_count": moving().filter(|plan| plan.clash.is_some()).count(),
        "bytes": moving().map(|plan| plan.bytes()).sum::<u64>(),
        "copied_bytes": moving().filter(|plan| plan.copies).map(|plan| plan.bytes()).sum::<u64>(),
        "results": results,
    })
}

fn one(path: &str, plan: &MovePlan) -> Value {
    let files: Vec<Value> = plan
        .files
        .iter()
        .map(|file| json!({ "from": noted(&file.from), "to": noted(&file.to), "bytes": file.bytes }))
        .collect();
    json!({
        "original_file_path": path,
        "new_file_path": plan.new_path(),
        "success": true,
        "unchanged": plan.files.is_empty(),
        "clash": plan.clash.as_deref().map(noted),
        "bytes": plan.bytes(),
        "crosses_file_systems": plan.copies,
        "files": files,
    })
}
