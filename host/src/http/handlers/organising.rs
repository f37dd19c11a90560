//! Filing a library by its template, with progress.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::super::reason::Reason;
use super::editing::act;
use super::json;
use super::moving::{shown, template};
use crate::files::client_path;
use crate::flight::Ticket;
use crate::hub::Hub;
use crate::library::editing::EditError;
use crate::library::organising::{Counts, Exclusions, Organised, Stage, Wish};
use crate::model_types::TypeService;

/// Results that are answered whole.
const MAX_RESULTS: usize = 100;
/// The message about a model for which the template gives nothing, as clients of LoraManager know it.
const NOTHING: &str = "Skipped - insufficient metadata for organization";
/// Of more this many are answered.
const SAMPLE: usize = 50;

/// GET and POST `auto-organize`. `dry_run` and `undo_id` are ours.
pub async fn organise(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    // A missing or broken body asks for everything, as it always did.
    let fields: Map<String, Value> = match call.method {
        Method::POST => serde_json::from_slice(&call.body).unwrap_or_default(),
        _ => Map::new(),
    };
    let paths = match fields.get("file_paths") {
        Some(Value::Array(paths)) if !paths.is_empty() => {
            let paths = paths.iter().map(|path| path.as_str().map(client_path));
            Some(
                paths
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| ApiError::bad_request("`file_paths` must hold texts only."))?,
            )
        }
        None | Some(Value::Null | Value::Array(_)) => None,
        Some(_) => return Err(ApiError::bad_request("`file_paths` must be a list of texts.")),
    };
    let exclusions = match fields.get("exclusion_patterns") {
        Some(own) => exclusions(own),
        None => exclusions(
            call.app
                .active
                .load()
                .contract
                .get("auto_organize_exclusions")
                .unwrap_or(&Value::Null),
        ),
    };
    let wish = Wish {
        // LoraManager files all.
        without_metadata: fields.get("without_metadata").and_then(Value::as_bool).unwrap_or(true),
        template: template(&call, &service),
        exclusions,
        paths,
    };
    let dry_run = fields.get("dry_run").and_then(Value::as_bool).unwrap_or(false) || call.query.flag("dry_run", false);
    if dry_run {
        let (plan, flat) = act(&call, &service, move |library, tools| {
            Ok((library.plan_organise(tools, &wish), wish.template.is_flat()))
        })
        .await?;
        let mut answer = shown(&plan.models, EditError::to_string);
        answer["total"] = plan.total.into();
        answer["skipped"] = plan.skipped.into();
        answer["without_metadata"] = plan.without_metadata.into();
        answer["organization_type"] = organisation(flat).into();
        return Ok(json(&answer));
    }
    let Some(ticket) = call.app.organising.begin() else {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "Auto-organize is already running. Please wait for it to complete.",
        ));
    };
    let report = Report {
        operation: if wish.paths.is_some() { "bulk" } else { "all" },
        hub: call.app.hub.clone(),
        ticket,
    };
    let flat = wish.template.is_flat();
    let done = act(&call, &service, move |library, tools| {
        let organised = library.organise(tools, &wish, &|stage, counts| report.stage(stage, counts));
        match &organised {
            Ok(organised) => report.end(organised),
            Err(error) => report.failed(error),
        }
        Ok(organised.map(|organised| answer(&organised, report.operation, flat)))
    });
    let done = done.await?;
    // Clients expect the last message before the answer.
    call.app.hub.delivered().await;
    // The contract's status for any failure, and our reason.
    let answer = done.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(json(&answer))
}

/// GET `auto-organize-progress`.
pub fn progress(call: &Call) -> Result<Response, ApiError> {
    let latest = call.app.organising.latest();
    let latest = latest.ok_or_else(|| ApiError::not_found("No auto-organize operation in progress"))?;
    Ok(json(&json!({ "success": true, "progress": latest })))
}

/// Patterns as settings and clients write them: a list, or a text with commas, semicolons or lines between.
fn exclusions(value: &Value) -> Exclusions {
    match value {
        Value::String(text) => Exclusions::new(text.split([',', ';', '\n'])),
        Value::Array(list) => Exclusions::new(list.iter().filter_map(Value::as_str)),
        _ => Exclusions::default(),
    }
}

fn organisation(flat: bool) -> &'static str {
    if flat { "flat" } else { "structured" }
}

fn answer(organised: &Organised, operation: &str, flat: bool) -> Value {
    let counts = organised.counts;
    let result = |(model, error): &(String, Option<EditError>)| {
        let message = error.as_ref().map_or_else(|| NOTHING.to_owned(), ToString::to_string);
        let mut result = json!({ "model": model, "success": false, "message": message });
        let reason = error
            .as_ref()
            .map_or_else(|| Some(Reason::no_metadata()), Reason::of_edit);
        if let Some(reason) = reason {
            reason.add_to(&mut result);
        }
        result
    };
    let mut answer = json!({
        "success": true,
        "status": if organised.cancelled { "cancelled" } else { "success" },
        "message": format!(
            "Auto-organize {operation} completed: {} moved, {} skipped, {} failed out of {} total",
            counts.success, counts.skipped, counts.failures, counts.total
        ),
        "summary": {
            "total": counts.total,
            "success": counts.success,
            "skipped": counts.skipped,
            "failures": counts.failures,
            "organization_type": organisation(flat),
            "cleaned_dirs": organised.cleaned,
            "operation_type": operation,
        },
        "undo_id": organised.undo_id,
    });
    if organised.left.len() > MAX_RESULTS {
        answer["results_truncated"] = true.into();
        answer["sample_results"] = organised.left.iter().take(SAMPLE).map(result).collect();
    } else {
        answer["results"] = organised.left.iter().map(result).collect();
    }
    answer
}

/// Tells clients how far it is; the last message stays for those that ask.
struct Report {
    operation: &'static str,
    hub: Arc<Hub>,
    ticket: Ticket,
}

impl Report {
    fn stage(&self, stage: Stage, counts: Counts) {
        let status = match stage {
            Stage::Started => "started",
            Stage::Processing => "processing",
            Stage::Cleaning => "cleaning",
        };
        let mut message = self.message(status, counts);
        if stage == Stage::Cleaning {
            message["message"] = "Cleaning up empty directories...".into();
        }
        self.send(message);
    }

    fn end(&self, organised: &Organised) {
        let status = if organised.cancelled { "cancelled" } else { "completed" };
        let mut message = self.message(status, organised.counts);
        if !organised.cancelled {
            message["cleanup"] = json!(organised.cleaned);
        }
        // Ours.
        message["undo_id"] = json!(organised.undo_id);
        self.send(message);
    }

    fn failed(&self, error: &EditError) {
        self.send(json!({
            "type": "auto_organize_progress", "status": "error", "error": error.to_string(), "operation_type": self.operation,
        }));
    }

    fn message(&self, status: &str, counts: Counts) -> Value {
        json!({
            "type": "auto_organize_progress",
            "status": status,
            "total": counts.total,
            "processed": counts.processed,
            "success": counts.success,
            "failures": counts.failures,
            "skipped": counts.skipped,
            "operation_type": self.operation,
        })
    }

    fn send(&self, message: Value) {
        self.hub.broadcast(message.to_string());
        self.ticket.tell(message);
    }
}
