//! The composition root: the only place that knows every part. Binds first, then loads
//! plugins and libraries while it already answers, and ends in order.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;

use crate::cli::ServeArgs;
use crate::http;
use crate::http::app::App;
use crate::http::pages::Pages;
use crate::http::registrar::RouteTable;
use crate::http::types::TypeSlot;
use crate::hub::Hub;
use crate::libraries;
use crate::library::hashing::{Hashing, HashingOptions};
use crate::library::history::History;
use crate::library::store::Store;
use crate::library::thumbnails::Thumbnails;
use crate::plugins::{CodeCache, LoadError, Plugin, PluginEngine, builtin};
use crate::providers::{Options, Providers};
use crate::settings::{ActiveLibrary, Settings};
use crate::terminal::Terminal;

/// How long open connections may take to end; sockets never end by themselves.
const CONNECTIONS_LIMIT: Duration = Duration::from_millis(500);
/// How often what is too old is looked for in the history.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// How long what waits for the store may take to be written.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// Runs the server until it is asked to end.
///
/// # Errors
/// When settings, the data folder or the address can't be used.
pub async fn run(args: ServeArgs, terminal: Option<Arc<Terminal>>) -> anyhow::Result<()> {
    let settings = Settings::load(&args)?;
    for source in &settings.sources {
        tracing::info!(file = %source.display(), "settings read");
    }
    let listener = TcpListener::bind(&settings.bind)
        .await
        .with_context(|| format!("can't listen on {}; choose another address with --bind", settings.bind))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && settings.token.is_none() {
        tracing::warn!(%address, "listening beyond this machine without a token: whoever reaches this address can read the library");
    }
    let thumbnails = Thumbnails::new(settings.data_folder.join("thumbnails"), settings.previews.cache_mib);
    let store = Arc::new(Store::open(&settings.data_folder)?);
    let active = settings.libraries.start();
    let options = Options::new(&settings.providers, &active.contract, &settings.data_folder)?;
    let providers = Arc::new(Providers::new(&settings.providers, options)?);
    let hashing = Arc::new(Hashing::new(hashing_options(&settings, &active), store.clone()));
    let history = Arc::new(History::open(&settings.data_folder, settings.history.clone()));
    let app = Arc::new(App {
        history,
        providers,
        active: ArcSwap::from_pointee(active),
        switching: Arc::default(),
        store: store.clone(),
        settings,
        hub: Arc::new(Hub::with_terminal(terminal)),
        hashing,
        thumbnails: Arc::new(thumbnails),
        pages: Pages::new()?,
        routes: ArcSwap::from_pointee(RouteTable::new()),
        types: ArcSwap::default(),
        starting: AtomicBool::new(true),
        run: rand::random(),
    });
    let router = http::router(app.clone());
    println!("listening on http://{address}");

    let forgetting = tokio::spawn(forget_old(app.history.clone()));
    let loading = tokio::spawn(load(app.clone()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            let _ = stopped.await;
        });
    let mut serving = tokio::spawn(async move { serving.await });
    tokio::select! {
        result = &mut serving => result??,
        () = asked_to_end() => {
            tracing::info!("ending");
            loading.abort();
            forgetting.abort();
            for slot in app.types.load().iter() {
                if let Some(service) = slot.service() {
                    service.library.close();
                }
            }
            let _ = stop.send(());
            let _ = tokio::time::timeout(CONNECTIONS_LIMIT, &mut serving).await;
            serving.abort();
            let hashing = app.hashing.clone();
            let closing = tokio::task::spawn_blocking(move || {
                hashing.close();
                store.flush();
            });
            let _ = tokio::time::timeout(STORE_LIMIT, closing).await;
        }
    }
    Ok(())
}

fn hashing_options(settings: &Settings, active: &ActiveLibrary) -> HashingOptions {
    HashingOptions {
        threads: settings.hashing.threads,
        per_disk: settings.hashing.per_disk,
        bytes_per_second: settings.hashing.megabytes_per_second * 1e6,
        block: active.contract.hash_block(),
        network: settings.hashing.network,
    }
}

/// Takes what is too old out of the history and the trash, also while nobody changes anything.
async fn forget_old(history: Arc<History>) {
    let mut every = tokio::time::interval(FORGET_EVERY);
    loop {
        every.tick().await;
        let own = history.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || own.forget_old()).await {
            tracing::error!(%error, "old history is not forgotten");
        }
    }
}

/// Loads all plugins at once, binds their routes, and attaches their libraries.
async fn load(app: Arc<App>) {
    if let Err(error) = load_types(&app).await {
        tracing::error!("{error:#}");
    }
    app.starting.store(false, Ordering::Relaxed);
}

async fn load_types(app: &Arc<App>) -> anyhow::Result<()> {
    let engine = Arc::new(PluginEngine::new(app.settings.limits.clone())?);
    let cache = Arc::new(CodeCache::new(
        app.settings.data_folder.join("compiled"),
        engine.engine(),
    ));
    let mut loading = Vec::new();
    for (name, wasm) in builtin::BUILTIN {
        let (engine, cache) = (engine.clone(), cache.clone());
        loading.push(tokio::spawn(
            async move { Plugin::load(&engine, &cache, name, wasm).await },
        ));
    }
    let built_in = loading.len();
    for path in app.settings.plugin_files.clone() {
        let (engine, cache) = (engine.clone(), cache.clone());
        loading.push(tokio::spawn(async move { load_file(&engine, &cache, &path).await }));
    }
    // A named plugin with the id of a built-in one takes its place.
    let mut plugins: Vec<Arc<Plugin>> = Vec::new();
    let mut named = HashSet::new();
    for (index, plugin) in loading.into_iter().enumerate() {
        let plugin = match plugin.await {
            Ok(Ok(plugin)) => Arc::new(plugin),
            Ok(Err(error)) => {
                tracing::error!("a plugin is left out: {error}");
                continue;
            }
            Err(error) => {
                tracing::error!("a plugin is left out: loading it broke off: {error}");
                continue;
            }
        };
        let info = plugin.info();
        let same_id = plugins.iter().position(|other| other.info().id() == info.id());
        let same_prefix = plugins.iter().position(|other| other.info().prefix() == info.prefix());
        match (same_id, same_prefix) {
            (None, None) => {
                if index >= built_in {
                    named.insert(plugins.len());
                }
                plugins.push(plugin);
            }
            (Some(other), same_prefix)
                if index >= built_in && !named.contains(&other) && same_prefix.is_none_or(|same| same == other) =>
            {
                tracing::info!(id = info.id(), "a named plugin takes the place of the built-in one");
                named.insert(other);
                plugins[other] = plugin;
            }
            (Some(other), _) | (None, Some(other)) => tracing::error!(
                "the plugin `{}` with the prefix `{}` is left out: `{}` with the prefix `{}` is loaded already",
                info.id(),
                info.prefix(),
                plugins[other].info().id(),
                plugins[other].info().prefix()
            ),
        }
    }
    plugins.sort_by(|a, b| {
        let place = |plugin: &Plugin| (plugin.info().descriptor.menu_order, plugin.info().id().to_owned());
        place(a).cmp(&place(b))
    });

    let mut served: Vec<(Arc<TypeSlot>, Arc<Plugin>)> = Vec::new();
    let bind = |served: &[(Arc<TypeSlot>, Arc<Plugin>)]| {
        let mut table = RouteTable::new();
        let bound = served
            .iter()
            .try_for_each(|(slot, plugin)| table.add_type(slot, plugin.routes()));
        bound.map(|()| table)
    };
    for plugin in plugins {
        served.push((Arc::new(TypeSlot::new(plugin.info().clone())), plugin));
        if let Err(error) = bind(&served) {
            tracing::error!("a plugin is left out: {error}");
            served.pop();
        }
    }
    let table = bind(&served)?;
    let active = app.active.load_full();
    let unclaimed = active.roots.unclaimed(served.iter().map(|(slot, _)| &*slot.info));
    if !unclaimed.is_empty() {
        tracing::info!(
            folders = unclaimed.join(", "),
            "no loaded model type uses these folders"
        );
    }
    app.types
        .store(Arc::new(served.iter().map(|(slot, _)| slot.clone()).collect()));
    app.routes.store(Arc::new(table));
    app.starting.store(false, Ordering::Relaxed);
    let attaching = served.into_iter().map(|(slot, plugin)| {
        let (app, active) = (app.clone(), active.clone());
        tokio::spawn(async move {
            let library = libraries::open(&app, &slot, &active).await?;
            libraries::serve(&app, &slot, plugin.clone(), library.clone());
            Some((library, plugin))
        })
    });
    // Every gate opens before the first scan takes the disk and the processors.
    let mut ready = Vec::new();
    for attached in attaching.collect::<Vec<_>>() {
        ready.extend(attached.await?);
    }
    let keeping = libraries::keeping(&app.settings.scan);
    for (library, plugin) in ready {
        library.keep(plugin, keeping);
    }
    Ok(())
}

async fn load_file(engine: &Arc<PluginEngine>, cache: &Arc<CodeCache>, path: &Path) -> Result<Plugin, LoadError> {
    let wasm = tokio::fs::read(path).await.map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    Plugin::load(engine, cache, &path.display().to_string(), &wasm).await
}

/// Ends when the process is told to: Ctrl-C, or SIGTERM from a service manager.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
