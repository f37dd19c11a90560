//! What is asked for when something is downloaded.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use super::ledger::{HistoryRow, QueueRow};
use crate::plugins::bindings::FileChoice;

/// A file to download, as it was asked for; kept with its row, so that a restart or retry does the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// The provider's model.
    pub model_id: Option<u64>,
    /// The provider's version.
    pub version_id: Option<u64>,
    /// `civarchive` when that is asked first.
    pub source: Option<String>,
    /// Which file of the version; none = the type's choice.
    pub file_params: Option<Map<String, Value>>,
    /// A file of a Hugging Face repository instead of all above.
    pub hugging_face: Option<RepoFile>,
    /// Where to.
    pub place: Place,
}

/// A file of a repository at Hugging Face.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RepoFile {
    /// `owner/name`.
    pub repo: String,
    /// Path within it.
    pub file: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// Where a file is put.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// A root.
    pub model_root: String,
    /// A folder below it.
    pub relative_path: String,
    /// The type's default root and path template instead.
    pub use_default_paths: bool,
    /// The template below `model_root` instead of the default root.
    pub use_save_dir_as_root: bool,
}

impl Wanted {
    /// What the type's plugin is told of the choice.
    pub fn choice(&self) -> Option<FileChoice> {
        let params = self.file_params.as_ref().filter(|params| !params.is_empty())?;
        let text = |key: &str| params.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(FileChoice {
            id: crate::providers::id_of(params.get("id")),
            file_type: text("type"),
            format: text("format"),
            size: text("size"),
            fp: text("fp"),
            primary: params.get("isPrimary").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// The row of what was asked for.
    pub fn row(&self, id: &str) -> QueueRow {
        let params = self.file_params.as_ref().filter(|params| !params.is_empty());
        let file = self.hugging_face.as_ref();
        QueueRow {
            download_id: id.to_owned(),
            model_id: self.model_id.map(u64::cast_signed),
            model_version_id: self.version_id.map(u64::cast_signed),
            model_name: file.map(|file| file.repo.clone()).unwrap_or_default(),
            version_name: file.map(|file| file.file.clone()).unwrap_or_default(),
            source: self.source.clone(),
            file_params: params.and_then(params_text),
            request: serde_json::to_string(self).ok(),
            ..QueueRow::default()
        }
    }

    /// What a row asks for. One that a client wrote says no place: it goes where the settings say.
    pub fn of_row(row: &QueueRow) -> Self {
        let written = row.request.as_deref().and_then(|text| serde_json::from_str(text).ok());
        written.unwrap_or_else(|| Self {
            model_id: row.model_id.and_then(|id| u64::try_from(id).ok()),
            version_id: row.model_version_id.and_then(|id| u64::try_from(id).ok()),
            source: row.source.clone(),
            file_params: params_of(row.file_params.as_deref()),
            hugging_face: None,
            place: Place {
                use_default_paths: true,
                ..Place::default()
            },
        })
    }

    /// Whether a download that ended was of what is asked for: a row says which version came of a request.
    pub fn was_of(&self, row: &HistoryRow) -> bool {
        let before: Option<Self> = row.request.as_deref().and_then(|text| serde_json::from_str(text).ok());
        if self.hugging_face.is_some() {
            return before.is_some_and(|before| before.hugging_face == self.hugging_face);
        }
        let params = self.file_params.as_ref().filter(|params| !params.is_empty());
        let is_id = |own: Option<u64>, there: Option<i64>| own.is_none() || own.map(u64::cast_signed) == there;
        is_id(self.model_id, row.model_id)
            && is_id(self.version_id, row.model_version_id)
            && params == params_of(row.file_params.as_deref()).as_ref()
    }

    /// The same thing asked for twice has the same key.
    pub fn key(&self) -> String {
        let file = match (&self.hugging_face, &self.file_params) {
            (Some(file), _) => format!("{}@{}/{}", file.repo, file.revision, file.file),
            (None, Some(params)) => serde_json::to_string(params).unwrap_or_default(),
            (None, None) => String::new(),
        };
        format!("{:?}/{:?}/{file}", self.model_id, self.version_id)
    }
}

/// JSON with a space after each comma and colon, as clients know the `file_params` of a row.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The text of `file_params` in a row.
pub fn params_text(params: &impl Serialize) -> Option<String> {
    let mut text = Vec::new();
    params
        .serialize(&mut Serializer::with_formatter(&mut text, Spaced))
        .ok()?;
    String::from_utf8(text).ok()
}

/// Which file, of a row's JSON text.
fn params_of(text: Option<&str>) -> Option<Map<String, Value>> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_download_was_of_a_request_by_what_came_and_not_by_its_id() {
        let row = HistoryRow {
            model_id: Some(1),
            model_version_id: Some(10),
            ..HistoryRow::default()
        };
        let wanted = |model: u64, version: Option<u64>| Wanted {
            model_id: Some(model),
            version_id: version,
            ..Wanted::default()
        };
        assert!(wanted(1, None).was_of(&row) && wanted(1, Some(10)).was_of(&row));
        assert!(!wanted(2, None).was_of(&row) && !wanted(1, Some(11)).was_of(&row));
        let file = Wanted {
            file_params: serde_json::from_str(r#"{"id": 7}"#).ok(),
            ..wanted(1, Some(10))
        };
        assert!(!file.was_of(&row));
        let with_file = HistoryRow {
            file_params: Some(r#"{ "id": 7 }"#.into()),
            ..row.clone()
        };
        assert!(file.was_of(&with_file));
        let of_repo = |name: &str| Wanted {
            hugging_face: Some(RepoFile {
                repo: "o/r".into(),
                file: name.into(),
                revision: "main".into(),
            }),
            ..Wanted::default()
        };
        let repo_row = HistoryRow {
            request: serde_json::to_string(&of_repo("a")).ok(),
            ..HistoryRow::default()
        };
        assert!(of_repo("a").was_of(&repo_row) && !of_repo("b").was_of(&repo_row) && !of_repo("a").was_of(&row));
    }
}
