//! Texts that many records have, such as tags and folders, held once for each thread that makes records.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use arcstr::ArcStr;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Texts that a thread remembers at most; then it begins anew.
const REMEMBERED: usize = 100_000;

thread_local! {
    static KNOWN: RefCell<HashSet<ArcStr>> = RefCell::default();
}

/// The text, shared with earlier ones of this thread.
pub fn shared(text: &str) -> ArcStr {
    KNOWN.with_borrow_mut(|known| {
        if let Some(own) = known.get(text) {
            return own.clone();
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let own = ArcStr::from(text);
        known.insert(own.clone());
        own
    })
}

/// Reads one such text.
///
/// # Errors
/// The format's.
pub fn one<'de, D: Deserializer<'de>>(from: D) -> Result<ArcStr, D::Error> {
    Shared::deserialize(from).map(|text| text.0)
}

/// Reads such a text that may be absent.
///
/// # Errors
/// The format's.
pub fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ArcStr>, D::Error> {
    Ok(Option::<Shared>::deserialize(from)?.map(|text| text.0))
}

/// Reads a list of such texts.
///
/// # Errors
/// The format's.
pub fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ArcStr>, D::Error> {
    let texts = Vec::<Shared>::deserialize(from)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

struct Shared(ArcStr);

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Shared;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Shared, E> {
                Ok(Shared(shared(text)))
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_text() {
        let texts: Vec<String> = vec!["a tag".into(), "another".into(), "a tag".into()];
        let stored = postcard::to_stdvec(&texts).unwrap();
        let mut from = postcard::Deserializer::from_bytes(&stored);
        let texts = list(&mut from).unwrap();
        assert_eq!(texts, ["a tag", "another", "a tag"]);
        assert!(ArcStr::ptr_eq(&texts[0], &texts[2]) && ArcStr::ptr_eq(&texts[0], &shared("a tag")));
    }
}
