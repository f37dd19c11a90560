//! The composition root: the only place that knows every part. Binds first, then loads
//! plugins and libraries while it already answers, and ends in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use modelshelf_plugin_builder::Running;
use tokio::net::TcpListener;

use crate::access::Access;
use crate::app::App;
use crate::authoring::live;
use crate::cli::ServeArgs;
use crate::data_folder::DataFolder;
use crate::downloads::Downloads;
use crate::downloads::ledger::Ledger;
use crate::http;
use crate::http::pages::Pages;
use crate::http::registrar::RouteTable;
use crate::http::serving::{self, Certificate, Server, ServingOptions};
use crate::hub::Hub;
use crate::library::hashing::{Hashing, HashingOptions};
use crate::library::history::History;
use crate::library::store::Store;
use crate::library::thumbnails::Thumbnails;
use crate::plugins::imports::Outside;
use crate::plugins::{Compiler, KvStore, PluginEngine};
use crate::providers::{Options, Providers};
use crate::roster::{self, Choices, Roster};
use crate::safe_html::SafeHtml;
use crate::settings::{ActiveLibrary, Settings, SettingsError};
use crate::terminal::Terminal;
use crate::updates::Updates;
use crate::use_cases::base_models::BaseModels;
use crate::use_cases::bulk_refresh::Refreshes;
use crate::workers::Workers;

/// How long open connections may take to end; sockets never end by themselves.
const CONNECTIONS_LIMIT: Duration = Duration::from_millis(500);
/// How often what is too old is looked for in the history.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// How often the data folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long what waits for the store may take to be written.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// Runs the server until it is asked to end.
///
/// # Errors
/// When settings, the data folder or the address can't be used.
pub async fn run(args: ServeArgs, terminal: Option<Arc<Terminal>>) -> anyhow::Result<()> {
    let mut settings = Settings::load(&args)?;
    for source in &settings.sources {
        tracing::info!(file = %source.display(), "settings read");
    }
    // Before anything is opened: libraries and databases need handles, too.
    let handles = serving::raise_limit();
    let certificate = match settings.tls.clone() {
        Some((certificate, key)) => Some(Arc::new(Certificate::open(certificate, key)?)),
        None => None,
    };
    let listener = TcpListener::bind(&settings.bind)
        .await
        .with_context(|| format!("can't listen on {}; choose another address with --bind", settings.bind))?;
    let address = listener.local_addr()?;
    let active = settings.libraries.start();
    let data = Arc::new(DataFolder::open(&settings.data_folder, active.roots.folders())?);
    let access = Arc::new(Access::open(&settings.data_folder, settings.access.clone())?);
    access.listen_on(&[address.ip()])?;
    let thumbnails = Thumbnails::new(settings.data_folder.join("thumbnails"), settings.previews.cache_mib);
    let store = Arc::new(Store::open(&settings.data_folder)?);
    let (options, unusable) = Options::usable(&settings.providers, &active.contract, &settings.data_folder)?;
    settings.warnings.extend(unusable);
    let providers = Arc::new(Providers::new(&settings.providers, options)?);
    let hashing = Arc::new(Hashing::new(hashing_options(&settings, &active), store.clone()));
    let history = Arc::new(History::open(&settings.data_folder, settings.history.clone()).guarded_by(data.clone()));
    let engine = PluginEngine::new(settings.limits.clone())?;
    let hub = Arc::new(Hub::with_terminal(terminal));
    let outside = Outside {
        hub: hub.clone(),
        history: history.clone(),
        kv: KvStore::new(settings.data_folder.join("plugins.sqlite")),
        handle: tokio::runtime::Handle::current(),
    };
    let choices = Choices::open(settings.data_folder.join("plugins.json"))?;
    let downloads = Arc::new(Downloads::new(
        Ledger::open(&settings.data_folder)?,
        settings.downloads.clone(),
    ));
    let warnings = std::mem::take(&mut settings.warnings);
    let pages = Pages::new(&settings.base_path)?;
    let app = Arc::new(App {
        data: data.clone(),
        warnings: ArcSwap::default(),
        access: access.clone(),
        downloads,
        workers: Workers::new(&settings.workers)?,
        safe_html: SafeHtml::default(),
        roster: Roster::new(
            engine,
            settings.data_folder.join("compiled"),
            Compiler::own_program(settings.compile.clone())?,
            outside,
            choices,
        ),
        history,
        organising: Arc::default(),
        providers,
        refreshes: Refreshes::default(),
        base_models: BaseModels::default(),
        archive: Arc::default(),
        updates: Updates::open(&settings.data_folder),
        active: ArcSwap::from_pointee(active),
        switching: Arc::default(),
        store: store.clone(),
        settings,
        hub,
        hashing,
        thumbnails: Arc::new(thumbnails),
        pages,
        routes: ArcSwap::from_pointee(RouteTable::new()),
        types: ArcSwap::default(),
        starting: AtomicBool::new(true),
        run: rand::random(),
    });
    warnings.into_iter().for_each(|warning| app.warn(warning));
    let router = http::router(app.clone());
    let scheme = if certificate.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{address}");
    print_login_link(&access, scheme, address, &app.settings.base_path);

    let synchronizing = tokio::spawn(synchronize_access(access.clone()));
    let forgetting = tokio::spawn(forget_old(app.history.clone()));
    let watching_data = tokio::spawn(watch_data_folder(app.clone()));
    let telling = tokio::spawn(tell_of_providers(app.clone()));
    let quarantining = tokio::spawn(roster::watch_quarantine(app.clone()));
    let to_load = app.clone();
    let builds: Vec<Running> = app.settings.plugin_paths.iter().map(|_| Running::default()).collect();
    let to_build = builds.clone();
    let mut loading = tokio::spawn(async move {
        let named = live::watch(&to_load);
        roster::load(to_load.clone()).await?;
        live::follow(&to_load, named, &to_build);
        Ok::<(), SettingsError>(())
    });
    let following = certificate
        .clone()
        .map(|certificate| tokio::spawn(certificate.follow()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let proxies = app.settings.trusted_proxies.clone();
    let options = ServingOptions {
        settings: &app.settings.connections,
        handles,
        certificate,
        base_path: app.settings.base_path.clone(),
    };
    let server = Server::new(listener, router, options, move |address| proxies.has(address));
    let mut serving = tokio::spawn(server.run(stopped));
    tokio::select! {
        result = &mut serving => result?,
        error = mistyped(&mut loading) => return Err(error.into()),
        () = asked_to_end() => {
            tracing::info!("ending");
            loading.abort();
            live::end_builds(&builds);
            forgetting.abort();
            watching_data.abort();
            if let Some(following) = following {
                following.abort();
            }
            synchronizing.abort();
            quarantining.abort();
            telling.abort();
            app.refreshes.cancel_all();
            app.downloads.close();
            for slot in app.types.load().iter() {
                if let Some(service) = slot.service() {
                    service.library.close();
                }
            }
            let _ = tokio::time::timeout(CONNECTIONS_LIMIT, app.downloads.idle()).await;
            let _ = stop.send(true);
            let _ = tokio::time::timeout(CONNECTIONS_LIMIT, &mut serving).await;
            serving.abort();
            let hashing = app.hashing.clone();
            let closing = tokio::task::spawn_blocking(move || {
                hashing.close();
                store.flush();
                if let Err(error) = access.synchronize(true) {
                    tracing::warn!(%error, "when tokens were last used is not noted");
                }
            });
            let _ = tokio::time::timeout(STORE_LIMIT, closing).await;
        }
    }
    Ok(())
}

/// Ends when loading found a mistake in the command line.
async fn mistyped(loading: &mut tokio::task::JoinHandle<Result<(), SettingsError>>) -> SettingsError {
    match loading.await {
        Ok(Err(error)) => error,
        _ => std::future::pending().await,
    }
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

/// At the first start that needs a login and has no password, the terminal's reader can log in and set one.
fn print_login_link(access: &Access, scheme: &str, address: SocketAddr, base_path: &str) {
    let state = access.state();
    if !access.login_required() || state.password.is_some() || !state.sessions.is_empty() {
        return;
    }
    let (host, port) = (address.ip(), address.port());
    let host = match host.is_unspecified() {
        true => "localhost".to_owned(),
        false => SocketAddr::new(host, 0).to_string().trim_end_matches(":0").to_owned(),
    };
    let code = access.new_login_code();
    println!(
        "no password is set; log in once within an hour with {scheme}://{host}:{port}{base_path}/login#code={code}"
    );
}

/// Takes over what `host token` and `host password` change, and writes when tokens and sessions were last used.
async fn synchronize_access(access: Arc<Access>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    for second in 0_u64.. {
        every.tick().await;
        let own = access.clone();
        let done = tokio::task::spawn_blocking(move || own.synchronize(second % 60 == 59));
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "passwords, tokens and sessions stay as they were"),
            Err(error) => tracing::error!(%error, "passwords, tokens and sessions stay as they were"),
        }
    }
}

/// Notices when the data folder is gone, also while nobody changes anything, and has the pages ask again.
async fn watch_data_folder(app: Arc<App>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        let data = app.data.clone();
        let is_gone = tokio::task::spawn_blocking(move || data.check().is_err()).await;
        if is_gone.unwrap_or(false) {
            app.hub
                .broadcast(serde_json::json!({ "type": "models_changed" }).to_string());
            return;
        }
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

/// Tells pages when a provider can't be reached, or can be again.
async fn tell_of_providers(app: Arc<App>) {
    let mut changes = app.providers.changes();
    while changes.changed().await.is_ok() {
        app.hub.broadcast(http::providers_message(&app));
    }
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
