//! Doing something to a library away from the threads that serve requests.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::app::App;
use crate::files::{disks, fault};
use crate::library::Library;
use crate::library::editing::{EditError, Tools};
use crate::model_types::TypeService;

/// Runs one operation, with what it needs to be noted and undone. When a disk stops answering that it touches, it is not
/// waited for: it ends by itself when the disk answers.
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
    let done = disks::blocking(move || {
        let _scope = fault::scope("act");
        let tools = Tools {
            plugin: &own.plugin,
            history: &history,
            handle: &handle,
        };
        work(&own.library, &tools)
    });
    Ok(done.await?.unwrap_or_else(|error| Err(error.into())))
}
