//! One call, one instance: a fresh store from the pool, filled with what the call may
//! reach, bounded in memory and time, and thrown away afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use super::account::Account;
use super::bindings::{ModelType, ModelTypePre};
use super::engine::{CallKind, PluginEngine};
use super::error::{CallError, LimitError};
use super::imports::Reach;

/// What lives in a store during a call.
pub struct CallState {
    memory: MemoryLimit,
    started: Instant,
    /// How long it waited for what is not its own work.
    pub waited: Duration,
    time_limit: Duration,
    /// Resources that the guest holds.
    pub table: ResourceTable,
    /// What the guest can reach through its imports.
    pub reach: Reach,
}

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

/// A linker with every import of the world and nothing else.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    ModelType::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut CallState| state)?;
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
        T: Send + 'static,
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
                let _places = (own_place, place);
                Call {
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
                .await
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
        F: for<'s> FnOnce(&'s ModelType, &'s mut Store<CallState>) -> CallFuture<'s, T>,
    {
        let limits = self.account.limits();
        let started = Instant::now();
        let state = CallState {
            memory: MemoryLimit {
                most: limits.memory_bytes(),
                had: 0,
            },
            started,
            waited: Duration::ZERO,
            time_limit: self.time_limit,
            table: ResourceTable::new(),
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
            let state = context.data_mut();
            if state.started.elapsed() > state.time_limit + state.waited {
                return Err(LimitError::Time(state.time_limit).into());
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let outcome = match self.pre.instantiate_async(&mut store).await {
            Ok(instance) => body(&instance, &mut store).await,
            Err(error) => Err(error),
        };
        self.account.note(self.export, started.elapsed());
        self.account.had_memory(store.data().memory.had);
        match outcome {
            Ok(value) => Ok((value, store.into_data().reach)),
            Err(error) => Err(failure(
                self.plugin,
                self.export,
                &error,
                store.into_data().reach.last_error,
            )),
        }
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
