//! Programs that tests need, installed where that is possible.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::on_path;

/// A program by one of its names; installed from Debian's packages when that is possible.
///
/// # Errors
/// When it is missing and can't be installed; the message names the command that would.
pub fn program(names: &[&str], packages: &[&str]) -> Result<PathBuf> {
    let find = || names.iter().find_map(|name| on_path(name));
    if let Some(found) = find() {
        return Ok(found);
    }
    let install = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    let missing = format!(
        "{} is not installed. Install it, on Debian as root with:\n  {install}",
        names[0]
    );
    if on_path("apt-get").is_none() {
        bail!(missing);
    }
    println!("installing {}", packages.join(", "));
    // The one line that a person would type; apt-get itself refuses anyone who isn't root.
    let output = Command::new("sh")
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("sh could not be started")?;
    find().with_context(|| format!("{missing}\n{}", String::from_utf8_lossy(&output.stderr)))
}
