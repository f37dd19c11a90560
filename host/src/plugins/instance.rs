//! One call, one instance: a fresh store from the pool, filled with what the call may
//! reach, bounded in memory and time, and thrown away afterwards.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use super::account::Account;
use super::bindings::{ModelType, ModelTypePre};
use super::clock::Clock;
use super::engine::{BATCHED, CallKind, PluginEngine, TICK};
use super::error::{CallError, LimitError};
use super::imports::Reach;
use super::output::Output;
use super::wasi::{self, Printed};

/// What lives in a store during a call.
pub struct CallState {
    memory: MemoryLimit,
    /// What the plugin may use and used, over all calls.
    pub(super) account: Arc<Account>,
    /// Its time.
    pub clock: Arc<Clock>,
    /// WASI, once the guest asked for something of it.
    pub(super) wasi: Option<WasiCtx>,
    /// What it printed.
    pub(super) printed: Printed,
    /// Resources that the guest holds.
    pub table: ResourceTable,
    /// What the guest can reach through its imports.
    pub reach: Reach,
}

/// Most resources that a guest holds at a time.
const MAX_RESOURCES: usize = 10_000;
/// Most elements in a table.
const MAX_TABLE: usize = 1 << 20;

/// The memory that a call has and may have, in bytes.
struct MemoryLimit {
    most: usize,
    had: usize,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.most {
            // Guests can't go on without memory; so this names what an abort would not.
            return Err(LimitError::Memory(self.most).into());
        }
        self.had = self.had.max(desired);
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= maximum.unwrap_or(MAX_TABLE).min(MAX_TABLE))
    }
}

/// A linker with every import of the world, WASI for a component that imports it, and nothing else.
pub(super) fn linker(engine: &wasmtime::Engine, component: &Component) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    ModelType::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut CallState| state)?;
    wasi::add_to_linker(&mut linker, component)?;
    Ok(linker)
}

/// The future of a call on an instance in its store.
pub(super) type CallFuture<'a, T> = BoxFuture<'a, wasmtime::Result<T>>;

/// What is to be called, where, and with what in reach.
pub(super) struct Call<'a> {
    /// The engine whose pool and threads are used.
    pub engine: &'a Arc<PluginEngine>,
    /// The component, linked.
    pub pre: &'a ModelTypePre<CallState>,
    /// Id for errors.
    pub plugin: &'a str,
    /// Name of the export for errors.
    pub export: &'static str,
    /// How long it may take.
    pub time_limit: Duration,
    /// What the plugin may use and used.
    pub account: &'a Arc<Account>,
    /// What it may wait for.
    pub kind: CallKind,
    /// What its imports reach.
    pub reach: Reach,
}

impl Call<'_> {
    /// Makes the call on the plugin threads.
    ///
    /// # Errors
    /// [`CallError::Trap`] and [`CallError::Limit`] for what happens inside.
    pub async fn run<T, F>(self, body: F) -> Result<(T, Reach), CallError>
    where
        T: Output + Send + 'static,
        F: for<'s> FnOnce(&'s ModelType, &'s mut Store<CallState>) -> CallFuture<'s, T> + Send + 'static,
    {
        let runtime = self.engine.runtime(self.export).ok_or(CallError::Shutdown)?.clone();
        let own_place = self.account.place(self.kind).await?;
        let places = self.engine.places(self.kind).clone();
        let place = places.acquire_owned().await.map_err(|_| CallError::Shutdown)?;
        let (engine, pre, plugin) = (self.engine.clone(), self.pre.clone(), self.plugin.to_owned());
        let (account, kind) = (self.account.clone(), self.kind);
        let (export, time_limit, reach) = (self.export, self.time_limit, self.reach);
        runtime
            .spawn(async move {
                let outcome = Call {
                    engine: &engine,
                    pre: &pre,
                    plugin: &plugin,
                    export,
                    time_limit,
                    account: &account,
                    kind,
                    reach,
                }
                .run_here(body)
                .await;
                drop(place);
                let pause = account.limits().fault_pause();
                let faulty = outcome.as_ref().is_err_and(CallError::is_fault);
                if faulty && !pause.is_zero() && !BATCHED.contains(&export) {
                    tokio::spawn(async move {
                        tokio::time::sleep(pause).await;
                        drop(own_place);
                    });
                }
                outcome
            })
            .await
            .map_err(|error| {
                tracing::error!(%error, "a call into a plugin broke off");
                CallError::Shutdown
            })?
    }

    /// Makes the call on the caller's own executor, without a place in the queue for the pool.
    ///
    /// # Errors
    /// As [`Call::run`].
    pub async fn run_here<T, F>(self, body: F) -> Result<(T, Reach), CallError>
    where
        T: Output,
        F: for<'s> FnOnce(&'s ModelType, &'s mut Store<CallState>) -> CallFuture<'s, T>,
    {
        let limits = self.account.limits();
        let clock = Arc::new(Clock::new(self.time_limit));
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let state = CallState {
            memory: MemoryLimit {
                most: limits.memory_bytes(),
                had: 0,
            },
            account: self.account.clone(),
            clock: clock.clone(),
            wasi: None,
            printed: Printed::default(),
            table,
            reach: self.reach,
        };
        let mut store = Store::new(self.engine.engine(), state);
        store.limiter(|state| &mut state.memory);
        // Enough to say by how much an answer is too large, one that says the same text several times, too.
        store.set_hostcall_fuel(limits.output_bytes().saturating_mul(8).max(1 << 20));
        store.set_epoch_deadline(1);
        // Every tick the guest hands its thread to the next task, so that one endless loop can't
        // starve the others until its own time is over.
        store.epoch_deadline_callback(|mut context| {
            let clock = &context.data_mut().clock;
            if clock.left().is_zero() {
                return Err(LimitError::Time(clock.limit()).into());
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let outcome = in_time(&clock, async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            body(&instance, &mut store).await
        })
        .await;
        self.account.note(self.export, clock.elapsed());
        self.account.had_memory(store.data().memory.had);
        let CallState { reach, printed, .. } = store.into_data();
        let printed = printed.take();
        if let Some(text) = printed
            .as_ref()
            .filter(|text| self.account.may_log(self.plugin, text.len()))
        {
            tracing::info!(target: "plugin", plugin = self.plugin, "{text}");
        }
        match outcome {
            Ok(answer) => within(self.plugin, self.export, limits.output_bytes(), answer).map(|answer| (answer, reach)),
            // What it logged says more than what its language printed, such as a traceback, and either more than the trap.
            Err(error) => Err(failure(self.plugin, self.export, &error, reach.last_error.or(printed))),
        }
    }
}

/// Ends a call whose time is over while it waits: a guest that sleeps in WASI runs nothing, and so is not asked for the
/// time.
async fn in_time<T>(clock: &Clock, call: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    let mut call = std::pin::pin!(call);
    loop {
        match tokio::time::timeout(clock.left() + TICK, &mut call).await {
            Ok(outcome) => return outcome,
            Err(_) if clock.left().is_zero() => return Err(LimitError::Time(clock.limit()).into()),
            Err(_) => {}
        }
    }
}

/// Refuses an answer that is larger than it may be.
fn within<T: Output>(plugin: &str, export: &'static str, limit: usize, answer: T) -> Result<T, CallError> {
    match answer.bytes() {
        size if size > limit => Err(CallError::Limit {
            plugin: plugin.to_owned(),
            export,
            limit: LimitError::Output { size, limit },
        }),
        _ => Ok(answer),
    }
}

fn failure(plugin: &str, export: &'static str, error: &wasmtime::Error, last_error: Option<String>) -> CallError {
    let plugin = plugin.to_owned();
    match error.downcast_ref::<LimitError>() {
        Some(limit) => CallError::Limit {
            plugin,
            export,
            limit: limit.clone(),
        },
        None => CallError::Trap {
            plugin,
            export,
            reason: last_error
                .into_iter()
                .chain([readable(&format!("{error:?}"))])
                .collect::<Vec<_>>()
                .join("\n"),
        },
    }
}

/// A backtrace with the names of Rust's functions as people write them.
fn readable(backtrace: &str) -> String {
    let line = |line: &str| match line.rsplit_once('!') {
        Some((module, symbol)) => match rustc_demangle::try_demangle(symbol) {
            Ok(name) => format!("{module}!{name:#}"),
            Err(_) => line.to_owned(),
        },
        None => line.to_owned(),
    };
    backtrace.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_backtrace_are_readable() {
        let trace = "error\n  8: 0x1b8c - guest.wasm!_RNvCsfQCNutE22h8_23modelshelf_guest_faulty4trap\n  9: 0x1 - guest.wasm!handle";
        assert_eq!(
            readable(trace),
            "error\n  8: 0x1b8c - guest.wasm!modelshelf_guest_faulty::trap\n  9: 0x1 - guest.wasm!handle"
        );
    }
}
