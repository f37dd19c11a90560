//! `cargo xtask test`: what CI runs.

use std::process::Command;

use anyhow::Result;

use crate::browser::Browser;
use crate::install;
use crate::plugins;
use crate::steps::{Steps, binary, cargo, on_path, root, run};

/// Runs all checks; the first that fails ends the run.
///
/// # Errors
/// The failing step's.
pub fn test(browser: bool) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("format", || {
        run(&mut cargo(&["fmt", "--all", "--check"]))?;
        // Each is a workspace of its own, as a stranger's plugin would be.
        for guest in plugins::guests()? {
            run(cargo(&["fmt", "--check"]).current_dir(guest))?;
        }
        Ok(())
    })?;
    // Before the rest, since the server embeds them: later it would be built again.
    steps.step("plugins", || plugins::build(true))?;
    steps.step("lints", || {
        run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    // All targets in one go: a narrower choice would resolve other features, and build the dependencies once more.
    steps.step("build", || run(&mut cargo(&["build", "--workspace", "--all-targets"])))?;
    steps.step("documentation tests", || {
        run(&mut cargo(&["test", "--workspace", "--doc", "--quiet"]))
    })?;

    // A file system with reflinks, which only root can mount.
    if install::program(&["mkfs.btrfs"], &["btrfs-progs"]).is_err() {
        println!("without mkfs.btrfs the test of reflinks is skipped");
    }
    for (name, package) in [("nginx", "nginx-light"), ("caddy", "caddy")] {
        if browser && install::program(&[name], &[package]).is_err() {
            println!("without {name} the test of its sample in docs/deploy.md is skipped");
        }
    }
    let browser = if browser { Browser::of(&root()) } else { None };
    let rust_tests = "unit and black-box tests";
    let Some(browser) = browser else {
        return steps.last(rust_tests, || run(&mut rust_tests_command()));
    };
    steps.step(rust_tests, || run(&mut rust_tests_command()))?;
    let browser = steps.step("browser set-up", || browser.set_up())?;
    steps.last("browser tests", || run(&mut with_host(browser.command())))
}

fn rust_tests_command() -> Command {
    let command = if on_path("cargo-nextest").is_some() {
        cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--config-file",
            "tests/nextest.toml",
            "--no-fail-fast",
        ])
    } else {
        cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    };
    with_host(command)
}

fn with_host(mut command: Command) -> Command {
    command.env("MODELSHELF_HOST_BIN", binary("debug", "host"));
    command
}
