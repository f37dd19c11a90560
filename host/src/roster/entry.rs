//! One plugin as the roster knows it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::files::foreign::{ForeignError, ForeignFile};
use crate::plugins::{LoadError, Plugin, builtin};

/// Most bytes of a component: those of languages with a runtime inside have some 40 MiB.
const LARGEST_COMPONENT: u64 = 128 << 20;

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is part of the server, under this name.
    BuiltIn(&'static str),
    /// A component in a file.
    File(PathBuf),
}

impl Source {
    /// Reads the component.
    ///
    /// # Errors
    /// When the file can't be read.
    pub async fn read(&self) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::BuiltIn(name) => {
                let own = builtin::BUILTIN.iter().find(|(own, _)| own == name);
                Ok(own.map(|(_, wasm)| wasm.to_vec()).unwrap_or_default())
            }
            Self::File(path) => {
                let own = path.clone();
                let read = tokio::task::spawn_blocking(move || component(&own)).await;
                read.unwrap_or_else(|error| {
                    Err(ForeignError::Io {
                        path: path.clone(),
                        source: std::io::Error::other(error),
                    })
                })
                .map_err(LoadError::File)
            }
        }
    }
}

/// Reads the file of a component. Blocks.
///
/// # Errors
/// When there is none, or it is larger than a component may be.
pub fn component(path: &Path) -> Result<Vec<u8>, ForeignError> {
    ForeignFile::existing(path)?.read_at_most(LARGEST_COMPONENT)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a plugin's newest version is not served.
#[derive(Debug, Clone)]
pub struct Failure {
    /// For a person.
    pub reason: String,
    /// When that was found.
    pub at: SystemTime,
}

/// A plugin that is known.
#[derive(Clone)]
pub struct Entry {
    /// Where its newest version comes from.
    pub source: Source,
    /// The last version that could be served; none when there never was one.
    pub plugin: Option<Arc<Plugin>>,
    /// When that one was loaded.
    pub loaded: Option<SystemTime>,
    /// Why a newer one is not served.
    pub failure: Option<Failure>,
    // The part of the server whose place it took.
    built_in: Option<&'static str>,
}

impl Entry {
    /// Nothing is known of it yet.
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            plugin: None,
            loaded: None,
            failure: None,
            built_in: None,
        }
    }

    /// The id of its type, when a version of it was ever loaded.
    pub fn id(&self) -> Option<&str> {
        self.plugin.as_ref().map(|plugin| plugin.info().id())
    }

    /// The built-in plugin that comes back when the source of this one turns into another type.
    pub(super) fn stands_in_for(&self) -> Option<Source> {
        self.built_in.map(Source::BuiltIn)
    }

    pub(super) fn note(&mut self, source: &Source, plugin: Option<Arc<Plugin>>, reason: Option<String>) {
        self.failure = reason.map(|reason| Failure {
            reason,
            at: SystemTime::now(),
        });
        let Some(plugin) = plugin else { return };
        if let (Source::BuiltIn(name), Source::File(_)) = (&self.source, source) {
            self.built_in = Some(name);
        }
        if matches!(source, Source::BuiltIn(_)) {
            self.built_in = None;
        }
        self.source = source.clone();
        self.plugin = Some(plugin);
        self.loaded = Some(SystemTime::now());
    }
}
