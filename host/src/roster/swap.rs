//! Another version of a plugin, a new plugin, or one fewer, while the server runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ChoicesError, Source, announce, arrange, bind};
use crate::http::app::App;
use crate::http::registrar::BindError;
use crate::http::types::{TypeService, TypeSlot};
use crate::libraries;
use crate::library::Library;
use crate::library::progress::ProgressSink;
use crate::plugins::{LoadError, Plugin, TypeInfo};
use crate::settings::ActiveLibrary;

/// What a swap did.
#[derive(Debug, Clone)]
pub struct Swapped {
    /// Id of the type.
    pub id: String,
    /// Its URL prefix.
    pub prefix: String,
    /// SHA-256 of the component that is served now, lower-case hex.
    pub digest: String,
    /// Whether another version was served before.
    pub replaced: bool,
    /// How long it took, compiling included.
    pub took: Duration,
}

/// Why a plugin can't be served. What was served before still is.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// It is no model type for this host.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// One of its routes clashes.
    #[error(transparent)]
    Routes(#[from] BindError),
    /// Its URL prefix is another type's.
    #[error("the plugin `{id}` has the prefix `{prefix}`, which is the one of `{other}`; give it another prefix")]
    PrefixTaken {
        /// The plugin.
        id: String,
        /// Its prefix.
        prefix: String,
        /// Whose it is.
        other: String,
    },
    /// The library of the type can't be opened.
    #[error("the library of {0} can't be opened; the server's log has the reason")]
    Library(String),
    /// What a person chose can't be kept.
    #[error(transparent)]
    Choices(#[from] ChoicesError),
    /// Work on it came to no end.
    #[error("a change of plugins broke off: {0}")]
    BrokeOff(String),
    /// There is no such plugin.
    #[error("no plugin with the id `{0}` is loaded")]
    Unknown(String),
}

/// Serves a component from now on, in place of the one with its id, or as a new type. It is loaded and checked beside the
/// one that runs; requests under way end with the one that they began with, and there is no moment at which none is
/// served. Records that another component derived are derived again in the background. WebSockets hear of it
/// (`plugins_changed`).
///
/// # Errors
/// When it can't be served. Nothing is different then, but that the roster knows why ([`super::Entry::failure`]).
pub async fn replace(app: &Arc<App>, source: &Source, wasm: &[u8]) -> Result<Swapped, SwapError> {
    let started = Instant::now();
    let outcome = match app.roster.examine(source, wasm).await {
        Ok(plugin) => {
            let turn = app.switching.clone().lock_owned().await;
            let plugin = Arc::new(plugin);
            let outcome = take_place(app, &plugin).await;
            if outcome.is_ok() {
                app.roster.note(source, Some(plugin.clone()), None);
            }
            drop(turn);
            outcome.map(|replaced| (plugin, replaced))
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok((plugin, replaced)) => {
            let info = plugin.info();
            let took = started.elapsed();
            let ms = took.as_millis() as u64;
            tracing::info!(id = info.id(), version = info.descriptor.version, %source, replaced, ms, "plugin loaded");
            announce(app);
            Ok(Swapped {
                id: info.id().to_owned(),
                prefix: info.prefix().to_owned(),
                digest: plugin.digest().to_owned(),
                replaced,
                took,
            })
        }
        Err(error) => {
            tracing::error!(%source, "a plugin can't be loaded: {error}");
            app.roster.note_failure(app, source, error.to_string());
            Err(error)
        }
    }
}

/// Ends a type; a built-in plugin whose place it took comes back. Nothing on a disk is touched, and the store keeps what
/// it knows.
///
/// # Errors
/// When there is no such type, or the built-in plugin can't be served again.
pub async fn remove(app: &Arc<App>, id: &str) -> Result<(), SwapError> {
    let entries = app.roster.entries();
    let known = entries.iter().find(|entry| entry.id() == Some(id));
    let built_in = known.and_then(super::Entry::stands_in_for);
    if let Some(source) = built_in {
        let wasm = source.read().await?;
        return replace(app, &source, &wasm).await.map(|_| ());
    }
    let turn = app.switching.clone().lock_owned().await;
    let types = app.types.load_full();
    let gone = types.iter().find(|slot| slot.info.id() == id);
    if gone.is_none() && known.is_none() {
        return Err(SwapError::Unknown(id.to_owned()));
    }
    let next: Vec<_> = types.iter().filter(|slot| slot.info.id() != id).cloned().collect();
    let table = bind(&next)?;
    app.routes.store(Arc::new(table));
    app.types.store(Arc::new(next));
    app.roster.forget(id);
    if let Some(service) = gone.and_then(|slot| slot.attached()) {
        tokio::spawn(async move { libraries::retire(&service.library).await });
    }
    drop(turn);
    tracing::info!(id, "plugin removed");
    announce(app);
    Ok(())
}

/// Whether another version was served before.
pub(super) async fn take_place(app: &Arc<App>, plugin: &Arc<Plugin>) -> Result<bool, SwapError> {
    let info = plugin.info();
    let types = app.types.load_full();
    let same_prefix = |slot: &&Arc<TypeSlot>| slot.info.prefix() == info.prefix() && slot.info.id() != info.id();
    if let Some(other) = types.iter().find(same_prefix) {
        return Err(SwapError::PrefixTaken {
            id: info.id().to_owned(),
            prefix: info.prefix().to_owned(),
            other: other.info.id().to_owned(),
        });
    }
    let before = types.iter().find(|slot| slot.info.id() == info.id());
    let slot = Arc::new(TypeSlot::new(plugin.clone()));
    let others = types.iter().filter(|slot| slot.info.id() != info.id());
    let mut next: Vec<_> = others.cloned().chain([slot.clone()]).collect();
    arrange(&mut next);
    let table = bind(&next)?;

    if app.roster.choices.is_disabled(info.id()) {
        slot.disable();
        app.types.store(Arc::new(next));
        app.routes.store(Arc::new(table));
        return Ok(before.is_some());
    }
    let active = app.active.load_full();
    let served = before.and_then(|slot| slot.attached());
    let kept = served.as_ref().filter(|service| fits(&service.library, info, &active));
    let library = match kept {
        Some(service) => service.library.clone(),
        None => {
            // What is on its way to the store may be of the library that is opened again.
            let store = app.store.clone();
            let _ = tokio::task::spawn_blocking(move || store.flush()).await;
            let opened = libraries::open(app, &slot, &active).await;
            opened.ok_or_else(|| SwapError::Library(info.id().to_owned()))?
        }
    };
    slot.attach(TypeService::new(
        plugin.clone(),
        library.clone(),
        libraries::settings_of(app, info.id()),
    ));
    app.types.store(Arc::new(next));
    app.routes.store(Arc::new(table));
    match served {
        Some(service) if Arc::ptr_eq(&service.library, &library) => library.follow(plugin.clone(), &service.plugin),
        left => {
            let (plugin, keeping) = (plugin.clone(), libraries::keeping(&app.settings.scan));
            tokio::spawn(async move {
                if let Some(service) = left {
                    libraries::retire(&service.library).await;
                }
                library.keep(plugin, keeping);
            });
        }
    }
    app.hub.models_changed(info.prefix());
    Ok(before.is_some())
}

/// Whether a library can go on under another version of its plugin: it is of the same files, and new ones are treated the
/// same.
fn fits(library: &Library, info: &TypeInfo, active: &ActiveLibrary) -> bool {
    let was = library.info();
    let mut extensions: [Vec<&str>; 2] = [was.extensions().collect(), info.extensions().collect()];
    extensions.iter_mut().for_each(|extensions| extensions.sort_unstable());
    let [old, new] = extensions;
    old == new
        && was.prefix() == info.prefix()
        && was.hashes_at_scan() == info.hashes_at_scan()
        && was.descriptor.new_from_remote == info.descriptor.new_from_remote
        && was.new_sidecar_fields == info.new_sidecar_fields
        && library.roots() == active.roots.roots_of(info)
}
