//! Copies to other file systems that are proven before anything relies on them.

use std::io::{Error, ErrorKind, Read, Write};

use sha2::{Digest, Sha256};

use super::entry::Entry;
use super::hash::{self, FileHasher, HashError};
use crate::cancel::Cancel;

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// Copies a file to a new one, on the disk when this returns, with its times and permissions; what is there then is
/// read again from the disk and compared by SHA-256. A link becomes a link to the same place.
///
/// # Errors
/// Any step; `InvalidData` when the copy is another, or the file changed meanwhile; `Interrupted` when cancelled. There may be
/// an unfinished copy then.
pub fn copy(from: &Entry, to: &Entry, cancel: &Cancel) -> std::io::Result<()> {
    #[cfg(unix)]
    if from.metadata()?.is_symlink() {
        return to.link_to(&from.path().canonicalize()?);
    }
    let mut source = from.open()?;
    let before = source.metadata()?;
    let mut copy = to.create_new()?;
    let mut block = vec![0; BLOCK];
    let mut sha256 = Sha256::new();
    loop {
        if cancel.is_set() {
            return Err(cancelled());
        }
        let read = match source.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let content = block.get(..read).unwrap_or_default();
        sha256.update(content);
        copy.write_all(content)?;
    }
    // Some file systems have neither modes nor times to set.
    let _ = copy.set_permissions(before.permissions());
    if let Ok(modified) = before.modified() {
        let _ = copy.set_modified(modified);
    }
    copy.sync_all()?;
    super::fault::step();
    let after = source.metadata()?;
    if after.len() != before.len() || after.modified().ok() != before.modified().ok() {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "the file changed while it was copied",
        ));
    }
    if read_back(to, cancel)? != <[u8; 32]>::from(sha256.finalize()) {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "the copy that was read back differs from the file; look after the disk",
        ));
    }
    Ok(())
}

/// Whether two files hold the same, or two links lead to the same place. Reads both.
///
/// # Errors
/// When one can't be read.
pub fn is_copy(one: &Entry, other: &Entry) -> std::io::Result<bool> {
    let (own, others) = (one.metadata()?, other.metadata()?);
    if own.is_symlink() || others.is_symlink() {
        return Ok(one.path().canonicalize()? == other.path().canonicalize()?);
    }
    if own.len() != others.len() {
        return Ok(false);
    }
    let never = Cancel::default();
    Ok(read_back(one, &never)? == read_back(other, &never)?)
}

/// SHA-256 of what the disk holds.
fn read_back(entry: &Entry, cancel: &Cancel) -> std::io::Result<[u8; 32]> {
    let file = entry.open()?;
    hash::forget_cached(&file);
    match FileHasher::new(BLOCK).file(&file, &mut |_| !cancel.is_set()) {
        Ok(digests) => Ok(digests.sha256),
        Err(HashError::Io(error)) => Err(error),
        Err(HashError::Cancelled) => Err(cancelled()),
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Interrupted, "cancelled")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::files::rooted::AllowedFolders;

    #[test]
    fn a_copy_has_bytes_and_times_and_never_replaces_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let real = folder.path().canonicalize().unwrap();
        let allowed = AllowedFolders::new(vec![folder.path().to_owned()], vec![real]);
        let entry = |name: &str| allowed.entry(&path(name)).unwrap();
        let content = vec![7; 3 * BLOCK / 2];
        std::fs::write(path("a"), &content).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        File::options()
            .write(true)
            .open(path("a"))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        let go_on = Cancel::default();
        copy(&entry("a"), &entry("b"), &go_on).unwrap();
        assert_eq!(std::fs::read(path("b")).unwrap(), content);
        assert_eq!(std::fs::metadata(path("b")).unwrap().modified().unwrap(), long_ago);
        assert!(is_copy(&entry("a"), &entry("b")).unwrap());
        assert_eq!(
            copy(&entry("a"), &entry("b"), &go_on).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        std::fs::write(path("b"), [8; 3 * BLOCK / 2]).unwrap();
        assert!(!is_copy(&entry("a"), &entry("b")).unwrap());
        let stop = Cancel::default();
        stop.set();
        assert_eq!(
            copy(&entry("a"), &entry("c"), &stop).unwrap_err().kind(),
            ErrorKind::Interrupted
        );
    }
}
