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

use super::TypeInfo;
use super::bindings::modelshelf::plugin as wit;
use super::instance::CallState;
use crate::hub::Hub;
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

/// What one call may reach through the plugin's imports. What is absent answers `unsupported`.
pub struct Reach {
    plugin: Arc<str>,
    library: Option<LibraryView>,
    settings: Arc<serde_json::Map<String, serde_json::Value>>,
    hub: Option<Arc<Hub>>,
    // Message types that the plugin's description names.
    events: Vec<String>,
    log_lines: u32,
    /// The last error that it logged in this call: where a panic was, since the trap that follows does not know.
    pub(super) last_error: Option<String>,
    events_sent: u32,
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
            hub: None,
            events: Vec::new(),
            log_lines: 0,
            last_error: None,
            events_sent: 0,
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

    /// Everything that a request may use.
    pub fn request(
        info: &TypeInfo,
        library: LibraryView,
        settings: Arc<serde_json::Map<String, serde_json::Value>>,
        hub: Arc<Hub>,
    ) -> Self {
        let events = info.descriptor.capabilities.events.clone();
        Self {
            library: Some(library),
            settings,
            hub: Some(hub),
            events,
            ..Self::closed(info.id())
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
