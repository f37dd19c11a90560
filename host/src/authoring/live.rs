//! `--plugin PATH` while the server runs: a component or a crate is watched, built again when it was saved, and takes the
//! place of the version that is served. What can't be built or loaded is shown, and the last good version goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use modelshelf_plugin_builder::{
    BuildError, BuildOptions, CargoError, KnownCrate, Profile, Running, Toolchain, ToolchainOptions,
};
use notify::RecursiveMode;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::watching::{Folder, Watch};
use crate::app::App;
use crate::files::{foreign, hash};
use crate::roster::{self, Source};

/// A path that was named by `--plugin`, watched already.
pub struct Named {
    path: PathBuf,
    is_crate: bool,
    watch: Watch,
}

/// Watches every path that was named by `--plugin`. To be called before plugins are loaded, so that what is saved while
/// they are is not missed.
pub fn watch(app: &App) -> Vec<Named> {
    let paths = app.settings.plugin_paths.iter();
    paths
        .map(|path| match path.is_dir() {
            true => {
                // Cargo reports canonical paths.
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                let (listed, base) = (path.clone(), path.clone());
                let concerns = move |path: &Path, moved: bool| is_source(&base, path) || (moved && path == base);
                Named {
                    watch: Watch::new(move || source_folders(&listed), concerns),
                    path,
                    is_crate: true,
                }
            }
            false => {
                let (file, own) = (path.clone(), path.clone());
                let folders = move || match file.parent() {
                    Some(parent) => vec![(parent.to_owned(), RecursiveMode::NonRecursive)],
                    None => Vec::new(),
                };
                let concerns = move |path: &Path, moved: bool| path == own || (moved && Some(path) == own.parent());
                Named {
                    watch: Watch::new(folders, concerns),
                    path: path.clone(),
                    is_crate: false,
                }
            }
        })
        .collect()
}

/// Follows what was named, each path on a thread of its own. Components have been loaded by then; crates are built now, by
/// compilers that [`end_builds`] ends.
pub fn follow(app: &Arc<App>, named: Vec<Named>, builds: &[Running]) {
    for (named, running) in named.into_iter().zip(builds) {
        let (app, runtime, running) = (app.clone(), Handle::current(), running.clone());
        let shown = named.path.display().to_string();
        let begun = std::thread::Builder::new()
            .name("plugin-live".into())
            .spawn(move || match named.is_crate {
                true => follow_crate(&app, &runtime, named, &running),
                false => follow_file(&app, &runtime, named),
            });
        if let Err(error) = begun {
            tracing::error!(plugin = shown, %error, "a plugin is not followed: no thread could be started");
        }
    }
}

/// Ends compilers that run, with all that they started.
pub fn end_builds(builds: &[Running]) {
    for running in builds {
        running.end(|group| {
            #[cfg(unix)]
            if let Some(group) = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw) {
                // It may have ended just now.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
            }
        });
    }
}

fn follow_file(app: &Arc<App>, runtime: &Handle, named: Named) {
    let Named { path, mut watch, .. } = named;
    let source = Source::File(path.clone());
    while watch.next() {
        watch.renew();
        // A file that is being replaced is not there for a moment; the event of its return follows.
        match roster::component(&path) {
            Ok(wasm) => serve(app, runtime, &source, &wasm),
            Err(_) if !foreign::is_taken(&path) => {}
            Err(error) => {
                tracing::error!(plugin = %path.display(), "a plugin can't be read: {error}");
                app.roster.note_failure(app, &source, error.to_string());
            }
        }
    }
}

fn follow_crate(app: &Arc<App>, runtime: &Handle, named: Named, running: &Running) {
    let Named {
        path: folder,
        mut watch,
        ..
    } = named;
    // Of the crate until the first build tells the component's name.
    let mut source = Source::File(folder.clone());
    let mut known = None;
    // The first build compiles what the crate depends on, for a minute or so.
    app.roster.note_building(app, &source);
    tracing::info!(plugin = %folder.display(), "building a plugin for the first time");
    loop {
        watch.renew();
        match build(&folder, &mut known, running) {
            Ok((file, wasm)) => {
                let built = Source::File(file);
                if built != source {
                    app.roster.rename(&source, &built);
                    source = built;
                }
                serve(app, runtime, &source, &wasm);
            }
            Err(_) if running.is_ended() => return,
            Err(reason) => {
                tracing::error!(plugin = %folder.display(), "a plugin can't be built: {}", first_line(&reason));
                app.roster.note_failure(app, &source, reason);
            }
        }
        if !watch.next() {
            return;
        }
        tracing::info!(plugin = %folder.display(), "building a plugin again");
    }
}

/// The component of a crate, quickly made. What is known of the crate is kept from one build to the next, unless one fails:
/// the compiler itself may have gone.
fn build(folder: &Path, known: &mut Option<KnownCrate>, running: &Running) -> Result<(PathBuf, Vec<u8>), String> {
    let own = match known.take().filter(KnownCrate::is_current) {
        Some(own) => own,
        None => {
            let toolchain = Toolchain::ensure(&ToolchainOptions::default()).map_err(|error| error.to_string())?;
            KnownCrate::new(toolchain, folder).map_err(described)?
        }
    };
    let options = BuildOptions {
        profile: Profile::Dev,
        running: Some(running.clone()),
        ..BuildOptions::into_dir(own.target_folder().join("plugins-dev"))
    };
    let built = own.build(&options).map_err(described)?;
    *known = Some(own);
    let wasm = roster::component(&built.wasm).map_err(|error| error.to_string())?;
    Ok((built.wasm, wasm))
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

/// Serves a component unless it is the one that is known; whoever made it, and whenever. When it can't be, the roster
/// knows why.
fn serve(app: &Arc<App>, runtime: &Handle, source: &Source, wasm: &[u8]) {
    if !app.roster.knows(source, &hash::hex(&Sha256::digest(wasm))) {
        let _ = runtime.block_on(roster::replace(app, source, wasm));
    }
}

/// The crate's folder itself, and all below it that can hold sources.
fn source_folders(folder: &Path) -> Vec<Folder> {
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
