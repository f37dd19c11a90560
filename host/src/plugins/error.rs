//! What can go wrong between the host and a plugin.

use std::sync::Arc;
use std::time::Duration;

use super::bindings::GuestError;
use crate::files::foreign::ForeignError;

/// A limit that a call ran into.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LimitError {
    /// The call took longer than its share.
    #[error("ran longer than its limit of {} ms", .0.as_millis())]
    Time(Duration),
    /// The call wanted more memory than it may have, in bytes.
    #[error("wanted more memory than its limit of {0} bytes")]
    Memory(usize),
    /// What it keeps in `kv` would be more than it may be, in bytes.
    #[error("kv would hold {size} bytes, more than its limit of {limit}")]
    Stored {
        /// Bytes with the new value.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More requests of `remote` in a minute than there may be.
    #[error("made more than its limit of {0} requests in a minute")]
    Requests(usize),
    /// More messages to pages in a minute than there may be.
    #[error("sent more than its limit of {0} events in a minute")]
    Events(usize),
    /// The answer is larger than the output limit, in bytes.
    #[error("answered {size} bytes, more than its limit of {limit}")]
    Output {
        /// Bytes answered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

impl LimitError {
    /// The limit's name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Time(_) => "time",
            Self::Memory(_) => "memory",
            Self::Stored { .. } => "stored",
            Self::Requests(_) => "requests",
            Self::Events(_) => "events",
            Self::Output { .. } => "output",
        }
    }
}

/// A call into a plugin that failed on the plugin's side of the boundary.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It trapped, or used more memory or stack than it may.
    #[error("plugin `{plugin}` trapped in `{export}`: {reason}")]
    Trap {
        /// Id of the plugin.
        plugin: String,
        /// The export that was called.
        export: &'static str,
        /// wasmtime's reason with the guest's backtrace, for the log.
        reason: String,
    },
    /// It ran into a limit of the host.
    #[error("plugin `{plugin}` in `{export}`: {limit}")]
    Limit {
        /// Id of the plugin.
        plugin: String,
        /// The export that was called.
        export: &'static str,
        /// Which limit.
        limit: LimitError,
    },
    /// Its answer breaks the interface's rules, such as a list of another length.
    #[error("plugin `{plugin}` gave an answer that `{export}` does not allow: {reason}")]
    Answer {
        /// Id of the plugin.
        plugin: String,
        /// The export that was called.
        export: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It answered with an error of its own.
    #[error("{}", text(.0))]
    Guest(GuestError),
    /// It trapped too often before, and is not called any more.
    #[error("plugin `{plugin}` is quarantined: {reason}")]
    Quarantined {
        /// Id of the plugin.
        plugin: String,
        /// Why.
        reason: Arc<String>,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Shutdown,
}

impl CallError {
    /// Whether it is the plugin that broke a rule of the sandbox.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Trap { .. } | Self::Limit { .. } | Self::Answer { .. })
    }
}

/// Longest text of a guest's error that is shown or logged, in bytes.
const MAX_TEXT: usize = 2 << 10;

/// The text of a guest's error, cut where it is very long.
pub fn text(error: &GuestError) -> &str {
    let text = whole_text(error);
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// The text of a guest's error as it is.
pub(super) fn whole_text(error: &GuestError) -> &str {
    let (GuestError::Invalid(text)
    | GuestError::Unauthorised(text)
    | GuestError::NotFound(text)
    | GuestError::Conflict(text)
    | GuestError::Unsupported(text)
    | GuestError::Internal(text)) = error;
    text
}

/// A plugin that can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("the plugin can't be read: {0}")]
    File(#[from] ForeignError),
    /// The bytes are no component that fits this host.
    #[error(
        "{name} is no model type for this host: {reason}. It must be a WebAssembly component that exports \
         the world `modelshelf:plugin/model-type@0.1.0`; build it with `cargo xtask plugins` or the plugin builder"
    )]
    Component {
        /// File or built-in name.
        name: String,
        /// wasmtime's reason.
        reason: String,
    },
    /// It could not be compiled within its bounds.
    #[error("{name} is not loaded: {source}")]
    Compile {
        /// File or built-in name.
        name: String,
        /// Which bound.
        source: super::compiling::CompileError,
    },
    /// It was built for an interface that this host does not speak.
    #[error(
        "{name} is built for the version {wanted} of the interface `modelshelf:plugin`, and this server speaks {known}. \
         Build it with the SDK of this server, or use a server that speaks {wanted}"
    )]
    Interface {
        /// File or built-in name.
        name: String,
        /// The version that it was built for.
        wanted: String,
        /// The versions that fit.
        known: &'static str,
    },
    /// It imports what this host does not have.
    #[error(
        "{name} imports `{import}`, which this server does not have: a component gets the interfaces of \
         `modelshelf:plugin`, and of WASI 0.2 an empty `wasi:cli`, `clocks`, `filesystem`, `io`, `random` and `sockets`. \
         Build it without what uses that import"
    )]
    Import {
        /// File or built-in name.
        name: String,
        /// The import.
        import: String,
    },
    /// What `describe` said can't be used.
    #[error("plugin `{name}` describes itself wrongly: {reason}")]
    Descriptor {
        /// File or built-in name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A call at load failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The sandbox itself can't be set up.
    #[error("can't set up the WebAssembly engine: {0}")]
    Engine(String),
}

impl LoadError {
    /// wasmtime's reason why a component does not fit.
    pub(super) fn component(name: &str, error: &wasmtime::Error) -> Self {
        Self::Component {
            name: name.to_owned(),
            reason: format!("{error:#}"),
        }
    }
}
