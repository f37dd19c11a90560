//! Previews that come along with a provider's word, for models that have none. Source: contract sections 4.3 and 6.4.3.

use std::sync::atomic::{AtomicU32, Ordering};
use std::vec::IntoIter;

use futures_util::future::join_all;

use crate::app::App;
use crate::downloads::preview::{self, PictureError};
use crate::library::refreshing::{Said, Word};
use crate::model_types::TypeService;

/// Pictures on their way at once.
const AT_ONCE: usize = 4;
/// Bytes of previews that wait for their act; what is beyond goes into the next one.
const HELD: usize = 32 << 20;
/// Failures of the network in a row after which no more pictures are asked for.
const FAILURES: u32 = 3;

/// Fetches previews in one run.
#[derive(Debug, Default)]
pub struct Previews {
    failures: AtomicU32,
}

impl Previews {
    /// Takes as many words as may be written in one act, with previews for those models that have none. Empty when there are
    /// no more words.
    pub async fn next(&self, app: &App, service: &TypeService, words: &mut IntoIter<Word>) -> Vec<Word> {
        let (mut ready, mut held) = (Vec::new(), 0);
        while held < HELD {
            let some: Vec<Word> = words.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let some = join_all(some.into_iter().map(|word| self.with_preview(app, service, word))).await;
            held += some.iter().map(Word::preview_bytes).sum::<usize>();
            ready.extend(some);
        }
        ready
    }

    /// A word with its preview. That there is none to be had is not worth failing a refresh for.
    async fn with_preview(&self, app: &App, service: &TypeService, mut word: Word) -> Word {
        let Said::Version { version, .. } = &word.said else {
            return word;
        };
        let snapshot = service.library.snapshot();
        let has_none = snapshot
            .by_path(&word.path)
            .is_some_and(|record| record.preview.is_none());
        drop(snapshot);
        if !has_none || self.failures.load(Ordering::Relaxed) >= FAILURES {
            return word;
        }
        let Some(picture) = preview::choose(version, &app.active.load().contract) else {
            return word;
        };
        match preview::made(app, &picture).await {
            Ok(made) => {
                self.failures.store(0, Ordering::Relaxed);
                word.preview = Some((made, u32::try_from(picture.level).unwrap_or_default()));
            }
            Err(error) => {
                tracing::info!(path = word.path, %error, "a model gets no preview");
                let is_of_network = matches!(&error, PictureError::Fetch(error) if error.is_of_network());
                if is_of_network && self.failures.fetch_add(1, Ordering::Relaxed) + 1 == FAILURES {
                    tracing::warn!(%error, "previews are not asked for any more in this run");
                }
            }
        }
        word
    }
}
