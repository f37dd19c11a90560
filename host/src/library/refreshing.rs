//! A provider's word on models: merged by the type's own rule, written as an act that can be taken back.

use std::path::Path;
use std::sync::PoisonError;

use serde_json::{Map, Value, json};

use super::collection::Library;
use super::edit::Edit;
use super::editing::{EditError, Outcome, Tools, try_again, write_prepared};
use super::history::{ActKind, Draft};
use super::previewing::NewPreview;
use super::sidecar::{self, Sidecar};
use super::typed;
use crate::plugins::bindings::MergeInput;
use crate::plugins::rules;

/// Models that cross the plugin boundary in one call: their objects are long.
const BATCH: usize = 25;

/// Fields of a version's model that say what others may do with it.
pub const LICENCE_FIELDS: [&str; 4] = [
    "allowNoCredit",
    "allowCommercialUse",
    "allowDerivatives",
    "allowDifferentLicense",
];

/// What a provider said.
#[derive(Debug, Clone)]
pub enum Said {
    /// This is the version.
    Version {
        /// The object, with its model inside.
        version: Map<String, Value>,
        /// Who said it: `civitai_api`, `civarchive` or `archive_db`.
        source: &'static str,
    },
    /// Only what others may do with it: some of [`LICENCE_FIELDS`].
    Licence(Map<String, Value>),
    /// Nobody knows it.
    Unknown {
        /// Whether the archive on this machine was among those who were asked.
        archive_asked: bool,
    },
}

/// What a provider said of one model.
#[derive(Debug, Clone)]
pub struct Word {
    /// The model.
    pub path: String,
    /// What was said.
    pub said: Said,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: f64,
    /// A preview that comes along, for a model that has none, with its NSFW level.
    pub preview: Option<(NewPreview, u32)>,
}

impl Word {
    /// Bytes of the preview that comes along.
    pub fn preview_bytes(&self) -> usize {
        self.preview.as_ref().map_or(0, |(preview, _)| preview.bytes().len())
    }
}

/// A word with what the type's rule made of it.
struct Merged {
    // The sidecar that it was merged into.
    before: Sidecar,
    edit: Edit,
}

impl Library {
    /// Takes providers' words into the sidecars of models. Blocks; one act.
    ///
    /// # Errors
    /// As [`Library::edit`].
    pub fn take_words(&self, tools: &Tools, kind: ActKind, words: &[Word]) -> Result<Outcome, EditError> {
        let paths: Vec<String> = words.iter().map(|word| word.path.clone()).collect();
        self.check_inside(&paths)?;
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut draft = tools.history.begin(kind, self.info().id(), None, &self.allowed())?;
        let mut written = Vec::with_capacity(words.len());
        for batch in words.chunks(BATCH) {
            for (word, merged) in batch.iter().zip(self.merge(tools, batch)) {
                let mark = draft.mark();
                let done = merged.and_then(|merged| self.take_word(tools, &mut draft, word, merged));
                if done.is_err() {
                    // A preview without the level that comes with it would be shown to everybody.
                    draft.back_to(mark);
                }
                written.push((word.path.clone(), done));
            }
        }
        let undo_id = draft.end()?;
        Ok(Outcome {
            undo_id,
            models: self.take_up(tools, written, &[]),
        })
    }

    /// What the type's rule makes of words.
    fn merge(&self, tools: &Tools, words: &[Word]) -> Vec<Result<Merged, EditError>> {
        let before: Vec<Result<Sidecar, EditError>> = words
            .iter()
            .map(|word| Ok(self.prepare(&word.path, &[])?.before))
            .collect();
        let with_version = words
            .iter()
            .zip(&before)
            .filter_map(|(word, before)| match (&word.said, before) {
                (Said::Version { version, source }, Ok(before)) => Some(MergeInput {
                    sidecar: text(&before.0),
                    remote_version: text(version),
                    source: (*source).to_owned(),
                    edited: typed::fields(before),
                }),
                _ => None,
            });
        let inputs: Vec<MergeInput> = with_version.collect();
        let mut merged = tools
            .handle
            .block_on(rules::merge_remote(tools.plugin, inputs))
            .into_iter();
        let finish = |(word, before): (&Word, Result<Sidecar, EditError>)| {
            let before = before?;
            let fields = match &word.said {
                Said::Licence(licence) => licensed(&before, licence),
                Said::Unknown { archive_asked } => unknown(&before, *archive_asked, word.at),
                Said::Version { source, .. } => {
                    let merged = merged.next().unwrap_or_else(|| Err("no answer".into()));
                    let fields = merged.and_then(|text| {
                        serde_json::from_str::<Map<String, Value>>(&text).map_err(|error| error.to_string())
                    });
                    known(
                        fields.map_err(|reason| EditError::Merge {
                            path: word.path.clone(),
                            reason,
                        })?,
                        source,
                        word.at,
                    )
                }
            };
            let edit = Edit::Put(fields);
            Ok(Merged { before, edit })
        };
        words.iter().zip(before).map(finish).collect()
    }

    fn take_word(&self, tools: &Tools, draft: &mut Draft, word: &Word, merged: Merged) -> Result<(), EditError> {
        let _turn = sidecar::turn(Path::new(&word.path));
        let mut edit = merged.edit;
        let mut prepared = self.prepare(&word.path, std::slice::from_ref(&edit))?;
        if prepared.before != merged.before {
            // Somebody wrote it meanwhile: the rule must see that. Nobody can any more while the turn is held.
            let again = self.merge(tools, std::slice::from_ref(word)).pop();
            edit = again.ok_or_else(|| EditError::NotFound(word.path.clone()))??.edit;
            prepared = self.prepare(&word.path, std::slice::from_ref(&edit))?;
        }
        let mut with_preview = Map::new();
        if let Some((preview, level)) = &word.preview {
            match self.add_preview(draft, &word.path, preview, *level) {
                Ok(fields) => {
                    with_preview.clone_from(&fields);
                    prepared = self.prepare(&word.path, &[edit, Edit::Put(fields)])?;
                }
                // The word counts without it.
                Err(error) => tracing::warn!(path = word.path, %error, "a model gets no preview"),
            }
        }
        let mut prepared = Some(prepared);
        try_again(|| {
            let prepared = match prepared.take() {
                Some(prepared) => prepared,
                // Another program wrote it: the rule must see that.
                None => {
                    let again = self.merge(tools, std::slice::from_ref(word)).pop();
                    let edit = again.ok_or_else(|| EditError::NotFound(word.path.clone()))??.edit;
                    self.prepare(&word.path, &[edit, Edit::Put(with_preview.clone())])?
                }
            };
            write_prepared(draft, &word.path, &prepared)
        })
    }
}

/// The bookkeeping of a model that was found. Source: contract section 6.4.2.
pub(crate) fn known(mut fields: Map<String, Value>, source: &str, at: f64) -> Map<String, Value> {
    let mut set = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    set("from_civitai", json!(true));
    set("civitai_deleted", json!(source != "civitai_api"));
    if source == "archive_db" {
        set("db_checked", json!(true));
    }
    set("metadata_source", json!(source));
    set("last_checked_at", json!(at));
    fields
}

/// The stored version with a licence.
fn licensed(before: &Sidecar, licence: &Map<String, Value>) -> Map<String, Value> {
    let mut version = before.civitai().cloned().unwrap_or_default();
    let model = version.entry("model").or_insert_with(|| json!({}));
    if let Value::Object(model) = model {
        model.extend(licence.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Map::from_iter([("civitai".to_owned(), Value::Object(version))])
}

/// The bookkeeping of a model that nobody knows. What was known of it before stays.
fn unknown(before: &Sidecar, archive_asked: bool, at: f64) -> Map<String, Value> {
    let mut fields = Map::new();
    let has_word = before.civitai().is_some_and(|stored| !stored.is_empty());
    if !has_word {
        fields.insert("from_civitai".into(), json!(false));
    }
    fields.insert("civitai_deleted".into(), json!(true));
    if archive_asked {
        fields.insert("db_checked".into(), json!(true));
    }
    fields.insert("last_checked_at".into(), json!(at));
    fields
}

fn text(object: &Map<String, Value>) -> String {
    serde_json::to_string(object).unwrap_or_else(|_| "{}".into())
}
