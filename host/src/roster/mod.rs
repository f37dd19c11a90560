//! The model types that there are: loading them at the start, and replacing and adding them while the server runs.

mod choices;
mod entry;
mod start;
mod swap;
mod switch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

pub use choices::{Choices, ChoicesError};
pub use entry::{Entry, Failure, Source, component};
pub use start::load;
pub use swap::{SwapError, Swapped, replace};
pub use switch::{disable, enable, watch_quarantine};

use crate::app::App;
use crate::http::registrar::{BindError, RouteTable};
use crate::model_types::TypeSlot;
use crate::plugins::imports::Outside;
use crate::plugins::{CodeCache, Compiler, Grants, LoadError, Plugin, PluginEngine};

/// Every plugin that the server knows of, those that can't be served too, and what is needed to load one.
pub struct Roster {
    engine: Arc<PluginEngine>,
    cache: Arc<CodeCache>,
    /// What requests to plugins reach beside the models.
    pub outside: Arc<Outside>,
    /// What a person chose.
    pub choices: Choices,
    // In the order in which they were found.
    entries: Mutex<Vec<Entry>>,
    // By source: held while a version of it is compiled and takes its place.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Roster {
    /// Knows of no plugin yet. Compiled code is kept in the folder.
    pub fn new(
        engine: PluginEngine,
        compiled: PathBuf,
        compiler: Compiler,
        outside: Outside,
        choices: Choices,
    ) -> Self {
        let cache = CodeCache::new(compiled, engine.engine(), compiler);
        Self {
            engine: Arc::new(engine),
            cache: Arc::new(cache),
            outside: Arc::new(outside),
            choices,
            entries: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// Compiles a component and asks it what it is, without serving it.
    ///
    /// # Errors
    /// When it is no model type for this host.
    pub async fn examine(&self, source: &Source, wasm: &[u8]) -> Result<Plugin, LoadError> {
        Plugin::load(&self.engine, &self.cache, &source.to_string(), wasm).await
    }

    /// Waits until no other version of a source is being compiled. Versions of other sources don't wait for it.
    async fn turn_of(&self, source: &Source) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(source.to_string()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Whether a component was compiled before, so that loading it takes some milliseconds.
    async fn is_compiled(&self, wasm: Arc<[u8]>) -> bool {
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || cache.has(&wasm))
            .await
            .unwrap_or(false)
    }

    /// What a plugin may do beyond the sandbox: by the settings, and by what was chosen.
    pub fn grants(&self, app: &App, id: &str) -> Grants {
        let mut grants = app.settings.grants.get(id).cloned().unwrap_or_default();
        grants.remote_hosts.extend(self.choices.hosts(id));
        grants
    }

    /// All plugins that are known, as they are now.
    pub fn entries(&self) -> Vec<Entry> {
        self.locked().clone()
    }

    /// Whether the newest that is known of a source is a version with this digest, and it could be loaded.
    pub fn knows(&self, source: &Source, digest: &str) -> bool {
        let entries = self.locked();
        let mut own = entries.iter().filter(|entry| entry.source == *source);
        own.any(|entry| {
            entry.failure.is_none() && entry.plugin.as_ref().is_some_and(|plugin| plugin.digest() == digest)
        })
    }

    /// Notes that a source is called otherwise from now on: only a build tells what a crate's component is called.
    pub fn rename(&self, from: &Source, to: &Source) {
        let mut entries = self.locked();
        if entries.iter().any(|entry| entry.source == *to) {
            entries.retain(|entry| entry.source != *from || entry.plugin.is_some());
        } else if let Some(entry) = entries.iter_mut().find(|entry| entry.source == *from) {
            entry.source = to.clone();
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why a source gives no newer version, such as a compiler's message; the last good one goes on serving. The
    /// next version that loads ends the failure.
    pub fn note_failure(&self, app: &App, source: &Source, reason: String) {
        self.note(source, None, Some(reason));
        announce(app);
    }

    /// Notes that the first version of a source is being built.
    pub fn note_building(&self, app: &App, source: &Source) {
        self.note(source, None, None);
        announce(app);
    }

    /// Notes what became of a source: another plugin, or why there is none.
    fn note(&self, source: &Source, plugin: Option<Arc<Plugin>>, reason: Option<String>) {
        let mut entries = self.locked();
        let id = plugin.as_ref().map(|plugin| plugin.info().id().to_owned());
        let same_id = |entry: &Entry| id.is_some() && entry.id() == id.as_deref();
        let known = entries.iter().position(same_id);
        let at = match known.or_else(|| entries.iter().position(|entry| entry.source == *source)) {
            Some(at) => at,
            None => {
                entries.push(Entry::new(source.clone()));
                entries.len() - 1
            }
        };
        if let Some(entry) = entries.get_mut(at) {
            entry.note(source, plugin, reason);
        }
        // A file whose first version failed or was another type, and that turns out to be a version of a type that is here.
        let mut index = 0;
        entries.retain(|entry| {
            index += 1;
            index == at + 1 || entry.source != *source
        });
    }
}

/// Tells clients that plugins came, went or changed.
fn announce(app: &App) {
    app.hub.broadcast(r#"{"type":"plugins_changed"}"#.to_owned());
}

/// The routes of these types, each with its plugin's own.
fn bind(slots: &[Arc<TypeSlot>]) -> Result<RouteTable, BindError> {
    let mut table = RouteTable::new();
    for slot in slots {
        table.add_type(slot, slot.plugin.routes())?;
    }
    Ok(table)
}

/// The order of the navigation.
fn arrange(slots: &mut [Arc<TypeSlot>]) {
    slots.sort_by(|a, b| {
        let place = |slot: &TypeSlot| (slot.info.descriptor.menu_order, slot.info.id().to_owned());
        place(a).cmp(&place(b))
    });
}
