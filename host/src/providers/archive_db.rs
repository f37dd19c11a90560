//! The archive of metadata on this machine, a SQLite file that is only read. Source: contract section 7.3.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde_json::{Map, Value, json};

use super::error::ProviderError;
use super::options::Source;
use super::provider::{Answer, Object, Provider, enrich};
use crate::files::foreign_json;

const MODEL: &str = "Model";
const VERSION: &str = "Model version";

/// The archive at some path.
#[derive(Debug, Clone)]
pub struct ArchiveDb {
    path: PathBuf,
}

impl ArchiveDb {
    /// It is opened for each question: seldom, and the file may be replaced meanwhile.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<Option<T>> + Send + 'static,
        what: &'static str,
    ) -> Result<T, ProviderError> {
        let path = self.path.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let failed = |error: rusqlite::Error| ProviderError::Archive(format!("{}: {error}", path.display()));
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let archive = Connection::open_with_flags(&path, flags).map_err(failed)?;
            question(&archive).map_err(failed)
        });
        let answer = asked
            .await
            .map_err(|error| ProviderError::Archive(error.to_string()))??;
        answer.ok_or(ProviderError::NotFound(what))
    }
}

impl Provider for ArchiveDb {
    fn source(&self) -> Source {
        Source::ArchiveDb
    }

    fn version_by_hash<'a>(&'a self, sha256: &'a str) -> Answer<'a, Object> {
        let hash = sha256.to_uppercase();
        let question = move |archive: &Connection| {
            let id: Option<i64> = archive
                .query_row(
                    "SELECT version_id FROM model_files WHERE sha256 = ?1 ORDER BY id DESC",
                    [&hash],
                    |row| row.get(0),
                )
                .optional()?;
            id.map_or(Ok(None), |id| version(archive, id))
        };
        Box::pin(self.ask(question, MODEL))
    }

    fn version(&self, of_model: Option<u64>, wanted: Option<u64>) -> Answer<'_, Object> {
        let (of_model, wanted) = (of_model.map(sql), wanted.map(sql));
        let question = move |archive: &Connection| {
            let id = match (wanted, of_model) {
                (Some(id), _) => Some(id),
                (None, Some(model)) => versions_of(archive, model)?.first().copied(),
                (None, None) => None,
            };
            id.map_or(Ok(None), |id| version(archive, id))
        };
        Box::pin(self.ask(question, VERSION))
    }

    fn model(&self, id: u64) -> Answer<'_, Object> {
        let id = sql(id);
        let question = move |archive: &Connection| {
            let Some(mut whole) = model(archive, id)? else {
                return Ok(None);
            };
            let mut versions = Vec::new();
            for id in versions_of(archive, id)? {
                if let Some(mut version) = version(archive, id)? {
                    version.remove("model");
                    versions.push(Value::Object(version));
                }
            }
            whole.insert("modelVersions".into(), versions.into());
            Ok(Some(whole))
        };
        Box::pin(self.ask(question, MODEL))
    }
}

/// SQLite's numbers have a sign; no id is that large.
fn sql(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(-1)
}

/// Newest first, as the provider lists them.
fn versions_of(archive: &Connection, model: i64) -> rusqlite::Result<Vec<i64>> {
    let mut found =
        archive.prepare("SELECT id FROM model_versions WHERE model_id = ?1 ORDER BY position ASC, id DESC")?;
    found.query_map([model], |row| row.get(0))?.collect()
}

/// The remaining fields of a row.
fn data(text: Option<String>) -> Map<String, Value> {
    // A program in Python wrote it.
    match text.map(|text| foreign_json::read(text.as_bytes())) {
        Some(Ok(Value::Object(data))) => data,
        _ => Map::new(),
    }
}

fn model(archive: &Connection, id: i64) -> rusqlite::Result<Option<Object>> {
    let row = |row: &rusqlite::Row<'_>| {
        let mut model = data(row.get(3)?);
        model.insert("id".into(), id.into());
        for (place, key) in [(0, "name"), (1, "type")] {
            if let Some(text) = row.get::<_, Option<String>>(place)? {
                model.insert(key.into(), text.into());
            }
        }
        if let Some(user) = row.get::<_, Option<String>>(2)? {
            model
                .entry("creator")
                .or_insert_with(|| json!({ "username": user, "image": null }));
        }
        Ok(model)
    };
    archive
        .query_row("SELECT name, type, username, data FROM models WHERE id = ?1", [id], row)
        .optional()
}

fn version(archive: &Connection, id: i64) -> rusqlite::Result<Option<Object>> {
    let row = |row: &rusqlite::Row<'_>| {
        let mut version = data(row.get(4)?);
        let of_model: Option<i64> = row.get(0)?;
        version.insert("id".into(), id.into());
        version.insert("modelId".into(), of_model.into());
        for (place, key) in [(1, "name"), (2, "baseModel"), (3, "publishedAt")] {
            if let Some(text) = row.get::<_, Option<String>>(place)? {
                version.insert(key.into(), text.into());
            }
        }
        version.insert("source".into(), "archive_db".into());
        Ok((of_model, version))
    };
    let found = archive
        .query_row(
            "SELECT model_id, name, base_model, published_at, data FROM model_versions WHERE id = ?1",
            [id],
            row,
        )
        .optional()?;
    let Some((of_model, mut found)) = found else {
        return Ok(None);
    };
    let mut files =
        archive.prepare("SELECT id, type, sha256, data FROM model_files WHERE version_id = ?1 ORDER BY id")?;
    let files = files.query_map(params![id], |row| {
        let mut file = data(row.get(3)?);
        file.insert("id".into(), row.get::<_, i64>(0)?.into());
        if let Some(kind) = row.get::<_, Option<String>>(1)? {
            file.insert("type".into(), kind.into());
        }
        if let Some(hash) = row.get::<_, Option<String>>(2)? {
            let hashes = file.entry("hashes").or_insert_with(|| json!({}));
            if let Value::Object(hashes) = hashes {
                hashes.insert("SHA256".into(), hash.to_uppercase().into());
            }
        }
        Ok(Value::Object(file))
    })?;
    let files = files.collect::<rusqlite::Result<Vec<_>>>()?;
    found.insert("files".into(), files.into());
    found.entry("images").or_insert_with(|| json!([]));
    if let Some(of_model) = of_model.map_or(Ok(None), |id| model(archive, id))? {
        enrich(&mut found, &of_model);
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(path: &Path) {
        let archive = Connection::open(path).unwrap();
        archive
            .execute_batch(
                "CREATE TABLE models(id, name, type, username, data);
                 CREATE TABLE model_versions(id, model_id, name, base_model, position, published_at, data);
                 CREATE TABLE model_files(id, model_id, version_id, type, sha256, data);
                 INSERT INTO models VALUES (7, 'A', 'X', 'u', '{\"tags\": [\"t\"], \"nsfw\": false}');
                 INSERT INTO model_versions VALUES (71, 7, 'v2', 'B', 0, '2025', '{\"trainedWords\": [\"w\"]}');
                 INSERT INTO model_versions VALUES (70, 7, 'v1', 'B', 1, '2024', '{}');
                 INSERT INTO model_files VALUES (1, 7, 70, 'Model', 'AB', '{\"name\": \"a.x\", \"sizeKB\": 1.5, \"primary\": true}');",
            )
            .unwrap();
    }

    #[tokio::test]
    async fn versions_models_and_hashes_are_found_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        archive(&path);
        let archive = ArchiveDb::new(&path);
        let version = Value::Object(archive.version_by_hash("ab").await.unwrap());
        assert_eq!(
            (&version["id"], &version["modelId"], &version["source"]),
            (&json!(70), &json!(7), &json!("archive_db"))
        );
        assert_eq!(version["model"]["tags"], json!(["t"]));
        assert_eq!(
            (
                &version["creator"]["username"],
                &version["files"][0]["hashes"]["SHA256"]
            ),
            (&json!("u"), &json!("AB"))
        );
        let newest = archive.version(Some(7), None).await.unwrap();
        assert_eq!(newest["id"], 71);
        let model = archive.model(7).await.unwrap();
        assert_eq!(model["modelVersions"].as_array().unwrap().len(), 2);
        assert!(matches!(
            archive.version_by_hash("cd").await,
            Err(ProviderError::NotFound(_))
        ));
        let none = ArchiveDb::new(&folder.path().join("b.sqlite")).model(7).await;
        assert!(matches!(none, Err(ProviderError::Archive(_))));
    }
}
