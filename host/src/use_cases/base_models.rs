//! Names of base models as the provider lists them, asked for when somebody wants them, and kept for a week.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::providers::Providers;

/// How long an answer is used. Source: what the original answers as `ttl_seconds`.
pub const FRESH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The last answer.
#[derive(Debug, Clone)]
struct Answer {
    names: Vec<String>,
    asked_at: SystemTime,
}

/// What is known, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// The provider's names, none when it never gave any.
    pub names: Vec<String>,
    /// When it gave them.
    pub asked_at: Option<SystemTime>,
    /// `api`: just now; `cache`: before; `fallback`: never.
    pub source: &'static str,
}

/// How old the last answer is.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// When it came.
    pub asked_at: SystemTime,
    /// How long ago that is.
    pub age: Duration,
    /// Whether the next who wants names asks anew.
    pub is_old: bool,
}

/// The names.
#[derive(Debug, Default)]
pub struct BaseModels {
    last: Mutex<Option<Answer>>,
}

impl BaseModels {
    fn last(&self) -> Option<Answer> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names; the provider is asked when what is known is old, or `anew`. When it can't be asked, what is known stays.
    pub async fn get(&self, providers: &Providers, anew: bool) -> Known {
        let last = self.last();
        let is_fresh = self.state().is_some_and(|state| !state.is_old);
        if anew || !is_fresh {
            match providers.base_models().await {
                Ok(names) if !names.is_empty() => {
                    let answer = Answer {
                        names,
                        asked_at: SystemTime::now(),
                    };
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
                    return known(Some(answer), "api");
                }
                Ok(_) => tracing::info!("the provider lists no base models"),
                Err(error) => tracing::info!(%error, "base models can't be asked for"),
            }
        }
        known(last, "cache")
    }

    /// How old the last answer is; none before the first.
    pub fn state(&self) -> Option<State> {
        let asked_at = self.last()?.asked_at;
        let age = asked_at.elapsed().unwrap_or_default();
        Some(State {
            asked_at,
            age,
            is_old: age > FRESH,
        })
    }
}

fn known(answer: Option<Answer>, source: &'static str) -> Known {
    match answer {
        Some(mut answer) => {
            answer.names.sort_unstable();
            answer.names.dedup();
            Known {
                names: answer.names,
                asked_at: Some(answer.asked_at),
                source,
            }
        }
        None => Known {
            source: "fallback",
            ..Known::default()
        },
    }
}
