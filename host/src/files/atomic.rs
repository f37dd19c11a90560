//! Writing a file so that a reader sees the old or the new content, never a part, and a
//! crash leaves one of the two.

use std::io::Write;
use std::path::Path;

use super::fault;

/// How names of files begin and end that are not whole yet.
const UNFINISHED: (&str, &str) = (".modelshelf-", ".tmp");

/// Writes through a temporary file in the same folder: write, fsync, rename, fsync of the
/// folder. A link stays a link: what it leads to is written.
///
/// # Errors
/// Any step up to the rename; the old content is then untouched.
pub fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let resolved = path.canonicalize();
    let path = resolved.as_deref().unwrap_or(path);
    let file = beside(path, content)?;
    fault::step();
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(path);
    fault::step();
    Ok(())
}

/// Writes a file that must not be there yet, in the same way.
///
/// # Errors
/// `AlreadyExists` when something has its name, and any step up to the rename.
pub fn create(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let file = beside(path, content)?;
    fault::step();
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(path);
    fault::step();
    Ok(())
}

/// Removes what a crash left of unfinished files in a folder in which nothing is being written.
pub fn tidy(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A name in a folder for a file that is not whole yet; of each `key` one.
pub fn unfinished(folder: &Path, key: &str) -> std::path::PathBuf {
    folder.join(format!("{}{key}{}", UNFINISHED.0, UNFINISHED.1))
}

/// The content in a temporary file in the folder of `path`, on the disk.
fn beside(path: &Path, content: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED.0)
        .suffix(UNFINISHED.1)
        .tempfile_in(folder)?;
    file.write_all(content)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are 0600; a sidecar must stay readable for the programs that share it.
        // Some network file systems have no modes, and refuse.
        let mode = std::fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o777);
        let _ = file.as_file().set_permissions(std::fs::Permissions::from_mode(mode));
    }
    file.as_file().sync_data()?;
    Ok(file)
}

/// The content is in place; where a folder can't be synced, only a power cut could undo it.
fn sync_folder(path: &Path) {
    #[cfg(unix)]
    let _ = path
        .parent()
        .and_then(|folder| std::fs::File::open(folder).ok()?.sync_all().ok());
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        super::write(&path, b"old").unwrap();
        let below_a_file = path.join("b.json");
        assert!(super::write(&below_a_file, b"new").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        super::write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
