//! `cargo xtask bench`.

use std::process::Command;

use anyhow::Result;

use crate::{plugins, run, steps};

/// Builds the server and the load generator in release, and runs the benchmarks with these arguments.
///
/// # Errors
/// When something doesn't build, or a measurement fails.
pub fn bench(arguments: &[String]) -> Result<()> {
    plugins::build(true)?;
    run::programs(false, &[run::HOST, ["modelshelf-tests", "bench"]])?;
    steps::run(
        Command::new(steps::binary("release", "bench"))
            .args(arguments)
            .current_dir(steps::root())
            .env("MODELSHELF_HOST_BIN", steps::binary("release", "host")),
    )
}
