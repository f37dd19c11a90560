//! Writing a file so that a reader sees the old or the new content, never a part, and a
//! crash leaves one of the two.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

const PREFIX: &str = ".modelshelf-";
const SUFFIX: &str = ".tmp";
/// Age from which a temporary file is one that a killed server left: writing takes moments.
const LEFT: Duration = Duration::from_secs(3600);

/// Writes through a temporary file in the same folder: write, fsync, rename, fsync of the
/// folder. A link stays a link: what it leads to is written.
///
/// # Errors
/// Any step up to the rename; the old content is then untouched.
pub fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let resolved = path.canonicalize();
    let path = resolved.as_deref().unwrap_or(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
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
    file.persist(path).map_err(|error| error.error)?;
    // The content is in place; where a folder can't be synced, only a power cut could undo it.
    #[cfg(unix)]
    let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Whether a file of this name is one through which [`write`] writes.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Removes a temporary file when it is so old that nobody writes it any more.
pub fn sweep(path: &Path) {
    let is_left = std::fs::symlink_metadata(path).is_ok_and(|metadata| {
        let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
        metadata.is_file() && age.is_some_and(|age| age > LEFT)
    });
    if !is_left {
        return;
    }
    match std::fs::remove_file(path) {
        Ok(()) => tracing::info!(file = %path.display(), "a temporary file that a killed server left is removed"),
        Err(error) => tracing::debug!(file = %path.display(), %error, "a temporary file can't be removed"),
    }
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
