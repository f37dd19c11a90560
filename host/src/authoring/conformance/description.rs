//! What a type says of itself, and whether it gets on with the built-in types.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::inspect;
use super::super::subject::Subject;
use super::{Case, Finding};
use crate::http::registrar::RouteTable;
use crate::hub::OWN_EVENTS;
use crate::model_types::TypeSlot;
use crate::plugins::bindings::Descriptor;

/// Filters that the host keeps sets for.
const FACETS: [&str; 4] = ["base-model", "tag", "sub-type", "folder"];

/// Checks description, clashes and capabilities.
///
/// # Errors
/// When wasmtime can't compile the component once more.
pub async fn check(subject: &Subject) -> anyhow::Result<Vec<Case>> {
    let info = subject.plugin.info();
    let mut stable = Vec::new();
    match subject.again().await {
        Err(error) => stable.push(Finding::error(format!("it could not be loaded a second time: {error}"))),
        Ok(again) => {
            if format!("{:?}", again.info().descriptor) != format!("{:?}", info.descriptor) {
                stable.push(Finding::error("describe said something else when it was asked again"));
            }
            if again.routes() != subject.plugin.routes() {
                stable.push(Finding::error(
                    "setup-specific-routes added other routes when it was asked again",
                ));
            }
        }
    }
    let (imports, _) = inspect::interfaces(subject)?;
    // A language with a runtime imports the whole world, whatever its program uses of it.
    let has_runtime = imports.keys().any(|name| name.starts_with("wasi:"));
    let uses = |interface: &str| {
        imports
            .iter()
            .any(|(name, functions)| name.contains(interface) && !functions.is_empty())
    };
    Ok(vec![
        Case::new(
            "describe-stable",
            "it describes itself the same whenever it is asked",
            stable,
        ),
        Case::new(
            "describe-sound",
            "what it says of itself can be used as it is",
            described(&info.descriptor),
        ),
        Case::new(
            "clashes",
            "it gets on with the server's routes and the built-in types",
            clashes(subject).await,
        ),
        Case::new(
            "capabilities",
            "it asks for what it uses, and for nothing else",
            capabilities(&info.descriptor, uses, has_runtime),
        ),
    ])
}

fn described(descriptor: &Descriptor) -> Vec<Finding> {
    let mut findings = Vec::new();
    if descriptor.display_name.trim().is_empty() {
        findings.push(Finding::error("display-name is empty, so its page has no name"));
    }
    let version: Vec<&str> = descriptor.version.splitn(3, '.').collect();
    let is_number = |part: &&str| part.starts_with(|first: char| first.is_ascii_digit());
    if version.len() != 3 || !version.iter().all(is_number) {
        findings.push(Finding::warning(format!(
            "version {:?} is not of the form 1.2.3",
            descriptor.version
        )));
    }
    let sub_types: Vec<&str> = descriptor
        .sub_types
        .iter()
        .map(|sub_type| sub_type.id.as_str())
        .collect();
    for id in &sub_types {
        if id.is_empty() || **id != id.to_lowercase() {
            findings.push(Finding::error(format!(
                "the sub-type {id:?} is not in lower case, so no filter finds it"
            )));
        }
    }
    let roots: Vec<&str> = descriptor.roots.iter().map(|root| root.key.as_str()).collect();
    let extensions: Vec<&str> = descriptor.extensions.iter().map(String::as_str).collect();
    for (what, names) in [
        ("sub-type", &sub_types),
        ("root key", &roots),
        ("extension", &extensions),
    ] {
        let mut seen = HashSet::new();
        for twice in names.iter().filter(|name| !seen.insert(**name)) {
            findings.push(Finding::warning(format!("the {what} {twice:?} is there twice")));
        }
    }
    for root in &descriptor.roots {
        if root.default_root_setting.is_empty() {
            findings.push(Finding::warning(format!(
                "the root {:?} names no setting for downloads",
                root.key
            )));
        }
    }
    for facet in &descriptor.facets {
        if !FACETS.contains(&facet.kind.as_str()) {
            let known = FACETS.join(", ");
            findings.push(Finding::error(format!(
                "the facet {:?} is none of {known}, so the page can't show it",
                facet.kind
            )));
        }
    }
    for column in &descriptor.columns {
        if column.field.is_empty() || column.label.is_empty() {
            findings.push(Finding::error("a column has no field or no label"));
        }
    }
    if descriptor.remote_types.is_empty() != descriptor.remote_types_text.is_empty() {
        findings.push(Finding::warning(
            "only one of remote-types and remote-types-text is given; a refused download names the latter",
        ));
    }
    findings
}

/// Whether its routes can be bound beside all others.
async fn clashes(subject: &Subject) -> Vec<Finding> {
    let info = subject.plugin.info();
    let mut findings = Vec::new();
    let slot = Arc::new(TypeSlot::new(subject.plugin.clone()));
    if let Err(error) = RouteTable::new().add_type(&slot, subject.plugin.routes()) {
        findings.push(Finding::error(error.to_string()));
    }
    for other in subject.builtins().await {
        let (id, prefix) = (other.info().id(), other.info().prefix());
        if id == info.id() {
            if other.digest() != subject.plugin.digest() {
                findings.push(Finding::warning(format!(
                    "with --plugin it takes the place of the built-in type `{id}`"
                )));
            }
        } else if prefix == info.prefix() {
            findings.push(Finding::error(format!(
                "its prefix {prefix:?} is that of the built-in type `{id}`; choose another"
            )));
        }
    }
    findings
}

fn capabilities(descriptor: &Descriptor, uses: impl Fn(&str) -> bool, has_runtime: bool) -> Vec<Finding> {
    let asked = &descriptor.capabilities;
    let mut findings = Vec::new();
    for (interface, asks, how) in [
        ("/kv@", asked.kv, "capabilities.kv"),
        ("/remote@", !asked.remote_hosts.is_empty(), "capabilities.remote-hosts"),
        ("/events@", !asked.events.is_empty(), "capabilities.events"),
    ] {
        let name = interface.trim_matches(['/', '@']);
        match (uses(interface), asks) {
            (true, false) if !has_runtime => findings.push(Finding::warning(format!(
                "it imports {name} and {how} does not ask for it, so every call is refused"
            ))),
            (false, true) => findings.push(Finding::warning(format!("{how} asks for what it does not import"))),
            _ => {}
        }
    }
    for event in asked.events.iter().filter(|event| OWN_EVENTS.contains(&event.as_str())) {
        findings.push(Finding::error(format!(
            "the event {event:?} is the server's own, so every broadcast of it is refused; choose another name"
        )));
    }
    for host in &asked.remote_hosts {
        let is_host = !host.is_empty()
            && host.split('.').count() > 1
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        if !is_host {
            findings.push(Finding::error(format!(
                "the remote host {host:?} is no host name such as example.com"
            )));
        }
    }
    findings
}
