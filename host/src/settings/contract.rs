//! The contract's settings (section 4.9), as far as the server acts on them.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::compat::compat;
use crate::library::groups::Grouping;
use crate::library::orders::SortKey;
use crate::library::path_template::PathTemplate;

/// Key of the default list of priority tags, which is the same for every type.
const PRIORITY_TAGS: &str = "priority_tags_default";

/// The contract's defaults, from `contract_defaults.json`.
fn defaults() -> &'static Map<String, Value> {
    static DEFAULTS: OnceLock<Map<String, Value>> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        serde_json::from_str(include_str!("../../contract_defaults.json"))
            .unwrap_or_else(|error| unreachable!("contract_defaults.json is part of the build: {error}"))
    })
}

/// NSFW levels by name.
const LEVELS: [(&str, u32); 6] = [("PG", 1), ("PG13", 2), ("R", 4), ("X", 8), ("XXX", 16), ("Blocked", 32)];

/// The contract's keys as they were read, with typed answers.
#[derive(Debug, Clone, Default)]
pub struct ContractSettings(Map<String, Value>);

impl ContractSettings {
    /// Takes the keys as they are; unknown ones stay.
    pub fn new(values: Map<String, Value>) -> Self {
        Self(values)
    }

    /// All keys, with the contract's defaults where none was read.
    pub fn with_defaults(&self) -> Map<String, Value> {
        let mut all = defaults().clone();
        all.remove(PRIORITY_TAGS);
        all.extend(self.0.clone());
        all
    }

    /// The tags that stand for a model of a type first, as text.
    pub fn priority_tags(&self, model_type: &str) -> &str {
        let own = self
            .0
            .get("priority_tags")
            .and_then(|tags| tags.get(model_type))
            .and_then(Value::as_str);
        own.or_else(|| defaults().get(PRIORITY_TAGS)?.as_str())
            .unwrap_or_default()
    }

    /// The template by which models of a type are filed; `default` where settings name none.
    pub fn path_template(&self, model_type: &str, default: &str) -> PathTemplate {
        let object = |key: &str| match self.0.get(key) {
            Some(Value::Object(object)) => Some(object.clone()),
            // Some versions of the original wrote it as a text.
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let of_type = object("download_path_templates").and_then(|templates| Some(templates.get(model_type)?.clone()));
        // One for all types, as older settings have it.
        let of_all = || self.0.get("download_path_template").cloned();
        let template = of_type.or_else(of_all);
        let template = template.as_ref().and_then(Value::as_str).unwrap_or(default);
        let mappings = object("base_model_path_mappings").unwrap_or_default();
        PathTemplate::new(template, mappings, self.priority_tags(model_type))
    }

    /// Where a value comes from, for a person.
    pub fn source_of(&self, key: &str) -> String {
        let variable = &compat().providers.key_variable;
        let is_of_environment = std::env::var(variable).is_ok_and(|text| self.text(key, "") == text.trim());
        match is_of_environment && !self.text(key, "").is_empty() {
            true => format!("the environment variable {variable}"),
            false => format!("the setting `{key}`"),
        }
    }

    /// A value as it was read.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A text.
    pub fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.0
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .unwrap_or(default)
    }

    /// A flag.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A list of texts; one text is split at commas, semicolons and line ends.
    pub fn list(&self, key: &str) -> Vec<String> {
        let texts: Vec<&str> = match self.0.get(key) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => text.split([',', ';', '\n']).collect(),
            _ => Vec::new(),
        };
        let mut own: Vec<String> = Vec::new();
        for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
            if !own.iter().any(|known| known == text) {
                own.push(text.to_owned());
            }
        }
        own
    }

    /// Hides previews of R and above altogether.
    pub fn show_only_sfw(&self) -> bool {
        self.flag("show_only_sfw", false)
    }

    /// What `sort_by=name` means.
    pub fn name_key(&self) -> SortKey {
        if self.text("model_name_display", "model_name") == "file_name" {
            SortKey::FileName
        } else {
            SortKey::Name
        }
    }

    /// What a group of versions is.
    pub fn grouping(&self) -> Grouping {
        if self.text("version_grouping", "same_base") == "same_base" {
            Grouping::SameBase
        } else {
            Grouping::Any
        }
    }

    /// Bytes of a file that are read at once to hash it: `hash_chunk_size_mb`, from 1 to 4 MiB.
    pub fn hash_block(&self) -> usize {
        let set = self.0.get("hash_chunk_size_mb").and_then(Value::as_f64).unwrap_or(4.0);
        (set.clamp(1.0, 4.0) * f64::from(1 << 20)) as usize
    }

    /// NSFW level from which pages blur previews.
    pub fn blur_level(&self) -> u32 {
        let name = self.text("mature_blur_level", "R");
        LEVELS
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map_or(4, |(_, level)| *level)
    }

    /// Host of links to the provider's pages; only known ones.
    pub fn civitai_host(&self) -> &str {
        let host = self.text("civitai_host", "civitai.com");
        if ["civitai.com", "civitai.red", "civitai.green"].contains(&host) {
            host
        } else {
            "civitai.com"
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_flat(settings: Value) -> bool {
        let settings = ContractSettings::new(settings.as_object().cloned().unwrap());
        settings.path_template("vae", "{base_model}").is_flat()
    }

    #[test]
    fn a_types_template_is_its_own_else_the_one_for_all_else_the_plugins() {
        assert!(!is_flat(json!({})));
        assert!(is_flat(json!({"download_path_templates": {"vae": ""}})));
        assert!(is_flat(json!({"download_path_templates": "{\"vae\": \"\"}"})));
        assert!(is_flat(
            json!({"download_path_template": "", "download_path_templates": {"other": "{author}"}})
        ));
        assert!(!is_flat(json!({"download_path_templates": "no JSON"})));
    }
}
