//! Sidecars: `<stem>.metadata.json` beside a model, in the contract's format (section 4.1).
//!
//! A sidecar is kept as the JSON object that it is, so that fields of other programs
//! survive; typed reading is tolerant, since many programs write these files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

/// Largest sidecar that is read, in bytes. Providers' objects with all image metadata stay far below.
const MAX_BYTES: u64 = 64 << 20;

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

/// A sidecar's object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sidecar(pub Map<String, Value>);

impl Sidecar {
    /// Reads a sidecar; none when there is no such file.
    ///
    /// # Errors
    /// When it is there but can't be read or is no sidecar.
    pub fn read(path: &Path) -> Result<Option<Self>, SidecarError> {
        let Some(object) = read_object(path)? else {
            return Ok(None);
        };
        if let Some(missing) = REQUIRED.iter().find(|key| !object.contains_key(**key)) {
            return Err(SidecarError::Corrupt {
                path: path.to_owned(),
                reason: format!("it has no `{missing}`"),
            });
        }
        Ok(Some(Self(object)))
    }

    /// Its file's content, two spaces deep; keys that start with `_` are private to the program that is running and are
    /// dropped.
    ///
    /// # Errors
    /// When it is no JSON, which it always is.
    pub fn content(&self) -> std::io::Result<Vec<u8>> {
        let mut object = self.0.clone();
        object.retain(|key, _| !key.starts_with('_'));
        Ok(serde_json::to_vec_pretty(&Value::Object(object))?)
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
    let io = |source| SidecarError::Io {
        path: path.to_owned(),
        source,
    };
    let corrupt = |reason: String| SidecarError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let bytes = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(corrupt(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
        }
        Ok(metadata) => {
            crate::metrics::content_read(metadata.len());
            std::fs::read(path).map_err(io)?
        }
        // Where the model's own name is as long as a name can be, no sidecar can be beside it.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidFilename
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(io(error)),
    };
    // Editors on Windows put a byte order mark first, which JSON does not know.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(Some(object)),
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
        std::fs::write(&path, sidecar.content().unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"x_other\": {\n    \"z\": 1,\n    \"a\": ["));
        assert!(text.contains('ü') && !text.contains("_private"));
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
