//! Search over names, tags and creators. Source: contract section 2.2.3.

use memchr::memmem;
use roaring::RoaringBitmap;

use super::chunk::{Field, Haystack};
use super::similarity;
use super::snapshot::Snapshot;

/// Words this alike count as the same in a fuzzy search.
const ALIKE: f64 = 0.85;

/// What is searched for, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// The text as typed.
    pub text: String,
    /// Word by word, similar words counting.
    pub fuzzy: bool,
    /// Fields, any of which may match.
    pub fields: Vec<Field>,
}

impl Search {
    /// Slots of the records that match, excluded ones too.
    pub fn run(&self, snapshot: &Snapshot) -> RoaringBitmap {
        let text = self.text.to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut found = RoaringBitmap::new();
        let finder = memmem::Finder::new(text.as_bytes());
        for (first, chunk) in snapshot.records().chunks() {
            for field in &self.fields {
                let haystack = chunk.haystack(*field);
                if self.fuzzy {
                    fuzzy(haystack, &words, |index| {
                        found.insert(first + index as u32);
                    });
                } else {
                    exact(haystack, &finder, |index| {
                        found.insert(first + index as u32);
                    });
                }
            }
        }
        found
    }
}

fn exact(haystack: &Haystack, finder: &memmem::Finder, mut hit: impl FnMut(usize)) {
    let bytes = haystack.text().as_bytes();
    let mut from = 0;
    while let Some(offset) = bytes.get(from..).and_then(|rest| finder.find(rest)) {
        let index = haystack.record_at(from + offset);
        hit(index);
        // One hit is enough; go on behind the record.
        from = haystack.end_of(index).max(from + 1);
    }
}

fn fuzzy(haystack: &Haystack, words: &[&str], mut hit: impl FnMut(usize)) {
    for index in 0..haystack.len() {
        let found = haystack.values(index).any(|value| {
            words.iter().all(|word| {
                value.contains(word)
                    || value
                        .split_whitespace()
                        .any(|part| similarity::at_least(word, part, ALIKE))
            })
        });
        if found && !words.is_empty() {
            hit(index);
        }
    }
}
