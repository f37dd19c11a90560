//! The type's own routes, asked by clients who read no documentation, on a library of awkward files.

use std::sync::Arc;

use serde_json::Value;

use super::super::subject::Subject;
use super::{Case, Finding, broken, data};
use crate::library::Library;
use crate::plugins::bindings::{GuestError, GuestRequest, GuestResponse};
use crate::plugins::imports::RouteWish;
use crate::plugins::{Asker, CallError};

/// Bodies that a client may send.
const BODIES: [&str; 6] = [
    "",
    "{}",
    "[]",
    "null",
    "{not json",
    r#"{"name":5,"names":"x","count":-1,"ids":[null],"":{}}"#,
];

/// Reads a library, then calls every route.
///
/// # Errors
/// When the library can't be made.
pub async fn check(subject: &Subject) -> anyhow::Result<Vec<Case>> {
    const LISTED: &str = "files with its extensions are read and listed";
    let mut listed = Vec::new();
    let Some(library) = subject.library().await? else {
        listed.push(Finding::error(format!(
            "reading a dozen small files took longer than {} s; its routes were not asked, for want of a library",
            subject.patience.as_secs()
        )));
        return Ok(vec![Case::new("library", LISTED, listed)]);
    };
    let snapshot = library.snapshot();
    if snapshot.is_empty() {
        listed.push(Finding::error("of a folder with its files, none is listed"));
    }
    let mut calls = Vec::new();
    for wish in subject.plugin.routes() {
        calls.extend(call_route(subject, &library, wish).await);
    }
    let unknown = request("GET", "/", Vec::new(), Vec::new(), "");
    match subject
        .plugin
        .handle(
            "no-such-handler".to_owned(),
            unknown,
            subject.reach(&library, "GET"),
            Asker::Owner,
        )
        .await
    {
        Err(CallError::Guest(_)) => {}
        Ok(answer) if answer.status >= 400 => {}
        Ok(_) => calls.push(Finding::warning("handle answers for a handler that it never named")),
        Err(error) => calls.push(broken("handle", "a handler that it never named", &error)),
    }
    Ok(vec![
        Case::new("library", LISTED, listed),
        Case::new("routes", "its routes answer or refuse whatever a client sends", calls),
    ])
}

/// At most one finding for each kind of fault of a route: the first says enough.
async fn call_route(subject: &Subject, library: &Arc<Library>, wish: &RouteWish) -> Vec<Finding> {
    let route = format!("{} {}", wish.method, wish.template);
    let template = wish.template.replace("{prefix}", subject.plugin.info().prefix());
    let placeholders: Vec<&str> = template
        .split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
        .collect();
    let mut findings = Vec::new();
    let mut values: Vec<&str> = data::TEXTS.to_vec();
    values.extend(["plain", "two words"]);
    let bodies: &[&str] = if wish.method == "GET" { &BODIES[..1] } else { &BODIES };
    for (turn, value) in values.iter().enumerate() {
        let params: Vec<_> = placeholders
            .iter()
            .map(|name| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let query =
            ["name", "limit", "path", "relative_path", "search"].map(|name| (name.to_owned(), (*value).to_owned()));
        for (query, body) in [
            (Vec::new(), bodies[turn % bodies.len()]),
            (query.to_vec(), bodies[(turn + 1) % bodies.len()]),
        ] {
            let what = format!("{route} with {value:?} and the body {body:?}");
            let request = request(&wish.method, &template, params.clone(), query, body);
            match subject
                .plugin
                .handle(
                    wish.handler.clone(),
                    request,
                    subject.reach(library, &wish.method),
                    Asker::Owner,
                )
                .await
            {
                Ok(answer) => findings.extend(answered(&what, &answer)),
                Err(CallError::Guest(GuestError::Internal(text))) => findings.push(Finding::warning(format!(
                    "{what} was answered with 500, which says that the plugin is at fault: {text}"
                ))),
                Err(CallError::Guest(_)) => {}
                Err(error) => findings.push(broken("handle", &what, &error)),
            }
            if !findings.is_empty() {
                return findings;
            }
        }
    }
    findings
}

fn answered(what: &str, answer: &GuestResponse) -> Option<Finding> {
    if !(200..600).contains(&answer.status) {
        return Some(Finding::error(format!(
            "{what} was answered with the status {}",
            answer.status
        )));
    }
    let is_json = answer.content_type.to_lowercase().starts_with("application/json");
    if is_json && serde_json::from_slice::<Value>(&answer.body).is_err() {
        return Some(Finding::error(format!(
            "{what} was answered with JSON that can't be read"
        )));
    }
    None
}

fn request(
    method: &str,
    path: &str,
    path_params: Vec<(String, String)>,
    mut query: Vec<(String, String)>,
    body: &str,
) -> GuestRequest {
    query.push(("_seed".to_owned(), "1".to_owned()));
    GuestRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        path_params,
        query,
        content_type: if body.is_empty() {
            String::new()
        } else {
            "application/json".to_owned()
        },
        body: body.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plugins::limits::Limits;
    use crate::plugins::{Compiler, builtin};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reading_that_does_not_end_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("type.wasm");
        // Without `cargo xtask plugins` there is none.
        let Some((_, wasm)) = builtin::BUILTIN.first() else {
            return;
        };
        std::fs::write(&file, wasm).unwrap();
        let mut subject = Subject::load(&file, Limits::default().memory_mib, Compiler::in_this_process())
            .await
            .unwrap();
        subject.patience = Duration::ZERO;
        let cases = check(&subject).await.unwrap();
        let findings: Vec<_> = cases.iter().flat_map(|case| &case.findings).collect();
        assert_eq!(cases[0].name, "library");
        assert!(findings[0].text.contains("took longer than 0 s"), "{findings:?}");
    }
}
