//! Folders by template: where a model is filed below its root. Source: contract sections 5.3 and 5.4.
//!
//! The values of placeholders are the plugin's word (its rule `organise`), made from what is known of a model. Whatever they
//! are, a value is one folder's name and no more: it neither makes folders nor leaves the root.

use serde_json::{Map, Value};

use super::priority_tags::{self, PriorityTag};
use super::record::Record;
use super::sidecar;
use crate::files::FORBIDDEN;
use crate::files::names::shortened;
use crate::plugins::bindings::{OrganiseInput, Placement};
use crate::plugins::{Plugin, rules};

/// Stands where a model has no tags.
const NO_TAGS: &str = "no tags";
/// Stands where the creator is not known.
const ANONYMOUS: &str = "Anonymous";
/// Stands where nothing is left of a value.
const UNNAMED: &str = "unnamed";
/// Placeholders whose values stay as they are when they are names of folders already, so that libraries that other
/// programs filed are where this one looks.
const PLAIN: [&str; 3] = ["base_model", "first_tag", "author"];

/// A type's template, with what its placeholders need.
#[derive(Debug, Clone)]
pub struct PathTemplate {
    template: String,
    // Base model to folder.
    mappings: Map<String, Value>,
    priority: Vec<PriorityTag>,
}

/// Where a model is to be filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// Path of the folder below its root, `/` between folders; empty is the root itself.
    pub folder: String,
    /// Key of the kind of root that new models of this sort belong in.
    pub root_key: String,
}

impl PathTemplate {
    /// A template such as `{base_model}/{first_tag}`, the person's folder names for base models, and the text of
    /// the list of [priority tags](priority_tags::parse).
    pub fn new(template: &str, mappings: Map<String, Value>, priority: &str) -> Self {
        Self {
            // As people with Windows write folders.
            template: template.trim().replace('\\', "/"),
            mappings: mappings.into_iter().map(with_slashes).collect(),
            priority: priority_tags::parse(priority),
        }
    }

    /// Whether everything lies in the root.
    pub fn is_flat(&self) -> bool {
        self.template.is_empty()
    }

    /// What the rule is told of a model of the library.
    pub fn of_record(&self, record: &Record) -> OrganiseInput {
        let remote = &record.remote;
        let author = remote.creator.as_deref().filter(|_| remote.id.is_some());
        OrganiseInput {
            base_model: self.mapped(&record.base_model),
            first_tag: self.first_tag(record.tags.iter().map(AsRef::as_ref)),
            author: author.unwrap_or(ANONYMOUS).to_owned(),
            model_name: record.model_name.to_string(),
            version_name: remote.name.as_deref().unwrap_or_default().to_owned(),
            sub_type: record.sub_type.to_string(),
            fields: record.fields.to_string(),
        }
    }

    /// What the rule is told of a model that a provider has: its version object, with its model inside.
    pub fn of_remote(&self, version: &Map<String, Value>) -> OrganiseInput {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let within = |object: &str, key: &str| version.get(object).and_then(|object| object.get(key));
        let tags = sidecar::texts(within("model", "tags")).unwrap_or_default();
        let author = text(within("creator", "username"));
        OrganiseInput {
            base_model: self.mapped(&text(version.get("baseModel"))),
            first_tag: self.first_tag(tags.into_iter()),
            author: if author.is_empty() { ANONYMOUS.into() } else { author },
            model_name: text(within("model", "name")),
            version_name: text(version.get("name")),
            sub_type: text(within("model", "type")).to_lowercase(),
            fields: "{}".to_owned(),
        }
    }

    fn mapped(&self, base_model: &str) -> String {
        let mapped = self.mappings.get(base_model).and_then(Value::as_str);
        mapped.unwrap_or(base_model).to_owned()
    }

    fn first_tag<'t>(&self, tags: impl Iterator<Item = &'t str>) -> String {
        priority_tags::first_of(&self.priority, tags).unwrap_or_else(|| NO_TAGS.to_owned())
    }

    /// The folder below the root for these values; empty for a flat template, and when nothing is left of it.
    pub fn fill(&self, placement: &Placement) -> String {
        let mut filled = String::new();
        let mut rest = self.template.as_str();
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            filled.push_str(before);
            let value = from.find('}').and_then(|close| {
                let name = &from[1..close];
                let values = placement.placeholders.iter();
                let value = values.clone().find(|(own, _)| own == name).map(|(_, value)| value)?;
                Some((self.folder_name(name, value), close + 1))
            });
            // What is no placeholder stays as it is.
            let (text, length) = value.unwrap_or_else(|| ("{".to_owned(), 1));
            filled.push_str(&text);
            rest = &from[length..];
        }
        filled.push_str(rest);
        if let Some(spaces) = &placement.spaces {
            filled = filled.replace(' ', &spaces.replace(FORBIDDEN, "_"));
        }
        // A folder whose name starts with a dot is hidden, and what is in it would not be listed.
        let folders = filled
            .split('/')
            .map(|name| shortened(name.trim_start_matches(['.', ' ']).trim_end()));
        folders.filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// A value as a part of a path. The person's own folder for a base model may be several folders deep.
    fn folder_name(&self, placeholder: &str, value: &str) -> String {
        let is_mapped = || self.mappings.values().any(|mapped| mapped.as_str() == Some(value));
        if placeholder == "base_model" && value.contains('/') && is_mapped() {
            return value.split('/').map(sanitise).collect::<Vec<_>>().join("/");
        }
        let is_a_name = || !has_forbidden(value) && !value.trim_matches([' ', '.']).is_empty();
        let name = match PLAIN.contains(&placeholder) && is_a_name() {
            true => value.to_owned(),
            false => sanitise(value),
        };
        // A value that would be hidden or nothing at all is a folder all the same.
        match shortened(&name) {
            name if name.starts_with('.') => shortened(&format!("_{name}")),
            name => name,
        }
    }
}

/// Where models are filed by a template: one answer for each input. An error is for a person: the plugin failed on it.
pub async fn file(plugin: &Plugin, template: &PathTemplate, inputs: Vec<OrganiseInput>) -> Vec<Result<Filed, String>> {
    let placements = rules::organise(plugin, inputs).await;
    let filed = placements.into_iter().map(|placement| {
        placement.map(|placement| Filed {
            folder: template.fill(&placement),
            root_key: placement.root_key,
        })
    });
    filed.collect()
}

fn has_forbidden(value: &str) -> bool {
    value.contains(FORBIDDEN) || value.chars().any(char::is_control)
}

/// A value as the name of one folder; an empty one stays empty.
pub fn sanitise(value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let is_forbidden = |character: char| FORBIDDEN.contains(&character) || character.is_control();
    let mut name = String::with_capacity(value.len());
    for character in value.trim().chars() {
        let character = if is_forbidden(character) { '_' } else { character };
        if character != '_' || !name.ends_with('_') {
            name.push(character);
        }
    }
    let name = name.trim_end_matches([' ', '.', '_']).trim_start_matches([' ', '_']);
    if name.is_empty() {
        UNNAMED.to_owned()
    } else {
        name.to_owned()
    }
}

/// A mapping whose folders are written with `/`, so that those of a person with Windows are folders, too.
fn with_slashes((base_model, folder): (String, Value)) -> (String, Value) {
    let folder = match folder {
        Value::String(folder) => Value::String(folder.replace('\\', "/")),
        other => other,
    };
    (base_model, folder)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(text: &str) -> PathTemplate {
        let mappings = json!({"SDXL 1.0": "XL", "Pony": "SD/Pony", "Odd": "../up", "Win": "SD\\1"});
        PathTemplate::new(text, mappings.as_object().cloned().unwrap(), "style(look), concept")
    }

    fn placement(input: &OrganiseInput) -> Placement {
        let pair = |name: &str, value: &String| (name.to_owned(), value.clone());
        Placement {
            placeholders: vec![
                pair("base_model", &input.base_model),
                pair("first_tag", &input.first_tag),
                pair("author", &input.author),
                pair("model_name", &input.model_name),
                pair("version_name", &input.version_name),
            ],
            spaces: None,
            root_key: "models".into(),
        }
    }

    fn filled(text: &str, version: Value) -> String {
        let template = template(text);
        let input = template.of_remote(version.as_object().unwrap());
        template.fill(&placement(&input))
    }

    #[test]
    fn placeholders_are_filled_from_a_providers_version() {
        let version = json!({
            "name": "v1.0 / beta", "baseModel": "SDXL 1.0", "creator": {"username": "_me_"},
            "model": {"name": "A: name...", "tags": ["Cats", "LOOK"], "type": "Other"},
        });
        assert_eq!(filled("{base_model}/{first_tag}", version.clone()), "XL/style");
        let all = "{author}/{model_name} {version_name}/{unknown}/{";
        assert_eq!(filled(all, version), "_me_/A_ name v1.0 _ beta/{unknown}/{");
        assert_eq!(
            filled(
                "{base_model}/{first_tag}/{author}/{version_name}",
                json!({"baseModel": "Flux.1 D"})
            ),
            "Flux.1 D/no tags/Anonymous"
        );
        assert_eq!(filled("", json!({})), "");
    }

    #[test]
    fn no_value_makes_folders_or_leaves_the_root() {
        for evil in [
            "../../etc",
            "..",
            ".",
            "a/b",
            "a\\b",
            "/",
            "\0",
            " . ",
            "C:",
            "{author}/..",
            &format!("..{}x", " ".repeat(253)),
            &format!("{}x", " ".repeat(255)),
        ] {
            let version = json!({
                "name": evil, "baseModel": evil, "creator": {"username": evil}, "model": {"name": evil, "tags": [evil]},
            });
            for name in ["base_model", "first_tag", "author", "model_name", "version_name"] {
                let folder = filled(&format!("x/{{{name}}}"), version.clone());
                assert_eq!(folder.matches('/').count(), 1, "{name} {evil:?}: {folder}");
                assert!(
                    !folder.contains("..") || !folder.ends_with(".."),
                    "{name} {evil:?}: {folder}"
                );
            }
        }
        assert_eq!(filled("../{author}/./x//y/", json!({})), "Anonymous/x/y");
    }

    #[test]
    fn backslashes_of_templates_and_mappings_are_folders_and_those_of_values_are_not() {
        let version = json!({"baseModel": "Win", "model": {"tags": ["a\\b"]}});
        assert_eq!(filled("{base_model}\\{first_tag}\\", version.clone()), "SD/1/a_b");
        assert_eq!(filled("\\..\\{base_model}", version), "SD/1");
    }

    #[test]
    fn no_folder_is_hidden() {
        let version = json!({"baseModel": ".cache", "creator": {"username": "..x"}});
        assert_eq!(filled(".x/{base_model}/{author}/a", version), "x/_.cache/_..x/a");
    }

    #[test]
    fn a_persons_own_folder_for_a_base_model_may_be_deeper_but_not_outside() {
        assert_eq!(filled("{base_model}", json!({"baseModel": "Pony"})), "SD/Pony");
        assert_eq!(filled("{base_model}", json!({"baseModel": "Odd"})), "unnamed/up");
    }

    #[test]
    fn spaces_are_replaced_last_and_long_names_cut() {
        let template = template("{model_name}/a b");
        let input = template.of_remote(json!({"model": {"name": "x y"}}).as_object().unwrap());
        let spaced = Placement {
            spaces: Some("_".into()),
            ..placement(&input)
        };
        assert_eq!(template.fill(&spaced), "x_y/a_b");
        let long = "ü".repeat(200);
        let input = template.of_remote(json!({"model": {"name": long}}).as_object().unwrap());
        let folder = template.fill(&placement(&input));
        let name = folder.strip_suffix("/a b").unwrap();
        assert!(name.starts_with(&"ü".repeat(120)) && name.len() <= 255, "{name}");
    }

    #[test]
    fn values_are_sanitised_as_the_contract_says() {
        for (value, name) in [
            ("a<>b", "a_b"),
            ("__a__", "a"),
            (" .hidden. ", ".hidden"),
            ("???", "unnamed"),
            ("", ""),
        ] {
            assert_eq!(sanitise(value), name, "{value:?}");
        }
    }
}
