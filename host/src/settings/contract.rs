//! The contract's settings (section 4.9), as far as the server acts on them.

use serde_json::{Map, Value};

use crate::library::groups::Grouping;
use crate::library::orders::SortKey;

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

    /// All keys as they were read.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
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
