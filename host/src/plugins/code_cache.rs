//! Compiled components on disk, so that only the first start after a change compiles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::builtin;
use super::compiling::{CompileError, Compiler};
use super::error::LoadError;
use crate::files::atomic;
use crate::files::foreign::{self, ForeignFile, Links};

/// Most compiled components that are kept.
const KEPT: usize = 64;

/// A folder of compiled components, named by the digest of the component and of the
/// engine that compiled it.
pub struct CodeCache {
    engine: Engine,
    compiler: Compiler,
    // None where other users could put code.
    folder: Option<PathBuf>,
    // Hash of everything that makes compiled code fit: wasmtime's version, target and settings.
    engine_key: u64,
}

impl CodeCache {
    /// A cache in `folder`, which only the server's own user may be able to write:
    /// what lies there is run as native code.
    pub fn new(folder: PathBuf, engine: &Engine, compiler: Compiler) -> Self {
        use std::hash::{Hash, Hasher};
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let safe = crate::files::private_folder(&folder).and_then(|()| is_own(&folder));
        if let Err(error) = &safe {
            tracing::warn!(path = %folder.display(), %error, "compiled plugin code can't be kept safely; every start compiles");
        }
        Self {
            engine: engine.clone(),
            compiler,
            folder: safe.is_ok().then_some(folder),
            engine_key: hasher.finish(),
        }
    }

    /// Whether a component was compiled before, so that [`Self::component`] takes some milliseconds. Blocks.
    pub fn has(&self, wasm: &[u8]) -> bool {
        self.path_of(wasm).is_some_and(|path| path.is_file())
    }

    /// The component of these bytes, compiled now unless it was before. A component that is not part of the server is
    /// compiled in a process of its own.
    ///
    /// # Errors
    /// When the bytes are no component, or compiling them ran into a limit. The error has this name.
    pub async fn component(self: &Arc<Self>, engine: &Engine, name: &str, wasm: &[u8]) -> Result<Component, LoadError> {
        let (own, engine, wasm): (_, _, Arc<[u8]>) = (self.clone(), engine.clone(), wasm.into());
        let is_trusted = || builtin::BUILTIN.iter().any(|(_, built_in)| **built_in == *wasm);
        let here = !self.compiler.has_processes() || is_trusted();
        let bytes = wasm.clone();
        // Compiling takes seconds of every processor, which the threads that serve can't give.
        let found = tokio::task::spawn_blocking(move || {
            let path = own.path_of(&bytes);
            match path.as_ref().and_then(|path| own.load(&engine, path)) {
                Some(component) => Ok(Some(component)),
                None if here => own.compile_here(&engine, path.as_deref(), &bytes).map(Some),
                None => Ok(None),
            }
        });
        let found = found.await.map_err(|error| LoadError::Engine(error.to_string()))?;
        match found.map_err(|error| LoadError::component(name, &error))? {
            Some(component) => Ok(component),
            None => self.compile_apart(name, wasm).await,
        }
    }

    /// Where the code of a component is kept; none where nothing is.
    fn path_of(&self, wasm: &[u8]) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let digest = Sha256::digest(wasm);
        Some(folder.join(format!(
            "{}-{:016x}.cwasm",
            crate::files::hash::hex(&digest),
            self.engine_key
        )))
    }

    fn compile_here(&self, engine: &Engine, path: Option<&Path>, wasm: &[u8]) -> wasmtime::Result<Component> {
        let component = Component::new(engine, wasm)?;
        if let Some(path) = path
            && let Ok(code) = component.serialize()
            && let Err(error) = self.store(path, &code)
        {
            tracing::warn!(path = %path.display(), %error, "compiled plugin code can't be kept; the next start compiles again");
        }
        Ok(component)
    }

    async fn compile_apart(self: &Arc<Self>, name: &str, wasm: Arc<[u8]>) -> Result<Component, LoadError> {
        let failed = |error: std::io::Error| CompileError::from(error).of(name);
        let folder = self.folder.clone();
        // Nobody else can write to either folder, so that what is loaded is what the process wrote.
        let (code, _private) = tokio::task::spawn_blocking(move || unfinished(folder.as_deref()))
            .await
            .map_err(|error| LoadError::Engine(error.to_string()))?
            .map_err(failed)?;
        let file = code.as_file().try_clone().map_err(failed)?;
        tracing::info!(plugin = name, "compiling a plugin");
        let compiled = self.compiler.compile_into(wasm.clone(), file).await;
        compiled.map_err(|error| error.of(name))?;
        let (own, engine) = (self.clone(), self.engine.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            let component = own.load(&engine, code.path());
            if let Some(path) = own.path_of(&wasm).filter(|_| component.is_some())
                && let Err(error) = own.finish(code, &path)
            {
                tracing::warn!(path = %path.display(), %error, "compiled plugin code can't be kept; the next start compiles again");
            }
            component
        });
        let loaded = loaded.await.map_err(|error| LoadError::Engine(error.to_string()))?;
        loaded.ok_or_else(|| {
            LoadError::Engine(format!(
                "the code that was compiled for {name} does not fit this server"
            ))
        })
    }

    fn finish(&self, code: NamedTempFile, path: &Path) -> std::io::Result<()> {
        // Code that a power failure tore must not lie under its name.
        code.as_file().sync_all()?;
        code.persist(path).map_err(|error| error.error)?;
        path.parent().map_or(Ok(()), forget_oldest)
    }

    fn load(&self, engine: &Engine, path: &Path) -> Option<Component> {
        match foreign::inspect(path, Links::Refuse) {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!("compiled plugin code can't be used and is compiled again: {error}");
                return None;
            }
        }
        if let Err(error) = is_own(path) {
            tracing::warn!(path = %path.display(), %error, "compiled plugin code is not this user's; compiling again");
            return None;
        }
        // SAFETY: wasmtime must be given only what it serialised itself. The file's name carries the
        // digest of the component and the engine's compatibility hash; it was written whole by an
        // atomic rename, or by a process of ours that came to its end; and both it and its folder,
        // which is 0700, belong to this process's user, so that nobody else can have put it there.
        match unsafe { Component::deserialize_file(engine, path) } {
            Ok(component) => {
                // Its time says when it was of use last; where that can't be set it may be compiled again one day.
                let mut append = std::fs::OpenOptions::new();
                let used = ForeignFile::open_with(append.append(true), path, Links::Refuse);
                let _ = used.map(|file| file.map(|file| file.as_file().set_modified(std::time::SystemTime::now())));
                Some(component)
            }
            Err(error) => {
                tracing::info!(path = %path.display(), %error, "compiled plugin code does not fit; compiling again");
                None
            }
        }
    }

    fn store(&self, path: &Path, code: &[u8]) -> std::io::Result<()> {
        atomic::write(path, code)?;
        // A plugin that is worked on is another one with each save.
        path.parent().map_or(Ok(()), forget_oldest)
    }
}

/// A file for code that is being compiled: in the folder where it will be kept, or in one of its own that goes with the
/// second value.
fn unfinished(folder: Option<&Path>) -> std::io::Result<(NamedTempFile, Option<TempDir>)> {
    let mut named = tempfile::Builder::new();
    named.prefix("compiling-").suffix(".part");
    match folder {
        Some(folder) => Ok((named.tempfile_in(folder)?, None)),
        None => {
            let own = tempfile::tempdir()?;
            Ok((named.tempfile_in(own.path())?, Some(own)))
        }
    }
}

/// Removes the files whose last use is longest ago, beyond those that are kept.
fn forget_oldest(folder: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort_unstable();
    let beyond = files.len().saturating_sub(KEPT);
    files
        .iter()
        .take(beyond)
        .try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// Fails where a file or folder belongs to another user.
fn is_own(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::symlink_metadata(path)?);
        if owner != rustix::process::geteuid().as_raw() {
            return Err(std::io::Error::other(format!("it belongs to user {owner}")));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_was_compiled_longest_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        for age in 0..KEPT as u64 + 3 {
            let file = std::fs::File::create(folder.path().join(format!("{age}.cwasm"))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 60))
                .unwrap();
        }
        std::fs::write(folder.path().join("other"), "").unwrap();
        forget_oldest(folder.path()).unwrap();
        let is_there = |age: usize| folder.path().join(format!("{age}.cwasm")).exists();
        assert!(is_there(0) && is_there(KEPT - 1) && !is_there(KEPT) && !is_there(KEPT + 2));
        assert!(folder.path().join("other").exists());
    }
}
