//! Which file of a provider's version is meant.

use serde::Deserialize;
use serde_json::Value;

use crate::{FileChoice, PluginError, Result, SelectInput};

/// File types that hold weights.
const WEIGHTS: [&str; 6] = [
    "Model",
    "Pruned Model",
    "Negative",
    "UNet",
    "Diffusion Model",
    "Enhancement LoRA",
];
/// File types that are never downloaded by themselves.
const NEVER: [&str; 4] = ["Config", "Archive", "Workflow", "Training Data"];

/// Types of one model in two sizes.
const MODEL: [&str; 2] = ["Model", "Pruned Model"];
/// Endings of files that hold weights as plain data.
const PLAIN: [&str; 3] = ["safetensors", "sft", "gguf"];
/// Formats, as providers call them, of the same.
const PLAIN_FORMATS: [&str; 2] = ["SafeTensor", "GGUF"];
/// Endings of files that are passed over where the version has its weights as plain data: archives, and checkpoints that hold
/// code.
const PASSED_OVER: [&str; 6] = ["zip", "rar", "7z", "tar", "gz", "ckpt"];

/// A provider's version, as far as choosing a file needs it.
#[derive(Debug, Deserialize)]
pub struct Version {
    /// Its base model as the provider writes it; empty when unknown.
    #[serde(default, rename = "baseModel", deserialize_with = "text_or_empty")]
    pub base_model: String,
    /// Its files in the provider's order, which [`FileSelection::file`](crate::FileSelection) counts.
    #[serde(default, deserialize_with = "files_or_none")]
    pub files: Vec<File>,
}

/// A file of a version. Members that a provider leaves out, or fills with something else than is usual, are empty.
#[derive(Debug, Default, PartialEq)]
pub struct File {
    /// The provider's id.
    pub id: Option<u64>,
    /// Such as `Model`.
    pub file_type: Option<String>,
    /// Whether the provider calls it the version's primary file.
    pub primary: bool,
    /// Such as `SafeTensor`.
    pub format: Option<String>,
    /// Such as `pruned`.
    pub size: Option<String>,
    /// Such as `fp16`.
    pub fp: Option<String>,
    /// Ending of its name in lower case, without the dot.
    pub ending: Option<String>,
}

fn text_or_empty<'de, D: serde::Deserializer<'de>>(value: D) -> core::result::Result<String, D::Error> {
    Ok(text(&Value::deserialize(value)?).unwrap_or_default())
}

fn files_or_none<'de, D: serde::Deserializer<'de>>(value: D) -> core::result::Result<Vec<File>, D::Error> {
    let Value::Array(files) = Value::deserialize(value)? else {
        return Ok(Vec::new());
    };
    Ok(files.iter().map(File::of).collect())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

impl File {
    /// Providers and archives differ in what they leave out, so that no member may be insisted on.
    fn of(file: &Value) -> Self {
        let id = &file["id"];
        let metadata = &file["metadata"];
        Self {
            id: id.as_u64().or_else(|| id.as_str().and_then(|id| id.parse().ok())),
            file_type: text(&file["type"]),
            primary: file["primary"] == Value::Bool(true),
            format: text(&metadata["format"]),
            size: text(&metadata["size"]),
            fp: text(&metadata["fp"]),
            ending: text(&file["name"]).and_then(|name| Some(name.rsplit_once('.')?.1.to_ascii_lowercase())),
        }
    }

    fn has_ending(&self, endings: &[&str]) -> bool {
        self.ending.as_deref().is_some_and(|own| endings.contains(&own))
    }

    /// Whether it holds weights as plain data. A name says more than what the provider calls the format.
    fn is_plain(&self) -> bool {
        match &self.ending {
            Some(_) => self.has_ending(&PLAIN),
            None => self.format.as_deref().is_some_and(|own| PLAIN_FORMATS.contains(&own)),
        }
    }

    /// Whether it may stand in for another file with weights.
    fn is_same_kind(&self, other: &Self) -> bool {
        self.file_type == other.file_type || (self.is_one_of(&MODEL) && other.is_one_of(&MODEL))
    }

    /// Whether the file has that type.
    pub fn is_of_type(&self, file_type: &str) -> bool {
        self.file_type.as_deref() == Some(file_type)
    }

    fn is_one_of(&self, types: &[&str]) -> bool {
        types.iter().any(|file_type| self.is_of_type(file_type))
    }

    fn matches(&self, choice: &FileChoice) -> bool {
        let type_fits = match &choice.file_type {
            Some(asked) => self.is_of_type(asked),
            None => self.is_one_of(&WEIGHTS),
        };
        // A file that does not say its size or precision may be the one; a format is always said.
        let fits = |asked: &Option<String>, has: &Option<String>| asked.is_none() || has.is_none() || asked == has;
        type_fits
            && (choice.format.is_none() || choice.format == self.format)
            && fits(&choice.size, &self.size)
            && fits(&choice.fp, &self.fp)
    }
}

impl Version {
    /// Reads a provider's version.
    ///
    /// # Errors
    /// `Invalid` when the text is no JSON object.
    pub fn read(remote_version: &str) -> Result<Self> {
        serde_json::from_str(remote_version)
            .map_err(|error| PluginError::invalid(format!("The provider's version can't be read: {error}")))
    }
}

/// Index of the file that a choice means; the best file without a choice, or when nothing fits it.
///
/// The best is the primary file with weights, else any file with weights, else a primary file that is not a
/// configuration, archive, workflow or training data. Instead of an archive or a `.ckpt` the first file of the same kind
/// that holds plain weights is taken, when the version has one.
///
/// # Errors
/// `NotFound` when there is no such file.
pub fn choose(version: &Version, choice: Option<&FileChoice>) -> Result<u32> {
    let position = |wanted: &dyn Fn(&File) -> bool| version.files.iter().position(wanted);
    let primary_weights = || position(&|file| file.primary && file.is_one_of(&WEIGHTS));
    let chosen = choice.and_then(|choice| {
        if let Some(id) = choice.id {
            position(&|file| file.id == Some(id))
        } else if choice.primary {
            primary_weights()
        } else if *choice == FileChoice::default() {
            None
        } else {
            position(&|file| file.matches(choice))
        }
    });
    let weights = || {
        let first = primary_weights().or_else(|| position(&|file| file.is_one_of(&WEIGHTS)))?;
        let passed_over = version.files[first].has_ending(&PASSED_OVER);
        let instead = || position(&|file| file.is_plain() && file.is_same_kind(&version.files[first]));
        Some(passed_over.then(instead).flatten().unwrap_or(first))
    };
    let best = chosen
        .or_else(weights)
        .or_else(|| position(&|file| file.primary && !file.is_one_of(&NEVER)));
    let index = best.and_then(|index| u32::try_from(index).ok());
    index.ok_or_else(|| PluginError::not_found("No suitable file found in metadata"))
}

/// [`choose`] for what the host hands over.
///
/// # Errors
/// As [`Version::read`] and [`choose`].
pub fn choose_from(input: &SelectInput) -> Result<u32> {
    choose(&Version::read(&input.remote_version)?, input.choice.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn version(files: Value) -> Version {
        Version::read(&json!({"files": files}).to_string()).expect("an object")
    }

    fn files() -> Version {
        version(json!([
            {"id": 1, "type": "Training Data", "primary": true},
            {"id": 2, "type": "Model", "metadata": {"format": "PickleTensor", "size": "full", "fp": "fp32"}},
            {"id": "3", "type": "Pruned Model", "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"}},
            {"id": 4, "type": "Model", "primary": true, "metadata": {"format": "SafeTensor"}},
        ]))
    }

    fn chosen(choice: FileChoice) -> Result<u32> {
        choose(&files(), Some(&choice))
    }

    #[test]
    fn without_a_choice_the_primary_weights_win_then_any_weights_then_any_primary() {
        assert_eq!(choose(&files(), None), Ok(3));
        assert_eq!(
            choose(
                &version(json!([{"type": "VAE", "primary": true}, {"type": "Negative"}])),
                None
            ),
            Ok(1)
        );
        assert_eq!(
            choose(
                &version(json!([{"type": "Other"}, {"type": "VAE", "primary": true}])),
                None
            ),
            Ok(1)
        );
        assert_eq!(choose(&version(json!([{"primary": true}])), None), Ok(0));
    }

    #[test]
    fn an_archive_or_ckpt_is_passed_over_where_the_version_has_plain_weights() {
        let file = |name: &str, kind: &str, primary: bool| json!({"name": name, "type": kind, "primary": primary});
        for primary in ["a.zip", "a.CKPT", "a.7z"] {
            let files = json!([
                file(primary, "Model", true),
                file("n.safetensors", "Negative", false),
                file("c.yaml", "Config", false),
                file("a.safetensors", "Pruned Model", false),
            ]);
            assert_eq!(choose(&version(files.clone()), None), Ok(3), "{primary}");
            let by_person = FileChoice {
                primary: true,
                ..FileChoice::default()
            };
            assert_eq!(choose(&version(files), Some(&by_person)), Ok(0), "{primary}");
            let alone = json!([file("n.safetensors", "Negative", false), file(primary, "Model", true)]);
            assert_eq!(choose(&version(alone), None), Ok(1), "{primary}");
        }
        let pickled = json!([file("a.pt", "Model", true), file("a.safetensors", "Model", false)]);
        assert_eq!(choose(&version(pickled), None), Ok(0));
    }

    #[test]
    fn configurations_and_the_like_are_never_taken() {
        for file_type in NEVER {
            let error = choose(&version(json!([{"type": file_type, "primary": true}])), None).expect_err(file_type);
            assert_eq!(error, PluginError::not_found("No suitable file found in metadata"));
        }
        assert!(choose(&version(json!(null)), None).is_err());
        assert!(choose(&version(json!([null, 7])), None).is_err());
    }

    #[test]
    fn an_id_means_that_file_and_nothing_else_of_the_choice() {
        let by_id = |id| FileChoice {
            id: Some(id),
            format: Some("SafeTensor".into()),
            ..FileChoice::default()
        };
        assert_eq!(chosen(by_id(1)), Ok(0));
        assert_eq!(chosen(by_id(3)), Ok(2));
        assert_eq!(chosen(by_id(99)), Ok(3), "as without a choice");
    }

    #[test]
    fn type_format_size_and_precision_narrow_the_choice() {
        let model = FileChoice {
            file_type: Some("Model".into()),
            ..FileChoice::default()
        };
        assert_eq!(chosen(model.clone()), Ok(1));
        assert_eq!(
            chosen(FileChoice {
                format: Some("SafeTensor".into()),
                ..model.clone()
            }),
            Ok(3)
        );
        // File 4 does not say its precision, so that it may have the one asked for.
        let precise = FileChoice {
            format: Some("SafeTensor".into()),
            fp: Some("bf16".into()),
            ..model.clone()
        };
        assert_eq!(chosen(precise), Ok(3));
        assert_eq!(
            chosen(FileChoice {
                size: Some("pruned".into()),
                ..FileChoice::default()
            }),
            Ok(2)
        );
        assert_eq!(
            chosen(FileChoice {
                format: Some("Diffusers".into()),
                ..model
            }),
            Ok(3),
            "as without a choice"
        );
        assert_eq!(
            chosen(FileChoice {
                primary: true,
                ..FileChoice::default()
            }),
            Ok(3)
        );
    }

    #[test]
    fn a_version_that_is_no_object_is_invalid() {
        let input = SelectInput {
            remote_version: "[".into(),
            choice: None,
        };
        assert_eq!(choose_from(&input).expect_err("no JSON").status(), 400);
    }
}
