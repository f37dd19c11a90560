//! Doing something to a library away from the threads that serve requests.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::app::App;
use crate::files::fault;
use crate::library::Library;
use crate::library::editing::{EditError, Tools};
use crate::model_types::TypeService;

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
