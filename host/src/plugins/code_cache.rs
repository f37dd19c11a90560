//! Compiled components on disk, so that only the first start after a change compiles.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::files::atomic;
use crate::files::foreign::{self, ForeignFile, Links};

/// Most compiled components that are kept.
const KEPT: usize = 64;

/// A folder of compiled components, named by the digest of the component and of the
/// engine that compiled it.
pub struct CodeCache {
    // None where other users could put code.
    folder: Option<PathBuf>,
    // Hash of everything that makes compiled code fit: wasmtime's version, target and settings.
    engine_key: u64,
}

impl CodeCache {
    /// A cache in `folder`, which only the server's own user may be able to write:
    /// what lies there is run as native code.
    pub fn new(folder: PathBuf, engine: &Engine) -> Self {
        use std::hash::{Hash, Hasher};
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let safe = crate::files::private_folder(&folder).and_then(|()| is_own(&folder));
        if let Err(error) = &safe {
            tracing::warn!(path = %folder.display(), %error, "compiled plugin code can't be kept safely; every start compiles");
        }
        Self {
            folder: safe.is_ok().then_some(folder),
            engine_key: hasher.finish(),
        }
    }

    /// The component of these bytes, compiled now unless it was before.
    ///
    /// # Errors
    /// wasmtime's, when the bytes are no component.
    pub fn component(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
        let digest = Sha256::digest(wasm);
        let name = format!("{}-{:016x}.cwasm", crate::files::hash::hex(&digest), self.engine_key);
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)) else {
            return Component::new(engine, wasm);
        };
        if let Some(component) = self.load(engine, &path) {
            return Ok(component);
        }
        let component = Component::new(engine, wasm)?;
        if let Ok(code) = component.serialize()
            && let Err(error) = self.store(&path, &code)
        {
            tracing::warn!(path = %path.display(), %error, "compiled plugin code can't be kept; the next start compiles again");
        }
        Ok(component)
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
        // SAFETY: wasmtime must be given only what `Component::serialize` wrote. The file's name
        // carries the digest of the component and the engine's compatibility hash; it was written
        // whole by an atomic rename; and both it and its folder, which `new` made 0700, belong to
        // this process's user, so that nobody else can have put it there.
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
