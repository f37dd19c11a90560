//! The WebAssembly engine: one for all plugins, with a pool of instances, a clock
//! for time limits, and a runtime of its own so that a busy plugin never holds up
//! the threads that serve HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::account::Account;
use super::error::LoadError;
use super::limits::{AllLimits, Limits};
use crate::library::parallel::lower_priority;

/// How often running guests look at their deadline and let others run.
pub const TICK: Duration = Duration::from_millis(5);

/// Memory of an unused place that stays mapped, in bytes: what a typical guest touches.
const KEPT_MEMORY: usize = 2 << 20;

/// Unused places that keep the memory of the component that was in them last, which is quicker to fill for it again.
/// With more, each new version of a plugin would go to a fresh place until all of them have memory.
const WARM_PLACES: u32 = 16;

/// Rules about many files or models. A batch of these that fails is halved until one file stands alone.
pub(super) const BATCHED: [&str; 4] = ["derive", "format", "merge-remote", "organise"];

/// Those that scans ask and no request waits for.
const BACKGROUND: [&str; 2] = ["derive", "format"];

/// Stack of a guest call in bytes; deep recursion traps when it is used up.
const GUEST_STACK: usize = 512 << 10;

/// What a call may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// It may edit a model, which calls rules.
    Request,
    /// It waits for nothing.
    Rule,
}

/// What decides how components are compiled; how instances are allocated has no part in that.
pub(in crate::plugins) fn code_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(GUEST_STACK + (512 << 10))
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    config
}

/// The engine, its clock and its threads.
pub struct PluginEngine {
    engine: Engine,
    limits: AllLimits,
    // By id of the plugin.
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    quarantined: tokio::sync::Notify,
    requests: Arc<Semaphore>,
    rules: Arc<Semaphore>,
    // An Option because dropping a runtime inside async code panics; shutdown takes it.
    runtime: Option<tokio::runtime::Runtime>,
    // For rules that scans ask: behind everything that answers requests.
    background: Option<tokio::runtime::Runtime>,
    stop: Arc<AtomicBool>,
}

impl PluginEngine {
    /// Sets the engine up and starts its clock.
    ///
    /// # Errors
    /// When the pool's address space can't be reserved or threads can't be started.
    pub fn new(limits: AllLimits) -> Result<Self, LoadError> {
        let instances = u32::try_from(limits.general.instances.clamp(1, 500)).unwrap_or(500);
        // A request may edit a model, and then waits for rules; so these have places of their own.
        let places = instances * 2;
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(places)
            .total_core_instances(places * 4)
            .total_memories(places)
            .total_tables(places * 4)
            .total_stacks(places)
            .max_unused_warm_slots(WARM_PLACES)
            .max_memory_size(limits.most_memory())
            .max_memories_per_component(1)
            .max_component_instance_size(4 << 20)
            .max_core_instance_size(4 << 20)
            // A page that stays mapped and is cleared costs less than one that is unmapped and
            // faulted in again. Where the kernel can say which pages were written (Linux 6.7 and
            // later), only those are cleared, so that all of a small guest's memory may stay.
            .linear_memory_keep_resident(KEPT_MEMORY)
            .table_keep_resident(16 << 10)
            .pagemap_scan(Enabled::Auto);
        let mut config = code_config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).map_err(|error| LoadError::Engine(error.to_string()))?;
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let runtime = |name: &str, threads: usize, begin: fn()| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(threads.clamp(1, 4))
                .thread_name(name)
                .on_thread_start(begin)
                .enable_all()
                .build()
                .map_err(|error| LoadError::Engine(error.to_string()))
        };
        let background = runtime("plugin-rules", processors, lower_priority)?;
        // Whatever guests do, a processor is left for the requests that need none.
        let runtime = runtime("plugin", processors.saturating_sub(1), || {})?;
        let stop = Arc::new(AtomicBool::new(false));
        let clock = (engine.weak(), stop.clone());
        std::thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || {
                while !clock.1.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                    let Some(engine) = clock.0.upgrade() else { return };
                    engine.increment_epoch();
                }
            })
            .map_err(|error| LoadError::Engine(error.to_string()))?;
        Ok(Self {
            engine,
            accounts: Mutex::default(),
            quarantined: tokio::sync::Notify::new(),
            requests: Arc::new(Semaphore::new(instances as usize)),
            rules: Arc::new(Semaphore::new(instances as usize)),
            limits,
            runtime: Some(runtime),
            background: Some(background),
            stop,
        })
    }

    /// wasmtime's engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The limits of plugins that have none of their own.
    pub fn limits(&self) -> &Limits {
        &self.limits.general
    }

    /// What the plugin with this id may use and used, in all of its versions.
    pub fn account(&self, id: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Account::new(self.limits.of(id).clone()));
        accounts.entry(id.to_owned()).or_insert_with(new).clone()
    }

    /// Told whenever a plugin was quarantined.
    pub fn quarantined(&self) -> &tokio::sync::Notify {
        &self.quarantined
    }

    /// Places for instances; a call holds one.
    pub(super) fn places(&self, kind: CallKind) -> &Arc<Semaphore> {
        match kind {
            CallKind::Request => &self.requests,
            CallKind::Rule => &self.rules,
        }
    }

    /// The threads that guests run on in a call of this export.
    pub(super) fn runtime(&self, export: &str) -> Option<&tokio::runtime::Handle> {
        let runtime = match BACKGROUND.contains(&export) {
            true => &self.background,
            false => &self.runtime,
        };
        runtime.as_ref().map(tokio::runtime::Runtime::handle)
    }
}

impl Drop for PluginEngine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for runtime in [self.runtime.take(), self.background.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}
