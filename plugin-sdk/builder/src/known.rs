//! A crate that is built again and again, as an author's is.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::toolchain::Toolchain;
use crate::{BuildError, BuildOptions, BuiltPlugin, CargoError, build_workspace, cargo};

/// A plugin crate with what the compiler and cargo said of it, which takes a good part of a second to ask. It holds until
/// a manifest changes.
#[derive(Debug)]
pub struct KnownCrate {
    toolchain: Toolchain,
    package: cargo::Package,
    manifests: Vec<(PathBuf, Option<SystemTime>)>,
}

impl KnownCrate {
    /// Asks.
    ///
    /// # Errors
    /// When cargo does not understand the crate.
    pub fn new(toolchain: Toolchain, crate_dir: &Path) -> Result<Self, BuildError> {
        // Read before cargo reads them, so that what changes meanwhile is asked for again.
        let own = [crate_dir.join("Cargo.toml")];
        let mut manifests: Vec<_> = own.into_iter().map(stamped).collect();
        let package = cargo::locate(&toolchain, crate_dir)?;
        manifests.push(stamped(package.workspace_root.join("Cargo.toml")));
        Ok(Self {
            toolchain,
            package,
            manifests,
        })
    }

    /// Whether its manifests are as they were.
    pub fn is_current(&self) -> bool {
        self.manifests.iter().all(|(file, was)| modified(file) == *was)
    }

    /// Cargo's target folder of its workspace.
    pub fn target_folder(&self) -> &Path {
        &self.package.target_dir
    }

    /// Builds it.
    ///
    /// # Errors
    /// As [`build()`](crate::build()).
    pub fn build(&self, options: &BuildOptions) -> Result<BuiltPlugin, BuildError> {
        let built = build_workspace(&self.toolchain, std::slice::from_ref(&self.package), options)?;
        built.into_iter().next().ok_or_else(|| {
            BuildError::Cargo(CargoError::NoModule {
                package: self.package.name.clone(),
            })
        })
    }
}

fn stamped(file: PathBuf) -> (PathBuf, Option<SystemTime>) {
    let stamp = modified(&file);
    (file, stamp)
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|data| data.modified()).ok()
}
