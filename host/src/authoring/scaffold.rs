//! `host plugin new`: a crate to start from.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::files::foreign::{self, ForeignFile};

const MANIFEST: &str = include_str!("template/Cargo.toml.in");
const CODE: &str = include_str!("template/lib.rs.in");
/// Longest name: the prefix of its URLs has one letter more, and at most 40.
const MAX_NAME: usize = 39;
/// What can't be the name of such a crate: cargo's own names, what the crate uses, and words of Rust.
const TAKEN: &str = "test core std alloc build deps examples incremental proc_macro proc-macro serde serde_json \
                     modelshelf-plugin-sdk abstract as async await become box break const continue crate do dyn else \
                     enum extern false final fn for gen if impl in let loop macro match mod move mut override priv pub \
                     ref return self static struct super trait true try type typeof unsafe unsized use virtual where \
                     while yield";

/// Makes the folder `name` with a crate in it, and says how to go on.
///
/// # Errors
/// When the name can't be an id, the folder is there already, or there is no SDK to build on.
pub fn make(name: &str, sdk: Option<&Path>) -> anyhow::Result<()> {
    check_name(name)?;
    let folder = std::path::absolute(name)?;
    if folder.exists() {
        bail!(
            "{} is there already; choose another name or remove it",
            folder.display()
        );
    }
    let sdk = sdk_folder(sdk)?;
    let files = [
        ("Cargo.toml", fill(MANIFEST, name, &sdk)?),
        ("src/lib.rs", fill(CODE, name, &sdk)?),
        (".gitignore", "/target\n".to_owned()),
    ];
    std::fs::create_dir_all(folder.join("src")).with_context(|| format!("can't make {}", folder.display()))?;
    for (file, text) in files {
        let path = folder.join(file);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    // The versions that the SDK is tested with; cargo takes from it what the crate needs.
    let lock = sdk.join("../Cargo.lock");
    if lock.is_file() {
        let versions = ForeignFile::existing(&lock)?.read_at_most(foreign::OWN_FILE)?;
        std::fs::write(folder.join("Cargo.lock"), versions)
            .with_context(|| format!("can't copy {}", lock.display()))?;
    }
    println!("made {name}, which uses the SDK in {}", sdk.display());
    println!("\n  host plugin test {name}");
    println!("  host --plugin {name} --root {name}=/path/to/models\n");
    println!(
        "Its page is /{}; what is served changes when you save {name}/src/lib.rs.",
        prefix(name)
    );
    Ok(())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if !fits || TAKEN.split(' ').any(|taken| taken == name) {
        bail!(
            "{name:?} can't be a model type's id and a crate's name: it must match [a-z][a-z0-9_-]*, have at most \
             {MAX_NAME} characters, and be no word of Rust and no crate that it uses"
        );
    }
    Ok(())
}

fn prefix(name: &str) -> String {
    format!("{name}s")
}

/// `upscale-model` as people write it: `Upscale model`.
fn title(name: &str) -> String {
    let words = name.replace(['-', '_'], " ");
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn fill(template: &str, name: &str, sdk: &Path) -> anyhow::Result<String> {
    let sdk = sdk
        .to_str()
        .context("the path of plugin-sdk is not UTF-8, which Cargo.toml needs")?;
    Ok(template
        // Inside a basic string of TOML.
        .replace("@SDK@", &sdk.replace('\\', "\\\\").replace('"', "\\\""))
        .replace("@NAME@", name)
        .replace("@PREFIX@", &prefix(name))
        .replace("@TITLE@", &title(name)))
}

/// The SDK: the one that is named, or that of the clone that this folder or this program lies in or was built from.
fn sdk_folder(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let is_sdk = |folder: &Path| folder.join("src/model_type.rs").is_file();
    if let Some(named) = named {
        if !is_sdk(named) {
            bail!("{} is no plugin-sdk folder of Modelshelf", named.display());
        }
        return Ok(named.canonicalize()?);
    }
    let starts = [
        std::env::current_dir().ok(),
        std::env::current_exe().ok(),
        Some(PathBuf::from(env!("CARGO_MANIFEST_DIR"))),
    ];
    let found = starts.iter().flatten().find_map(|start| {
        let mut above = start.ancestors().map(|folder| folder.join("plugin-sdk"));
        above.find(|folder| is_sdk(folder))
    });
    match found {
        Some(sdk) => Ok(sdk.canonicalize()?),
        None => bail!(
            "a plugin is built against the folder plugin-sdk of Modelshelf's source, and this program does not lie in \
             a clone of it. Clone the repository and say where it is: --sdk CLONE/plugin-sdk"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids_and_titles() {
        assert_eq!(title("upscale-model"), "Upscale model");
        assert_eq!(prefix("upscaler"), "upscalers");
        for name in ["upscaler", "a", "my-type_2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "Upscaler",
            "2d",
            "a b",
            "../x",
            "type",
            "fn",
            "serde",
            &"a".repeat(40),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    /// A type that is called as something that the template uses must compile, too.
    #[test]
    fn no_item_of_the_code_is_named_after_the_type() {
        let items = |name: &str| -> Vec<String> {
            let code = fill(CODE, name, Path::new("/sdk")).unwrap();
            let is_item = |line: &&str| {
                ["struct ", "impl ", "fn "]
                    .iter()
                    .any(|start| line.trim().starts_with(start))
            };
            code.lines().filter(is_item).map(str::to_owned).collect()
        };
        assert_eq!(items("fields"), items("model"));
        assert!(items("model").contains(&"struct Plugin;".to_owned()));
    }

    #[test]
    fn nothing_of_the_template_is_left_unfilled() {
        for template in [MANIFEST, CODE] {
            let filled = fill(template, "my-type", Path::new("/a\"b/plugin-sdk")).unwrap();
            assert!(!filled.contains('@'), "{filled}");
        }
        let manifest: toml::Table = fill(MANIFEST, "my-type", Path::new("/a\"b/plugin-sdk"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(
            manifest["dependencies"]["modelshelf-plugin-sdk"]["path"].as_str(),
            Some("/a\"b/plugin-sdk")
        );
    }
}
