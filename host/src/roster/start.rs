//! Loading all plugins at the start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Roster, Source, arrange, bind};
use crate::app::App;
use crate::downloads;
use crate::libraries;
use crate::model_types::TypeSlot;
use crate::plugins::{LoadError, Plugin, builtin};

/// Loads all plugins at once, binds their routes, and attaches their libraries.
pub async fn load(app: Arc<App>) {
    // A plugin that is replaced, and a library that is switched to, come after that.
    let turn = app.switching.clone().lock_owned().await;
    if let Err(error) = load_types(&app).await {
        tracing::error!("{error:#}");
    }
    app.starting.store(false, Ordering::Relaxed);
    drop(turn);
}

async fn load_types(app: &Arc<App>) -> anyhow::Result<()> {
    let named = app.settings.plugin_files.iter().cloned().map(Source::File);
    let sources = builtin::BUILTIN
        .iter()
        .map(|(name, _)| Source::BuiltIn(name))
        .chain(named);
    let loading: Vec<_> = sources
        .map(|source| {
            let (app, own) = (app.clone(), source.clone());
            (source, tokio::spawn(async move { load_one(&app.roster, &own).await }))
        })
        .collect();
    let mut chosen = Chosen::default();
    for (source, plugin) in loading {
        let chosen_or_not = match plugin.await {
            Ok(Ok(plugin)) if is_wanted(app, &source, &plugin) => chosen.add(source.clone(), Arc::new(plugin)),
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("loading it broke off: {error}")),
        };
        if let Err(reason) = chosen_or_not {
            tracing::error!(plugin = %source, "a plugin is left out: {reason}");
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
    let unclaimed = active.roots.unclaimed(served.iter().map(|slot| &*slot.info));
    // A crate is built from now on, and may be the one that does.
    let is_building = app.settings.plugin_paths.iter().any(|path| path.is_dir());
    if !unclaimed.is_empty() && !is_building {
        tracing::info!(
            folders = unclaimed.join(", "),
            "no loaded model type uses these folders"
        );
    }
    app.types.store(Arc::new(served.clone()));
    app.routes.store(Arc::new(table));
    app.starting.store(false, Ordering::Relaxed);
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
            .any(|library| library.roots.has_roots(plugin.info()))
}

async fn load_one(roster: &Roster, source: &Source) -> Result<Plugin, LoadError> {
    let wasm = source.read().await?;
    roster.examine(source, &wasm).await
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
