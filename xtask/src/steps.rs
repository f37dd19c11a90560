//! Running one command after the other, and saying what took how long.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The workspace's root, wherever the command was called from.
pub fn root() -> PathBuf {
    // xtask lies directly below it; cargo sets the variable both when it builds and when it runs.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_owned)
}

/// Cargo's target folder for the server and its tests.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where the built binary called `name` lies.
pub fn binary(profile: &str, name: &str) -> PathBuf {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    target_dir().join(profile).join(file)
}

/// Cargo, started in the workspace's root, without what the cargo that started us says of xtask itself.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let of_xtask = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        // A changed variable that a build script looks at means a new build.
        if of_xtask {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end with our own input and output.
///
/// # Errors
/// When it can't be started or fails; the message holds the command.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("{shown} could not be started"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a program of this name is on the search path.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file())
}

/// Named steps with their durations.
#[derive(Default)]
pub struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs a step, with a line before it and one after it.
    ///
    /// # Errors
    /// The step's own, with its name.
    pub fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("== {name}");
        let started = Instant::now();
        let result = work().with_context(|| format!("step \"{name}\""))?;
        let took = started.elapsed();
        println!("== {name}: {}", seconds(took));
        self.done.push((name.to_owned(), took));
        Ok(result)
    }

    /// Runs the last step. The durations of the others are listed before it and nothing after it, so that what its
    /// program prints last is what stands last.
    ///
    /// # Errors
    /// The step's own, with its name.
    pub fn last<T>(self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("== durations so far");
        for (name, took) in &self.done {
            println!("   {:>8}  {name}", seconds(*took));
        }
        println!("== {name}");
        work().with_context(|| format!("step \"{name}\""))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
