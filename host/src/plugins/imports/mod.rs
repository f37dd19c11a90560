//! What a plugin reaches: one file for each imported interface, and the state behind them.

mod events;
mod kv;
mod library;
mod log;
mod remote;
mod routes;
mod settings;

use std::sync::Arc;

pub use routes::{RouteCollector, RouteWish};

use super::account::Account;
use super::bindings::modelshelf::plugin as wit;
use super::instance::CallState;
use super::kv_store::KvStore;
use super::{Grants, Plugin, TypeInfo};
use crate::hub::Hub;
use crate::library::history::History;
use crate::library::{Library, Snapshot};

/// The models that a call sees: one snapshot for all of it.
#[derive(Clone)]
pub struct LibraryView {
    /// The library.
    pub library: Arc<Library>,
    /// Its state when the call began.
    pub snapshot: Arc<Snapshot>,
}

impl LibraryView {
    /// The library as it is now.
    pub fn of(library: &Arc<Library>) -> Self {
        Self {
            library: library.clone(),
            snapshot: library.snapshot(),
        }
    }
}

/// What requests to any plugin reach beside the models.
pub struct Outside {
    /// Messages to clients.
    pub hub: Arc<Hub>,
    /// Where edits are noted.
    pub history: Arc<History>,
    /// Small state of plugins.
    pub kv: KvStore,
    /// Where calls are awaited on behalf of edits.
    pub handle: tokio::runtime::Handle,
}

/// What one call may reach through the plugin's imports. What is absent answers `unsupported`.
pub struct Reach {
    plugin: Arc<str>,
    library: Option<LibraryView>,
    settings: Arc<serde_json::Map<String, serde_json::Value>>,
    outside: Option<Arc<Outside>>,
    account: Option<Arc<Account>>,
    // The plugin whose rules an edit asks; none where a call may not edit.
    rules: Option<Arc<Plugin>>,
    // What the plugin's description asks for: message types, hosts, state.
    events: Vec<String>,
    hosts: Vec<String>,
    keeps_state: bool,
    grants: Grants,
    log_lines: u32,
    /// The last error that it logged in this call: where a panic was, since the trap that follows does not know.
    pub(super) last_error: Option<String>,
    events_sent: u32,
    requests_made: u32,
    edits_made: u32,
    collects_routes: bool,
    /// Routes that were asked for.
    pub(super) routes: Vec<RouteWish>,
}

impl Reach {
    /// Nothing but the log: for `describe` and the rules, which must be pure.
    pub fn closed(plugin: &str) -> Self {
        Self {
            plugin: plugin.into(),
            library: None,
            settings: Arc::default(),
            outside: None,
            account: None,
            rules: None,
            events: Vec::new(),
            hosts: Vec::new(),
            keeps_state: false,
            grants: Grants::default(),
            log_lines: 0,
            last_error: None,
            events_sent: 0,
            requests_made: 0,
            edits_made: 0,
            collects_routes: false,
            routes: Vec::new(),
        }
    }

    /// The route table of its own type.
    pub fn setup(info: &TypeInfo) -> Self {
        Self {
            collects_routes: true,
            ..Self::closed(info.id())
        }
    }

    /// Everything that a request may use; without `may_edit`, models can be read and not changed.
    pub fn request(
        plugin: &Arc<Plugin>,
        library: LibraryView,
        settings: Arc<serde_json::Map<String, serde_json::Value>>,
        outside: Arc<Outside>,
        grants: Grants,
        may_edit: bool,
    ) -> Self {
        let asked = plugin.info().descriptor.capabilities.clone();
        Self {
            library: Some(library),
            settings,
            outside: Some(outside),
            account: Some(plugin.account().clone()),
            rules: may_edit.then(|| plugin.clone()),
            events: asked.events,
            hosts: asked.remote_hosts,
            keeps_state: asked.kv,
            grants,
            ..Self::closed(plugin.info().id())
        }
    }
}

/// The answer of an interface that this host, or this kind of call, does not serve.
fn unsupported<T>(what: &str) -> Result<T, wit::types::Error> {
    Err(wit::types::Error::Unsupported(format!(
        "{what} is not served by this host here"
    )))
}

impl wit::types::Host for CallState {}
impl wit::description::Host for CallState {}
impl wit::rule_types::Host for CallState {}
