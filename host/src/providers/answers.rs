//! Answers that were given before, bounded, so that one page does not ask three times and what did not change is
//! not sent again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bytes of all answers together.
const MOST_BYTES: usize = 32 << 20;
/// Largest answer that is kept.
const LARGEST: usize = 4 << 20;

#[derive(Debug)]
struct Answer {
    etag: Option<String>,
    body: Bytes,
    // When it was last known to be true, and last used.
    checked: Instant,
    used: u64,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    bytes: usize,
    uses: u64,
}

/// Answers by address.
#[derive(Debug)]
pub struct Answers {
    fresh: Duration,
    kept: Mutex<Kept>,
}

/// What is known of an address.
#[derive(Debug)]
pub enum Known {
    /// The answer is as good as new.
    Fresh(Bytes),
    /// The answer may be old; its tag lets the host say that it is not.
    Tagged(String),
    /// Nothing.
    Nothing,
}

impl Answers {
    /// None yet. `fresh` is how long an answer is used without asking.
    pub fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            kept: Mutex::default(),
        }
    }

    /// Looks an address up.
    pub fn get(&self, url: &str) -> Known {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        let Some(answer) = kept.answers.get_mut(url) else {
            return Known::Nothing;
        };
        answer.used = uses;
        if answer.checked.elapsed() < self.fresh {
            return Known::Fresh(answer.body.clone());
        }
        answer.etag.clone().map_or(Known::Nothing, Known::Tagged)
    }

    /// The host said that the answer is still true.
    pub fn still_true(&self, url: &str) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.answers.get_mut(url)?;
        answer.checked = Instant::now();
        Some(answer.body.clone())
    }

    /// Keeps an answer; the least used ones make room.
    pub fn put(&self, url: &str, etag: Option<String>, body: Bytes) {
        if body.len() > LARGEST || (self.fresh.is_zero() && etag.is_none()) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        kept.bytes += body.len();
        let answer = Answer {
            etag,
            body,
            checked: Instant::now(),
            used: kept.uses,
        };
        if let Some(old) = kept.answers.insert(url.to_owned(), answer) {
            kept.bytes -= old.body.len();
        }
        if kept.bytes > MOST_BYTES {
            // Half goes at once, so that this is seldom.
            let mut uses: Vec<u64> = kept.answers.values().map(|answer| answer.used).collect();
            uses.sort_unstable();
            let middle = uses.get(uses.len() / 2).copied().unwrap_or_default();
            kept.answers.retain(|_, answer| answer.used > middle);
            kept.bytes = kept.answers.values().map(|answer| answer.body.len()).sum();
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_answer_is_asked_for_again_by_its_tag() {
        let answers = Answers::new(Duration::ZERO);
        answers.put("u", Some("\"1\"".into()), Bytes::from_static(b"x"));
        assert!(matches!(answers.get("u"), Known::Tagged(tag) if tag == "\"1\""));
        assert_eq!(answers.still_true("u").as_deref(), Some(&b"x"[..]));
        assert!(matches!(answers.get("v"), Known::Nothing));
    }

    #[test]
    fn the_bytes_are_bounded_and_what_was_used_stays() {
        let answers = Answers::new(Duration::from_secs(60));
        for number in 0..20 {
            answers.put(&number.to_string(), None, Bytes::from(vec![0; 3 << 20]));
            answers.get("0");
        }
        assert!(answers.kept.lock().unwrap().bytes <= MOST_BYTES);
        assert!(matches!(answers.get("0"), Known::Fresh(_)));
    }
}
