//! Another version of a plugin, or a new plugin, while the server runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::OwnedMutexGuard;

use super::{ChoicesError, Source, announce, arrange, bind};
use crate::app::App;
use crate::http::registrar::BindError;
use crate::libraries;
use crate::library::Library;
use crate::library::progress::ProgressSink;
use crate::model_types::{TypeService, TypeSlot};
use crate::plugins::{LoadError, Plugin, TypeInfo};
use crate::settings::ActiveLibrary;

/// What a swap did.
#[derive(Debug, Clone)]
pub struct Swapped {
    /// Id of the type.
    pub id: String,
    /// SHA-256 of the component that is served now, lower-case hex.
    pub digest: String,
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
    /// Another file with its id was named before it.
    #[error("its id is `{id}`, and {other}, which was named before it, has that id already")]
    IdTaken {
        /// The id.
        id: String,
        /// The other file.
        other: String,
    },
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
/// What the source was before goes: when its last version was another type, that type ends, and a built-in one whose
/// place it had taken comes back.
///
/// # Errors
/// When it can't be served. Nothing is different then, but that the roster knows why ([`super::Entry::failure`]).
pub async fn replace(app: &Arc<App>, source: &Source, wasm: &[u8]) -> Result<Swapped, SwapError> {
    let started = Instant::now();
    // Taken before it is compiled, so that of two versions of a source the one that came later stays.
    let _turn = app.roster.turn_of(source).await;
    let examined = app.roster.examine(source, wasm).await;
    let candidate = Candidate {
        source,
        started,
        check: |_, _, _| Ok(()),
    };
    place(app, candidate, examined).await
}

/// A version of a plugin that is to be served.
pub(super) struct Candidate<'s> {
    pub source: &'s Source,
    /// When loading it began.
    pub started: Instant,
    /// Whether it may be served beside the others.
    pub check: fn(&App, &Source, &Plugin) -> Result<(), SwapError>,
}

/// Serves what was examined, or notes why it can't be served. The lock of the registry is held for the exchange alone:
/// nothing waits for a plugin that is being compiled.
pub(super) async fn place(
    app: &Arc<App>,
    candidate: Candidate<'_>,
    examined: Result<Plugin, LoadError>,
) -> Result<Swapped, SwapError> {
    let Candidate { source, started, .. } = candidate;
    let turn = app.switching.clone().lock_owned().await;
    let outcome = exchange(app, &candidate, examined, turn).await;
    match outcome {
        Ok((plugin, replaced)) => {
            let info = plugin.info();
            let took = started.elapsed();
            let ms = took.as_millis() as u64;
            tracing::info!(id = info.id(), version = info.descriptor.version, %source, replaced, ms, "plugin loaded");
            announce(app);
            Ok(Swapped {
                id: info.id().to_owned(),
                digest: plugin.digest().to_owned(),
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

/// Gives a plugin its place; whether another version was there.
async fn exchange(
    app: &Arc<App>,
    candidate: &Candidate<'_>,
    examined: Result<Plugin, LoadError>,
    turn: OwnedMutexGuard<()>,
) -> Result<(Arc<Plugin>, bool), SwapError> {
    let source = candidate.source;
    let plugin = Arc::new(examined?);
    (candidate.check)(app, source, &plugin)?;
    let placed = take_place(app, source, &plugin).await?;
    if let Some((built_in, returned)) = &placed.returned {
        app.roster.note(built_in, Some(returned.clone()), None);
    }
    app.roster.note(source, Some(plugin.clone()), None);
    let replaced = placed.replaced;
    settle(app, placed, turn);
    Ok((plugin, replaced))
}

/// What is left to do once types changed places.
#[derive(Default)]
pub(super) struct Placed {
    replaced: bool,
    /// A built-in plugin that is back.
    returned: Option<(Source, Arc<Plugin>)>,
    /// Libraries that are not served any more.
    pub(super) left: Vec<Arc<Library>>,
    /// Libraries that were opened.
    begun: Vec<(Arc<Library>, Arc<Plugin>)>,
}

/// Ends the work of libraries that were left, then begins that of those that were opened. The next swap, or switch of
/// libraries, waits for the first: it may open the same libraries again.
pub(super) fn settle(app: &Arc<App>, placed: Placed, turn: OwnedMutexGuard<()>) {
    let keeping = libraries::keeping(&app.settings.scan);
    tokio::spawn(async move {
        join_all(placed.left.iter().map(|library| libraries::retire(library))).await;
        drop(turn);
        for (library, plugin) in placed.begun {
            library.keep(plugin, keeping);
        }
    });
}

/// The type that a source was until now, when its next version is another one, and the built-in plugin whose place it
/// had.
fn former_self(app: &App, source: &Source, next: &Plugin) -> Option<(Arc<TypeSlot>, Option<Source>)> {
    let entry = app.roster.entries().into_iter().find(|entry| entry.source == *source)?;
    let plugin = entry
        .plugin
        .as_ref()
        .filter(|plugin| plugin.info().id() != next.info().id())?;
    let types = app.types.load();
    // A version that could never be served has no place.
    let slot = types.iter().find(|slot| Arc::ptr_eq(&slot.plugin, plugin))?;
    Some((slot.clone(), entry.stands_in_for()))
}

/// Has a version take its place in the routes and, unless its type is disabled, be served.
pub(super) async fn take_place(app: &Arc<App>, source: &Source, plugin: &Arc<Plugin>) -> Result<Placed, SwapError> {
    let mut placed = Placed::default();
    let former = former_self(app, source, plugin);
    if let Some((_, Some(built_in))) = &former {
        let wasm = built_in.read().await?;
        let back = app.roster.examine(built_in, &wasm).await?;
        placed.returned = Some((built_in.clone(), Arc::new(back)));
    }
    let types = app.types.load_full();
    let newcomers: Vec<Arc<TypeSlot>> = [plugin]
        .into_iter()
        .chain(placed.returned.as_ref().map(|(_, back)| back))
        .map(|plugin| Arc::new(TypeSlot::new(plugin.clone())))
        .collect();
    let before = |id: &str| types.iter().find(|slot| slot.info.id() == id);
    let is_former = |slot: &Arc<TypeSlot>| former.as_ref().is_some_and(|(former, _)| Arc::ptr_eq(former, slot));
    let stays = |slot: &&Arc<TypeSlot>| {
        !is_former(slot) && !newcomers.iter().any(|newcomer| newcomer.info.id() == slot.info.id())
    };
    let mut next: Vec<_> = types.iter().filter(stays).cloned().collect();
    // The built-in one first: it is in the way of the other, not the other way round.
    for slot in newcomers.iter().rev() {
        let info = &slot.info;
        if let Some(other) = next.iter().find(|other| other.info.prefix() == info.prefix()) {
            return Err(SwapError::PrefixTaken {
                id: info.id().to_owned(),
                prefix: info.prefix().to_owned(),
                other: other.info.id().to_owned(),
            });
        }
        next.push(slot.clone());
    }
    arrange(&mut next);
    let table = bind(&next)?;

    let active = app.active.load_full();
    let mut libraries_of = Vec::new();
    for slot in &newcomers {
        let served = before(slot.info.id()).and_then(|slot| slot.attached());
        if app.roster.choices.is_disabled(slot.info.id()) {
            slot.disable();
            placed.left.extend(served.map(|service| service.library.clone()));
            continue;
        }
        let kept = served
            .as_ref()
            .filter(|service| fits(&service.library, &slot.info, &active));
        let library = match kept {
            Some(service) => service.library.clone(),
            None => {
                // What is on its way to the store may be of the library that is opened again.
                let store = app.store.clone();
                let _ = tokio::task::spawn_blocking(move || store.flush()).await;
                let opened = libraries::open(app, slot, &active).await;
                opened.ok_or_else(|| SwapError::Library(slot.info.id().to_owned()))?
            }
        };
        libraries_of.push((slot, served, library));
    }
    for (slot, _, library) in &libraries_of {
        slot.attach(TypeService::new(
            slot.plugin.clone(),
            library.clone(),
            libraries::settings_of(app, slot.info.id()),
        ));
    }
    placed.replaced = former.is_some() || before(plugin.info().id()).is_some();
    app.types.store(Arc::new(next));
    app.routes.store(Arc::new(table));
    for (slot, served, library) in libraries_of {
        match served {
            Some(service) if Arc::ptr_eq(&service.library, &library) => {
                library.follow(slot.plugin.clone(), &service.plugin);
            }
            left => {
                placed.left.extend(left.map(|service| service.library.clone()));
                placed.begun.push((library, slot.plugin.clone()));
            }
        }
        app.hub.models_changed(slot.info.prefix());
    }
    if let Some((former, None)) = &former {
        placed
            .left
            .extend(former.attached().map(|service| service.library.clone()));
    }
    Ok(placed)
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
