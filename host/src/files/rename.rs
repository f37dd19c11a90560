//! Giving a file another name without ever replacing one that is there.

use std::path::Path;

/// Renames within a file system.
///
/// # Errors
/// `AlreadyExists` when something has the new name; else the system's, such as `CrossesDevices`.
pub fn to_new(from: &Path, to: &Path) -> std::io::Result<()> {
    rename(from, to)?;
    super::fault::step();
    Ok(())
}

fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems, network shares above all, don't know the flag.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return result.map_err(Into::into),
        }
    }
    if to.symlink_metadata().is_ok() {
        return Err(std::io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_that_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "a").unwrap();
        std::fs::write(path("b"), "b").unwrap();
        let error = super::to_new(&path("a"), &path("b")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        super::to_new(&path("a"), &path("c")).unwrap();
        assert_eq!(std::fs::read(path("b")).unwrap(), b"b");
        assert!(!path("a").exists() && path("c").exists());
    }
}
