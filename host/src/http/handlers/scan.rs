//! Scanning on request, and how far the server is.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use serde_json::json;

use super::super::dispatch::Call;
use super::super::error::ApiError;
use super::json;
use crate::library::collection::MISSING_ROOT;
use crate::library::hashing::Waited;
use crate::library::progress::ProgressSink;
use crate::library::scan::ScanKind;
use crate::model_types::TypeService;

/// How long a scan that was asked for waits for files that are still being written.
const PATIENCE: Duration = Duration::from_secs(5);

/// GET `scan`. Answers when the scan has ended. When the client leaves, the scan goes on.
/// `forget_offline=true` is ours: models of absent roots are forgotten then, and only then.
pub async fn scan(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let everything = call.query.flag("full_rebuild", false);
    let kind = if everything {
        ScanKind::Everything
    } else {
        ScanKind::Changes
    };
    let (library, plugin) = (service.library.clone(), service.plugin.clone());
    let mut outcome = tokio::spawn(async move { library.scan_patiently(plugin, kind, PATIENCE).await })
        .await
        .map_err(ApiError::internal)?;
    if !outcome.cancelled {
        // Scripts expect the hashes of what a scan found to be there when it has answered.
        outcome.cancelled = service.library.hashed().await == Waited::Cancelled;
    }
    let forgotten = match call.query.flag("forget_offline", false) && !outcome.cancelled {
        true => service.library.forget_offline().await,
        false => 0,
    };
    if outcome.changed + outcome.removed == 0 || forgotten > 0 {
        // Clients wait for this message after every scan; one that changed something has sent it.
        call.app.hub.models_changed(service.plugin.info().prefix());
    }
    let name = service.plugin.info().descriptor.display_name.as_str();
    let (status, message) = if outcome.cancelled {
        ("cancelled", format!("The scan of {name} was cancelled"))
    } else {
        let done = if everything { "rebuild" } else { "refresh" };
        (
            "success",
            format!(
                "{name} {done} completed: {} files, {} read, {} gone",
                outcome.files,
                outcome.read,
                outcome.removed + forgotten
            ),
        )
    };
    Ok(json(&json!({ "status": status, "message": message })))
}

/// POST `cancel-task`.
pub fn cancel(call: &Call, service: &TypeService) -> Response {
    service.library.cancel();
    call.app.refreshes.cancel(service.plugin.info().prefix());
    json(&json!({ "status": "success", "message": "Cancellation requested" }))
}

/// GET `status`: the polling twin of the sockets.
pub fn status(call: &Call, service: &TypeService) -> Response {
    let library = &service.library;
    let snapshot = library.snapshot();
    let offline = library.offline();
    let watches = library.root_watches();
    let missing = library.missing_roots();
    let roots: Vec<_> = library
        .roots()
        .iter()
        .zip(watches.iter())
        .enumerate()
        .map(|(index, (root, watch))| {
            json!({
                "path": root.wire,
                "key": root.key,
                "online": !offline.get(index).copied().unwrap_or(false),
                "missing": missing.contains(&index),
                "profile": watch.profile.as_str(),
                "watched": watch.watched.as_str(),
                "watch_problem": watch.problem,
            })
        })
        .collect();
    json(&json!({
        "success": true,
        "ready": true,
        "library": call.app.active.load().name,
        "is_initializing": library.is_initializing(),
        "generation": snapshot.generation(),
        "total": snapshot.len(),
        "progress": call.app.hub.latest(service.plugin.info().prefix()),
        "activity": call.app.hub.activities(service.plugin.info().prefix()),
        "roots": roots,
        "waiting": library.waiting().len(),
        "content_bytes_read": crate::metrics::content_bytes(),
        "problems": snapshot.properties().problems.len() as usize
            + library.left_out().len()
            + library.missing_roots().len()
            + call.app.warnings.load().len()
            + library.unknown_trash(&call.app.history).len()
            + usize::from(call.app.data.is_gone()),
    }))
}

/// What a person should know of a folder in the trash that no act of the history knows.
const UNKNOWN_TRASH: &str = "deleted files wait here, and the history does not know of them: move what you want to keep \
                             out of the folder, or have all such folders removed with POST /api/lm/trash/empty?unknown=true";

/// GET `problems`: files with something wrong, and files that were left out.
pub fn problems(call: &Call, service: &TypeService) -> Response {
    let snapshot = service.library.snapshot();
    let records = snapshot
        .properties()
        .problems
        .iter()
        .filter_map(|slot| snapshot.get(slot));
    let mut problems: Vec<_> = records
        .map(|record| json!({ "file_path": record.path, "problem": record.problem, "listed": true }))
        .collect();
    let left_out = service.library.left_out();
    problems.extend(
        left_out
            .iter()
            .map(|(path, problem)| json!({ "file_path": path, "problem": problem, "listed": false })),
    );
    let roots = service.library.roots();
    let missing = service
        .library
        .missing_roots()
        .into_iter()
        .filter_map(|index| roots.get(index));
    problems.extend(missing.map(|root| json!({ "file_path": root.wire, "problem": MISSING_ROOT, "listed": false })));
    let warnings = call.app.warnings.load();
    let warnings = warnings.iter();
    problems.extend(
        warnings.map(|warning| json!({ "file_path": warning.source, "problem": warning.text, "listed": false })),
    );
    let trash = service.library.unknown_trash(&call.app.history);
    let trash = trash.iter().map(|folder| folder.display().to_string());
    problems.extend(trash.map(|path| json!({ "file_path": path, "problem": UNKNOWN_TRASH, "listed": false })));
    if let Err(gone) = call.app.data.check() {
        let path = call.app.data.path().display().to_string();
        problems.push(json!({ "file_path": path, "problem": gone.to_string(), "listed": false }));
    }
    json(&json!({ "success": true, "count": problems.len(), "problems": problems }))
}
