//! What is asked for when something is downloaded.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
