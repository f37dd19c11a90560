//! Model types as sandboxed WebAssembly components: the engine, the loader, calls and
//! what a plugin reaches through its imports.

pub mod account;
pub mod bindings;
mod budget;
pub mod builtin;
mod clock;
mod code_cache;
pub mod compiling;
pub mod descriptor;
pub mod engine;
pub mod error;
mod grants;
pub mod imports;
mod instance;
mod kv_store;
pub mod limits;
mod output;
pub mod plugin;
pub mod rules;
mod wasi;

pub use code_cache::CodeCache;
pub use compiling::{CompileSettings, Compiler};
pub use descriptor::TypeInfo;
pub use engine::PluginEngine;
pub use error::{CallError, LoadError};
pub use grants::Grants;
pub use kv_store::KvStore;
pub use plugin::{Asker, Plugin};
