//! Edits of what a person knows about a model, as changes of its sidecar. Source of how fields
//! merge: contract section 1.2.

use serde_json::{Map, Value};

use super::sidecar::Sidecar;
use super::typed;

/// Keys that follow from where the file is; nobody can set them.
const FOLLOWING: [&str; 2] = ["file_path", "file_name"];

/// Keys that no provider's word can set: they follow from the file, or are a person's.
const KEPT: [&str; 5] = ["file_path", "file_name", "sha256", "hash_status", "exclude"];

/// A change of one or more sidecars.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Sets fields. `tags` are tidied, an object goes into the object that is there, and anything else replaces.
    Set(Map<String, Value>),
    /// Adds tags that are not there in any case, in lower case.
    AddTags(Vec<String>),
    /// Takes tags away, whatever their case.
    RemoveTags(Vec<String>),
    /// Hides the model, or shows it again.
    Exclude(bool),
    /// Sets fields as they are: a provider's word, already merged.
    Put(Map<String, Value>),
}

impl Edit {
    /// Makes the change.
    pub fn apply(&self, sidecar: &mut Sidecar) {
        match self {
            Self::Set(fields) => {
                typed::mark(sidecar, fields);
                for (key, value) in fields.iter().filter(|(key, _)| !FOLLOWING.contains(&key.as_str())) {
                    set(&mut sidecar.0, key, value);
                }
            }
            Self::AddTags(tags) => {
                let mut own = own_tags(sidecar);
                for tag in tidy(tags.iter().map(String::as_str)) {
                    if !own.iter().any(|other| other.to_lowercase() == tag) {
                        own.push(tag);
                    }
                }
                sidecar.0.insert("tags".into(), own.into());
            }
            Self::RemoveTags(tags) => {
                let gone = tidy(tags.iter().map(String::as_str));
                let mut own = own_tags(sidecar);
                own.retain(|tag| !gone.contains(&tag.trim().to_lowercase()));
                sidecar.0.insert("tags".into(), own.into());
            }
            Self::Put(fields) => {
                let allowed = fields.iter().filter(|(key, _)| !KEPT.contains(&key.as_str()));
                sidecar
                    .0
                    .extend(allowed.map(|(key, value)| (key.clone(), value.clone())));
            }
            Self::Exclude(exclude) => {
                sidecar.0.insert("exclude".into(), (*exclude).into());
            }
        }
    }
}

fn own_tags(sidecar: &Sidecar) -> Vec<String> {
    sidecar.texts("tags").into_iter().map(str::to_owned).collect()
}

fn set(fields: &mut Map<String, Value>, key: &str, value: &Value) {
    match (fields.get_mut(key), value) {
        (_, Value::Array(tags)) if key == "tags" => {
            let tags = tidy(tags.iter().filter_map(Value::as_str));
            fields.insert(key.to_owned(), tags.into());
        }
        (Some(Value::Object(own)), Value::Object(new)) => {
            own.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        _ => {
            fields.insert(key.to_owned(), value.clone());
        }
    }
}

/// Trimmed, in lower case, each once, and no empty ones.
fn tidy<'t>(tags: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::new();
    for tag in tags.map(|tag| tag.trim().to_lowercase()) {
        if !tag.is_empty() && !tidy.contains(&tag) {
            tidy.push(tag);
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(edit: Edit) -> Value {
        let Value::Object(fields) = json!({
            "file_path": "/m/a", "tags": ["Style", "b"], "civitai": {"id": 5, "trainedWords": ["x"]}, "notes": "n", "theirs": [1],
        }) else {
            unreachable!()
        };
        let mut sidecar = Sidecar::of(fields);
        edit.apply(&mut sidecar);
        Value::Object(sidecar.0)
    }

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn fields_merge_as_the_contract_says_and_others_stay() {
        let set = json!({
            "file_path": "/m/b", "tags": ["A", " a", "B ", "", 5], "civitai": {"trainedWords": ["z"]}, "notes": null, "zzz": 1,
        });
        assert_eq!(
            edited(Edit::Set(fields(set))),
            json!({
                "file_path": "/m/a", "tags": ["a", "b"], "civitai": {"id": 5, "trainedWords": ["z"]}, "notes": null,
                "theirs": [1], "zzz": 1, "edited_fields": ["civitai.trainedWords"],
            })
        );
        assert_eq!(
            edited(Edit::Set(fields(json!({"civitai": null}))))["civitai"],
            Value::Null
        );
    }

    #[test]
    fn tags_are_added_once_and_removed_in_any_case() {
        let tags = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let added = edited(Edit::AddTags(tags(&["NEW", "style", " x ", ""])));
        assert_eq!(added["tags"], json!(["Style", "b", "new", "x"]));
        assert_eq!(edited(Edit::RemoveTags(tags(&["STYLE "])))["tags"], json!(["b"]));
    }
}
