//! The trash: where deleted files wait for their undo, in a folder beside them, so that deleting
//! is renaming. Source of its name and of the manifest: contract section 4.5; other programs that
//! know the name pass the folder over when they scan.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::history::{Act, Step};
use crate::files::entry::{Entry, Folder};
use crate::files::rooted::AllowedFolders;
use crate::files::wire_path;

/// Name of the folder.
pub const STAGING: &str = ".lm-pending-delete";
const MANIFEST: &str = "manifest.json";

/// The folder in which files of `folder` wait for the undo of an act. It is made, and neither it nor the trash is a link.
///
/// # Errors
/// When it can't be made, when a link or a file has its name, or when `folder` is outside the allowed folders.
pub fn folder_for(allowed: &AllowedFolders, folder: &Path, act: &str) -> std::io::Result<PathBuf> {
    let trash = allowed.folder(folder)?.inner_or_new(OsStr::new(STAGING))?;
    trash.inner_or_new(OsStr::new(act))?.make_private()?;
    Ok(folder.join(STAGING).join(act))
}

/// A file of the library through the open handle of its folder, in the trash or not.
///
/// # Errors
/// As [`AllowedFolders::entry`]; also when the trash is a link.
pub fn entry(allowed: &AllowedFolders, path: &Path) -> std::io::Result<Entry> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if is_trash(folder) => Ok(open(allowed, folder)?.entry(name)),
        _ => allowed.entry(path),
    }
}

/// Opens the folder of an act in the trash.
fn open(allowed: &AllowedFolders, folder: &Path) -> std::io::Result<Folder> {
    let trash = folder.parent();
    match (trash.and_then(Path::parent), folder.file_name()) {
        (Some(outer), Some(act)) => allowed.folder(outer)?.inner(OsStr::new(STAGING))?.inner(act),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

/// Folders in a trash, of one act each.
pub fn acts_in(trash: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(trash).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Removes a folder in the trash with all that is in it, for good: the bytes that became free. Only for one whose act
/// nobody knows any more.
///
/// # Errors
/// When it is no folder in the trash, or something in it can't be removed.
pub fn remove_unknown(allowed: &AllowedFolders, folder: &Path) -> std::io::Result<u64> {
    let is_folder = std::fs::symlink_metadata(folder)?.is_dir();
    if !is_folder || !is_trash(folder) {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
    }
    let files = walkdir::WalkDir::new(folder).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file() && entry.file_name() != MANIFEST);
    let bytes = files
        .filter_map(|entry| entry.metadata().ok())
        .map(|file| file.len())
        .sum();
    let outer = folder
        .parent()
        .and_then(Path::parent)
        .ok_or(std::io::ErrorKind::InvalidInput)?;
    let outer = allowed.folder(outer)?;
    let own = outer
        .inner(OsStr::new(STAGING))?
        .entry(folder.file_name().unwrap_or_default());
    own.remove_folder_with_content()?;
    // Only when it is empty.
    let _ = outer.entry(OsStr::new(STAGING)).remove_folder();
    Ok(bytes)
}

/// Writes the manifests of an act that put files into the trash, so that other programs neither
/// take the folders for leftovers nor empty them before the time.
///
/// # Errors
/// The first that occurs.
pub fn write_manifests(allowed: &AllowedFolders, act: &Act, model_type: &str, expires_at: u64) -> std::io::Result<()> {
    for folder in folders(act) {
        let entries: Vec<Value> = act
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Renamed { from, to, .. } if Path::new(to).parent() == Some(&folder) => {
                    Some(json!({ "staged": to, "original": from, "restored": false }))
                }
                _ => None,
            })
            .collect();
        // An undo empties folders of the trash: nothing waits there any more.
        if entries.is_empty() {
            continue;
        }
        let manifest = json!({
            "batch_id": act.id, "kind": "model", "model_type": model_type, "expires_at": expires_at, "state": "staged",
            "entries": entries, "model_snapshot": null, "recipe_snapshot": null,
        });
        let file = open(allowed, &folder)?.entry(OsStr::new(MANIFEST));
        file.write(manifest.to_string().as_bytes())?;
    }
    Ok(())
}

/// Removes the files of an act that wait in the trash, for good, and their folders: the bytes that
/// became free. None when some of it can't be removed now, such as on a disk that is away.
pub fn empty(allowed: &AllowedFolders, act: &Act) -> Option<u64> {
    let (mut freed, mut all) = (0, true);
    for step in act.steps.iter().filter(|_| act.has_trash()) {
        let Step::Renamed { to, .. } = step else { continue };
        let path = Path::new(to);
        if !is_inside(path) {
            continue;
        }
        let removed = entry(allowed, path).and_then(|file| {
            let bytes = file.metadata()?.len();
            file.remove_file().map(|()| bytes)
        });
        match removed {
            Ok(bytes) => freed += bytes,
            // Gone is only what is missing from a disk that is there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_reachable(path) => {}
            Err(error) => {
                tracing::warn!(file = to, %error, "can't be taken out of the trash; it is tried again later");
                all = false;
            }
        }
    }
    tidy(allowed, act);
    all.then_some(freed)
}

/// Whether the folder is there in which the trash of a file lies.
fn is_reachable(path: &Path) -> bool {
    path.ancestors().nth(3).is_some_and(Path::is_dir)
}

/// Bytes of an act that wait in the trash now.
pub fn waiting_bytes(act: &Act) -> u64 {
    let waiting = act.steps.iter().filter_map(|step| match step {
        Step::Renamed { to, .. } if is_inside(Path::new(to)) => std::fs::symlink_metadata(to).ok(),
        _ => None,
    });
    waiting.map(|metadata| metadata.len()).sum()
}

/// Removes the folders of an act in which nothing waits any more.
pub fn tidy(allowed: &AllowedFolders, act: &Act) {
    folders(act).iter().for_each(|folder| tidy_folder(allowed, folder));
}

/// Removes the folder in the trash that a file lay in, when nothing waits in it any more.
pub fn tidy_behind(allowed: &AllowedFolders, path: &Path) {
    if let Some(folder) = path.parent().filter(|folder| is_trash(folder)) {
        tidy_folder(allowed, folder);
    }
}

fn tidy_folder(allowed: &AllowedFolders, folder: &Path) {
    let outer = folder.parent().and_then(Path::parent);
    let (Some(outer), Some(act)) = (outer.and_then(|outer| allowed.folder(outer).ok()), folder.file_name()) else {
        return;
    };
    let Ok(trash) = outer.inner(OsStr::new(STAGING)) else {
        return;
    };
    let Ok(own) = trash.inner(act) else { return };
    let only_manifest = own.names().is_ok_and(|names| names.iter().all(|name| name == MANIFEST));
    if only_manifest {
        let _ = own.entry(OsStr::new(MANIFEST)).remove_file();
        let _ = trash.entry(act).remove_folder();
        // Only when it is empty: other acts may have files there.
        let _ = outer.entry(OsStr::new(STAGING)).remove_folder();
    }
}

/// Folders in the trash that an act has files in, or had before it was undone.
pub fn folders(act: &Act) -> BTreeSet<PathBuf> {
    let ends = act.steps.iter().flat_map(|step| match step {
        Step::Renamed { from, to, .. } => vec![from, to],
        _ => Vec::new(),
    });
    let parents = ends.filter_map(|path| Path::new(path).parent());
    parents.filter(|folder| is_trash(folder)).map(Path::to_owned).collect()
}

fn is_trash(folder: &Path) -> bool {
    folder
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|name| name == STAGING)
}

/// Whether a path lies in the trash.
pub fn is_inside(path: &Path) -> bool {
    path.parent().is_some_and(is_trash)
}

/// A path as acts note it.
pub fn noted(path: &Path) -> String {
    wire_path(path).unwrap_or_else(|| path.display().to_string())
}
