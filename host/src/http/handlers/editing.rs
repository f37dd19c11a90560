//! Changing metadata of models, what was done, and taking it back.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::super::query::Zero;
use super::super::reason::Reason;
use super::{json, moving};
use crate::files::client_path;
use crate::files::rooted::RootedPathError;
use crate::library::Library;
use crate::library::edit::Edit;
use crate::library::editing::{EditError, Outcome, Tools};
use crate::library::field_bounds;
use crate::library::history::{Act, ActKind, HistoryError, Step};
use crate::library::item;
use crate::library::record::Record;
use crate::library::sidecar::SidecarError;
use crate::model_types::TypeService;
use crate::use_cases::blocking_act;

/// Most models of one request.
pub const MAX_MODELS: usize = 100_000;
/// Most acts that `history` answers at once.
const MAX_ACTS: usize = 500;
/// Acts that it answers unless another number is asked for.
const ACTS: usize = 50;
/// Models that an act names in the list; the count is always given.
const NAMED: usize = 20;

impl From<EditError> for ApiError {
    fn from(error: EditError) -> Self {
        let status = match &error {
            EditError::NotFound(_) | EditError::History(HistoryError::Unknown(_)) => StatusCode::NOT_FOUND,
            EditError::Outside(_)
            | EditError::Hidden(_)
            | EditError::Name(..)
            | EditError::NameTaken(_)
            | EditError::TooLong(_)
            | EditError::Open(RootedPathError::TooLong(_)) => StatusCode::BAD_REQUEST,
            EditError::History(HistoryError::DataFolder(_)) => StatusCode::SERVICE_UNAVAILABLE,
            EditError::Shared { .. }
            | EditError::Away(_)
            | EditError::NoRoot(_)
            | EditError::Foreign(_)
            | EditError::NotHashed(_)
            | EditError::Differs(..)
            | EditError::IsLink(_)
            | EditError::CantLink { .. }
            | EditError::Sidecar(SidecarError::Corrupt { .. } | SidecarError::Foreign(_))
            | EditError::ChangedSince(_)
            | EditError::TargetTaken(_)
            | EditError::TargetShared { .. }
            | EditError::History(HistoryError::Undone(_) | HistoryError::Occupied(_)) => StatusCode::CONFLICT,
            EditError::Sidecar(_)
            | EditError::Merge { .. }
            | EditError::Open(_)
            | EditError::NotFiled(_)
            | EditError::Write { .. }
            | EditError::History(
                HistoryError::Undeclared(_)
                | HistoryError::Io { .. }
                | HistoryError::Folder { .. }
                | HistoryError::Move { .. },
            ) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string()).with_reason(Reason::of_edit(&error))
    }
}

/// The body as a JSON object.
pub fn body(call: &Call) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(&call.body).map_err(|error| ApiError::bad_request(format!("Invalid JSON body: {error}")))
}

/// Takes the path of the model out of a body.
pub fn take_path(body: &mut Map<String, Value>, missing: &str) -> Result<String, ApiError> {
    match body.shift_remove("file_path") {
        Some(Value::String(path)) if !path.is_empty() => Ok(client_path(&path)),
        _ => Err(ApiError::bad_request(missing)),
    }
}

/// Does something to a library away from the threads that serve requests.
pub async fn act<T: Send + 'static>(
    call: &Call,
    service: &Arc<TypeService>,
    work: impl FnOnce(&Library, &Tools) -> Result<T, EditError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = blocking_act::act(&call.app, service, work).await;
    Ok(done.map_err(ApiError::internal)??)
}

/// An edit of one model: its record and the id for an undo.
async fn edit_one(
    call: &Call,
    service: &Arc<TypeService>,
    kind: ActKind,
    path: String,
    one: Edit,
) -> Result<(Arc<Record>, Option<String>), ApiError> {
    let paths = vec![path.clone()];
    let outcome = act(call, service, move |library, tools| {
        library.edit(tools, kind, &paths, &[one])
    })
    .await?;
    let edited = outcome.models.into_iter().next();
    let record = edited.map_or(Ok(None), |edited| edited.result)?;
    Ok((record.ok_or(EditError::NotFound(path))?, outcome.undo_id))
}

/// Refuses what a page shows only the beginning of: writing it would lose the rest.
fn refuse_cut(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let cut = fields.iter().find(|(_, value)| field_bounds::is_cut(value));
    cut.map_or(Ok(()), |(key, _)| {
        Err(ApiError::bad_request(format!(
            "`{key}` is longer in the metadata file than it is shown, and saving this would lose the rest. Edit it in the file, or \
             remove the text {:?} to replace all of it.",
            field_bounds::MARK
        )))
    })
}

/// POST `save-metadata`. `undo_id` is ours.
pub async fn save_metadata(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let mut fields = body(&call)?;
    let path = take_path(&mut fields, "File path is required")?;
    refuse_cut(&fields)?;
    let (record, undo_id) = edit_one(&call, &service, ActKind::Edit, path, Edit::Set(fields)).await?;
    let auto_tags: Vec<_> = record.auto_tags.names().collect();
    Ok(json(
        &json!({ "success": true, "auto_tags": auto_tags, "undo_id": undo_id }),
    ))
}

/// POST `add-tags`. Tags that are no texts are passed over.
pub async fn add_tags(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let mut fields = body(&call)?;
    let path = take_path(&mut fields, "File path is required")?;
    let tags = match fields.get("tags") {
        None => Vec::new(),
        Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(_) => return Err(ApiError::bad_request("Tags must be a list")),
    };
    let (record, undo_id) = edit_one(&call, &service, ActKind::Edit, path, Edit::AddTags(tags)).await?;
    let auto_tags: Vec<_> = record.auto_tags.names().collect();
    Ok(json(
        &json!({ "success": true, "tags": record.tags, "auto_tags": auto_tags, "undo_id": undo_id }),
    ))
}

/// POST `exclude` and `unexclude`.
pub async fn exclude(call: Call, service: Arc<TypeService>, exclude: bool) -> Result<Response, ApiError> {
    let path = take_path(&mut body(&call)?, "Model path is required")?;
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let (kind, done) = match exclude {
        true => (ActKind::Exclude, "excluded"),
        false => (ActKind::Unexclude, "restored"),
    };
    let (_, undo_id) = edit_one(&call, &service, kind, path, Edit::Exclude(exclude)).await?;
    Ok(json(
        &json!({ "success": true, "message": format!("Model {name} {done}"), "undo_id": undo_id }),
    ))
}

/// POST `rename`. `dry_run` and `undo_id` are ours.
pub async fn rename(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let missing = "File path and new file name are required";
    let mut fields = body(&call)?;
    let path = take_path(&mut fields, missing)?;
    let name = match fields.get("new_file_name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err(ApiError::bad_request(missing)),
    };
    if fields.get("dry_run").and_then(Value::as_bool) == Some(true) {
        let plan = act(&call, &service, move |library, tools| {
            library.list_new(tools, std::slice::from_ref(&path));
            library.plan_rename(&path, &name)
        })
        .await?;
        return Ok(json(&moving::shown(
            &[(plan.path.clone(), Ok(plan))],
            EditError::to_string,
        )));
    }
    let renamed = act(&call, &service, move |library, tools| {
        library.rename(tools, &path, &name)
    })
    .await?;
    let mut models = renamed.outcome.models.into_iter();
    let record = models.find_map(|edited| edited.result.ok()?);
    Ok(json(&json!({
        "success": true,
        "new_file_path": renamed.path,
        "new_preview_path": record.map_or_else(String::new, |record| item::preview_url(&record)),
        "renamed_files": renamed.files,
        "reload_required": false,
        "undo_id": renamed.outcome.undo_id,
    })))
}

/// Body of `bulk-edit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkEdit {
    file_paths: Vec<String>,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    remove_tags: Vec<String>,
    #[serde(default)]
    add_tags: Vec<String>,
    exclude: Option<bool>,
    #[serde(default)]
    dry_run: bool,
}

/// POST `bulk-edit`: one act over many models, with a plan on request.
pub async fn bulk_edit(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let wanted: BulkEdit = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("The body can't be used: {error}")))?;
    if wanted.file_paths.is_empty() || wanted.file_paths.len() > MAX_MODELS {
        return Err(ApiError::bad_request(format!(
            "`file_paths` must name between 1 and {MAX_MODELS} models."
        )));
    }
    let paths: Vec<String> = wanted.file_paths.iter().map(|path| client_path(path)).collect();
    let mut edits = Vec::new();
    refuse_cut(&wanted.set)?;
    if !wanted.set.is_empty() {
        edits.push(Edit::Set(wanted.set));
    }
    if !wanted.remove_tags.is_empty() {
        edits.push(Edit::RemoveTags(wanted.remove_tags));
    }
    if !wanted.add_tags.is_empty() {
        edits.push(Edit::AddTags(wanted.add_tags));
    }
    edits.extend(wanted.exclude.map(Edit::Exclude));
    if edits.is_empty() {
        return Err(ApiError::bad_request(
            "Nothing to change: give `set`, `add_tags`, `remove_tags` or `exclude`.",
        ));
    }
    if wanted.dry_run {
        let plan = act(&call, &service, move |library, tools| {
            library.list_new(tools, &paths);
            Ok(library.plan_edit(&paths, &edits))
        })
        .await?;
        let results: Vec<Value> = plan
            .into_iter()
            .map(|(path, result)| match result {
                Ok(changes) => json!({ "file_path": path, "success": true, "changes": changes }),
                Err(error) => failure(&path, &error),
            })
            .collect();
        return Ok(json(&json!({ "success": true, "dry_run": true, "results": results })));
    }
    let kind = match (&edits[..], wanted.exclude) {
        ([_], Some(true)) => ActKind::Exclude,
        ([_], Some(false)) => ActKind::Unexclude,
        _ => ActKind::Edit,
    };
    let outcome = act(&call, &service, move |library, tools| {
        library.edit(tools, kind, &paths, &edits)
    })
    .await?;
    let results: Vec<Value> = outcome
        .models
        .iter()
        .map(|edited| match &edited.result {
            Ok(_) => json!({ "file_path": edited.path, "success": true }),
            Err(error) => failure(&edited.path, error),
        })
        .collect();
    let failed = outcome.models.iter().filter(|edited| edited.result.is_err()).count();
    let mut answer = json!({
        "success": failed < results.len(),
        "success_count": results.len() - failed,
        "failure_count": failed,
        "results": results,
        "undo_id": outcome.undo_id,
    });
    // Whoever only looks at `success` finds the reason where other answers have it.
    let first = outcome.models.iter().find_map(|edited| edited.result.as_ref().err());
    if let (true, Some(error)) = (failed == outcome.models.len(), first) {
        answer["error"] = error.to_string().into();
        if let Some(reason) = Reason::of_edit(error) {
            reason.add_to(&mut answer);
        }
    }
    Ok(json(&answer))
}

/// The result of a model that an operation over many could not change.
pub fn failure(path: &str, error: &EditError) -> Value {
    let mut result = json!({ "file_path": path, "success": false, "error": error.to_string() });
    if let Some(reason) = Reason::of_edit(error) {
        reason.add_to(&mut result);
    }
    result
}

/// GET `history`: acts, newest first.
pub fn history(call: &Call) -> Result<Response, ApiError> {
    let limit = call.query.limit(ACTS, MAX_ACTS, Zero::Default)?;
    let offset = usize::try_from(call.query.integer("offset", 0)?).unwrap_or(0);
    let acts = call.app.history.acts();
    let page: Vec<Value> = acts.iter().skip(offset).take(limit).map(|act| described(act)).collect();
    Ok(json(&json!({ "success": true, "total": acts.len(), "acts": page })))
}

fn described(act: &Act) -> Value {
    let models = act.steps.iter().map(Step::model);
    let mut models: Vec<&str> = models.filter(|model| !model.is_empty()).collect();
    models.dedup();
    let count = models.len();
    models.truncate(NAMED);
    json!({
        "id": act.id, "at": act.at, "kind": act.kind, "model_type": act.model_type, "count": count, "models": models,
        "trash_bytes": act.trash_bytes, "undoes": act.undoes, "undone_by": act.undone_by, "can_undo": act.undone_by.is_none(),
    })
}

/// POST `undo` with `id`.
pub async fn undo(call: Call) -> Result<Response, ApiError> {
    let id = match body(&call)?.get("id") {
        Some(Value::String(id)) => id.clone(),
        _ => {
            return Err(ApiError::bad_request(
                "`id` is required: the `undo_id` of what is to be undone.",
            ));
        }
    };
    let (outcome, _) = take_back(&call, &id).await?;
    let (restored, conflicts): (Vec<_>, Vec<_>) = outcome.models.iter().partition(|edited| edited.result.is_ok());
    let conflicts: Vec<Value> = conflicts
        .iter()
        .filter_map(|edited| Some(failure(&edited.path, edited.result.as_ref().err()?)))
        .collect();
    if restored.is_empty() && !conflicts.is_empty() {
        let first = conflicts[0]["error"].as_str().unwrap_or_default();
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("Nothing was undone. {first}"),
        ));
    }
    let restored: Vec<&str> = restored.iter().map(|edited| edited.path.as_str()).collect();
    Ok(json(
        &json!({ "success": true, "restored": restored, "conflicts": conflicts, "undo_id": outcome.undo_id }),
    ))
}

/// Takes an act back.
pub async fn take_back(call: &Call, id: &str) -> Result<(Outcome, Arc<Act>), ApiError> {
    let act = call.app.history.act(id).map_err(EditError::from)?;
    let types = call.app.types.load_full();
    let slot = types.iter().find(|slot| slot.info.id() == act.model_type);
    let service = slot.and_then(|slot| slot.service()).ok_or_else(|| {
        ApiError::not_found(format!(
            "The model type `{}` of this act is not loaded.",
            act.model_type
        ))
    })?;
    let (outcome, act) = self::act(call, &service, move |library, tools| {
        library.undo(tools, &act).map(|outcome| (outcome, act))
    })
    .await?;
    Ok((outcome, act))
}
