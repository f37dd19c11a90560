//! `cargo xtask run`: from a clone to a server with something to look at.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{demo, plugins, steps};

/// Builds everything and starts the server with these arguments; returns when the server does.
///
/// # Errors
/// When something doesn't build, or the server ends with an error.
pub fn run(dev: bool, arguments: &[String]) -> Result<()> {
    plugins::build(false)?;
    let profile = programs(dev, &[HOST])?;
    let mut server = Command::new(steps::binary(profile, "host"));
    if needs_demo(arguments, &settings_files(arguments)) {
        let demo = demo::in_target_dir("demo")?;
        println!("to serve your own: cargo xtask run -- --root loras=DIR --root checkpoints=DIR, or --comfyui DIR");
        // Options belong behind the subcommand, if one is named.
        server.args(arguments).args(demo.arguments(arguments));
    } else {
        server.args(arguments);
    }
    become_server(server)
}

/// Builds everything, and starts a server with these arguments that asks a stand-in for CivitAI; returns when both have ended.
///
/// # Errors
/// When something doesn't build, or the server ends with an error.
pub fn demo(dev: bool, arguments: &[String]) -> Result<()> {
    plugins::build(false)?;
    let profile = programs(dev, &[HOST, ["modelshelf-tests", "demo"]])?;
    // Apart from the library of `run`: downloads and metadata of made-up models stay out of that.
    let library = demo::in_target_dir("demo-civitai")?;
    let mut demo = Command::new(steps::binary(profile, "demo"));
    demo.arg(library.folder())
        .args(arguments)
        .env("MODELSHELF_HOST_BIN", steps::binary(profile, "host"));
    become_server(demo)
}

/// The server's package and program.
pub const HOST: [&str; 2] = ["host", "host"];

/// Builds programs, `[package, name]`; the profile. Each by itself: together they would need other features of what both use, and
/// the server be built once more.
///
/// # Errors
/// When one doesn't build.
pub fn programs(dev: bool, programs: &[[&str; 2]]) -> Result<&'static str> {
    let release: &[&str] = if dev { &[] } else { &["--release"] };
    for [package, name] in programs {
        let what = ["build", "--package", package, "--bin", name];
        steps::run(&mut steps::cargo(&[&what, release].concat()))?;
    }
    Ok(if dev { "debug" } else { "release" })
}

/// Whether the server would have nothing to serve: it is asked to serve, no argument names a library, and the person
/// has no settings of an earlier run or of ComfyUI-Lora-Manager.
fn needs_demo(arguments: &[String], settings: &[PathBuf]) -> bool {
    let serves = arguments
        .first()
        .is_none_or(|first| first == "serve" || (first.starts_with('-') && !is_question(first)));
    let names_library = ["--root", "--config", "--comfyui", "--settings-json"]
        .iter()
        .any(|option| value_of(arguments, option).is_some());
    serves && !names_library && !settings.iter().any(|file| file.is_file())
}

fn is_question(argument: &str) -> bool {
    ["-h", "--help", "-V", "--version"].contains(&argument)
}

/// The value of an option in either form, `--option value` or `--option=value`.
pub fn value_of<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    arguments.iter().enumerate().find_map(|(place, argument)| {
        let rest = argument.strip_prefix(option)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => Some(arguments.get(place + 1).map_or("", String::as_str)),
            None => None,
        }
    })
}

/// Where the server looks for settings when it is started with these arguments.
fn settings_files(arguments: &[String]) -> Vec<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = || variable("HOME");
    let (config, data) = if cfg!(windows) {
        (variable("APPDATA"), variable("APPDATA"))
    } else if cfg!(target_os = "macos") {
        let support = home().map(|home| home.join("Library/Application Support"));
        (support.clone(), support)
    } else {
        (
            variable("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config"))),
            variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share"))),
        )
    };
    let data = value_of(arguments, "--data-dir")
        .map(PathBuf::from)
        .or_else(|| variable("MODELSHELF_DATA_DIR"))
        .or_else(|| data.map(|data| data.join("modelshelf")));
    let own = data.map(|data| data.join("settings.toml"));
    let original = config.map(|config| config.join("ComfyUI-LoRA-Manager/settings.json"));
    own.into_iter().chain(original).collect()
}

/// On Unix the server takes our place, so that signals and the exit code are its own.
#[cfg(unix)]
fn become_server(mut server: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(server.exec()).with_context(|| format!("{} could not be started", server.get_program().display()))
}

#[cfg(not(unix))]
fn become_server(mut server: Command) -> Result<()> {
    let status = server
        .status()
        .with_context(|| format!("{} could not be started", server.get_program().display()))?;
    std::process::exit(status.code().unwrap_or(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_demo_is_made_only_when_there_is_nothing_else_to_serve() {
        for arguments in ["", "serve", "--bind 127.0.0.1:0", "serve --data-dir x"] {
            assert!(needs_demo(&given(arguments), &[]), "{arguments}");
        }
        for arguments in [
            "--root loras=x",
            "serve --root=loras=x",
            "--config f",
            "--comfyui=d",
            "--settings-json f",
            "plugin build",
            "--help",
        ] {
            assert!(!needs_demo(&given(arguments), &[]), "{arguments}");
        }
        let settings = std::env::current_exe().unwrap();
        assert!(!needs_demo(&[], &[settings]));
    }

    #[test]
    fn an_options_value_is_found_in_both_forms() {
        let arguments = given("--data-dir /a --bind=x --rooted y");
        assert_eq!(value_of(&arguments, "--data-dir"), Some("/a"));
        assert_eq!(value_of(&arguments, "--bind"), Some("x"));
        assert_eq!(value_of(&arguments, "--root"), None);
        assert_eq!(settings_files(&arguments)[0], PathBuf::from("/a/settings.toml"));
    }
}
