//! The model types that are served, and the gate in front of those that are not ready.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::library::Library;
use crate::plugins::bindings::{NamePatterns, QueryFilter};
use crate::plugins::{Asker, CallError, Plugin, TypeInfo};

/// Understood queries that are remembered for each type.
const REMEMBERED: usize = 256;

/// A type that routes are bound for.
pub struct TypeSlot {
    /// What it is.
    pub info: Arc<TypeInfo>,
    /// The plugin that says so and has its routes bound.
    pub plugin: Arc<Plugin>,
    service: ArcSwapOption<TypeService>,
    disabled: AtomicBool,
}

/// Why a type is out of service until somebody does something about it.
#[derive(Debug, Clone)]
pub enum Off {
    /// A person disabled it.
    Disabled,
    /// Its plugin trapped too often; the text says how.
    Quarantined(Arc<String>),
}

impl TypeSlot {
    /// A type whose library is not attached yet.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        Self {
            info: plugin.info().clone(),
            plugin,
            service: ArcSwapOption::empty(),
            disabled: AtomicBool::new(false),
        }
    }

    /// Opens the gate.
    pub fn attach(&self, service: TypeService) {
        self.service.store(Some(Arc::new(service)));
    }

    /// The service; none while the library is not attached, and of a plugin that is quarantined.
    pub fn service(&self) -> Option<Arc<TypeService>> {
        self.attached().filter(|service| service.plugin.quarantine().is_none())
    }

    /// The service, be its plugin quarantined or not.
    pub fn attached(&self) -> Option<Arc<TypeService>> {
        self.service.load_full()
    }

    /// Closes the gate; gives the service that was behind it.
    pub fn detach(&self) -> Option<Arc<TypeService>> {
        self.service.swap(None)
    }

    /// Notes that a person wants it out of service.
    pub fn disable(&self) {
        self.disabled.store(true, Ordering::Relaxed);
    }

    /// Why it is out of service, if it is not just being opened.
    pub fn off(&self) -> Option<Off> {
        if self.disabled.load(Ordering::Relaxed) {
            return Some(Off::Disabled);
        }
        self.plugin.quarantine().map(Off::Quarantined)
    }
}

/// A type that is served.
pub struct TypeService {
    /// Different for each service: generations of two libraries of one type may be the same.
    pub id: u64,
    /// Its plugin.
    pub plugin: Arc<Plugin>,
    /// Its models.
    pub library: Arc<Library>,
    /// The person's settings for the plugin.
    pub settings: Arc<serde_json::Map<String, serde_json::Value>>,
    // What the plugin made of query parameters; `parse-query` is pure.
    queries: Mutex<HashMap<Vec<(String, String)>, QueryFilter>>,
}

impl TypeService {
    /// A service of these parts.
    pub fn new(
        plugin: Arc<Plugin>,
        library: Arc<Library>,
        settings: Arc<serde_json::Map<String, serde_json::Value>>,
    ) -> Self {
        Self {
            id: rand::random(),
            plugin,
            library,
            settings,
            queries: Mutex::default(),
        }
    }

    /// What the plugin makes of the query parameters that are its own.
    ///
    /// # Errors
    /// The plugin's.
    pub async fn parse_query(&self, pairs: &[(String, String)], asker: Asker) -> Result<QueryFilter, CallError> {
        let own = &self.plugin.info().descriptor.query_parameters;
        let parameters: Vec<_> = pairs.iter().filter(|(name, _)| own.contains(name)).cloned().collect();
        if parameters.is_empty() {
            return Ok(nothing());
        }
        let remembered = || self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = remembered().get(&parameters) {
            return Ok(filter.clone());
        }
        let filter = self.plugin.parse_query(parameters.clone(), asker).await?;
        let mut queries = remembered();
        if queries.len() >= REMEMBERED {
            queries.clear();
        }
        queries.insert(parameters, filter.clone());
        Ok(filter)
    }
}

fn nothing() -> QueryFilter {
    QueryFilter {
        hashes: Vec::new(),
        fuzzy: None,
        initial: None,
        names: NamePatterns {
            include: Vec::new(),
            exclude: Vec::new(),
            regex: false,
        },
    }
}
