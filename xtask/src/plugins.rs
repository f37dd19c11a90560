//! The built-in plugins and the guests of the tests, as components.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use modelshelf_plugin_builder::{BuildOptions, Toolchain, ToolchainOptions, build_all};

use crate::python;
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
        write_if_changed(&out_dir.join("only-with-folders"), &only_with_folders(&crates, prefix)?)?;
        // What is left of a renamed or removed crate would be embedded too.
        let mut kept: Vec<PathBuf> = built.into_iter().map(|plugin| plugin.wasm).collect();
        if sources == GUESTS {
            kept.extend(python::build(&out_dir)?);
        }
        remove_others(&out_dir, &kept)?;
    }
    Ok(())
}

/// The names of the components whose types are served only where the settings name a folder for them, one a line: their
/// manifests say so. `prefix` is what the builder takes off the packages' names.
fn only_with_folders(crates: &[PathBuf], prefix: &str) -> Result<String> {
    let mut names = String::new();
    for folder in crates {
        let manifest = folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        let name = only_with_folder(&text, prefix).with_context(|| manifest.display().to_string())?;
        names.extend(name.map(|name| name + "\n"));
    }
    Ok(names)
}

/// The component's name, when the manifest has `only-with-folders = true` in `[package.metadata.modelshelf]`.
fn only_with_folder(manifest: &str, prefix: &str) -> Result<Option<String>> {
    let manifest: toml::Table = manifest.parse()?;
    let package = manifest.get("package").context("no [package]")?;
    let name = package.get("name").and_then(toml::Value::as_str).context("no name")?;
    let only = package
        .get("metadata")
        .and_then(|metadata| metadata.get("modelshelf")?.get("only-with-folders")?.as_bool());
    Ok((only == Some(true)).then(|| name.strip_prefix(prefix).unwrap_or(name).to_owned()))
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

fn remove_others(folder: &Path, kept: &[PathBuf]) -> Result<()> {
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_component = path.extension().is_some_and(|extension| extension == "wasm");
        if is_component && !kept.contains(&path) {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix(root()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_after_its_package_and_only_its_own_table_counts() {
        let manifest = |table: &str, value: &str| {
            format!("[package]\nname = \"modelshelf-vae\"\n[{table}]\nonly-with-folders   =   {value} # why\n")
        };
        let read = |table: &str, value: &str| only_with_folder(&manifest(table, value), "modelshelf-").unwrap();
        assert_eq!(read("package.metadata.modelshelf", "true").as_deref(), Some("vae"));
        assert_eq!(read("package.metadata.modelshelf", "false"), None);
        assert_eq!(read("package.metadata.other", "true"), None);
        assert!(only_with_folder("[package", "").is_err());
    }
}
