//! Patterns on names: substrings or regular expressions, case ignored.

use memchr::memmem::Finder;
use regex::{Regex, RegexBuilder};
use roaring::RoaringBitmap;
use unicode_normalization::UnicodeNormalization;

use super::chunk::{CHUNK, Chunk, Slot};
use super::haystack::Field;
use super::snapshot::Snapshot;
use super::text::folded;
use crate::plugins::bindings::NamePatterns;
use crate::workers::Deadline;

/// Longest compiled expression in bytes; larger ones are taken as substrings.
const REGEX_SIZE: usize = 1 << 20;
/// Cache in bytes that an expression fills while it searches.
const REGEX_CACHE: usize = 1 << 20;

/// Which places of a chunk match.
type Hits = [bool; CHUNK];

enum Pattern {
    Substring(Box<Finder<'static>>),
    Regex {
        one: Regex,
        /// The same for many names, one on each line, where that has the same meaning.
        lines: Option<Regex>,
    },
}

impl Pattern {
    fn new(text: &str, regex: bool) -> Self {
        // Names are looked through in their composed form.
        let composed: String = text.nfc().collect();
        let text = composed.as_str();
        let build = |text: &str, lines: bool| {
            let mut builder = RegexBuilder::new(text);
            builder
                .case_insensitive(true)
                .multi_line(lines)
                .size_limit(REGEX_SIZE)
                .dfa_size_limit(REGEX_CACHE);
            builder.build().ok()
        };
        if regex && let Some(one) = build(text, false) {
            // Anchors of the whole text, and flags, would not mean a line's.
            let differs = ["\\A", "\\z", "(?"].iter().any(|part| text.contains(part));
            let lines = (!differs).then(|| build(text, true)).flatten();
            return Self::Regex { one, lines };
        }
        // No name has two lines, but names lie on lines after each other.
        match build(&regex::escape(text), false).filter(|_| text.contains('\n')) {
            Some(one) => Self::Regex { one, lines: None },
            None => Self::Substring(Box::new(Finder::new(&folded(text)).into_owned())),
        }
    }

    fn find(&self, chunk: &Chunk, hits: &mut Hits) {
        for field in [Field::ModelName, Field::FileName] {
            let haystack = chunk.haystack(field);
            let text = haystack.text();
            let mut from = 0;
            match self {
                Self::Substring(finder) => {
                    while let Some(place) = text.as_bytes().get(from..).and_then(|rest| finder.find(rest)) {
                        let index = haystack.record_at(from + place);
                        mark(hits, index);
                        from = haystack.end_of(index).max(from + 1);
                    }
                }
                // In plain ASCII, lower case makes no difference to an expression that ignores case.
                Self::Regex {
                    one,
                    lines: Some(lines),
                } if text.is_ascii() => {
                    while let Some(found) = (from <= text.len()).then(|| lines.find_at(text, from)).flatten() {
                        let (first, last) = (haystack.record_at(found.start()), haystack.record_at(found.end()));
                        if first == last && !found.as_str().contains('\n') {
                            mark(hits, first);
                        } else {
                            (first..=last)
                                .filter(|index| is_match(one, chunk, *index))
                                .for_each(|index| mark(hits, index));
                        }
                        from = haystack.end_of(last).max(from + 1);
                    }
                }
                Self::Regex { one, .. } => {
                    (0..CHUNK)
                        .filter(|index| is_match(one, chunk, *index))
                        .for_each(|index| mark(hits, index));
                    return;
                }
            }
        }
    }
}

fn mark(hits: &mut Hits, index: usize) {
    if let Some(hit) = hits.get_mut(index) {
        *hit = true;
    }
}

fn is_match(regex: &Regex, chunk: &Chunk, index: usize) -> bool {
    let record = chunk.get(index);
    record.is_some_and(|record| regex.is_match(&record.model_name) || regex.is_match(&record.file_name))
}

/// Whether there is any pattern; an empty text is none.
pub fn are_any(patterns: &NamePatterns) -> bool {
    let mut texts = patterns.include.iter().chain(&patterns.exclude);
    texts.any(|text| !text.is_empty())
}

/// Slots of `set` whose names pass: exclude wins, several includes are alternatives. Incomplete when the deadline is over.
///
/// Patterns are compiled one after the other, and each is dropped before the next: with its caches a compiled expression
/// takes up to 4 MiB, and a request may have many.
pub fn run(patterns: &NamePatterns, snapshot: &Snapshot, set: &RoaringBitmap, deadline: &Deadline) -> RoaringBitmap {
    let mut include = patterns.include.iter().filter(|text| !text.is_empty()).peekable();
    let mut kept = match include.peek() {
        None => set.clone(),
        Some(_) => include.fold(RoaringBitmap::new(), |found, text| {
            found | matching(text, patterns.regex, snapshot, set, deadline)
        }),
    };
    for text in patterns.exclude.iter().filter(|text| !text.is_empty()) {
        kept -= matching(text, patterns.regex, snapshot, &kept, deadline);
    }
    kept
}

/// Slots of `set` whose names match one pattern.
fn matching(text: &str, regex: bool, snapshot: &Snapshot, set: &RoaringBitmap, deadline: &Deadline) -> RoaringBitmap {
    let mut found = RoaringBitmap::new();
    if set.is_empty() || deadline.is_over() {
        return found;
    }
    let pattern = Pattern::new(text, regex);
    for (first, chunk) in snapshot.records().chunks() {
        if deadline.is_over() {
            break;
        }
        if set.range_cardinality(first..first + CHUNK as Slot) == 0 {
            continue;
        }
        let mut hits = [false; CHUNK];
        pattern.find(chunk, &mut hits);
        let slots = hits.iter().zip(first..).filter(|(hit, _)| **hit);
        found.extend(slots.map(|(_, slot)| slot));
    }
    found & set
}

#[cfg(test)]
mod tests {
    use regex::RegexBuilder;

    use super::*;
    use crate::library::snapshot::Change;
    use crate::library::snapshot_tests::named;

    const NAMES: [&str; 8] = ["Glass", "Glass halo", "hal", "o", "Ärger", "", "a\u{130}b", "glass."];

    fn found(text: &str, regex: bool) -> Vec<String> {
        let records = NAMES.iter().map(|name| Change::Put(named(name).into()));
        let snapshot = Snapshot::default().apply(records.collect());
        let patterns = NamePatterns {
            include: vec![text.into()],
            exclude: Vec::new(),
            regex,
        };
        let slots = run(&patterns, &snapshot, snapshot.visible(), &Deadline::default());
        slots
            .iter()
            .map(|slot| snapshot.get(slot).unwrap().model_name.to_string())
            .collect()
    }

    #[test]
    fn an_expression_finds_what_it_finds_name_by_name() {
        for text in [
            "^glass$",
            "s$",
            "^o|l$",
            "s\\s",
            "[^x]o",
            ".*",
            "^$",
            "\\Ahal\\z",
            "(?-i)Glass",
            "ä",
            "glass\\W",
        ] {
            let one = RegexBuilder::new(text).case_insensitive(true).build().unwrap();
            let matching = NAMES.iter().filter(|name| one.is_match(name));
            assert_eq!(
                found(text, true),
                matching.map(|name| name.to_string()).collect::<Vec<_>>(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_broken_expression_is_taken_as_text() {
        assert_eq!(found("glass.", false), ["glass."]);
        assert!(found("(glass", true).is_empty());
        assert_eq!(found("ÄR", false), ["Ärger"]);
    }
}
