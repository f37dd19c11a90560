//! Finding, or installing, a compiler for plugins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::TARGET;
use crate::process::{tail, wait_at_most, without_outer_cargo};

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld-19"];
const LINKER: &str = "wasm-ld-19";

/// What may be done to get a compiler, and who is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `rustup target add` may be run.
    pub rustup: bool,
    /// How long rustup may take. Without a network it can hang for minutes.
    pub rustup_limit: Duration,
    /// Whether Debian's packages may be installed; this happens only as root.
    pub apt: bool,
    /// Gets a line before anything that takes long. Standard error by default.
    pub report: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rustup: true,
            rustup_limit: Duration::from_secs(60),
            apt: true,
            report: |line| eprintln!("{line}"),
        }
    }
}

/// How plugins are compiled here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The compiler in use has the target's standard library.
    InstalledTarget,
    /// The standard library is built from a compiler's own sources.
    BuildStd {
        /// The compiler; its sources are of the same version.
        rustc: PathBuf,
        /// A linker for WebAssembly.
        linker: PathBuf,
    },
}

/// A compiler for `wasm32-unknown-unknown`, ready to use.
#[derive(Debug, Clone)]
pub struct Toolchain {
    cargo: PathBuf,
    // Only when the environment names one.
    rustc: Option<OsString>,
    route: Route,
}

/// Why there is no compiler for plugins.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Nothing is installed and nothing could be.
    #[error(
        "no Rust compiler for {TARGET} was found{}.\nMake one of these work, then try again:\n  \
         with rustup:          rustup target add {TARGET}\n  \
         on Debian, as root:   apt-get update && apt-get install -y --no-install-recommends {}",
        tried(.attempts),
        DEBIAN_PACKAGES.join(" ")
    )]
    NotFound {
        /// What was tried, and how each try failed.
        attempts: Vec<String>,
    },
}

fn tried(attempts: &[String]) -> String {
    attempts.iter().map(|attempt| format!("\n  tried {attempt}")).collect()
}

impl Toolchain {
    /// Finds a compiler that is ready, without installing anything.
    pub fn detect() -> Option<Toolchain> {
        Machine::this().detect()
    }

    /// Finds a compiler, or installs one: with rustup where that works, else from Debian's packages.
    ///
    /// # Errors
    /// When neither works; the message names the commands that a person can run.
    pub fn ensure(options: &Options) -> Result<Toolchain, ToolchainError> {
        Machine::this().ensure(options)
    }

    /// How plugins are compiled here.
    pub fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn cargo(&self) -> &Path {
        &self.cargo
    }

    /// Cargo without the environment of a cargo around us, for questions.
    pub(crate) fn cargo_command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        without_outer_cargo(&mut command);
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        command
    }

    /// Cargo set up to compile for the target.
    pub(crate) fn compile_command(&self) -> Command {
        let mut command = self.cargo_command();
        if let Route::BuildStd { rustc, linker } = &self.route {
            let mut flags = OsString::from("-Clinker-flavor=wasm-ld\u{1f}-Clinker=");
            flags.push(linker);
            command
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                // The encoded form, since the linker's path may hold a space.
                .env("CARGO_ENCODED_RUSTFLAGS", flags)
                // Cargo and rustup point it at their own compiler's libraries, which are not this compiler's.
                .env_remove("LD_LIBRARY_PATH");
        }
        command
    }

    pub(crate) fn compile_arguments(&self) -> &'static [&'static str] {
        match self.route {
            Route::InstalledTarget => &[],
            Route::BuildStd { .. } => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

/// What is looked at on a machine. A value, so that tests can make machines up.
struct Machine {
    cargo: PathBuf,
    rustc: Option<OsString>,
    search_path: OsString,
    system_rustc: PathBuf,
    root: bool,
}

impl Machine {
    fn this() -> Self {
        Self {
            cargo: std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            rustc: std::env::var_os("RUSTC").filter(|rustc| !rustc.is_empty()),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            system_rustc: "/usr/bin/rustc".into(),
            root: is_root(),
        }
    }

    fn ensure(&self, options: &Options) -> Result<Toolchain, ToolchainError> {
        if let Some(found) = self.detect() {
            return Ok(found);
        }
        let mut attempts = Vec::new();
        for (allowed, install) in [
            (options.rustup, Self::add_target as Install),
            (options.apt, Self::install_packages as Install),
        ] {
            if !allowed {
                continue;
            }
            match install(self, options) {
                Ok(()) => {
                    if let Some(found) = self.detect() {
                        return Ok(found);
                    }
                    attempts.push("an installation that said it succeeded, but left no compiler".into());
                }
                Err(attempt) => attempts.push(attempt),
            }
        }
        Err(ToolchainError::NotFound { attempts })
    }

    /// What is there already comes first, in either form: nobody waits for a network that isn't needed.
    fn detect(&self) -> Option<Toolchain> {
        let route = if self.has_target() {
            Route::InstalledTarget
        } else {
            self.build_std()?
        };
        Some(Toolchain {
            cargo: self.cargo.clone(),
            rustc: self.rustc.clone(),
            route,
        })
    }

    fn has_target(&self) -> bool {
        let rustc = self.rustc.clone().unwrap_or_else(|| "rustc".into());
        let Some(libraries) = self.ask(&rustc, &["--print", "target-libdir", "--target", TARGET]) else {
            return false;
        };
        // The folder's name is printed whether it exists or not, and an interrupted installation leaves it half full.
        std::fs::read_dir(libraries).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    name.starts_with("libstd-") && name.ends_with(".rlib")
                })
            })
        })
    }

    fn build_std(&self) -> Option<Route> {
        let rustc = &self.system_rustc;
        self.ask(rustc.as_os_str(), &["--version"])?;
        let sysroot = self.ask(rustc.as_os_str(), &["--print", "sysroot"])?;
        // Linked there by the sources' package of the same version.
        let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
        if !sources.is_file() {
            return None;
        }
        Some(Route::BuildStd {
            rustc: rustc.clone(),
            linker: self.find(LINKER)?,
        })
    }

    fn add_target(&self, options: &Options) -> Result<(), String> {
        let rustup = self
            .find("rustup")
            .ok_or("rustup, which is not installed (or not on the PATH)")?;
        (options.report)(&format!(
            "adding the target {TARGET} with rustup (at most {} s)",
            options.rustup_limit.as_secs()
        ));
        let mut child = self
            .command(rustup)
            .args(["target", "add", TARGET])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("rustup target add: {error}"))?;
        match wait_at_most(&mut child, options.rustup_limit) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("rustup target add {TARGET}: {status}")),
            Ok(None) => Err(format!(
                "rustup target add {TARGET}: ended after {} s without a result",
                options.rustup_limit.as_secs()
            )),
            Err(error) => Err(format!("rustup target add {TARGET}: {error}")),
        }
    }

    fn install_packages(&self, options: &Options) -> Result<(), String> {
        let apt = self.find("apt-get").ok_or("apt-get, which this system doesn't have")?;
        if !self.root {
            return Err("apt-get: only root may install packages".into());
        }
        (options.report)(&format!("installing {} with apt-get", DEBIAN_PACKAGES.join(", ")));
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(DEBIAN_PACKAGES);
        for arguments in [&["update"][..], &install] {
            let output = self
                .command(&apt)
                // Another installation may be under way; waiting for it beats failing beside it.
                .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null())
                .output()
                .map_err(|error| format!("apt-get: {error}"))?;
            if !output.status.success() {
                let command = arguments.join(" ");
                return Err(format!("apt-get {command}: {}", tail(&output.stderr, 5)));
            }
        }
        Ok(())
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        without_outer_cargo(&mut command);
        command.env("PATH", &self.search_path);
        command
    }

    /// The first line that a program prints, if it can be run and succeeds.
    fn ask(&self, program: &std::ffi::OsStr, arguments: &[&str]) -> Option<String> {
        let program = if Path::new(program).components().count() == 1 {
            self.find(program.to_str()?)?
        } else {
            program.into()
        };
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let line = String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.search_path)
            .map(|folder| folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX)))
            .find(|file| file.is_file())
    }
}

type Install = fn(&Machine, &Options) -> Result<(), String>;

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Owned by the user that the process runs as; absent outside Linux, where there is no apt-get either.
    std::fs::metadata("/proc/self").is_ok_and(|of_this_process| of_this_process.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(all(test, unix))]
#[path = "toolchain_tests.rs"]
mod tests;
