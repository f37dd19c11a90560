//! Which versions ever were in a library. Source: contract section 6.2.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use super::{Ledger, LedgerError, now};

impl Ledger {
    /// Remembers versions of a type that are or were here, each with its model. `source` is `download`, `scan` or `manual`.
    /// A download makes undone what a person said; a scan does not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn note_downloaded(
        &self,
        model_type: &str,
        versions: &[(u64, Option<u64>)],
        source: &str,
    ) -> Result<(), LedgerError> {
        self.with(|connection| {
            let step = connection.transaction()?;
            {
                let mut insert = step.prepare_cached(
                    "INSERT INTO downloaded_versions (model_type, version_id, model_id, source, noted_at) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET model_id = COALESCE(excluded.model_id, model_id),
                        is_deleted_override = CASE excluded.source WHEN 'scan' THEN is_deleted_override ELSE 0 END",
                )?;
                for (version, model) in versions {
                    insert.execute(params![model_type, version.cast_signed(), model.map(u64::cast_signed), source, now()])?;
                }
            }
            step.commit()
        })
    }

    /// Notes that a version counts as not downloaded, whatever was seen of it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn note_not_downloaded(&self, model_type: &str, version: u64) -> Result<(), LedgerError> {
        self.with(|connection| {
            connection.execute(
                "INSERT INTO downloaded_versions (model_type, version_id, source, noted_at, is_deleted_override) VALUES (?1, ?2, 'manual', ?3, 1)
                 ON CONFLICT DO UPDATE SET is_deleted_override = 1",
                params![model_type, version.cast_signed(), now()],
            )?;
            Ok(())
        })
    }

    /// Whether a version was ever here.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn was_downloaded(&self, model_type: &str, version: u64) -> Result<bool, LedgerError> {
        self.with(|connection| {
            let text =
                "SELECT 1 FROM downloaded_versions WHERE model_type = ? AND version_id = ? AND NOT is_deleted_override";
            let found = connection.query_row(text, params![model_type, version.cast_signed()], |_| Ok(()));
            Ok(found.optional()?.is_some())
        })
    }

    /// Versions of a model that were ever here: their types and ids.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn downloaded_of(&self, model: u64) -> Result<Vec<(String, u64)>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT model_type, version_id FROM downloaded_versions WHERE model_id = ? AND NOT is_deleted_override ORDER BY version_id",
            )?;
            let rows = query.query_map([model.cast_signed()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            rows.collect()
        })
    }

    /// All versions of a type that were ever noted.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn noted(&self, model_type: &str) -> Result<Vec<u64>, LedgerError> {
        self.with(|connection| {
            let mut query =
                connection.prepare_cached("SELECT version_id FROM downloaded_versions WHERE model_type = ?")?;
            let rows = query.query_map([model_type], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?;
            rows.collect()
        })
    }

    /// What is known of versions of a type: whether each counts as downloaded. Those that were never noted are missing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn words_on(
        &self,
        model_type: &str,
        versions: impl Iterator<Item = u64>,
    ) -> Result<HashMap<u64, bool>, LedgerError> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT NOT is_deleted_override FROM downloaded_versions WHERE model_type = ? AND version_id = ?",
            )?;
            let mut words = HashMap::new();
            for version in versions {
                let word = query.query_row(params![model_type, version.cast_signed()], |row| row.get(0));
                words.extend(word.optional()?.map(|word| (version, word)));
            }
            Ok(words)
        })
    }
}
