//! Model types as sandboxed WebAssembly components: the engine, the loader, calls and
//! what a plugin reaches through its imports.

pub mod bindings;
pub mod builtin;
mod code_cache;
pub mod descriptor;
pub mod engine;
pub mod error;
pub mod imports;
mod instance;
pub mod limits;
pub mod plugin;
pub mod rules;

pub use code_cache::CodeCache;
pub use descriptor::TypeInfo;
pub use engine::PluginEngine;
pub use error::{CallError, LoadError};
pub use plugin::Plugin;
