//! The archive of metadata as it comes: a zip file with a SQLite file in it, which is proved before it takes the place of
//! the one that is there. Source of its form: contract section 7.3.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::files::atomic;
use crate::files::foreign::ForeignFile;
use crate::files::zip::{Zip, ZipError};

/// Most bytes of the SQLite file.
const MOST: u64 = 64 << 30;
/// How its name in the zip file ends.
const ENDING: &str = ".sqlite";
/// What its readers ask for.
const TABLES: [(&str, &[&str]); 3] = [
    ("models", &["id", "name", "username", "data", "type"]),
    (
        "model_versions",
        &[
            "id",
            "model_id",
            "name",
            "base_model",
            "position",
            "published_at",
            "data",
        ],
    ),
    (
        "model_files",
        &["id", "model_id", "version_id", "sha256", "data", "type"],
    ),
];

/// Why a file is no archive of metadata.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFileError {
    /// The zip file is broken, or none.
    #[error(
        "what arrived is no whole zip file: {0}. Try again; if it stays so, check the setting `providers.archive_url`"
    )]
    Zip(#[from] ZipError),
    /// It has no such file, or several.
    #[error(
        "the zip file has {0} files that end in {ENDING}, and one is expected. Check the setting `providers.archive_url`"
    )]
    Members(usize),
    /// The database is too large.
    #[error("the database in the zip file is larger than {} GiB, which is more than an archive of metadata has", MOST >> 30)]
    TooLarge,
    /// The disk has too little room.
    #[error(
        "there is no room for the database: {needed} bytes are needed, and {free} are free. Free some space and try again"
    )]
    NoRoom {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// It is another database.
    #[error("the database has not the form of an archive of metadata: {0}. The one before, if there was one, stays")]
    Form(String),
    /// SQLite.
    #[error("the database can't be read: {0}. The one before, if there was one, stays")]
    Sqlite(#[from] rusqlite::Error),
    /// The disk.
    #[error("can't write {}: {source}. Check the folder and its rights", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Unpacks the database of a zip file, proves it, and puts it into its place, where it replaces an older one. `free` are the
/// bytes that may be written there, where that is known. Blocks, for minutes when it is large.
///
/// # Errors
/// Why it can't be used; what was in its place is untouched then.
pub fn install(zip: &Path, place: &Path, free: Option<u64>) -> Result<(), ArchiveFileError> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let unfinished = atomic::unfinished(folder, "archive");
    let done = unpack(zip, &unfinished, free).and_then(|()| {
        let proved = prove(&unfinished);
        remove_companions(&unfinished);
        proved
    });
    let done = done.and_then(|()| {
        // What belongs to the old file must not meet the new one.
        remove_companions(place);
        let moved = std::fs::rename(&unfinished, place);
        moved.map_err(|source| ArchiveFileError::Io {
            path: place.to_owned(),
            source,
        })
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    done
}

/// Removes the files that SQLite makes beside a database.
pub fn remove_companions(database: &Path) {
    for ending in ["-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        let _ = std::fs::remove_file(name);
    }
}

fn unpack(zip: &Path, to: &Path, free: Option<u64>) -> Result<(), ArchiveFileError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ArchiveFileError::Io { path, source }
    };
    let zip = Zip::open(zip)?;
    let databases: Vec<_> = zip
        .members()
        .iter()
        .filter(|member| member.name.to_lowercase().ends_with(ENDING))
        .collect();
    let [member] = databases.as_slice() else {
        return Err(ArchiveFileError::Members(databases.len()));
    };
    let size = member.size;
    if size > MOST {
        return Err(ArchiveFileError::TooLarge);
    }
    if let Some(free) = free.filter(|free| *free < size) {
        return Err(ArchiveFileError::NoRoom { needed: size, free });
    }
    let created = ForeignFile::create(to).map_err(std::io::Error::from);
    let mut file = created.map_err(io(to))?.into_file();
    // Never more than the size that was looked at, and the checksum is compared at the end.
    copy(&mut zip.read(member)?, &mut file, to)?;
    file.sync_all().map_err(io(to))
}

/// Copies in large pieces. A failed read is the zip file's, a failed write the disk's.
fn copy(from: &mut impl Read, file: &mut File, path: &Path) -> Result<(), ArchiveFileError> {
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut piece).map_err(ZipError::Io)?;
        let Some(own) = piece.get(..read).filter(|own| !own.is_empty()) else {
            return Ok(());
        };
        file.write_all(own).map_err(|source| ArchiveFileError::Io {
            path: path.to_owned(),
            source,
        })?;
    }
}

/// Whether a file is a database in the form of an archive, with something in each table.
///
/// # Errors
/// What is missing.
fn prove(path: &Path) -> Result<(), ArchiveFileError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let archive = Connection::open_with_flags(path, flags)?;
    // It comes from elsewhere: nothing in it may call functions.
    archive.pragma_update(None, "trusted_schema", false)?;
    for (table, columns) in TABLES {
        let kind: Option<String> = archive
            .query_row("SELECT type FROM sqlite_schema WHERE name = ?1", [table], |row| {
                row.get(0)
            })
            .optional()?;
        if kind.as_deref() != Some("table") {
            return Err(ArchiveFileError::Form(format!("it has no table `{table}`")));
        }
        let mut info = archive.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let known: Vec<String> = info
            .query_map([table], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if let Some(missing) = columns.iter().find(|column| !known.iter().any(|own| own == *column)) {
            return Err(ArchiveFileError::Form(format!("`{table}` has no column `{missing}`")));
        }
        let first = archive.query_row(&format!("SELECT 1 FROM {table} LIMIT 1"), [], |_| Ok(()));
        if first.optional()?.is_none() {
            return Err(ArchiveFileError::Form(format!("`{table}` is empty")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::zip::made;

    const SCHEMA: &str = "CREATE TABLE models(id, name, type, username, data);
        CREATE TABLE model_versions(id, model_id, name, base_model, position, published_at, data);
        CREATE TABLE model_files(id, model_id, version_id, type, sha256, data);";
    const ROWS: &str = "INSERT INTO models VALUES (1, 'a', 'X', 'u', '{}');
        INSERT INTO model_versions VALUES (2, 1, 'v', 'b', 0, '2025', '{}');
        INSERT INTO model_files VALUES (3, 1, 2, 'Model', 'AB', '{}');";

    fn database(folder: &Path, statements: &str) -> Vec<u8> {
        let path = folder.join("made.sqlite");
        let _ = std::fs::remove_file(&path);
        Connection::open(&path).unwrap().execute_batch(statements).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn only_a_whole_archive_in_the_right_form_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (zip, place) = (folder.path().join("a.zip"), folder.path().join("civitai.sqlite"));
        std::fs::write(&place, "old").unwrap();
        let good = database(folder.path(), &format!("{SCHEMA}{ROWS}"));
        let try_it = |bytes: &[u8], free: Option<u64>| {
            std::fs::write(&zip, bytes).unwrap();
            install(&zip, &place, free)
        };
        let whole = made::of(&[("civitai/civitai.sqlite", &good), ("README.md", b"x")], true);
        let mut spoilt = whole.clone();
        let middle = spoilt.len() / 3;
        spoilt[middle..middle + 8].fill(0xff);
        let form = |statements: &str| {
            let own = database(folder.path(), statements);
            made::of(&[("civitai.sqlite", &own)], false)
        };
        let view = SCHEMA.replace(
            "CREATE TABLE models(id, name, type, username, data);",
            "CREATE VIEW models AS SELECT 1 AS id;",
        );
        let wrong: [(&str, Vec<u8>); 7] = [
            ("no zip file", b"nothing".to_vec()),
            ("cut off", whole[..whole.len() / 2].to_vec()),
            ("other bytes", spoilt),
            ("no database", made::of(&[("a.txt", b"x")], false)),
            ("empty tables", form(SCHEMA)),
            ("a view", form(&view)),
            (
                "no SQLite",
                made::of(&[("civitai.sqlite", b"x".repeat(5000).as_slice())], false),
            ),
        ];
        for (what, bytes) in wrong {
            assert!(try_it(&bytes, None).is_err(), "{what}");
            assert_eq!(std::fs::read(&place).unwrap(), b"old", "{what}");
        }
        assert!(matches!(try_it(&whole, Some(10)), Err(ArchiveFileError::NoRoom { .. })));
        try_it(&whole, Some(1 << 40)).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), good);
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}
