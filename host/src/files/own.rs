//! Files that the server writes for itself: reading them, and what becomes of one that can't be used.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::de::DeserializeOwned;

use super::foreign::{self, ForeignError, Links};

/// Reads a file of JSON that this server wrote; none when there is none. One that is empty, broken or no file at all is put
/// aside with a warning ([`put_aside`]), and counts as none: what it held is lost already, and a start without it is better
/// than no start.
///
/// # Errors
/// When the file may be whole but can't be read now: its disk is offline, or the system refuses.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ForeignError> {
    let bytes = match foreign::read(path, foreign::OWN_FILE) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        Err(error) if error.may_pass() => return Err(error),
        Err(error) => {
            put_aside(path, &error.to_string());
            return Ok(None);
        }
    };
    if bytes.is_empty() {
        put_aside(path, "it is empty");
        return Ok(None);
    }
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            // No text of the file: it may be a secret.
            let (line, column) = (error.line(), error.column());
            put_aside(
                path,
                &format!("line {line}, column {column}: {:?} error", error.classify()),
            );
            Ok(None)
        }
    }
}

/// Gives a file that can't be used, with what SQLite keeps beside it, another name, `NAME.aside-SECONDS`, so that a new one
/// can be begun and the old one be looked at.
pub fn put_aside(path: &Path, reason: &str) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    // Several in one second must not replace each other.
    let names = (0..100).map(|number| match number {
        0 => format!("{}.aside-{seconds}", path.display()),
        number => format!("{}.aside-{seconds}.{number}", path.display()),
    });
    let Some(aside) = names.into_iter().find(|name| !foreign::is_taken(Path::new(name))) else {
        return;
    };
    for ending in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{ending}", path.display()));
        let to = PathBuf::from(format!("{aside}{ending}"));
        if !foreign::is_taken(&from) {
            continue;
        }
        match std::fs::rename(&from, &to) {
            Ok(()) => {
                tracing::warn!(file = %from.display(), kept_as = %to.display(), reason, "the file can't be used; it is kept under another name and a new one is begun");
            }
            Err(error) => {
                tracing::error!(file = %from.display(), %error, reason, "the file can't be used, and can't be put aside; move it away");
            }
        }
    }
}

/// Opens a database for writing, making it where there is none. One that is no file is put aside first, and one without
/// any bytes, which SQLite takes for a new one, is named in the log.
///
/// # Errors
/// SQLite's; `SQLITE_CANTOPEN` also when its disk is offline.
pub fn open_database(path: &Path) -> rusqlite::Result<Connection> {
    match foreign::inspect(path, Links::Follow) {
        Ok(Some(metadata)) if metadata.len() == 0 => {
            tracing::warn!(file = %path.display(), "the file is empty: what it held is lost, and a new one is begun");
        }
        Ok(_) => {}
        Err(error) if error.may_pass() => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
            return Err(rusqlite::Error::SqliteFailure(code, Some(error.to_string())));
        }
        Err(error) => put_aside(path, &error.to_string()),
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that opens databases for writing"
    )]
    Connection::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_can_not_be_used_is_put_aside_and_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
        std::fs::write(&path, "[1]").unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![1]));
        for (count, text) in ["", "{", "\"other\""].into_iter().enumerate() {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
            let names = names(folder.path());
            assert_eq!(names.len(), count + 1, "{names:?}");
            assert!(names.iter().all(|name| name.starts_with("a.json.aside-")), "{names:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_put_aside_and_a_link_that_leads_nowhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
        assert!(!foreign::is_taken(&path));
        std::os::unix::fs::symlink("/nowhere/a.json", &path).unwrap();
        assert!(read_json::<Vec<u8>>(&path).unwrap_err().is_offline());
        assert!(foreign::is_taken(&path));
        assert!(
            open_database(&path)
                .unwrap_err()
                .to_string()
                .contains("attach the disk")
        );
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        open_database(&path)
            .unwrap()
            .execute_batch("CREATE TABLE a (b)")
            .unwrap();
        assert!(path.is_file());
    }
}
