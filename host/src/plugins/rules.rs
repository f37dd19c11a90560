//! Batched rules with damage contained: where a whole batch fails, halves are tried, until
//! the file that breaks the plugin stands alone.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::bindings::{Derived, FileFacts, Model};
use super::error::CallError;
use super::plugin::Plugin;

/// Asks `derive`; an error is what a person should know of that one file.
pub async fn derive(plugin: &Plugin, files: Vec<FileFacts>) -> Vec<Result<Derived, String>> {
    contained(plugin, "derive", &files, &|files| Box::pin(plugin.derive(files))).await
}

/// Asks `format`; an error is what a person should know of that one file.
pub async fn format(plugin: &Plugin, models: Vec<Model>) -> Vec<Result<String, String>> {
    contained(plugin, "format", &models, &|models| Box::pin(plugin.format(models))).await
}

type Rule<'p, I, O> = &'p (dyn Fn(Arc<[I]>) -> BoxFuture<'p, Result<Vec<O>, CallError>> + Send + Sync);

/// Runs a rule on a batch, and on its halves when the whole failed.
fn contained<'f, I, O>(
    plugin: &'f Plugin,
    export: &'static str,
    items: &'f [I],
    rule: Rule<'f, I, O>,
) -> BoxFuture<'f, Vec<Result<O, String>>>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'f,
{
    Box::pin(async move {
        if items.is_empty() {
            return Vec::new();
        }
        let error = match rule(items.into()).await {
            Ok(answers) => return answers.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        if items.len() == 1 {
            tracing::error!(plugin = plugin.info().id(), export, %error, "a rule failed on one file");
            return vec![Err(format!(
                "The plugin `{}` failed on this file; the server's log says why.",
                plugin.info().id()
            ))];
        }
        let (left, right) = items.split_at(items.len() / 2);
        let mut answers = contained(plugin, export, left, rule).await;
        answers.extend(contained(plugin, export, right, rule).await);
        answers
    })
}
