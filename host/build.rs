//! Embeds the components in `target/plugins` (built by `cargo xtask plugins`) and the commit.
#![allow(clippy::disallowed_methods, reason = "the files are those of the source tree")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder =
        std::env::var_os("MODELSHELF_PLUGINS").map_or_else(|| manifest.join("../target/plugins"), PathBuf::from);
    println!("cargo:rerun-if-env-changed=MODELSHELF_PLUGINS");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    if files.is_empty() {
        println!(
            "cargo:warning=no plugins in {}; run `cargo xtask plugins` first to embed the built-in model types",
            folder.display()
        );
    }
    let mut code =
        String::from("/// Name and bytes of each built-in component.\npub static BUILTIN: &[(&str, &[u8])] = &[\n");
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let path = file.canonicalize().unwrap_or_else(|_| file.clone());
        let _ = writeln!(
            code,
            "    ({name:?}, include_bytes!({:?})),",
            path.display().to_string()
        );
    }
    code.push_str("];\n");
    let list = folder.join("only-with-folders");
    println!("cargo:rerun-if-changed={}", list.display());
    let names = std::fs::read_to_string(list).unwrap_or_default();
    let names: Vec<&str> = names.lines().collect();
    let _ = writeln!(
        code,
        "/// Names of those that are served only where settings name a folder for them.\npub static ONLY_WITH_FOLDERS: &[&str] = &{names:?};"
    );
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("builtin_plugins.rs");
    if let Err(error) = std::fs::write(&out, code) {
        panic!("can't write {}: {error}", out.display());
    }
    println!("cargo:rustc-env=MODELSHELF_COMMIT={}", commit(&manifest));
}

/// The commit's first seven digits, or `stable` outside a checkout.
fn commit(manifest: &Path) -> String {
    println!("cargo:rerun-if-changed={}", manifest.join("../.git/HEAD").display());
    std::process::Command::new("git")
        .args(["rev-parse", "--short=7", "HEAD"])
        .current_dir(manifest)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "stable".into(), |text| text.trim().to_owned())
}
