//! Turns a Modelshelf plugin crate into a WebAssembly component.
//!
//! A plugin is a Rust library crate with `crate-type = ["cdylib"]` that exports the `model-type` world of
//! `modelshelf:plugin`. Building it takes cargo, a compiler for `wasm32-unknown-unknown`, and nothing else:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use modelshelf_plugin_builder::{BuildOptions, Toolchain, ToolchainOptions, build};
//!
//! let toolchain = Toolchain::ensure(&ToolchainOptions::default())?;
//! let plugin = build(&toolchain, "my-plugin".as_ref(), &BuildOptions::into_dir("plugins"))?;
//! println!("{} is in {}", plugin.crate_name, plugin.wasm.display());
//! # Ok(())
//! # }
//! ```
//!
//! [`Toolchain`] finds or installs the compiler, [`build()`] and [`build_all`] run cargo and make the component.

mod cargo;
mod component;
mod known;
mod process;
mod toolchain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use cargo::CargoError;
pub use component::{ComponentError, componentise};
pub use known::KnownCrate;
pub use process::Running;
pub use toolchain::{Options as ToolchainOptions, Route, Toolchain, ToolchainError};

/// The target that plugins are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// How well the compiler optimises, and how long that takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Profile {
    /// For use: the workspace's `[profile.plugin]` where there is one, else a release build that is optimised as a whole.
    #[default]
    Plugin,
    /// For an author who waits: what changed is compiled in a second or so, and overflows are found.
    Dev,
    /// A profile of cargo or of the workspace.
    Named(String),
}

/// Where and how plugins are built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The folder that gets `<name>.wasm`; made when absent.
    pub out_dir: PathBuf,
    /// How it is compiled.
    pub profile: Profile,
    /// Cargo's target folder. `None` is what `MODELSHELF_PLUGIN_TARGET` names, else `plugins-build` below the workspace's
    /// own target folder, apart from it so that the flags of this build never invalidate what an ordinary `cargo build`
    /// made.
    pub target_dir: Option<PathBuf>,
    /// What is taken off the start of a package's name to get the component's. `modelshelf-` unless set.
    pub name_prefix: String,
    /// By what the compiler can be ended while it runs. Without it, the compiler belongs to the caller's group of
    /// processes and ends with it at Ctrl-C.
    pub running: Option<Running>,
}

impl BuildOptions {
    /// Default options with this output folder.
    pub fn into_dir(out_dir: impl Into<PathBuf>) -> Self {
        Self {
            out_dir: out_dir.into(),
            profile: Profile::Plugin,
            target_dir: None,
            name_prefix: "modelshelf-".to_owned(),
            running: None,
        }
    }
}

/// A finished component.
#[derive(Debug, Clone)]
pub struct BuiltPlugin {
    /// The package's name without [`BuildOptions::name_prefix`]; the file is called after it.
    pub crate_name: String,
    /// The component.
    pub wasm: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether the file was written; `false` when it had these bytes already.
    pub changed: bool,
}

/// Why a plugin could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo could not be run, did not understand the crate, or did not compile it.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// The compiled module is no plugin.
    #[error("{crate_name}: {source}")]
    Component {
        /// The package.
        crate_name: String,
        /// What is wrong with its module.
        source: ComponentError,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Builds one plugin crate.
///
/// # Errors
/// When cargo fails (its diagnostics go to standard error as they come), when the crate makes no component, or when the
/// result can't be written.
pub fn build(toolchain: &Toolchain, crate_dir: &Path, options: &BuildOptions) -> Result<BuiltPlugin, BuildError> {
    let built = build_all(toolchain, &[crate_dir], options)?;
    // One crate in gives one plugin out, or an error.
    built.into_iter().next().ok_or_else(|| {
        CargoError::NoModule {
            package: crate_dir.display().to_string(),
        }
        .into()
    })
}

/// Cargo's target folder of the workspace that a crate belongs to.
///
/// # Errors
/// When cargo does not understand the crate.
pub fn target_folder(toolchain: &Toolchain, crate_dir: &Path) -> Result<PathBuf, BuildError> {
    Ok(cargo::locate(toolchain, crate_dir)?.target_dir)
}

/// Runs a crate's own tests with the ordinary compiler; whether they pass.
///
/// # Errors
/// When cargo can't be started.
pub fn native_tests(crate_dir: &Path) -> Result<bool, BuildError> {
    cargo::test(crate_dir).map_err(BuildError::Cargo)
}

/// Builds several plugin crates, those of one workspace in one run of cargo, so that what they share (the standard
/// library above all, when it is built from source) is compiled once.
///
/// # Errors
/// As [`build()`]; the first error ends the whole call.
pub fn build_all(
    toolchain: &Toolchain,
    crate_dirs: &[impl AsRef<Path>],
    options: &BuildOptions,
) -> Result<Vec<BuiltPlugin>, BuildError> {
    let mut workspaces: BTreeMap<PathBuf, Vec<cargo::Package>> = BTreeMap::new();
    for dir in crate_dirs {
        let package = cargo::locate(toolchain, dir.as_ref())?;
        workspaces
            .entry(package.workspace_root.clone())
            .or_default()
            .push(package);
    }
    let mut built = Vec::new();
    for packages in workspaces.values() {
        built.extend(build_workspace(toolchain, packages, options)?);
    }
    Ok(built)
}

/// Builds crates of one workspace.
fn build_workspace(
    toolchain: &Toolchain,
    packages: &[cargo::Package],
    options: &BuildOptions,
) -> Result<Vec<BuiltPlugin>, BuildError> {
    std::fs::create_dir_all(&options.out_dir).map_err(|source| BuildError::Io {
        path: options.out_dir.clone(),
        source,
    })?;

    let modules = cargo::compile(
        toolchain,
        packages,
        &options.profile,
        options.target_dir.as_deref(),
        options.running.as_ref(),
    )?;
    let finished = packages.iter().zip(modules);
    finished
        .map(|(package, module)| finish(package, &module, options))
        .collect()
}

fn finish(package: &cargo::Package, module: &Path, options: &BuildOptions) -> Result<BuiltPlugin, BuildError> {
    let core = std::fs::read(module).map_err(|source| BuildError::Io {
        path: module.to_owned(),
        source,
    })?;
    let crate_name = package.short_name(&options.name_prefix).to_owned();
    let component = componentise(&core).map_err(|source| BuildError::Component {
        crate_name: crate_name.clone(),
        source,
    })?;
    let wasm = options.out_dir.join(format!("{crate_name}.wasm"));
    let changed = write_if_changed(&wasm, &component).map_err(|source| BuildError::Io {
        path: wasm.clone(),
        source,
    })?;
    Ok(BuiltPlugin {
        crate_name,
        size: component.len() as u64,
        wasm,
        changed,
    })
}

/// Replaces the file at once or not at all. An equal file is left alone, so that a build that embeds it, or a server
/// that watches it, sees no change where there is none.
fn write_if_changed(path: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        // The rename's error is what matters; a leftover temporary file is only untidy.
        let _ = std::fs::remove_file(&temporary);
    })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_component_is_not_written_again() {
        let dir = std::env::temp_dir().join(format!("modelshelf-builder-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("x.wasm");
        assert!(write_if_changed(&file, b"one").unwrap());
        let first = std::fs::metadata(&file).unwrap().modified().unwrap();
        assert!(!write_if_changed(&file, b"one").unwrap());
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), first);
        assert!(write_if_changed(&file, b"two").unwrap());
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(
            std::fs::read_dir(&dir).unwrap().count(),
            1,
            "no temporary file stays behind"
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
