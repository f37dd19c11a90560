//! `updates.sqlite`: a row for each model that is tracked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::Key;
use super::tracked::Tracked;
use crate::files::own::{open_database, put_aside};
use crate::library::store::is_broken;

/// The open file.
pub(super) struct Kept(Connection);

type Models = HashMap<Key, Arc<Tracked>>;

impl Kept {
    /// Opens the file and reads it. One that is no such file is put aside first.
    pub fn open(path: &Path) -> rusqlite::Result<(Self, Models)> {
        match Self::try_open(path) {
            Err(error) if is_broken(&error) => {
                put_aside(path, &error.to_string());
                Self::try_open(path)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<(Self, Models)> {
        let file = open_database(path)?;
        file.pragma_update(None, "journal_mode", "WAL")?;
        file.pragma_update(None, "synchronous", "NORMAL")?;
        file.execute_batch(
            "CREATE TABLE IF NOT EXISTS model (
                model_type TEXT NOT NULL, model_id INTEGER NOT NULL, known TEXT NOT NULL,
                PRIMARY KEY (model_type, model_id)) WITHOUT ROWID;",
        )?;
        let mut models = HashMap::new();
        {
            let mut rows = file.prepare("SELECT model_type, model_id, known FROM model")?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let (model_type, id): (String, i64) = (row.get(0)?, row.get(1)?);
                let known: String = row.get(2)?;
                match (u64::try_from(id), serde_json::from_str(&known)) {
                    (Ok(id), Ok(known)) => {
                        models.insert((model_type, id), Arc::new(known));
                    }
                    _ => tracing::warn!(model_type, id, "a row of updates.sqlite can't be read"),
                }
            }
        }
        Ok((Self(file), models))
    }

    /// Writes models.
    pub fn write(&mut self, models: &[(Key, Arc<Tracked>)]) -> rusqlite::Result<()> {
        let change = self.0.transaction()?;
        {
            let mut put = change.prepare_cached("INSERT OR REPLACE INTO model VALUES (?1, ?2, ?3)")?;
            for ((model_type, id), tracked) in models {
                let known = serde_json::to_string(&**tracked)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
                put.execute(params![model_type, i64::try_from(*id).unwrap_or(i64::MAX), known])?;
            }
        }
        change.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_a_spoilt_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updates.sqlite");
        let tracked = Arc::new(Tracked {
            ignored: true,
            ..Tracked::default()
        });
        {
            let (mut kept, models) = Kept::open(&path).unwrap();
            assert!(models.is_empty());
            kept.write(&[(("x".into(), 7), tracked.clone())]).unwrap();
        }
        let (_, models) = Kept::open(&path).unwrap();
        assert_eq!(models[&("x".to_owned(), 7)], tracked);
        std::fs::write(&path, "not a database, but long enough to be taken for one by nobody").unwrap();
        std::fs::write(folder.path().join("updates.sqlite-wal"), "nor is this its log").unwrap();
        let (mut kept, models) = Kept::open(&path).unwrap();
        assert!(models.is_empty());
        kept.write(&[(("x".into(), 8), tracked.clone())]).unwrap();
        let mut entries = std::fs::read_dir(folder.path()).unwrap();
        let is_aside = |name: &str| name.starts_with("updates.sqlite.aside-") && !name.ends_with("-wal");
        assert!(entries.any(|entry| is_aside(entry.unwrap().file_name().to_str().unwrap())));
        drop(kept);
        assert_eq!(Kept::open(&path).unwrap().1[&("x".to_owned(), 8)], tracked);
    }
}
