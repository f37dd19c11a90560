//! The built-in plugins and the guests of the tests, as components.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use modelshelf_plugin_builder::{BuildOptions, Toolchain, ToolchainOptions, build_all};

use crate::steps::root;

const GUESTS: &str = "tests/guests";

/// Builds the plugins into `target/plugins`, where the server's build embeds what it finds, and, when `guests`, the
/// guests of the tests into `target/guests`.
///
/// # Errors
/// When there is no toolchain and none can be installed, or a crate doesn't build.
pub fn build(guests: bool) -> Result<()> {
    let toolchain = Toolchain::ensure(&ToolchainOptions::default())?;
    let mut sets = vec![("plugins", "plugins", "modelshelf-")];
    if guests {
        sets.push((GUESTS, "guests", "modelshelf-guest-"));
    }
    for (sources, name, prefix) in sets {
        let crates = crates_in(&root().join(sources))?;
        let out_dir = root().join("target").join(name);
        let options = BuildOptions {
            target_dir: Some(root().join("target/plugins-build")),
            name_prefix: prefix.to_owned(),
            ..BuildOptions::into_dir(&out_dir)
        };
        let built = build_all(&toolchain, &crates, &options)?;
        for plugin in &built {
            let note = if plugin.changed { "" } else { " (unchanged)" };
            println!("{} {} kB{note}", relative(&plugin.wasm).display(), plugin.size / 1000);
        }
        // The server's build looks at this list.
        write_if_changed(&out_dir.join("only-with-folders"), &only_with_folders(&crates)?)?;
        // What is left of a renamed or removed crate would be embedded too.
        let kept: Vec<&Path> = built.iter().map(|plugin| plugin.wasm.as_path()).collect();
        remove_others(&out_dir, &kept)?;
    }
    Ok(())
}

/// The names of the crates whose types are served only where the settings name a folder for them, one a line: their
/// manifests say so.
fn only_with_folders(crates: &[PathBuf]) -> Result<String> {
    let mut names = String::new();
    for folder in crates {
        let manifest = folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        if text.lines().any(|line| line == "only-with-folders = true") {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            names.push_str(&format!("{name}\n"));
        }
    }
    Ok(names)
}

/// The crates of the tests' guests.
///
/// # Errors
/// When their folder can't be read.
pub fn guests() -> Result<Vec<PathBuf>> {
    crates_in(&root().join(GUESTS))
}

/// The folders directly below this one that hold a crate, in the order of their names.
fn crates_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn write_if_changed(file: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

fn remove_others(folder: &Path, kept: &[&Path]) -> Result<()> {
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_component = path.extension().is_some_and(|extension| extension == "wasm");
        if is_component && !kept.contains(&path.as_path()) {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix(root()).unwrap_or(path)
}
