//! Room on a disk.

use std::path::Path;

/// What is left free on the disk beside a download, in bytes: sidecars and previews are written too.
pub const SPARE: u64 = 32 << 20;

/// Bytes that this user may still write where the file or its folder lies; none when the system does not say.
pub fn free(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let there = path.ancestors().find(|path| path.exists())?;
        let room = rustix::fs::statvfs(there).ok()?;
        Some(room.f_bavail.saturating_mul(room.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
