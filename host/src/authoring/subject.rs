//! A component under examination: loaded as the server loads it, with a library of awkward files to answer from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::conformance::files;
use crate::hub::Hub;
use crate::library::Library;
use crate::library::hashing::{Hashing, HashingOptions};
use crate::library::history::{History, HistorySettings};
use crate::library::roots::Root;
use crate::library::store::Store;
use crate::library::watch::Keeping;
use crate::plugins::imports::{LibraryView, Outside, Reach};
use crate::plugins::limits::{AllLimits, Limits};
use crate::plugins::{CodeCache, Compiler, Grants, KvStore, Plugin, PluginEngine, builtin};

/// How long a first reading of a dozen files may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A loaded component.
pub struct Subject {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub wasm: Vec<u8>,
    /// How long compiling, linking and asking it took.
    pub load_time: Duration,
    /// It, ready to be called.
    pub plugin: Arc<Plugin>,
    /// How long the first reading of a dozen files may take.
    pub patience: Duration,
    engine: Arc<PluginEngine>,
    cache: Arc<CodeCache>,
    outside: Arc<Outside>,
    // Store, roots and compiled code; goes when the examination is over.
    folder: tempfile::TempDir,
}

impl Subject {
    /// Loads a component, by the same code as the server.
    ///
    /// # Errors
    /// When the file can't be read, or the server would leave it out.
    pub async fn load(path: &Path, memory_mib: usize, compiler: Compiler) -> anyhow::Result<Self> {
        let wasm = crate::roster::component(path)?;
        let general = Limits {
            memory_mib,
            // Every check is made, whatever the ones before it found.
            quarantine_traps: 0,
            ..Limits::default()
        };
        let engine = Arc::new(PluginEngine::new(AllLimits {
            general,
            ..AllLimits::default()
        })?);
        let folder = tempfile::tempdir().context("can't make a temporary folder")?;
        // Where there is a lasting place for caches, the built-in types are compiled once.
        let compiled = dirs::cache_dir().map_or_else(
            || folder.path().join("compiled"),
            |cache| cache.join("modelshelf/compiled"),
        );
        let cache = Arc::new(CodeCache::new(compiled, engine.engine(), compiler));
        let outside = Outside {
            hub: Arc::new(Hub::default()),
            history: Arc::new(History::open(&folder.path().join("data"), HistorySettings::default())),
            kv: KvStore::new(folder.path().join("plugins.sqlite")),
            handle: tokio::runtime::Handle::current(),
        };
        let started = Instant::now();
        let name = path.display().to_string();
        let plugin = Arc::new(Plugin::load(&engine, &cache, &name, &wasm).await?);
        Ok(Self {
            path: path.to_owned(),
            load_time: started.elapsed(),
            wasm,
            plugin,
            patience: PATIENCE,
            engine,
            cache,
            outside: Arc::new(outside),
            folder,
        })
    }

    /// The same component, loaded once more.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub async fn again(&self) -> anyhow::Result<Plugin> {
        let name = self.path.display().to_string();
        Ok(Plugin::load(&self.engine, &self.cache, &name, &self.wasm).await?)
    }

    /// The built-in types, which it must get on with.
    pub async fn builtins(&self) -> Vec<Plugin> {
        let mut plugins = Vec::new();
        for (name, wasm) in builtin::BUILTIN {
            if let Ok(plugin) = Plugin::load(&self.engine, &self.cache, name, wasm).await {
                plugins.push(plugin);
            }
        }
        plugins
    }

    /// wasmtime's engine.
    pub fn engine(&self) -> &PluginEngine {
        &self.engine
    }

    /// A library of awkward files, read as the server reads one; none when reading them does not end.
    ///
    /// # Errors
    /// When the temporary folder can't be used.
    pub async fn library(&self) -> anyhow::Result<Option<Arc<Library>>> {
        let info = self.plugin.info().clone();
        let mut roots = Vec::new();
        for kind in &info.descriptor.roots {
            let folder = self.folder.path().join("models").join(&kind.key);
            files::write(&folder, info.extensions())?;
            roots.extend(Root::new(&folder, &kind.key));
        }
        let store = Arc::new(Store::open(&self.folder.path().join("data"))?);
        let options = HashingOptions {
            threads: 1,
            per_disk: 1,
            bytes_per_second: 0.0,
            block: 1 << 20,
            network: false,
        };
        let hashing = Hashing::new(options, store.clone());
        let library = Arc::new(Library::open(info, roots, store, &hashing, Arc::new(Hub::default())));
        let keeping = Keeping {
            watch: false,
            poll: Duration::from_secs(3600),
            stable: Duration::ZERO,
        };
        library.keep(self.plugin.clone(), keeping);
        let started = Instant::now();
        while library.is_initializing() {
            if started.elapsed() > self.patience {
                library.close();
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        library.close();
        library.idle().await;
        Ok(Some(library))
    }

    /// What a request to a route of its own may reach, on this library: no host was granted, and a GET edits nothing.
    pub fn reach(&self, library: &Arc<Library>, method: &str) -> Reach {
        let view = LibraryView::of(library);
        Reach::request(
            &self.plugin,
            view,
            Arc::default(),
            self.outside.clone(),
            Grants::default(),
            method != "GET",
        )
    }
}
