//! Batched rules with damage contained: where a whole batch fails, halves are tried, until
//! the file that breaks the plugin stands alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;

use super::bindings::{Derived, FileFacts, GuestError, MergeInput, Model, OrganiseInput, Placement};
use super::error::{CallError, LimitError, text};
use super::plugin::Plugin;

/// Longest text that a rule may give for one file, in bytes: it is kept in memory.
const MAX_TEXT: usize = 64 << 10;
/// How many calls may fail before the rest of a batch is given up. A call that ran out of time
/// counts as many, so that a plugin that always loops holds a scan up for seconds, not hours.
const MAX_FAILURES: u32 = 48;
const TIME_FAILURE: u32 = 16;
/// As how many traps a batch that is given up counts: it is not one odd file that the plugin fails on.
const GIVEN_UP: usize = 5;
/// Models that cross the boundary in one call, where a rule does not come with a batch of its own.
const BATCH: usize = 128;

/// Asks `derive`; an error is what a person should know of that one file.
pub async fn derive(plugin: &Plugin, files: Vec<FileFacts>) -> Vec<Result<Derived, String>> {
    let failures = AtomicU32::new(0);
    let answers = contained(plugin, "derive", &failures, &files, &|files| {
        Box::pin(plugin.derive(files))
    })
    .await;
    bounded(plugin, answers, |derived| {
        derived.fields.len() + derived.sub_type.len() + derived.problem.as_ref().map_or(0, String::len)
    })
}

/// Asks `format`; an error is what a person should know of that one file.
pub async fn format(plugin: &Plugin, models: Vec<Model>) -> Vec<Result<String, String>> {
    let failures = AtomicU32::new(0);
    let answers = contained(plugin, "format", &failures, &models, &|models| {
        Box::pin(plugin.format(models))
    })
    .await;
    bounded(plugin, answers, String::len)
}

/// Asks `merge-remote`; an error is what a person should know of that one model. What it gives is not kept in memory, so
/// only the bound of a call's whole answer holds.
pub async fn merge_remote(plugin: &Plugin, inputs: Vec<MergeInput>) -> Vec<Result<String, String>> {
    let failures = AtomicU32::new(0);
    let answers: Vec<Result<Result<String, GuestError>, String>> =
        contained(plugin, "merge-remote", &failures, &inputs, &|inputs| {
            Box::pin(plugin.merge_remote(inputs))
        })
        .await;
    let flat = |answer: Result<Result<String, GuestError>, String>| {
        answer.and_then(|merged| merged.map_err(|error| text(&error).to_owned()))
    };
    answers.into_iter().map(flat).collect()
}

/// Asks `organise` in batches; an error is what a person should know of that one model.
pub async fn organise(plugin: &Plugin, models: Vec<OrganiseInput>) -> Vec<Result<Placement, String>> {
    let failures = AtomicU32::new(0);
    let mut answers = Vec::with_capacity(models.len());
    for batch in models.chunks(BATCH) {
        let rule = |models| -> BoxFuture<'_, _> { Box::pin(plugin.organise(models)) };
        answers.extend(contained(plugin, "organise", &failures, batch, &rule).await);
    }
    bounded(plugin, answers, |placement| {
        let placeholders = placement.placeholders.iter();
        placeholders.map(|(name, value)| name.len() + value.len()).sum()
    })
}

fn bounded<O>(plugin: &Plugin, answers: Vec<Result<O, String>>, size: impl Fn(&O) -> usize) -> Vec<Result<O, String>> {
    let check = |answer: O| match size(&answer) {
        size if size > MAX_TEXT => Err(format!(
            "The plugin `{}` gave {size} bytes for this file, more than {MAX_TEXT}.",
            plugin.info().id()
        )),
        _ => Ok(answer),
    };
    answers.into_iter().map(|answer| answer.and_then(check)).collect()
}

type Rule<'p, I, O> = &'p (dyn Fn(Arc<[I]>) -> BoxFuture<'p, Result<Vec<O>, CallError>> + Send + Sync);

/// Runs a rule on a batch, and on its halves when the whole failed.
fn contained<'f, I, O>(
    plugin: &'f Plugin,
    export: &'static str,
    failures: &'f AtomicU32,
    items: &'f [I],
    rule: Rule<'f, I, O>,
) -> BoxFuture<'f, Vec<Result<O, String>>>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'f,
{
    Box::pin(async move {
        let id = plugin.info().id();
        if items.is_empty() {
            return Vec::new();
        }
        if failures.load(Ordering::Relaxed) >= MAX_FAILURES {
            let given_up = || {
                Err(format!(
                    "The plugin `{id}` failed too often; the server's log says why."
                ))
            };
            return items.iter().map(|_| given_up()).collect();
        }
        let error = match rule(items.into()).await {
            Ok(answers) => return answers.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        let cost = match error {
            CallError::Limit {
                limit: LimitError::Time(_),
                ..
            } => TIME_FAILURE,
            CallError::Quarantined { .. } => MAX_FAILURES,
            _ => 1,
        };
        let before = failures.fetch_add(cost, Ordering::Relaxed);
        if before < MAX_FAILURES && before + cost >= MAX_FAILURES && error.is_fault() {
            tracing::error!(plugin = id, export, %error, "a rule fails too often; the rest of the batch is given up");
            plugin.strike(GIVEN_UP, &error);
        }
        if items.len() == 1 {
            tracing::error!(plugin = id, export, %error, "a rule failed on one file");
            return vec![Err(format!(
                "The plugin `{id}` failed on this file; the server's log says why."
            ))];
        }
        let (left, right) = items.split_at(items.len() / 2);
        let mut answers = contained(plugin, export, failures, left, rule).await;
        answers.extend(contained(plugin, export, failures, right, rule).await);
        answers
    })
}
