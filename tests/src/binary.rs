//! The server's binary, and what its runs share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// The server's binary: `MODELSHELF_HOST_BIN`, or the one that cargo builds beside the tests.
///
/// # Errors
/// When it can't be built.
pub fn find() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    if let Some(given) = std::env::var_os("MODELSHELF_HOST_BIN") {
        return Ok(given.into());
    }
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "host", "--bin", "host"])
        .current_dir(workspace)
        .status()?;
    if !status.success() {
        bail!("cargo build --package host failed");
    }
    // A test runs in <target>/debug/deps, a program in <target>/debug.
    let this = std::env::current_exe()?;
    let name = format!("host{}", std::env::consts::EXE_SUFFIX);
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
        .context("the built server is not beside the tests; set MODELSHELF_HOST_BIN")
}

/// Lets the server find the plugins' compiled code of earlier tests. Compiling takes seconds, which a hundred tests would
/// each spend. The code is named by its content, and other data of the server's is untouched.
///
/// # Errors
/// When the disk refuses.
#[cfg(unix)]
pub fn share_compiled_code(binary: &Path, data_dir: &Path) -> Result<()> {
    let shared = binary.canonicalize()?.with_file_name("test-compiled");
    let link = data_dir.join("compiled");
    std::fs::create_dir_all(&shared)?;
    std::fs::create_dir_all(data_dir)?;
    if link.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(&shared, &link)?;
    }
    Ok(())
}

/// See above; without links every server compiles.
#[cfg(not(unix))]
pub fn share_compiled_code(_: &Path, _: &Path) -> Result<()> {
    Ok(())
}
