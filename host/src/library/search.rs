//! Search over names, file names, trigger words, tags, creators and descriptions, and how well
//! each hit fits. Source of what matches: contract section 2.2.3; trigger words, descriptions
//! and ranks are ours.

use std::collections::HashMap;

use memchr::memmem;
use roaring::RoaringBitmap;

use super::chunk::{CHUNK, Chunk, Slot};
use super::haystack::{FIELDS, Field, Haystack};
use super::similarity::{self, Likeness, Sketch};
use super::snapshot::Snapshot;
use super::text::folded;
use crate::workers::Deadline;

/// Words this alike count as the same in a fuzzy search.
const ALIKE: f64 = 0.85;

/// How a text sits in a value, best first: it is the value, starts it, starts a word of it, or is somewhere inside.
const PLACES: usize = 4;
/// First rank of what has all words of the text, but not the text as a whole.
const SCATTERED: usize = PLACES * FIELDS;
/// Rank of what only a fuzzy search finds.
const SIMILAR: usize = 2 * PLACES * FIELDS;
/// Rank of what only descriptions have.
const DESCRIBED: usize = SIMILAR + 1;
/// How many ranks there are.
const RANKS: usize = DESCRIBED + 1;

/// What is searched for, and where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Search {
    /// The text as typed.
    pub text: String,
    /// Word by word, similar words counting.
    pub fuzzy: bool,
    /// Whether each word of the text may be in another place or field; else the text is looked for as a whole.
    pub by_words: bool,
    /// Fields, any of which may match.
    pub fields: Vec<Field>,
    /// Whether descriptions are searched too, word by word.
    pub in_descriptions: bool,
    /// Slots whose descriptions match, once [`super::Library::look_into_descriptions`] has asked the store.
    pub described: RoaringBitmap,
}

impl Search {
    /// Slots of the records that match, excluded ones too; incomplete when the deadline is over.
    pub fn run(&self, snapshot: &Snapshot, deadline: &Deadline) -> RoaringBitmap {
        let query = Query::new(&self.text);
        let mut found = RoaringBitmap::new();
        let mut scratch = Scratch::default();
        for (first, chunk) in snapshot.records().chunks() {
            if deadline.is_over() {
                break;
            }
            let mut hits = Hits::default();
            if self.by_words {
                query.scattered(chunk, &self.fields, false, |index, _| hits.note(index, SCATTERED));
            }
            for field in &self.fields {
                let haystack = chunk.haystack(*field);
                if self.fuzzy {
                    query.similar(haystack, &mut scratch, |index| hits.note(index, SIMILAR));
                } else if !self.by_words {
                    query.first_hits(haystack, |index| hits.note(index, 0));
                }
            }
            // Slots ascend, so that each can be put at the end.
            hits.each(first, |slot, _| {
                let _ = found.try_push(slot);
            });
        }
        found |= &self.described;
        found
    }

    /// The slots of [`Search::run`] by how well they fit: each set fits better than the ones behind it, and none has a slot
    /// of another.
    pub fn ranked(&self, snapshot: &Snapshot, deadline: &Deadline) -> Vec<RoaringBitmap> {
        let query = Query::new(&self.text);
        let mut ranks = vec![RoaringBitmap::new(); RANKS];
        let mut scratch = Scratch::default();
        for (first, chunk) in snapshot.records().chunks() {
            if deadline.is_over() {
                break;
            }
            let mut hits = Hits::default();
            // Searches that go by words find nothing without one.
            if (self.fuzzy || self.by_words) && query.words.is_empty() {
                break;
            }
            if self.by_words {
                query.scattered(chunk, &self.fields, true, |index, rank| {
                    hits.note(index, SCATTERED + rank)
                });
            }
            for field in &self.fields {
                let haystack = chunk.haystack(*field);
                query.all_hits(haystack, |index, place| {
                    hits.note(index, place * FIELDS + *field as usize);
                });
                if self.fuzzy {
                    query.similar(haystack, &mut scratch, |index| hits.note(index, SIMILAR));
                }
            }
            hits.each(first, |slot, rank| {
                let _ = ranks[rank].try_push(slot);
            });
        }
        let mut described = self.described.clone();
        for better in &ranks {
            described -= better;
        }
        ranks[DESCRIBED] = described;
        ranks
    }
}

/// The best rank of each record of a chunk.
struct Hits {
    best: [u8; CHUNK],
    any: bool,
}

impl Default for Hits {
    fn default() -> Self {
        Self {
            best: [u8::MAX; CHUNK],
            any: false,
        }
    }
}

impl Hits {
    fn note(&mut self, index: usize, rank: usize) {
        if let Some(best) = self.best.get_mut(index) {
            *best = (*best).min(rank as u8);
            self.any = true;
        }
    }

    /// Hits with their slots, ascending.
    fn each(&self, first: Slot, mut take: impl FnMut(Slot, usize)) {
        if !self.any {
            return;
        }
        for (index, best) in self.best.iter().enumerate().filter(|(_, best)| **best != u8::MAX) {
            take(first + index as Slot, usize::from(*best));
        }
    }
}

/// What is used again for each chunk.
#[derive(Default)]
struct Scratch {
    // Starts of values.
    all: Vec<usize>,
    own: Vec<usize>,
    // Words that were compared with a word of the query, by its place: names have the same words again and again.
    compared: HashMap<usize, HashMap<Box<str>, bool>>,
}

impl Scratch {
    fn are_alike(&mut self, place: usize, word: &str, other: &str) -> bool {
        let compared = self.compared.entry(place).or_default();
        if let Some(alike) = compared.get(other) {
            return *alike;
        }
        let alike = similarity::at_least(word, other, ALIKE);
        compared.insert(other.into(), alike);
        alike
    }
}

/// A text made ready for searching.
struct Query {
    finder: Option<memmem::Finder<'static>>,
    length: usize,
    words: Vec<Word>,
}

struct Word {
    text: String,
    finder: memmem::Finder<'static>,
    likeness: Likeness,
}

impl Query {
    fn new(text: &str) -> Self {
        let text = folded(text);
        let finder = |text: &str| memmem::Finder::new(text.as_bytes()).into_owned();
        Self {
            // Values are a line each, so a text of several lines is in none. Nobody searches for nothing.
            finder: (!text.is_empty() && !text.contains('\n')).then(|| finder(&text)),
            length: text.len(),
            words: text
                .split_whitespace()
                .map(|word| Word {
                    text: word.to_owned(),
                    finder: finder(word),
                    likeness: Likeness::new(Sketch::of(word), ALIKE),
                })
                .collect(),
        }
    }

    /// Records with a value that has the whole text.
    fn first_hits(&self, haystack: &Haystack, hit: impl FnMut(usize)) {
        if let Some(finder) = &self.finder {
            first_hits(finder, haystack, hit);
        }
    }

    /// The same with where in the value the text is; a record may come several times.
    fn all_hits(&self, haystack: &Haystack, hit: impl FnMut(usize, usize)) {
        if let Some(finder) = &self.finder {
            all_hits(finder, self.length, haystack, hit);
        }
    }

    /// Records that have each word in some value of these fields, with the rank of the word that fits worst; without
    /// `ranked` any rank.
    fn scattered(&self, chunk: &Chunk, fields: &[Field], ranked: bool, mut hit: impl FnMut(usize, usize)) {
        let mut worst = [0; CHUNK];
        for word in &self.words {
            let mut best = [u8::MAX; CHUNK];
            let mut note = |index: usize, rank: usize| {
                if let Some(best) = best.get_mut(index) {
                    *best = (*best).min(rank as u8);
                }
            };
            for field in fields {
                let haystack = chunk.haystack(*field);
                if ranked {
                    all_hits(&word.finder, word.text.len(), haystack, |index, place| {
                        note(index, place * FIELDS + *field as usize);
                    });
                } else {
                    first_hits(&word.finder, haystack, |index| note(index, 0));
                }
            }
            for (worst, best) in worst.iter_mut().zip(best) {
                *worst = best.max(*worst);
            }
        }
        if self.words.is_empty() {
            return;
        }
        for (index, rank) in worst.into_iter().enumerate().filter(|(_, rank)| *rank != u8::MAX) {
            hit(index, usize::from(rank));
        }
    }

    /// Records with a value in which each word occurs, or one like it.
    fn similar(&self, haystack: &Haystack, scratch: &mut Scratch, mut hit: impl FnMut(usize)) {
        let bytes = haystack.text().as_bytes();
        for (place, word) in self.words.iter().enumerate() {
            scratch.own.clear();
            let mut from = 0;
            while let Some(offset) = bytes.get(from..).and_then(|rest| word.finder.find(rest)) {
                scratch.own.push(haystack.value_start(from + offset));
                from = haystack.value_end(from + offset);
            }
            for (start, other) in haystack.words_like(&word.likeness) {
                // The word itself is among those that the finder found.
                if *other != *word.text && scratch.are_alike(place, &word.text, other) {
                    scratch.own.push(haystack.value_start(start));
                }
            }
            scratch.own.sort_unstable();
            scratch.own.dedup();
            if place == 0 {
                std::mem::swap(&mut scratch.all, &mut scratch.own);
            } else {
                let own = &scratch.own;
                scratch.all.retain(|start| own.binary_search(start).is_ok());
            }
            if scratch.all.is_empty() {
                return;
            }
        }
        if !self.words.is_empty() {
            scratch.all.iter().for_each(|start| hit(haystack.record_at(*start)));
        }
    }
}

/// Records with a value that has the finder's text.
fn first_hits(finder: &memmem::Finder, haystack: &Haystack, mut hit: impl FnMut(usize)) {
    each_hit(finder, haystack, |offset| {
        let index = haystack.record_at(offset);
        hit(index);
        // One hit is enough; go on behind the record.
        haystack.end_of(index)
    });
}

/// The same with where in the value the text of this length is; a record may come several times.
fn all_hits(finder: &memmem::Finder, length: usize, haystack: &Haystack, mut hit: impl FnMut(usize, usize)) {
    each_hit(finder, haystack, |offset| {
        let (start, end) = (haystack.value_start(offset), offset + length);
        let place = if offset != start {
            let before = haystack.text()[..offset].chars().next_back();
            2 + usize::from(before.is_some_and(char::is_alphanumeric))
        } else {
            usize::from(haystack.value_end(offset) != end)
        };
        hit(haystack.record_at(offset), place);
        end
    });
}

/// Calls `next` with each offset of the finder's text; it says where to go on.
fn each_hit(finder: &memmem::Finder, haystack: &Haystack, mut next: impl FnMut(usize) -> usize) {
    let bytes = haystack.text().as_bytes();
    let mut from = 0;
    while let Some(offset) = bytes.get(from..).and_then(|rest| finder.find(rest)) {
        let at = from + offset;
        from = next(at).max(at + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::*;
    use crate::library::record::Record;
    use crate::library::snapshot::Change;
    use crate::library::snapshot_tests;

    fn named(place: usize, name: &str, file: &str, tags: &[&str]) -> Record {
        let mut record = Record {
            path: format!("/r/{place}").into(),
            model_name: name.into(),
            file_name: file.into(),
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
            exclude: false,
            ..snapshot_tests::record(0, 0)
        };
        record.remote.trained_words = Some(vec![format!("trigger{place}").into()]);
        record
    }

    fn library(records: impl IntoIterator<Item = Record>) -> Snapshot {
        let puts = records.into_iter().map(|record| Change::Put(Arc::new(record)));
        Snapshot::default().apply(puts.collect())
    }

    fn search(text: &str, fuzzy: bool, fields: &[Field]) -> Search {
        Search {
            text: text.into(),
            fuzzy,
            fields: fields.to_vec(),
            ..Search::default()
        }
    }

    #[test]
    fn the_best_place_of_a_text_decides_and_then_the_weightier_field() {
        let snapshot = library([
            named(0, "a watercolor", "x", &[]),
            named(1, "watercolor", "x", &[]),
            named(2, "x", "watercolor", &[]),
            named(3, "underwatercolor, watercolor", "x", &[]),
            named(4, "watercolors", "x", &[]),
            named(5, "x", "x", &["watercolor"]),
            named(6, "nothing", "x", &[]),
            named(7, "underwatercolor", "x", &[]),
        ]);
        let ranked = search("WaterColor", false, &Field::ALL).ranked(&snapshot, &Deadline::default());
        let order: Vec<Vec<&str>> = ranked
            .iter()
            .filter(|rank| !rank.is_empty())
            .map(|rank| rank.iter().map(|slot| &snapshot.get(slot).unwrap().path[3..]).collect())
            .collect();
        assert_eq!(
            order,
            [vec!["1"], vec!["2"], vec!["5"], vec!["4"], vec!["0", "3"], vec!["7"]]
        );
    }

    #[test]
    fn trigger_words_are_found_and_texts_of_several_lines_are_not() {
        let snapshot = library([named(0, "a", "b", &[]), named(1, "a", "b", &[])]);
        let found = |text: &str| {
            search(text, false, &Field::ALL)
                .run(&snapshot, &Deadline::default())
                .len()
        };
        assert_eq!((found("trigger1"), found("trigger"), found("a\nb")), (1, 2, 0));
    }

    #[test]
    fn by_words_each_word_may_be_anywhere_and_the_whole_text_fits_best() {
        let snapshot = library([
            named(0, "amber old castle", "x", &[]),
            named(1, "castle", "x", &["amber"]),
            named(2, "my amber castle", "x", &[]),
            named(3, "amber", "x", &[]),
            named(4, "castles of amber", "x", &[]),
        ]);
        let fields = [Field::ModelName, Field::Tags];
        let search = |text: &str, fuzzy: bool| Search {
            by_words: true,
            ..search(text, fuzzy, &fields)
        };
        for fuzzy in [false, true] {
            let ranked: Vec<u32> = search(" amber  Castle ", fuzzy)
                .ranked(&snapshot, &Deadline::default())
                .iter()
                .flat_map(|rank| rank.iter().collect::<Vec<_>>())
                .collect();
            assert_eq!(ranked, [1, 0, 2, 4], "{fuzzy}");
            let found = search("amber Castle", fuzzy).run(&snapshot, &Deadline::default());
            assert_eq!(found.iter().collect::<Vec<_>>(), [0, 1, 2, 4], "{fuzzy}");
            assert!(search("  ", fuzzy).run(&snapshot, &Deadline::default()).is_empty());
        }
        let best = search("amber castle", false).ranked(&snapshot, &Deadline::default());
        assert!(best.iter().find(|rank| !rank.is_empty()).unwrap().contains(2));
    }

    #[test]
    fn composed_and_decomposed_forms_find_each_other() {
        let forms = ["Café", "Cafe\u{301}"];
        let snapshot = library(
            forms
                .iter()
                .enumerate()
                .map(|(place, name)| named(place, name, "x", &[])),
        );
        for (text, fuzzy) in forms.iter().flat_map(|form| [(form, false), (form, true)]) {
            let search = search(text, fuzzy, &[Field::ModelName]);
            assert_eq!(search.run(&snapshot, &Deadline::default()).len(), 2, "{text} {fuzzy}");
            assert_eq!(
                search
                    .ranked(&snapshot, &Deadline::default())
                    .iter()
                    .map(RoaringBitmap::len)
                    .sum::<u64>(),
                2
            );
        }
    }

    #[test]
    fn described_records_come_last_and_once() {
        let snapshot = library([named(0, "ink", "b", &[]), named(1, "a", "b", &[])]);
        let search = Search {
            described: RoaringBitmap::from_iter([0, 1]),
            ..search("ink", false, &Field::ALL)
        };
        let ranked = search.ranked(&snapshot, &Deadline::default());
        assert_eq!(ranked.iter().map(RoaringBitmap::len).sum::<u64>(), 2);
        assert!(ranked.last().unwrap().contains(1));
        assert_eq!(search.run(&snapshot, &Deadline::default()).len(), 2);
    }

    /// What the contract says, value by value.
    fn fits(search: &Search, value: &str) -> bool {
        let (text, value) = (folded(&search.text), folded(value));
        if !search.fuzzy {
            return value.contains(&text);
        }
        let mut words = text.split_whitespace().peekable();
        words.peek().is_some()
            && words.all(|word| {
                let alike = |part| similarity::at_least(word, part, ALIKE);
                value.contains(word) || value.split_whitespace().any(alike)
            })
    }

    proptest! {
        #[test]
        fn a_search_finds_what_the_contract_says_and_ranks_all_of_it(
            names in prop::collection::vec("[a-cA-C é\u{301}]{0,8}", 1..40),
            text in "[a-cé\u{301} ]{1,9}",
            fuzzy in any::<bool>(),
            by_words in any::<bool>(),
        ) {
            let records = names.iter().enumerate().map(|(place, name)| named(place, name, name, &[name, "b a"]));
            let snapshot = library(records);
            let search = Search { by_words, ..search(&text, fuzzy, &[Field::ModelName, Field::Tags]) };
            let has_words = |record: &Record| {
                let composed = |text: &str| text.to_lowercase().nfc().collect::<String>();
                let text = composed(&text);
                let mut words = text.split_whitespace().peekable();
                words.peek().is_some() && words.all(|word| {
                    composed(&record.model_name).contains(word) || record.tags.iter().any(|tag| composed(tag).contains(word))
                })
            };
            let expected: Vec<&str> = snapshot
                .records()
                .iter()
                .filter(|(_, record)| {
                    let as_a_whole = fits(&search, &record.model_name) || record.tags.iter().any(|tag| fits(&search, tag));
                    match (by_words, fuzzy) {
                        (false, _) => as_a_whole,
                        (true, true) => as_a_whole || has_words(record),
                        (true, false) => has_words(record),
                    }
                })
                .map(|(_, record)| &*record.path)
                .collect();
            let paths = |found: &RoaringBitmap| -> Vec<String> {
                found.iter().map(|slot| snapshot.get(slot).unwrap().path.to_string()).collect()
            };
            let found = search.run(&snapshot, &Deadline::default());
            prop_assert_eq!(paths(&found), expected);
            let ranked = search.ranked(&snapshot, &Deadline::default());
            prop_assert_eq!(ranked.iter().map(RoaringBitmap::len).sum::<u64>(), found.len());
            prop_assert_eq!(ranked.into_iter().fold(RoaringBitmap::new(), |all, rank| all | rank), found);
        }
    }
}
