//! Writing a file so that a reader sees the old or the new content, never a part, and a
//! crash leaves one of the two.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::fault;

/// How names of files begin and end that are not whole yet.
const UNFINISHED: (&str, &str) = (".modelshelf-", ".tmp");
/// Age from which a file of such a name is one that a killed server left: writing takes moments.
const LEFT: Duration = Duration::from_secs(3600);

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

/// A name in a folder for a file that is not whole yet; of each `key` one.
pub fn unfinished(folder: &Path, key: &str) -> std::path::PathBuf {
    folder.join(unfinished_name(key))
}

/// A name for a file that is not whole yet; of each `key` one.
pub fn unfinished_name(key: &str) -> String {
    format!("{}{key}{}", UNFINISHED.0, UNFINISHED.1)
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

/// Whether a file of this name is one that is not whole yet.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1)
}

/// Removes a temporary file when it is so old that nobody writes it any more.
pub fn sweep(path: &Path) {
    if !is_left(path, SystemTime::now()) {
        return;
    }
    match std::fs::remove_file(path) {
        Ok(()) => tracing::info!(file = %path.display(), "a temporary file that a killed server left is removed"),
        Err(error) => tracing::debug!(file = %path.display(), %error, "a temporary file can't be removed"),
    }
}

fn is_left(path: &Path, now: SystemTime) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return false;
    };
    let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > LEFT);
    // A copy or a link of a model may have that one's modification time; when it was made, its inode tells.
    #[cfg(unix)]
    let made = {
        let seconds = std::os::unix::fs::MetadataExt::ctime(&metadata);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).cast_unsigned())
    };
    #[cfg(not(unix))]
    let made = metadata.created().unwrap_or(now);
    metadata.is_file() && is_old(made) && metadata.modified().is_ok_and(is_old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_temporary_file_that_nobody_touched_for_long_is_one_that_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = unfinished(folder.path(), "a");
        std::fs::write(&path, "x").unwrap();
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let now = SystemTime::now();
        assert!(is_left(&path, now + hours(2)) && !is_left(&path, now));
        // As a link of an old model.
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(now - hours(50)).unwrap();
        assert!(!is_left(&path, now));
        sweep(&path);
        assert!(path.exists());
        assert!(is_temporary(path.file_name().unwrap().to_str().unwrap()) && !is_temporary("a.tmp"));
    }

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
