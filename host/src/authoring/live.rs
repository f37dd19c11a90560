//! `--plugin PATH` while the server runs: a component or a crate is watched, built again when it was saved, and takes the
//! place of the version that is served. What can't be built or loaded is shown, and the last good version goes on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use modelshelf_plugin_builder::{BuildError, BuildOptions, CargoError, Profile, Toolchain, ToolchainOptions};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::runtime::Handle;

use crate::http::app::App;
use crate::roster::{self, Source};

/// How long files must keep still: editors write in several steps.
const QUIET: Duration = Duration::from_millis(80);

/// Follows every path that was named by `--plugin`, each on a thread of its own. Components have been loaded by then;
/// crates are built now.
pub fn follow(app: &Arc<App>) {
    for path in app.settings.plugin_paths.clone() {
        let (app, runtime) = (app.clone(), Handle::current());
        let named = path.display().to_string();
        let begun = std::thread::Builder::new()
            .name("plugin-live".into())
            .spawn(move || match path.is_dir() {
                true => follow_crate(&app, &runtime, &path),
                false => follow_file(&app, &runtime, &path),
            });
        if let Err(error) = begun {
            tracing::error!(plugin = named, %error, "a plugin is not watched: no thread could be started");
        }
    }
}

fn follow_file(app: &Arc<App>, runtime: &Handle, file: &Path) {
    let Ok(file) = std::path::absolute(file) else { return };
    let Some(parent) = file.parent() else { return };
    let own = file.file_name().map(OsStr::to_owned);
    let watched = watch(&[(parent.to_owned(), RecursiveMode::NonRecursive)], move |path| {
        path.file_name() == own.as_deref()
    });
    let Some((_watcher, changes)) = watched else { return };
    let source = Source::File(file.clone());
    while next_change(&changes) {
        // A file that is being replaced is not there for a moment; the event of its return follows.
        if let Ok(wasm) = std::fs::read(&file) {
            serve(app, runtime, &source, &wasm);
        }
    }
}

fn follow_crate(app: &Arc<App>, runtime: &Handle, folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    let base = folder.clone();
    // Set before the first build, so that nothing that is saved meanwhile is missed.
    let watched = watch(&source_folders(&folder), move |path| is_source(&base, path));
    // Of the crate until the first build tells the component's name.
    let mut source = Source::File(folder.clone());
    let mut serves = false;
    loop {
        match build(&folder) {
            Ok((file, wasm, changed)) => {
                source = Source::File(file);
                if changed || !serves {
                    serves = serve(app, runtime, &source, &wasm);
                }
            }
            Err(reason) => {
                tracing::error!(plugin = %folder.display(), "a plugin can't be built: {}", first_line(&reason));
                app.roster.note_failure(app, &source, reason);
                // The same component as before ends the failure too.
                serves = false;
            }
        }
        let Some((_, changes)) = &watched else { return };
        if !next_change(changes) {
            return;
        }
        tracing::info!(plugin = %folder.display(), "building a plugin again");
    }
}

/// The component of a crate, quickly made, and whether it is another than before.
fn build(folder: &Path) -> Result<(PathBuf, Vec<u8>, bool), String> {
    let toolchain = Toolchain::ensure(&ToolchainOptions::default()).map_err(|error| error.to_string())?;
    let out = modelshelf_plugin_builder::target_folder(&toolchain, folder).map_err(described)?;
    let options = BuildOptions {
        profile: Profile::Dev,
        ..BuildOptions::into_dir(out.join("plugins-dev"))
    };
    let built = modelshelf_plugin_builder::build(&toolchain, folder, &options).map_err(described)?;
    let wasm = std::fs::read(&built.wasm).map_err(|error| format!("{}: {error}", built.wasm.display()))?;
    Ok((built.wasm, wasm, built.changed))
}

/// A build's error with all that the compiler said.
fn described(error: BuildError) -> String {
    match &error {
        BuildError::Cargo(CargoError::Compile { diagnostics, .. }) => format!("{error}\n{diagnostics}"),
        _ => error.to_string(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Whether it is served now; else the roster knows why.
fn serve(app: &Arc<App>, runtime: &Handle, source: &Source, wasm: &[u8]) -> bool {
    runtime.block_on(roster::replace(app, source, wasm)).is_ok()
}

/// The crate's folder itself, and all below it that can hold sources.
fn source_folders(folder: &Path) -> Vec<(PathBuf, RecursiveMode)> {
    let mut folders = vec![(folder.to_owned(), RecursiveMode::NonRecursive)];
    let below = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let sources = below.filter(|path| path.is_dir() && is_source(folder, path));
    folders.extend(sources.map(|path| (path, RecursiveMode::Recursive)));
    folders
}

/// Not what a build or an editor writes beside the sources.
fn is_source(folder: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(folder) else {
        return false;
    };
    let hidden = inside.iter().any(|part| part.to_string_lossy().starts_with('.'));
    let is_backup = path.to_string_lossy().ends_with('~');
    let first = inside.iter().next().unwrap_or_default();
    !hidden && !is_backup && first != "target" && first != "Cargo.lock" && !first.is_empty()
}

/// Hears of changes in these folders at paths that concern us.
fn watch(
    folders: &[(PathBuf, RecursiveMode)],
    concerns: impl Fn(&Path) -> bool + Send + 'static,
) -> Option<(RecommendedWatcher, Receiver<()>)> {
    let (sender, changes) = channel();
    let heard = move |event: notify::Result<notify::Event>| {
        if let Ok(event) = event
            && !matches!(event.kind, EventKind::Access(_))
            && event.paths.iter().any(|path| concerns(path))
        {
            // Nobody listens when the thread has ended.
            let _ = sender.send(());
        }
    };
    let watching = notify::recommended_watcher(heard).and_then(|mut watcher| {
        folders
            .iter()
            .try_for_each(|(folder, mode)| watcher.watch(folder, *mode))?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some((watcher, changes)),
        Err(error) => {
            tracing::warn!(%error, "changes of a plugin are not seen; restart the server after a change");
            None
        }
    }
}

/// Waits until something changed and then kept still; false when nothing can change any more.
fn next_change(changes: &Receiver<()>) -> bool {
    if changes.recv().is_err() {
        return false;
    }
    while changes.recv_timeout(QUIET).is_ok() {}
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_or_an_editor_writes_is_no_source() {
        let folder = Path::new("/p");
        for source in ["src/lib.rs", "Cargo.toml", "build.rs", "src/rules/deep.rs"] {
            assert!(is_source(folder, &folder.join(source)), "{source}");
        }
        for other in [
            "target/x",
            "Cargo.lock",
            ".git/index",
            "src/.lib.rs.swp",
            "src/lib.rs~",
            "",
            "../q/src/lib.rs",
        ] {
            assert!(!is_source(folder, &folder.join(other)), "{other}");
        }
    }
}
