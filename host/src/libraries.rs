//! Opening the libraries of all types, and switching to other ones while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::app::App;
use crate::library::Library;
use crate::library::progress::ProgressSink;
use crate::library::watch::Keeping;
use crate::model_types::{TypeService, TypeSlot};
use crate::plugins::Plugin;
use crate::providers::Options;
use crate::settings::{ActiveLibrary, ScanSettings};

/// How long the work of a library that was left may take to end before the next one is scanned all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest time between looks at a disk, and for which a file must keep still.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Why a library can't be activated. Nothing is different then.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// Settings don't name it.
    #[error("Library '{name}' does not exist; the settings have {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Not every type is loaded.
    #[error("Service not ready")]
    NotReady,
    /// The next start would not know of it.
    #[error("the choice of a library can't be written to {}: {source}. Free or mend the disk of the data folder", path.display())]
    Remember {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A library could not be opened.
    #[error("the library of {0} can't be opened; the server's log has the reason")]
    Open(String),
}

/// Opens a type's library with what the store knows of it.
pub async fn open(app: &App, slot: &TypeSlot, active: &ActiveLibrary) -> Option<Arc<Library>> {
    let started = Instant::now();
    let sources = active.roots.clone();
    let (info, store, hub) = (slot.info.clone(), app.store.clone(), app.hub.clone());
    let hashing = app.hashing.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let roots = sources.roots_of(&info);
        Library::open(info, roots, store, &hashing, hub)
    });
    let opened = opened.await;
    let library = match opened {
        Ok(library) => Arc::new(library),
        Err(error) => {
            tracing::error!(model_type = slot.info.id(), %error, "the library can't be opened");
            return None;
        }
    };
    let (model_type, models) = (slot.info.id(), library.snapshot().len());
    tracing::info!(model_type, models, ms = started.elapsed().as_millis() as u64, "opened");
    Some(library)
}

/// Serves a library from now on, and tells clients unless its first reading will.
pub fn serve(app: &App, slot: &TypeSlot, plugin: Arc<Plugin>, library: Arc<Library>) {
    let settings = settings_of(app, slot.info.id());
    slot.attach(TypeService::new(plugin, library.clone(), settings));
    if !library.is_initializing() {
        library.announce_warm();
    }
}

/// The person's own table for a plugin.
pub fn settings_of(app: &App, id: &str) -> Arc<serde_json::Map<String, serde_json::Value>> {
    app.settings.plugins.get(id).cloned().unwrap_or_default()
}

/// How libraries are kept true to their folders.
pub fn keeping(scan: &ScanSettings) -> Keeping {
    Keeping {
        watch: scan.watch,
        poll: Duration::from_secs(scan.poll_seconds).clamp(Duration::from_secs(1), LONGEST),
        stable: Duration::try_from_secs_f64(scan.stable_seconds)
            .unwrap_or_default()
            .min(LONGEST),
    }
}

/// Makes another library the active one. Requests on their way end with the one that they began with; there is no
/// moment at which none is served. Returns when the new one is served; it is scanned after that.
///
/// # Errors
/// When there is no such library, or it can't be opened or remembered.
pub async fn activate(app: Arc<App>, name: &str) -> Result<(), ActivateError> {
    let turn = app.switching.clone().lock_owned().await;
    let libraries = &app.settings.libraries;
    let next = libraries.get(name).ok_or_else(|| ActivateError::Unknown {
        name: name.to_owned(),
        known: libraries.names().collect::<Vec<_>>().join(", "),
    })?;
    if app.active.load().name == next.name {
        return Ok(());
    }
    let types = app.types.load_full();
    let mut served = Vec::new();
    // One that is switched off opens its library when it is served again.
    for slot in types.iter().filter(|slot| slot.off().is_none()) {
        served.push((slot, slot.service().ok_or(ActivateError::NotReady)?));
    }
    // What is on its way to the store may be of the library that is opened again.
    let store = app.store.clone();
    let _ = tokio::task::spawn_blocking(move || store.flush()).await;
    let opened = join_all(served.iter().map(|(slot, _)| open(&app, slot, &next))).await;
    let mut opened_all = Vec::new();
    for ((slot, service), library) in served.into_iter().zip(opened) {
        let library = library.ok_or_else(|| ActivateError::Open(slot.info.id().to_owned()))?;
        opened_all.push((slot, service, library));
    }
    let (own, chosen) = (app.clone(), next.name.clone());
    let remembered = tokio::task::spawn_blocking(move || own.settings.libraries.remember(&chosen)).await;
    if let Ok(Err((path, source))) = remembered {
        return Err(ActivateError::Remember { path, source });
    }

    tracing::info!(library = next.name, "activated");
    let message = json!({ "type": "library_activated", "library": next.name });
    match Options::new(&app.settings.providers, &next.contract, &app.settings.data_folder)
        .and_then(|options| app.providers.configure(options))
    {
        Ok(()) => {}
        Err(error) => tracing::error!(%error, "providers are asked as before"),
    }
    app.active.store(Arc::new(next));
    let (mut left, mut begun) = (Vec::new(), Vec::new());
    for (slot, service, library) in opened_all {
        serve(&app, slot, service.plugin.clone(), library.clone());
        begun.push((library, service.plugin.clone()));
        left.push(service.library.clone());
    }
    app.hub.broadcast(message.to_string());
    for slot in types.iter() {
        app.hub.models_changed(slot.info.prefix());
    }
    tokio::spawn(async move {
        join_all(left.iter().map(|library| retire(library))).await;
        // Whoever switches back meanwhile finds in the store all that the left ones wrote.
        drop(turn);
        let keeping = keeping(&app.settings.scan);
        for (library, plugin) in begun {
            library.keep(plugin, keeping);
        }
    });
    Ok(())
}

/// Ends the work of a library that is not served any more: the one place for all that a library does by itself.
pub async fn retire(library: &Library) {
    library.close();
    let _ = tokio::time::timeout(PATIENCE, library.idle()).await;
}
