//! The conformance kit: what the server expects of every model type, in whatever language it was written, as named
//! checks with awkward data.

pub mod data;
mod description;
pub mod files;
mod routes;
mod rules;

use serde::Serialize;

use super::subject::Subject;
use crate::plugins::CallError;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but somebody will be surprised.
    Warning,
    /// It breaks the interface, or fails where a person uses it.
    Error,
}

/// Something that a check found.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with what, and what to do.
    pub text: String,
}

impl Finding {
    fn error(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            text: text.into(),
        }
    }

    fn warning(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            text: text.into(),
        }
    }
}

/// One check and what it found.
#[derive(Debug, Serialize)]
pub struct Case {
    /// Its name, which stays the same over versions.
    pub name: &'static str,
    /// What holds when nothing was found.
    pub claim: &'static str,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Case {
    fn new(name: &'static str, claim: &'static str, findings: Vec<Finding>) -> Self {
        Self { name, claim, findings }
    }

    /// What stands for all checks where the server would not even load the component.
    pub fn unloadable(error: &anyhow::Error) -> Self {
        Self::new("load", LOADS, vec![Finding::error(format!("{error:#}"))])
    }
}

const LOADS: &str = "the server can load it";

/// All checks.
///
/// # Errors
/// When the machine, not the component, is at fault.
pub async fn run(subject: &Subject) -> anyhow::Result<Vec<Case>> {
    let mut cases = vec![Case::new("load", LOADS, Vec::new())];
    cases.extend(description::check(subject).await?);
    cases.extend(rules::check(subject).await);
    cases.extend(routes::check(subject).await?);
    Ok(cases)
}

/// A call that did not end as a call may, as a finding; the plugin's own errors are none.
fn broken(export: &str, with: &str, error: &CallError) -> Finding {
    match error {
        CallError::Guest(error) => Finding::warning(format!(
            "{export} failed on {with}: {}",
            crate::plugins::error::text(error)
        )),
        other => Finding::error(format!("{export} broke on {with}: {other}")),
    }
}
