//! The guest of the tests that is written in Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::steps::{on_path, root};

const SOURCES: &str = "tests/guests/python";
const INTERFACE: &str = "wit/v0.1.0";
const WORLD: &str = "model-type";

/// Makes its component, unless it is there already; none where the tool can't be had, which is said.
///
/// # Errors
/// When the tool is there and can't make a component of it.
pub fn build(out_dir: &Path) -> Result<Option<PathBuf>> {
    let component = out_dir.join("python.wasm");
    let tool = match tool() {
        Ok(tool) => tool,
        Err(reason) => {
            println!("the guest in Python is left out, and its tests skip: {reason:#}");
            return Ok(None);
        }
    };
    let made = modified(&component);
    let newest = [SOURCES, INTERFACE].map(|folder| newest_in(&root().join(folder)));
    if made.is_some() && newest.iter().all(|newest| *newest <= made) {
        return Ok(Some(component));
    }
    let output = Command::new(&tool)
        .current_dir(root().join(SOURCES))
        .arg("-d")
        .arg(root().join(INTERFACE))
        .args(["-w", WORLD, "componentize", "app", "-o"])
        .arg(&component)
        // Nothing is written among the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .with_context(|| tool.display().to_string())?;
    ensure!(
        output.status.success(),
        "componentize-py failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(component))
}

/// componentize-py, in an environment of its own below `target`, of the version that `requirements.txt` names.
fn tool() -> Result<PathBuf> {
    let wanted = root().join(SOURCES).join("requirements.txt");
    let wanted_text = std::fs::read_to_string(&wanted).with_context(|| wanted.display().to_string())?;
    let place = root().join("target/python");
    let (installed, tool) = (place.join("requirements.txt"), place.join("bin/componentize-py"));
    if tool.is_file() && std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted_text) {
        return Ok(tool);
    }
    let python = on_path("python3").context("there is no python3")?;
    quietly(Command::new(python).args(["-m", "venv", "--clear"]).arg(&place))
        .context("on Debian: apt-get install python3-venv")?;
    println!("installing {}", wanted_text.trim());
    quietly(
        Command::new(place.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&wanted),
    )?;
    std::fs::write(&installed, wanted_text).with_context(|| installed.display().to_string())?;
    Ok(tool)
}

fn quietly(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| program.clone())?;
    let last = String::from_utf8_lossy(&output.stderr)
        .lines()
        .last()
        .map(str::to_owned);
    ensure!(output.status.success(), "{program}: {}", last.unwrap_or_default());
    Ok(())
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|data| data.modified()).ok()
}

/// When a file directly in a folder was written last.
fn newest_in(folder: &Path) -> Option<SystemTime> {
    let files = folder.read_dir().into_iter().flatten().flatten();
    files.filter_map(|entry| modified(&entry.path())).max()
}
