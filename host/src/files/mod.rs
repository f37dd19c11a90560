//! Side effects on the file system: atomic writes, hashing, and the one door through
//! which a path from a request reaches a file.

pub mod atomic;
pub mod disks;
pub mod entry;
pub mod fault;
pub mod hash;
pub mod limiter;
pub mod rooted;
pub mod transfer;
pub mod zip;

use std::path::Path;

/// Characters that one file system or another does not take in a name. Source: contract section 1.2.
pub const FORBIDDEN: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];

/// Makes a folder that only the server's user can enter, where there is none yet.
///
/// # Errors
/// As `create_dir_all`.
pub fn new_private_folder(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { Ok(()) } else { private_folder(path) }
}

/// Makes a folder that only the server's user can enter, and makes an existing one so.
///
/// # Errors
/// As `create_dir_all`.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A path from a client, to be matched to a record byte by byte. Elsewhere than on Windows `\` is a character of a name as any
/// other, and rewriting it would name another file.
pub fn client_path(path: &str) -> String {
    if cfg!(windows) {
        path.replace('\\', "/")
    } else {
        path.to_owned()
    }
}

/// A path as the API writes it: `/` between folders. None when it is not UTF-8.
pub fn wire_path(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(if std::path::MAIN_SEPARATOR == '/' {
        text.to_owned()
    } else {
        text.replace(std::path::MAIN_SEPARATOR, "/")
    })
}
