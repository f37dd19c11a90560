//! The rules, called one by one and in batches.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::inspect;
use super::super::subject::Subject;
use super::{Case, Finding, broken, data};
use crate::plugins::bindings::{Derived, FileFacts, Model};
use crate::plugins::{Asker, CallError, Plugin};

/// Microseconds for one file above which a scan of many is held up.
const SLOW_US: f64 = 1_000.0;

/// Calls every rule.
pub async fn check(subject: &Subject) -> Vec<Case> {
    let plugin = &*subject.plugin;
    let files = data::awkward_files(plugin.info());
    let (derive, derived) = derive(plugin, &files).await;
    let models: Vec<(&str, Model)> = files
        .iter()
        .zip(&derived)
        .filter_map(|((what, file), derived)| Some((what.as_str(), data::model_of(file, derived.as_ref()?))))
        .collect();
    let mut cost = Vec::new();
    if derive.is_empty() {
        match inspect::cost(subject).await {
            Ok(measured) => cost.extend(slow(&measured)),
            Err(error) => cost.push(Finding::error(format!(
                "what its rules cost can't be measured: {error}"
            ))),
        }
    }
    vec![
        Case::new(
            "derive",
            "derive answers for every file, the same alone and among others",
            derive,
        ),
        Case::new(
            "format",
            "format gives an object for every model, the same alone and among others",
            format(plugin, &models).await,
        ),
        Case::new(
            "parse-query",
            "parse-query takes or refuses whatever a client sends",
            parse_query(plugin).await,
        ),
        Case::new(
            "merge-remote",
            "merge-remote keeps what a person edited, and lives with what providers send",
            merge_remote(plugin).await,
        ),
        Case::new(
            "organise",
            "organise gives every placeholder of its template, below a root that it has",
            organise(plugin).await,
        ),
        Case::new(
            "select-file",
            "select-file names a file that is there, or says that there is none",
            select_file(plugin).await,
        ),
        Case::new(
            "validate-remote-type",
            "validate-remote-type takes the types that it names, and no others",
            validate(plugin).await,
        ),
        Case::new("cost", "rules are quick enough for a large library", cost),
    ]
}

fn slow(measured: &inspect::Cost) -> Vec<Finding> {
    let rules = [
        ("derive", measured.derive_us_per_item),
        ("format", measured.format_us_per_item),
    ];
    let slow = rules.into_iter().filter(|(_, took)| *took > SLOW_US);
    slow.map(|(rule, took)| {
        Finding::warning(format!(
            "{rule} takes {:.1} ms for one item: {:.0} s for a library of 10,000",
            took / 1e3,
            took / 100.0
        ))
    })
    .collect()
}

async fn derive(plugin: &Plugin, files: &[(String, FileFacts)]) -> (Vec<Finding>, Vec<Option<Derived>>) {
    let mut findings = Vec::new();
    if let Err(error) = plugin.derive(Arc::from([])).await {
        findings.push(broken("derive", "an empty batch", &error));
    }
    let mut alone = Vec::new();
    for (what, file) in files {
        match plugin.derive(Arc::from([file.clone()])).await {
            Ok(mut answers) => alone.push(answers.pop()),
            Err(error) => {
                findings.push(broken("derive", what, &error));
                alone.push(None);
            }
        }
    }
    for ((what, _), derived) in files.iter().zip(&alone) {
        let Some(derived) = derived else { continue };
        if !is_object(&derived.fields) {
            findings.push(Finding::error(format!(
                "derive gave fields that are no JSON object for {what}"
            )));
        }
        if derived.sub_type.is_empty() || derived.sub_type != derived.sub_type.to_lowercase() {
            findings.push(Finding::error(format!(
                "derive gave the sub-type {:?} for {what}; it must be a lower-case word",
                derived.sub_type
            )));
        }
    }
    if findings.is_empty() {
        let batch: Arc<[FileFacts]> = files.iter().map(|(_, file)| file.clone()).collect();
        match plugin.derive(batch).await {
            Ok(together) => {
                for (((what, _), alone), together) in files.iter().zip(&alone).zip(&together) {
                    if alone.as_ref().map(|derived| format!("{derived:?}")) != Some(format!("{together:?}")) {
                        findings.push(Finding::error(format!(
                            "derive gave another answer for {what} when it came among others"
                        )));
                    }
                }
            }
            Err(error) => findings.push(broken("derive", "a batch of all these files", &error)),
        }
    }
    (findings, alone)
}

async fn format(plugin: &Plugin, models: &[(&str, Model)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut alone = Vec::new();
    let mut members = HashSet::new();
    for (what, model) in models {
        match plugin.format(Arc::from([model.clone()])).await {
            Ok(answers) => {
                for answer in answers {
                    match serde_json::from_str::<Value>(&answer) {
                        Ok(Value::Object(object)) => members.extend(object.into_iter().map(|(name, _)| name)),
                        _ => findings.push(Finding::error(format!("format gave what is no JSON object for {what}"))),
                    }
                    alone.push(answer);
                }
            }
            Err(error) => findings.push(broken("format", what, &error)),
        }
    }
    let unreadable = models
        .iter()
        .map(|(_, model)| Model {
            fields: "{}".to_owned(),
            ..model.clone()
        })
        .take(1);
    if let Err(error) = plugin.format(unreadable.collect()).await {
        findings.push(broken(
            "format",
            "a model whose fields are an empty object, as after an update of the plugin",
            &error,
        ));
    }
    if findings.is_empty() {
        match plugin
            .format(models.iter().map(|(_, model)| model.clone()).collect())
            .await
        {
            Ok(together) if together == alone => {}
            Ok(_) => findings.push(Finding::error("format gave other answers when models came together")),
            Err(error) => findings.push(broken("format", "a batch of all these models", &error)),
        }
    }
    findings
}

async fn parse_query(plugin: &Plugin) -> Vec<Finding> {
    let names = &plugin.info().descriptor.query_parameters;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut queries = vec![Vec::new(), vec![pair("not-its-own", "1")]];
    for name in names {
        queries.extend(data::TEXTS.iter().map(|text| vec![pair(name, text)]));
        queries.push(vec![pair(name, "a"), pair(name, "b")]);
        queries.push(vec![pair(name, &"x".repeat(64 << 10))]);
    }
    queries.push(names.iter().map(|name| pair(name, "1")).collect());
    let mut findings = Vec::new();
    for query in queries {
        let what: String = format!("{query:?}").chars().take(120).collect();
        match plugin.parse_query(query, Asker::Owner).await {
            Ok(_) | Err(CallError::Guest(crate::plugins::bindings::GuestError::Invalid(_))) => {}
            Err(error) => findings.push(broken("parse-query", &what, &error)),
        }
    }
    findings
}

async fn merge_remote(plugin: &Plugin) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (what, input) in data::merges() {
        let edited = input.edited.clone();
        let stored: Value = serde_json::from_str(&input.sidecar).unwrap_or_default();
        let answers = match plugin.merge_remote(Arc::from([input])).await {
            Ok(answers) => answers,
            Err(error) => {
                findings.push(broken("merge-remote", what, &error));
                continue;
            }
        };
        for answer in answers {
            // An error of its own concerns this version alone and is shown to the person.
            let Ok(text) = answer else { continue };
            let Ok(Value::Object(set)) = serde_json::from_str(&text) else {
                findings.push(Finding::error(format!(
                    "merge-remote gave what is no JSON object for {what}"
                )));
                continue;
            };
            for field in edited.iter().filter(|field| sets(&set, field, &stored)) {
                findings.push(Finding::error(format!(
                    "merge-remote sets {field:?}, which a person edited"
                )));
            }
        }
    }
    findings
}

/// Whether a merge gives a field, such as `tags` or `civitai.trainedWords`, another value than is stored. The object that
/// a member is in is replaced as a whole, so that what was in it must be there again.
fn sets(set: &Map<String, Value>, field: &str, stored: &Value) -> bool {
    match field.split_once('.') {
        None => set.contains_key(field),
        Some((object, member)) => set
            .get(object)
            .is_some_and(|new| new.get(member) != stored[object].get(member)),
    }
}

async fn organise(plugin: &Plugin) -> Vec<Finding> {
    let descriptor = &plugin.info().descriptor;
    let inputs = data::placements(plugin.info());
    let placements = match plugin.organise(inputs.into()).await {
        Ok(placements) => placements,
        Err(error) => return vec![broken("organise", "models with odd names", &error)],
    };
    let mut findings = Vec::new();
    let wanted: HashSet<&str> = descriptor
        .default_path_template
        .split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
        .collect();
    for placement in &placements {
        let given: HashSet<&str> = placement.placeholders.iter().map(|(name, _)| name.as_str()).collect();
        for missing in wanted.difference(&given) {
            findings.push(Finding::error(format!(
                "organise gives no {{{missing}}}, which its default path template has"
            )));
        }
        if !descriptor.roots.iter().any(|root| root.key == placement.root_key) {
            findings.push(Finding::error(format!(
                "organise names the root {:?}, which it does not have",
                placement.root_key
            )));
        }
        if !findings.is_empty() {
            break;
        }
    }
    findings
}

async fn select_file(plugin: &Plugin) -> Vec<Finding> {
    let roots = &plugin.info().descriptor.roots;
    let mut findings = Vec::new();
    for (what, input) in data::selections() {
        let files = serde_json::from_str::<Value>(&input.remote_version).ok();
        let count = files
            .and_then(|version| Some(version["files"].as_array()?.len()))
            .unwrap_or(0);
        match plugin.select_file(Arc::from([input])).await {
            Err(error) => findings.push(broken("select-file", what, &error)),
            Ok(answers) => {
                for chosen in answers.into_iter().flatten() {
                    if chosen.file as usize >= count {
                        findings.push(Finding::error(format!(
                            "select-file chose file {} of {count} for {what}",
                            chosen.file
                        )));
                    }
                    if !roots.iter().any(|root| root.key == chosen.root_key) {
                        findings.push(Finding::error(format!(
                            "select-file names the root {:?}, which it does not have",
                            chosen.root_key
                        )));
                    }
                }
            }
        }
    }
    findings
}

async fn validate(plugin: &Plugin) -> Vec<Finding> {
    let own = &plugin.info().descriptor.remote_types;
    let mut findings = Vec::new();
    for name in own {
        for spelled in [name.clone(), name.to_uppercase()] {
            if let Err(error) = plugin.validate_remote_type(spelled.clone()).await {
                findings.push(Finding::error(format!(
                    "validate-remote-type refuses {spelled:?}, which remote-types names: {error}"
                )));
            }
        }
    }
    for text in data::TEXTS.iter().chain(&["a-type-that-nobody-has"]) {
        match plugin.validate_remote_type((*text).to_owned()).await {
            Err(CallError::Guest(_)) => {}
            Ok(()) => findings.push(Finding::error(format!(
                "validate-remote-type takes {text:?}, which remote-types does not name"
            ))),
            Err(error) => findings.push(broken("validate-remote-type", &format!("{text:?}"), &error)),
        }
    }
    findings
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok()
}
