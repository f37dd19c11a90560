//! Reasons of failures that pages say in a person's language: a code, and the values that stand in its text. Clients of
//! LoraManager read `error` alone.

use serde_json::{Map, Value};

use crate::files::rooted::RootedPathError;
use crate::library::editing::EditError;
use crate::library::history::HistoryError;
use crate::library::sidecar::SidecarError;
use crate::providers::ProviderError;

/// Why something failed. The text of `code` is `reason.CODE` in `templates/locales`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    code: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Reason {
    fn new<const N: usize>(code: &'static str, values: [(&'static str, String); N]) -> Self {
        Self {
            code,
            values: values.into(),
        }
    }

    /// Adds `code` and `values` to an answer that has `error`.
    pub fn add_to(&self, answer: &mut Value) {
        let values: Map<String, Value> = self
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect();
        answer["code"] = self.code.into();
        answer["values"] = Value::Object(values);
    }

    /// The reason of an error of an edit; none where its text is all there is.
    pub fn of_edit(error: &EditError) -> Option<Self> {
        let text = ToString::to_string;
        let path = |path: &std::path::Path| path.display().to_string();
        Some(match error {
            EditError::NotFound(file) => Self::new("edit.notFound", [("path", file.clone())]),
            EditError::Shared { path, other } => {
                Self::new("edit.shared", [("path", path.clone()), ("other", other.clone())])
            }
            EditError::Name(name, _) => Self::new("edit.name", [("name", name.clone())]),
            EditError::NameTaken(taken) => Self::new("edit.nameTaken", [("path", path(taken))]),
            EditError::TargetTaken(taken) => Self::new("edit.targetTaken", [("path", path(taken))]),
            EditError::TargetShared { place, other } => {
                Self::new("edit.targetShared", [("path", path(place)), ("other", other.clone())])
            }
            EditError::Outside(file) | EditError::Open(RootedPathError::Outside(file)) => {
                Self::new("edit.outside", [("path", file.clone())])
            }
            EditError::Away(file) => Self::new("edit.offline", [("path", file.clone())]),
            EditError::Write { path: file, source } => {
                Self::new("edit.write", [("path", path(file)), ("reason", text(source))])
            }
            EditError::NotHashed(file) => Self::new("edit.notHashed", [("path", file.clone())]),
            EditError::Differs(file, other) => {
                Self::new("edit.differs", [("path", file.clone()), ("other", other.clone())])
            }
            EditError::IsLink(file) => Self::new("edit.isLink", [("path", file.clone())]),
            EditError::ChangedSince(file) => Self::new("edit.changedSince", [("path", file.clone())]),
            EditError::TooLong(file) => Self::new("edit.tooLong", [("path", path(file))]),
            EditError::Open(RootedPathError::TooLong(file)) => Self::new("edit.tooLong", [("path", file.clone())]),
            EditError::History(HistoryError::DataFolder(_)) => Self::new("edit.dataFolder", []),
            EditError::Sidecar(SidecarError::Corrupt { path: file, .. }) => {
                Self::new("edit.sidecar", [("path", path(file))])
            }
            EditError::History(HistoryError::Unknown(_)) => Self::new("undo.unknown", []),
            EditError::History(HistoryError::Undone(_)) => Self::new("undo.undone", []),
            EditError::History(HistoryError::Occupied(taken)) => Self::new("undo.occupied", [("path", path(taken))]),
            _ => return None,
        })
    }

    /// Nothing is known of a model that says where it belongs.
    pub fn no_metadata() -> Self {
        Self::new("edit.noMetadata", [])
    }

    /// The reason of a provider's error; none where its text is all there is.
    pub fn of_provider(error: &ProviderError) -> Option<Self> {
        let host = |code, host: &String| Self::new(code, [("host", host.clone())]);
        Some(match error {
            ProviderError::NotFound(_) => Self::new("provider.notFound", []),
            ProviderError::Gone { host: own, .. } => host("provider.gone", own),
            ProviderError::KeyMissing { host: own } => host("provider.keyMissing", own),
            ProviderError::KeyRejected { host: own } => host("provider.keyRejected", own),
            ProviderError::Region { host: own } => host("provider.region", own),
            ProviderError::Blocked { host: own } => host("provider.blocked", own),
            ProviderError::Offline { host: own, .. } => host("provider.offline", own),
            ProviderError::RateLimited { host: own, retry_after } => Self::new(
                "provider.rateLimited",
                [
                    ("host", own.clone()),
                    ("seconds", retry_after.as_secs().max(1).to_string()),
                ],
            ),
            ProviderError::Server { host: own, status } => Self::new(
                "provider.server",
                [("host", own.clone()), ("status", status.to_string())],
            ),
            ProviderError::Malformed { host: own, .. } => host("provider.malformed", own),
            ProviderError::Unsupported => Self::new("provider.unsupported", []),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_code_has_a_text_in_every_language_and_every_text_a_code() {
        let source = include_str!("reason.rs");
        let source = source.split("#[cfg(test)]").next().unwrap();
        let pattern = regex::Regex::new(r#""((?:edit|undo|provider)\.[a-zA-Z]+)""#).unwrap();
        let codes: std::collections::BTreeSet<String> = pattern
            .captures_iter(source)
            .map(|code| format!("reason.{}", &code[1]))
            .collect();
        assert!(codes.len() > 20);
        for texts in [
            include_str!("../../../templates/locales/en.json"),
            include_str!("../../../templates/locales/de.json"),
        ] {
            let texts: BTreeMap<String, String> = serde_json::from_str(texts).unwrap();
            let own = texts.into_keys().filter(|key| key.starts_with("reason."));
            let own: std::collections::BTreeSet<String> =
                own.filter(|key| !key.starts_with("reason.status.")).collect();
            assert_eq!(own, codes);
        }
    }

    #[test]
    fn an_answer_names_the_code_and_its_values() {
        let mut answer = serde_json::json!({ "error": "x" });
        let error = EditError::NotFound("/a".into());
        Reason::of_edit(&error).unwrap().add_to(&mut answer);
        assert_eq!(
            answer,
            serde_json::json!({ "error": "x", "code": "edit.notFound", "values": { "path": "/a" } })
        );
    }
}
