//! Doing something to a library away from the threads that serve requests.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::app::App;
use crate::files::fault;
use crate::library::Library;
use crate::library::editing::{EditError, Tools};
use crate::model_types::TypeService;

/// Lists those of these files that no scan has found yet, as [`Library::list_new`] does.
///
/// # Errors
/// When the work broke off.
pub async fn list_new(app: &App, service: &Arc<TypeService>, paths: Vec<String>) -> Result<(), JoinError> {
    // Nearly always all are listed, and no thread is needed to see that.
    let snapshot = service.library.snapshot();
    if paths.iter().all(|path| snapshot.by_path(path).is_some()) {
        return Ok(());
    }
    drop(snapshot);
    let list = move |library: &Library, tools: &Tools| {
        library.list_new(tools, &paths);
        Ok(())
    };
    act(app, service, list).await.map(drop)
}

/// Runs one act, with what it needs to be written down and taken back.
///
/// # Errors
/// Outside, when the work broke off; inside, why the act was not done.
pub async fn act<T: Send + 'static>(
    app: &App,
    service: &Arc<TypeService>,
    work: impl FnOnce(&Library, &Tools) -> Result<T, EditError> + Send + 'static,
) -> Result<Result<T, EditError>, JoinError> {
    let (history, own) = (app.history.clone(), service.clone());
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let _scope = fault::scope("act");
        let tools = Tools {
            plugin: &own.plugin,
            history: &history,
            handle: &handle,
        };
        work(&own.library, &tools)
    })
    .await
}
