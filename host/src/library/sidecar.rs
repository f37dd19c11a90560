//! Sidecars: `<stem>.metadata.json` beside a model, in the contract's format (section 4.1).
//!
//! A sidecar is kept as the JSON object that it is, so that fields of other programs
//! survive; typed reading is tolerant, since many programs write these files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::files::foreign::{self, ForeignError};
use crate::files::{atomic, foreign_json};

/// Largest sidecar that is read, in bytes. Providers' objects with all image metadata stay far below.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Without one of these a sidecar is not one: it may be another program's file.
const REQUIRED: [&str; 8] = [
    "file_name",
    "model_name",
    "file_path",
    "size",
    "modified",
    "sha256",
    "base_model",
    "preview_url",
];

/// Of this many models at most one is changed at a time by each of them.
const TURNS: usize = 64;

/// Held by whoever reads a model's sidecar, changes it and writes it back, so that no part of the server writes over what
/// another one wrote meanwhile.
pub fn turn(model: &Path) -> MutexGuard<'static, ()> {
    LOCKS[place_of(model)].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turns of several paths at once, for whoever moves files between them.
pub fn turns<'p>(models: impl IntoIterator<Item = &'p Path>) -> Vec<MutexGuard<'static, ()>> {
    // Always in the same order, so that nobody waits for each other.
    let places: BTreeSet<usize> = models.into_iter().map(place_of).collect();
    let places = places.into_iter();
    places
        .map(|place| LOCKS[place].lock().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

static LOCKS: [Mutex<()>; TURNS] = [const { Mutex::new(()) }; TURNS];

fn place_of(model: &Path) -> usize {
    // By the stem, since models of one stem share a sidecar.
    let stem = model.with_extension("");
    super::item::media_key(&stem.to_string_lossy()) as usize % TURNS
}

/// Why a sidecar was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// It can't be read or written.
    #[error("can't access sidecar {}: {source}", path.display())]
    Io {
        /// The sidecar.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The door refuses it: it is a pipe, a device, a link that leads nowhere, or too large.
    #[error("{0}. Until then its model is left as it is known, or left out, and the metadata file is not touched")]
    Foreign(#[from] ForeignError),
    /// It is no sidecar. It is left as it is.
    #[error(
        "sidecar {} is not usable ({reason}), so its model is left out and the sidecar is not touched; \
         repair it, or move it away to have a new one written", path.display()
    )]
    Corrupt {
        /// The sidecar.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl SidecarError {
    /// Whether reading it again, with the same thing at its path, ends the same way.
    pub fn stays(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Foreign(error) => !matches!(error, ForeignError::Io { .. }),
            Self::Io { .. } => false,
        }
    }
}

/// A sidecar's object, and the text that it was read from, whose tokens that are no plain JSON are written back as they
/// were (see [`foreign_json`]). Two sidecars are equal when their objects are.
#[derive(Debug, Clone, Default)]
pub struct Sidecar(pub Map<String, Value>, Option<Arc<[u8]>>);

impl PartialEq for Sidecar {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Sidecar {
    /// A sidecar that is in no file yet.
    pub fn of(fields: Map<String, Value>) -> Self {
        Self(fields, None)
    }

    /// The sidecar of a text; none when it is no object.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match foreign_json::read(text) {
            Ok(Value::Object(object)) => Some(Self(object, Some(text.into()))),
            _ => None,
        }
    }

    /// Reads a sidecar; none when there is no such file.
    ///
    /// # Errors
    /// When it is there but can't be read or is no sidecar.
    pub fn read(path: &Path) -> Result<Option<Self>, SidecarError> {
        let Some(sidecar) = read_file(path)? else {
            return Ok(None);
        };
        if let Some(missing) = REQUIRED.iter().find(|key| !sidecar.0.contains_key(**key)) {
            return Err(SidecarError::Corrupt {
                path: path.to_owned(),
                reason: format!("it has no `{missing}`"),
            });
        }
        Ok(Some(sidecar))
    }

    /// Writes it whole, two spaces deep; keys that start with `_` are private to the program
    /// that is running and are dropped.
    ///
    /// # Errors
    /// As [`atomic::write`].
    pub fn write(&self, path: &Path) -> Result<(), SidecarError> {
        atomic::write(path, &self.content()).map_err(|source| SidecarError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The bytes that [`Self::write`] writes.
    pub fn content(&self) -> Vec<u8> {
        let mut object = self.0.clone();
        object.retain(|key, _| !key.starts_with('_'));
        foreign_json::write(&object, self.1.as_deref())
    }

    /// A text field; empty when it is missing or something else.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A flag, as other programs write them; `default` when missing.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        match self.0.get(key) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(object)) => !object.is_empty(),
        }
    }

    /// A number; 0 when it is missing or something else.
    pub fn number(&self, key: &str) -> f64 {
        self.0.get(key).and_then(Value::as_f64).unwrap_or_default()
    }

    /// Texts of a list; empty when it is missing or something else.
    pub fn texts(&self, key: &str) -> Vec<&str> {
        texts(self.0.get(key)).unwrap_or_default()
    }

    /// The provider's object, if it is one.
    pub fn civitai(&self) -> Option<&Map<String, Value>> {
        self.0.get("civitai").and_then(Value::as_object)
    }
}

/// Texts of a JSON list; none when it is no list.
pub fn texts(value: Option<&Value>) -> Option<Vec<&str>> {
    Some(value?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// Reads a file that should be one JSON object; none when there is no such file.
///
/// # Errors
/// When it is there but can't be read, is too large, or is something else.
pub fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, SidecarError> {
    Ok(read_file(path)?.map(|sidecar| sidecar.0))
}

/// As [`read_object`], with the file's text.
fn read_file(path: &Path) -> Result<Option<Sidecar>, SidecarError> {
    let corrupt = |reason: String| SidecarError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    // Where the model's own name is as long as a name can be, no sidecar can be beside it.
    let Some(bytes) = foreign::read(path, MAX_BYTES)? else {
        return Ok(None);
    };
    crate::metrics::content_read(bytes.len() as u64);
    match foreign_json::read(&bytes) {
        Ok(Value::Object(object)) => Ok(Some(Sidecar(object, Some(bytes.into())))),
        Ok(_) => Err(corrupt("it holds no JSON object".into())),
        Err(error) => Err(corrupt(error.to_string())),
    }
}

/// Path of the sidecar of a model: its last extension replaced.
pub fn path_for(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}.metadata.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"file_name":"a","model_name":"A","file_path":"/a","size":1,"modified":1.5,"sha256":"",
        "base_model":"","preview_url":"","x_other":{"z":1,"a":[1,2.50,"ü"]},"_private":1}"#;

    fn written(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = path_for(folder.path(), "a.b");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn unknown_fields_and_their_order_survive_reading_and_writing() {
        let (_folder, path) = written(MINIMAL.as_bytes());
        let sidecar = Sidecar::read(&path).unwrap().unwrap();
        sidecar.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"x_other\": {\n    \"z\": 1,\n    \"a\": ["));
        assert!(text.contains('ü') && !text.contains("_private"));
    }

    #[test]
    fn what_python_writes_survives_an_edit_of_another_field() {
        let text = MINIMAL.replace("1.5", "NaN").replace(
            "\"_private\"",
            "\"loss\": -Infinity, \"seed\": 18446744073709551616, \"_p\"",
        );
        let (_folder, path) = written(text.as_bytes());
        let mut sidecar = Sidecar::read(&path).unwrap().unwrap();
        assert_eq!(sidecar.number("modified"), 0.0);
        sidecar.0.insert("notes".into(), "new".into());
        sidecar.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for part in [
            "\"modified\": NaN",
            "\"loss\": -Infinity",
            "\"seed\": 18446744073709551616",
            "2.50",
            "\"notes\": \"new\"",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let (_folder, path) = written(&[b"\xef\xbb\xbf", MINIMAL.as_bytes()].concat());
        assert_eq!(Sidecar::read(&path).unwrap().unwrap().text("model_name"), "A");
    }

    #[test]
    fn a_corrupt_sidecar_is_an_error_that_says_what_is_wrong() {
        for (text, word) in [
            ("{", "EOF"),
            ("[]", "no JSON object"),
            ("{\"file_name\":1}", "`model_name`"),
        ] {
            let (_folder, path) = written(text.as_bytes());
            let error = Sidecar::read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("a.b.metadata.json"), "{error}");
        }
        assert_eq!(Sidecar::read(Path::new("/no/such/file")).unwrap(), None);
    }
}
