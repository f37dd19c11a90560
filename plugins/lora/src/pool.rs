//! The pool of LoRAs that a node draws from.

use modelshelf_plugin_sdk::library::Selection;
use modelshelf_plugin_sdk::{NamePatterns, PluginError, Result};
use serde::Deserialize;
use serde_json::Value;

/// A node's `pool_config`. Every part may be missing or null.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PoolConfig {
    base_models: Option<Vec<String>>,
    /// The name that some nodes use for the same.
    selected_base_models: Option<Vec<String>>,
    tags: Option<Both>,
    folders: Option<Both>,
    favorites_only: Option<bool>,
    license: Option<License>,
    name_patterns: Option<Patterns>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Both {
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct License {
    no_credit_required: Option<bool>,
    allow_selling: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Patterns {
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    use_regex: Option<bool>,
}

/// The models that a `pool_config` means; all of them without one.
///
/// # Errors
/// `Invalid` when a part has another form than it should.
pub fn selection(pool_config: Option<&Value>) -> Result<Selection> {
    let Some(config) = pool_config.filter(|config| !config.is_null()) else {
        return Ok(Selection::default());
    };
    // serde would read a list as an object whose members come in order.
    if !config.is_object() {
        return Err(PluginError::invalid("`pool_config` must be an object"));
    }
    let config = PoolConfig::deserialize(config)
        .map_err(|error| PluginError::invalid(format!("`pool_config` can't be used: {error}")))?;
    let tags = config.tags.unwrap_or_default();
    let folders = config.folders.unwrap_or_default();
    let license = config.license.unwrap_or_default();
    let names = config.name_patterns.unwrap_or_default();
    let base_models = config
        .base_models
        .filter(|names| !names.is_empty())
        .or(config.selected_base_models);
    Ok(Selection {
        base_models: base_models.unwrap_or_default(),
        tags_include: tags.include.unwrap_or_default(),
        tags_exclude: tags.exclude.unwrap_or_default(),
        folder_prefixes_include: folders.include.unwrap_or_default(),
        folder_prefixes_exclude: folders.exclude.unwrap_or_default(),
        favorites_only: config.favorites_only.unwrap_or(false),
        // A switch that is off asks for nothing, so that it must not turn into the opposite demand.
        credit_required: license.no_credit_required.filter(|wanted| *wanted).map(|_| false),
        selling_allowed: license.allow_selling.filter(|wanted| *wanted),
        names: NamePatterns {
            include: names.include.unwrap_or_default(),
            exclude: names.exclude.unwrap_or_default(),
            regex: names.use_regex.unwrap_or(false),
        },
        ..Selection::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_part_reaches_the_selection() {
        let config = json!({
            "baseModels": ["Pony"],
            "tags": {"include": ["a"], "exclude": ["b"]},
            "folders": {"include": ["x"], "exclude": ["y"], "recursive": true},
            "favoritesOnly": true,
            "license": {"noCreditRequired": true, "allowSelling": true},
            "namePatterns": {"include": ["p"], "exclude": ["q"], "useRegex": true},
        });
        let expected = Selection {
            base_models: vec!["Pony".into()],
            tags_include: vec!["a".into()],
            tags_exclude: vec!["b".into()],
            folder_prefixes_include: vec!["x".into()],
            folder_prefixes_exclude: vec!["y".into()],
            favorites_only: true,
            credit_required: Some(false),
            selling_allowed: Some(true),
            names: NamePatterns {
                include: vec!["p".into()],
                exclude: vec!["q".into()],
                regex: true,
            },
            ..Selection::default()
        };
        assert_eq!(selection(Some(&config)), Ok(expected));
    }

    #[test]
    fn missing_null_and_switched_off_parts_filter_nothing() {
        let off =
            json!({"license": {"noCreditRequired": false, "allowSelling": false}, "tags": null, "baseModels": []});
        for config in [None, Some(&Value::Null), Some(&json!({})), Some(&off)] {
            assert_eq!(selection(config), Ok(Selection::default()), "{config:?}");
        }
    }

    #[test]
    fn both_names_of_the_base_models_are_understood() {
        let selected = selection(Some(&json!({"selectedBaseModels": ["Pony"]}))).expect("a pool");
        assert_eq!(selected.base_models, ["Pony"]);
    }

    #[test]
    fn another_form_is_invalid() {
        for config in [
            json!([]),
            json!({"tags": {"include": "a"}}),
            json!({"license": {"allowSelling": "x"}}),
        ] {
            assert_eq!(
                selection(Some(&config)).expect_err("unusable").status(),
                400,
                "{config}"
            );
        }
    }
}
