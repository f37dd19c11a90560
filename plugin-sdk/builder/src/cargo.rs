//! Asking cargo where a crate belongs, and having it compiled.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::process::{Running, tail, without_outer_cargo};
use crate::toolchain::Toolchain;
use crate::{Profile, TARGET};

/// Why cargo gave no module.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// There is no `Cargo.toml` where a crate was said to be.
    #[error("{folder} holds no Cargo.toml: name the folder of a plugin crate", folder = folder.display())]
    NoManifest {
        /// The folder.
        folder: PathBuf,
    },
    /// Cargo itself could not be started.
    #[error("cargo could not be started ({program}): {source}", program = program.display())]
    Start {
        /// What was started.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Cargo could not read the crate's manifest or workspace.
    #[error("cargo does not understand {manifest}:\n{message}", manifest = manifest.display())]
    Metadata {
        /// The crate's manifest.
        manifest: PathBuf,
        /// Cargo's own words.
        message: String,
    },
    /// Compilation failed; the diagnostics went to standard error.
    #[error("cargo could not build {packages}")]
    Compile {
        /// The packages, comma separated.
        packages: String,
        /// What the compiler said, with files and lines, without colours; empty when cargo itself failed.
        diagnostics: String,
    },
    /// The crate compiled to something else than a module.
    #[error("{package} makes no WebAssembly module: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`")]
    NoModule {
        /// The package.
        package: String,
    },
}

/// Names a folder in which all plugins are compiled, so that crates of several workspaces share what they are made from.
const SHARED_TARGET: &str = "MODELSHELF_PLUGIN_TARGET";

/// A plugin crate and the workspace that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub name: String,
    pub manifest: PathBuf,
    pub workspace_root: PathBuf,
    pub target_dir: PathBuf,
}

impl Package {
    /// The name without this prefix.
    pub fn short_name(&self, prefix: &str) -> &str {
        self.name.strip_prefix(prefix).unwrap_or(&self.name)
    }
}

/// Finds the package in a folder and its workspace.
pub(crate) fn locate(toolchain: &Toolchain, crate_dir: &Path) -> Result<Package, CargoError> {
    let no_manifest = || CargoError::NoManifest {
        folder: crate_dir.to_owned(),
    };
    // Cargo reports canonical paths, and messages are matched with them.
    let crate_dir = crate_dir.canonicalize().map_err(|_| no_manifest())?;
    let manifest = crate_dir.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(no_manifest());
    }
    let output = toolchain
        .cargo_command()
        .current_dir(&crate_dir)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CargoError::Start {
            program: toolchain.cargo().to_owned(),
            source,
        })?;
    let not_understood = |message: String| CargoError::Metadata {
        manifest: manifest.clone(),
        message,
    };
    if !output.status.success() {
        return Err(not_understood(tail(&output.stderr, 20)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|e| not_understood(e.to_string()))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let described = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest));
    if let Some(described) = described
        && !makes_modules(described)
    {
        // Said before the minute that a compilation takes.
        return Err(CargoError::NoModule {
            package: text(&described["name"]).unwrap_or_default(),
        });
    }
    let package = described.and_then(|package| {
        Some(Package {
            name: text(&package["name"])?,
            manifest: manifest.clone(),
            workspace_root: text(&metadata["workspace_root"])?.into(),
            target_dir: text(&metadata["target_directory"])?.into(),
        })
    });
    package.ok_or_else(|| not_understood("the manifest describes no package (is it a workspace's root?)".into()))
}

/// Whether a package of cargo's metadata has a library of the kind that becomes a module.
fn makes_modules(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    let mut kinds = targets.filter_map(|target| target["crate_types"].as_array()).flatten();
    kinds.any(|kind| kind == "cdylib")
}

/// Settings of a profile that the workspace's manifest does not have itself, as cargo takes them on its command line.
const PLUGIN_PROFILE: [&str; 5] = [
    "inherits=\"release\"",
    "opt-level=3",
    "lto=\"fat\"",
    "codegen-units=1",
    "panic=\"abort\"",
];
// Compiled in pieces and hardly optimised, so that a change is there in a second.
const DEV_PROFILE: [&str; 5] = [
    "inherits=\"dev\"",
    "opt-level=1",
    "debug=false",
    "panic=\"abort\"",
    "incremental=true",
];

/// The profile's name, and its settings where they have to be told.
fn profile_arguments(profile: &Profile, workspace_root: &Path) -> (String, &'static [&'static str]) {
    match profile {
        Profile::Plugin if has_plugin_profile(workspace_root) => ("plugin".into(), &[]),
        Profile::Plugin => ("plugin".into(), &PLUGIN_PROFILE),
        Profile::Dev => ("plugin-dev".into(), &DEV_PROFILE),
        Profile::Named(name) => (name.clone(), &[]),
    }
}

/// Compiles packages of one workspace; the modules come in the packages' order.
pub(crate) fn compile(
    toolchain: &Toolchain,
    packages: &[Package],
    profile: &Profile,
    target_dir: Option<&Path>,
    running: Option<&Running>,
) -> Result<Vec<PathBuf>, CargoError> {
    let Some(first) = packages.first() else {
        return Ok(Vec::new());
    };
    let (profile, settings) = profile_arguments(profile, &first.workspace_root);
    let shared = std::env::var_os(SHARED_TARGET).map(PathBuf::from);
    let target_dir = target_dir
        .map(Path::to_owned)
        .or(shared)
        .unwrap_or_else(|| first.target_dir.join("plugins-build"));
    // Messages are printed here, since they are also kept.
    let format = match std::io::stderr().is_terminal() {
        true => "json-diagnostic-rendered-ansi",
        false => "json",
    };

    let mut command = toolchain.compile_command();
    command
        .current_dir(&first.workspace_root)
        .args(["build", "--lib", "--target", TARGET, "--profile", &profile])
        .args(["--message-format", format, "--target-dir"])
        .arg(target_dir);
    for setting in settings {
        command.args(["--config", &format!("profile.{profile}.{setting}")]);
    }
    for package in packages {
        command.args(["--package", &package.name]);
    }
    command.args(toolchain.compile_arguments());

    let start = |source| CargoError::Start {
        program: toolchain.cargo().to_owned(),
        source,
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let started = match running {
        Some(running) => running.start(&mut command),
        None => command.spawn(),
    };
    let mut child = started.map_err(start)?;
    let mut modules: Vec<Option<PathBuf>> = vec![None; packages.len()];
    let mut diagnostics = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if let Some(rendered) = message["message"]["rendered"].as_str() {
                eprint!("{rendered}");
                if message["message"]["level"] == "error" {
                    diagnostics.push_str(&without_colours(rendered));
                }
            }
            if let Some((manifest, module)) = module_of(&message)
                && let Some(place) = packages.iter().position(|package| package.manifest == manifest)
            {
                modules[place] = Some(module);
            }
        }
    }
    if let Some(running) = running {
        running.is_over();
    }
    if !child.wait().map_err(start)?.success() {
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        return Err(CargoError::Compile {
            packages: names.join(", "),
            diagnostics,
        });
    }
    packages
        .iter()
        .zip(modules)
        .map(|(package, module)| {
            module.ok_or_else(|| CargoError::NoModule {
                package: package.name.clone(),
            })
        })
        .collect()
}

/// Runs the tests of the crate in a folder; whether they pass. All that they print goes to standard error.
pub(crate) fn test(crate_dir: &Path) -> Result<bool, CargoError> {
    let program = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let mut command = std::process::Command::new(&program);
    without_outer_cargo(&mut command);
    command
        .current_dir(crate_dir)
        .arg("test")
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    match command.status() {
        Ok(status) => Ok(status.success()),
        Err(source) => Err(CargoError::Start { program, source }),
    }
}

/// A text without the sequences that colour it in a terminal (`ESC [ ... m`).
fn without_colours(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

/// The manifest and the module of a message about a finished cdylib.
fn module_of(message: &Value) -> Option<(PathBuf, PathBuf)> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let kinds = message["target"]["kind"].as_array()?;
    if !kinds.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    let module = message["filenames"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .find(|file| file.ends_with(".wasm"))?;
    Some((message["manifest_path"].as_str()?.into(), module.into()))
}

// Cargo tells no profiles, so the manifest is read. A table header stands alone on its line, which is enough here.
fn has_plugin_profile(workspace_root: &Path) -> bool {
    std::fs::read_to_string(workspace_root.join("Cargo.toml"))
        .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[profile.plugin]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_finished_cdylib_gives_a_module() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let artefact = r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","target":{"kind":["cdylib","rlib"]},"filenames":["/t/libp.rlib","/t/p.wasm"]}"#;
        assert_eq!(
            module_of(&read(artefact)),
            Some(("/p/Cargo.toml".into(), "/t/p.wasm".into()))
        );
        assert_eq!(module_of(&read(&artefact.replace("cdylib", "lib"))), None);
        assert_eq!(
            module_of(&read(&artefact.replace("compiler-artifact", "build-script-executed"))),
            None
        );
        assert_eq!(module_of(&Value::Null), None);
    }

    #[test]
    fn colours_go_and_the_text_stays() {
        assert_eq!(
            without_colours("\u{1b}[1m\u{1b}[31merror\u{1b}[0m: no `m`"),
            "error: no `m`"
        );
    }

    #[test]
    fn only_a_package_with_a_cdylib_makes_modules() {
        let package = |kinds: &str| {
            let text = format!(r#"{{"targets":[{{"crate_types":["bin"]}},{{"crate_types":[{kinds}]}}]}}"#);
            serde_json::from_str::<Value>(&text).unwrap()
        };
        assert!(makes_modules(&package(r#""cdylib","rlib""#)));
        assert!(!makes_modules(&package(r#""lib""#)));
        assert!(!makes_modules(&Value::Null));
    }

    #[test]
    fn a_short_name_has_no_prefix() {
        let package = |name: &str| Package {
            name: name.into(),
            manifest: "/p/Cargo.toml".into(),
            workspace_root: "/p".into(),
            target_dir: "/p/target".into(),
        };
        assert_eq!(package("modelshelf-lora").short_name("modelshelf-"), "lora");
        assert_eq!(package("vae-type").short_name("modelshelf-"), "vae-type");
    }
}
