//! `host plugin inspect`: what a component is, asks for, weighs and costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::conformance::data;
use super::subject::Subject;
use crate::plugins::CallError;

/// Items of a batch, as the server's scans have them.
const BATCH: usize = 128;
/// How long each call is repeated.
const MEASURED: Duration = Duration::from_millis(300);

/// What a component is.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// The file.
    pub file: String,
    /// Size in bytes.
    pub bytes: usize,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// The version of the interface that it was built for.
    pub interface: String,
    /// Id of the type.
    pub id: String,
    /// Prefix of its URLs.
    pub prefix: String,
    /// Its name for people.
    pub display_name: String,
    /// Its version.
    pub version: String,
    /// What it exports.
    pub exports: Vec<String>,
    /// Imported interfaces with the functions that it uses of them.
    pub imports: Imports,
    /// Own routes, method and template.
    pub routes: Vec<String>,
    /// Hosts that it would like to fetch from.
    pub remote_hosts: Vec<String>,
    /// Whether it would like own state.
    pub kv: bool,
    /// Messages that it would like to send.
    pub events: Vec<String>,
    /// Milliseconds until it could be called.
    pub load_ms: u64,
    /// What calls cost.
    pub cost: Cost,
}

/// What calls cost, on this machine.
#[derive(Debug, Serialize)]
pub struct Cost {
    /// Microseconds of a call that does nothing, with its instance.
    pub call_us: f64,
    /// Items of a measured batch.
    pub batch: usize,
    /// Microseconds of `derive` for one file.
    pub derive_us_per_item: f64,
    /// Microseconds of `format` for one model.
    pub format_us_per_item: f64,
}

impl Facts {
    /// Its capabilities as a sentence.
    pub fn asks_for(&self) -> String {
        let mut wishes = Vec::new();
        if self.kv {
            wishes.push("own state (kv)".to_owned());
        }
        if !self.remote_hosts.is_empty() {
            wishes.push(format!("requests to {}", self.remote_hosts.join(", ")));
        }
        if !self.events.is_empty() {
            wishes.push(format!("messages of the types {}", self.events.join(", ")));
        }
        if wishes.is_empty() {
            "nothing".to_owned()
        } else {
            wishes.join("; ")
        }
    }
}

/// Looks at a component and measures it.
///
/// # Errors
/// When a measured call fails.
pub async fn facts(subject: &Subject) -> anyhow::Result<Facts> {
    let plugin = &subject.plugin;
    let descriptor = &plugin.info().descriptor;
    let (imports, exports) = interfaces(subject)?;
    Ok(Facts {
        file: subject.path.display().to_string(),
        bytes: subject.wasm.len(),
        sha256: plugin.digest().to_owned(),
        interface: imports
            .keys()
            .find_map(|name| name.split_once('@'))
            .map_or_else(String::new, |(_, version)| version.to_owned()),
        id: descriptor.id.clone(),
        prefix: descriptor.prefix.clone(),
        display_name: descriptor.display_name.clone(),
        version: descriptor.version.clone(),
        exports,
        routes: plugin
            .routes()
            .iter()
            .map(|wish| format!("{} {}", wish.method, wish.template))
            .collect(),
        imports: imports
            .into_iter()
            .filter(|(_, functions)| !functions.is_empty())
            .collect(),
        remote_hosts: descriptor.capabilities.remote_hosts.clone(),
        kv: descriptor.capabilities.kv,
        events: descriptor.capabilities.events.clone(),
        load_ms: subject.load_time.as_millis() as u64,
        cost: cost(subject).await?,
    })
}

/// Imported interfaces with the functions that are used of them.
type Imports = BTreeMap<String, Vec<String>>;

/// Imported interfaces with their functions, and exports.
///
/// # Errors
/// When the component can't be compiled.
pub fn interfaces(subject: &Subject) -> anyhow::Result<(Imports, Vec<String>)> {
    let engine = subject.engine().engine();
    let component = Component::new(engine, &subject.wasm).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let ty = component.component_type();
    let mut imports = BTreeMap::new();
    for (name, import) in ty.imports(engine) {
        let functions = match import.ty {
            ComponentItem::ComponentInstance(instance) => {
                let functions = instance
                    .exports(engine)
                    .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
                functions.map(|(name, _)| name.to_owned()).collect()
            }
            _ => Vec::new(),
        };
        imports.insert(name.to_owned(), functions);
    }
    let exports = ty
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
    Ok((imports, exports.map(|(name, _)| name.to_owned()).collect()))
}

/// Measures calls with the data of ordinary files.
///
/// # Errors
/// When one fails.
pub async fn cost(subject: &Subject) -> Result<Cost, CallError> {
    let plugin = &subject.plugin;
    let files: Arc<[_]> = vec![data::ordinary_file(plugin.info()); BATCH].into();
    let derived = plugin.derive(files.clone()).await?;
    let models: Arc<[_]> = files
        .iter()
        .zip(&derived)
        .map(|(file, derived)| data::model_of(file, derived))
        .collect::<Vec<_>>()
        .into();
    let call = measured(async || plugin.derive(Arc::from([])).await.map(drop)).await?;
    let derive = measured(async || plugin.derive(files.clone()).await.map(drop)).await?;
    let format = measured(async || plugin.format(models.clone()).await.map(drop)).await?;
    let one = |whole: f64| (whole - call).max(0.0) / BATCH as f64;
    Ok(Cost {
        call_us: call,
        batch: BATCH,
        derive_us_per_item: one(derive),
        format_us_per_item: one(format),
    })
}

/// Microseconds of one turn: the quickest, since everything else is the machine's doing.
async fn measured<E>(mut turn: impl AsyncFnMut() -> Result<(), E>) -> Result<f64, E> {
    let end = Instant::now() + MEASURED;
    let mut best = f64::INFINITY;
    while Instant::now() < end {
        let started = Instant::now();
        turn().await?;
        best = best.min(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(best)
}
