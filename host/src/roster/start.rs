//! Loading all plugins at the start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::swap::{Candidate, place};
use super::{Entry, Roster, Source, SwapError, announce, arrange, bind};
use crate::app::App;
use crate::downloads;
use crate::libraries;
use crate::model_types::TypeSlot;
use crate::plugins::{LoadError, Plugin, builtin};
use crate::settings::{ActiveLibrary, SettingsError, UnknownName, Warning};

/// For how long the start waits for plugins that were compiled before: that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Loads the built-in plugins and those that were compiled before, binds their routes, and attaches their libraries. What
/// has to be compiled is served when it is: nothing waits for it.
///
/// # Errors
/// When the command line names folders that no model type uses, which is known once all types are loaded; where a plugin
/// has to be compiled first, nothing is said of them.
pub async fn load(app: Arc<App>) -> Result<(), SettingsError> {
    // A plugin that is replaced, and a library that is switched to, come after that.
    let turn = app.switching.clone().lock_owned().await;
    let mut later = Vec::new();
    let loaded = load_types(&app, &mut later).await;
    let mistyped = match loaded.map_err(anyhow::Error::downcast::<SettingsError>) {
        Ok(()) => None,
        Err(Ok(mistyped)) => Some(mistyped),
        Err(Err(error)) => {
            tracing::error!("{error:#}");
            None
        }
    };
    drop(turn);
    tokio::spawn(async move {
        join_all(later.into_iter().map(|late| add_later(&app, late))).await;
        app.starting.store(false, Ordering::Relaxed);
        announce(&app);
    });
    mistyped.map_or(Ok(()), Err)
}

/// A plugin on its way.
enum Loaded {
    Ready(Box<Plugin>),
    /// These bytes have to be compiled first.
    ToCompile(Vec<u8>),
}

/// A named plugin that is not ready when the others are.
struct Late {
    source: Source,
    started: Instant,
    loading: JoinHandle<Result<Loaded, LoadError>>,
}

async fn load_types(app: &Arc<App>, later: &mut Vec<Late>) -> anyhow::Result<()> {
    let named = app.settings.plugin_files.iter().cloned().map(Source::File);
    let sources = builtin::BUILTIN
        .iter()
        .map(|(name, _)| Source::BuiltIn(name))
        .chain(named);
    let started = Instant::now();
    let loading: Vec<_> = sources
        .map(|source| {
            let (app, own) = (app.clone(), source.clone());
            (source, tokio::spawn(async move { load_one(&app.roster, &own).await }))
        })
        .collect();
    let (mut chosen, mut all_loaded) = (Chosen::default(), true);
    for (source, mut loading) in loading {
        let is_named = matches!(source, Source::File(_));
        let outcome = match is_named {
            true => tokio::time::timeout_at((started + PATIENCE).into(), &mut loading)
                .await
                .ok(),
            false => Some((&mut loading).await),
        };
        let late = |loading| Late {
            source: source.clone(),
            started,
            loading,
        };
        let chosen_or_not = match outcome {
            None => {
                later.push(late(loading));
                continue;
            }
            Some(Ok(Ok(Loaded::ToCompile(wasm)))) => {
                later.push(late(tokio::spawn(async move { Ok(Loaded::ToCompile(wasm)) })));
                continue;
            }
            Some(Ok(Ok(Loaded::Ready(plugin)))) if is_wanted(app, &source, &plugin) => {
                chosen.add(source.clone(), Arc::from(plugin))
            }
            Some(Ok(Ok(Loaded::Ready(_)))) => continue,
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(error)) => Err(format!("loading it broke off: {error}")),
        };
        if let Err(reason) = chosen_or_not {
            tracing::error!(plugin = %source, "a plugin is left out: {reason}");
            all_loaded = false;
            app.roster.note(&source, None, Some(reason));
        }
    }

    for (source, plugin) in &chosen.replaced {
        app.roster.note(source, Some(plugin.clone()), None);
    }
    let mut served: Vec<Arc<TypeSlot>> = Vec::new();
    let mut candidates: Vec<_> = chosen.plugins;
    candidates.sort_by_key(|(_, plugin)| (plugin.info().descriptor.menu_order, plugin.info().id().to_owned()));
    for (source, plugin) in candidates {
        let failure = add(&mut served, &source, &plugin);
        let stand_in = chosen
            .replaced
            .iter()
            .find(|(_, other)| failure.is_some() && other.info().id() == plugin.info().id());
        match stand_in {
            // Its place is the built-in one's again, as when a version fails while the server runs.
            Some((built_in, other)) => {
                let also = add(&mut served, built_in, other);
                app.roster.note(built_in, Some(other.clone()), also);
                app.roster.note(&source, None, failure);
            }
            None => app.roster.note(&source, Some(plugin), failure),
        }
    }
    arrange(&mut served);
    let table = bind(&served)?;
    let active = app.active.load_full();
    // A crate is built from now on, and may be the one that uses a name.
    let is_building = app.settings.plugin_paths.iter().any(|path| path.is_dir());
    if !is_building && later.is_empty() {
        check_names(app, &active, &served, all_loaded)?;
    }
    app.types.store(Arc::new(served.clone()));
    app.routes.store(Arc::new(table));
    let (disabled, enabled): (Vec<_>, Vec<_>) = served
        .into_iter()
        .partition(|slot| app.roster.choices.is_disabled(slot.info.id()));
    disabled.iter().for_each(|slot| slot.disable());
    let attaching = enabled.into_iter().map(|slot| {
        let (app, active) = (app.clone(), active.clone());
        tokio::spawn(async move {
            let library = libraries::open(&app, &slot, &active).await?;
            libraries::serve(&app, &slot, slot.plugin.clone(), library.clone());
            Some((library, slot.plugin.clone()))
        })
    });
    // Every gate opens before the first scan takes the disk and the processors.
    let mut ready = Vec::new();
    for attached in attaching.collect::<Vec<_>>() {
        ready.extend(attached.await?);
    }
    // A download asks for the library that it goes to.
    tokio::spawn(app.downloads.clone().work_off(app.clone()));
    tokio::spawn(downloads::remember_seen(app.clone(), app.downloads.clone()));
    let keeping = libraries::keeping(&app.settings.scan);
    for (library, plugin) in ready {
        library.keep(plugin, keeping);
    }
    Ok(())
}

/// Says which names of folders no type uses, and which ones may be meant. With `all_loaded`, such a name of the command
/// line is an error: without a type that failed it would be misleading.
fn check_names(
    app: &App,
    active: &ActiveLibrary,
    served: &[Arc<TypeSlot>],
    all_loaded: bool,
) -> Result<(), SettingsError> {
    let unknown = active.roots.unknown(served.iter().map(|slot| &*slot.info));
    let hint = |name: &UnknownName| match &name.closest {
        Some(closest) => format!("no model type uses folders of this name; did you mean `{closest}`?"),
        None => "no model type uses folders of this name".to_owned(),
    };
    if all_loaded && let Some(name) = unknown.iter().find(|name| name.is_flag) {
        let kinds = served.iter().flat_map(|slot| &slot.info.descriptor.roots);
        let known: BTreeSet<&str> = kinds.map(|kind| kind.key.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        return Err(SettingsError::Flag {
            flag: "--root",
            value: format!("{}=", name.name),
            reason: format!("{} (names in use: {})", hint(name), known.join(", ")),
        });
    }
    // Other programs have folders that are no models' here; only a name that looks mistyped is worth a warning.
    let (mistyped, others): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|name| name.closest.is_some());
    if !others.is_empty() {
        let folders: Vec<&str> = others.iter().map(|name| name.name.as_str()).collect();
        tracing::info!(folders = folders.join(", "), "no loaded model type uses these folders");
    }
    for name in mistyped {
        app.warn(Warning {
            source: format!("folders named `{}`", name.name),
            text: hint(&name),
        });
    }
    Ok(())
}

/// Adds a type where its routes can be bound beside the others'; else why they can't.
fn add(served: &mut Vec<Arc<TypeSlot>>, source: &Source, plugin: &Arc<Plugin>) -> Option<String> {
    served.push(Arc::new(TypeSlot::new(plugin.clone())));
    let reason = bind(served).err()?.to_string();
    tracing::error!(plugin = %source, "a plugin is left out: {reason}");
    served.pop();
    Some(reason)
}

/// Whether a type is served: any that was named, and a built-in one unless it is of the kind that needs a folder and no
/// library of the settings has one.
fn is_wanted(app: &App, source: &Source, plugin: &Plugin) -> bool {
    let Source::BuiltIn(name) = source else { return true };
    let libraries = &app.settings.libraries;
    builtin::needs_no_folder(name)
        || libraries
            .names()
            .filter_map(|name| libraries.get(name))
            .any(|library| !library.roots.roots_of(plugin.info()).is_empty())
}

async fn load_one(roster: &Roster, source: &Source) -> Result<Loaded, LoadError> {
    let wasm = source.read().await?;
    if matches!(source, Source::File(_)) && !roster.is_compiled(wasm.as_slice().into()).await {
        return Ok(Loaded::ToCompile(wasm));
    }
    roster
        .examine(source, &wasm)
        .await
        .map(|plugin| Loaded::Ready(Box::new(plugin)))
}

/// Serves a named plugin when it is compiled.
async fn add_later(app: &Arc<App>, late: Late) {
    let Late {
        source,
        started,
        loading,
    } = late;
    let _turn = app.roster.turn_of(&source).await;
    app.roster.note_building(app, &source);
    let examined = match loading.await {
        Ok(Ok(Loaded::Ready(plugin))) => Ok(*plugin),
        Ok(Ok(Loaded::ToCompile(wasm))) => app.roster.examine(&source, &wasm).await,
        Ok(Err(error)) => Err(error),
        Err(error) => Err(LoadError::Engine(format!("loading it broke off: {error}"))),
    };
    let loser = examined
        .as_ref()
        .ok()
        .and_then(|plugin| other_file(app, &source, plugin));
    let candidate = Candidate {
        source: &source,
        started,
        check: is_first_named,
    };
    if let (Ok(placed), Some(loser)) = (place(app, candidate, examined).await, loser) {
        let reason = format!(
            "its id is `{}`, and {source}, which was named before it, has that id already",
            placed.id
        );
        tracing::error!(plugin = %loser, "a plugin is left out: {reason}");
        app.roster.note_failure(app, &loser, reason);
    }
}

/// Of two named plugins with one id the one that was named first is served, as when both were compiled before.
fn is_first_named(app: &App, source: &Source, plugin: &Plugin) -> Result<(), SwapError> {
    let place = |source: &Source| match source {
        Source::File(path) => app.settings.plugin_files.iter().position(|own| own == path),
        Source::BuiltIn(_) => None,
    };
    match other_file(app, source, plugin) {
        Some(other) if place(&other) < place(source) => Err(SwapError::IdTaken {
            id: plugin.info().id().to_owned(),
            other: other.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Another file whose plugin of this id is loaded.
fn other_file(app: &App, source: &Source, plugin: &Plugin) -> Option<Source> {
    let is_other = |entry: &Entry| {
        entry.id() == Some(plugin.info().id()) && matches!(entry.source, Source::File(_)) && entry.source != *source
    };
    let entry = app.roster.entries().into_iter().find(is_other)?;
    Some(entry.source)
}

/// The plugins that are to be served: one of each id and of each prefix.
#[derive(Default)]
struct Chosen {
    plugins: Vec<(Source, Arc<Plugin>)>,
    // Built-in ones whose place was taken.
    replaced: Vec<(Source, Arc<Plugin>)>,
}

impl Chosen {
    /// A named plugin with the id of a built-in one takes its place; else the first of an id or a prefix stays.
    fn add(&mut self, source: Source, plugin: Arc<Plugin>) -> Result<(), String> {
        let info = plugin.info().clone();
        let same_id = self
            .plugins
            .iter()
            .position(|(_, other)| other.info().id() == info.id());
        let same_prefix = |(_, other): &(Source, Arc<Plugin>)| other.info().prefix() == info.prefix();
        let same_prefix = self.plugins.iter().position(same_prefix);
        let is_named = matches!(source, Source::File(_));
        let in_the_way = match (same_id, same_prefix) {
            (None, None) => {
                self.plugins.push((source, plugin));
                return Ok(());
            }
            (Some(at), prefix) if is_named && prefix.is_none_or(|prefix| prefix == at) => {
                if let Some(place @ (Source::BuiltIn(_), _)) = self.plugins.get_mut(at) {
                    tracing::info!(id = info.id(), "a named plugin takes the place of the built-in one");
                    self.replaced.push(std::mem::replace(place, (source, plugin)));
                    return Ok(());
                }
                at
            }
            (Some(at), _) | (None, Some(at)) => at,
        };
        let other = self.plugins.get(in_the_way).map(|(_, other)| other.info().clone());
        let (id, prefix) = other.map_or_else(Default::default, |other| {
            (other.id().to_owned(), other.prefix().to_owned())
        });
        Err(format!(
            "its id is `{}` and its prefix `{}`, and `{id}` with the prefix `{prefix}` is loaded already",
            info.id(),
            info.prefix(),
        ))
    }
}
