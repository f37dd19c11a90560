//! What is searched in the records of a chunk: one text per field, all records after each
//! other [folded](super::text::folded), so that a search runs over a few kilobytes at a time.

use super::record::Record;
use super::similarity::{Likeness, Sketch, Sketches};
use super::text::push_folded;

/// Between two values, and behind the last value of a record, so that no search text matches across them.
const SEPARATOR: u8 = b'\n';

/// How many fields there are.
pub const FIELDS: usize = 5;

/// The fields that a search looks at, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Name to show.
    ModelName,
    /// File name.
    FileName,
    /// Words that trigger the model.
    TriggerWords,
    /// Tags.
    Tags,
    /// Creator.
    Creator,
}

impl Field {
    /// All fields; a field's place in the list is its index.
    pub const ALL: [Self; FIELDS] = [
        Self::ModelName,
        Self::FileName,
        Self::TriggerWords,
        Self::Tags,
        Self::Creator,
    ];

    fn values(self, record: &Record, mut take: impl FnMut(&str)) {
        match self {
            Self::ModelName => take(&record.model_name),
            Self::FileName => take(&record.file_name),
            Self::TriggerWords => record.trained_words().iter().for_each(|words| take(words)),
            Self::Tags => record.tags.iter().for_each(|tag| take(tag)),
            Self::Creator => record.remote.creator.iter().for_each(|creator| take(creator)),
        }
    }
}

/// One field of all records of a chunk.
#[derive(Debug, Clone, Default)]
pub struct Haystack {
    text: Box<str>,
    // End of each record's values.
    ends: Box<[u32]>,
    // Words between white space, in the order of the text: where each starts, and its sketch.
    word_starts: Box<[u32]>,
    sketches: Sketches,
}

impl Haystack {
    /// The field of these records, one for each place in the chunk.
    pub fn of(field: Field, records: &[Option<&Record>]) -> Self {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            if let Some(record) = record {
                field.values(record, |value| {
                    push_folded(value, &mut text);
                    text.push(char::from(SEPARATOR));
                });
            }
            ends.push(text.len() as u32);
        }
        let (mut word_starts, mut sketches) = (Vec::new(), Vec::new());
        if text.is_ascii() {
            // The same as below, byte by byte: this is most of what opening a library does with texts.
            let mut start = 0;
            for word in text.as_bytes().split(|byte| matches!(byte, b'\t'..=b'\r' | b' ')) {
                if !word.is_empty() {
                    word_starts.push(start as u32);
                    sketches.push(Sketch::of_ascii(word));
                }
                start += word.len() + 1;
            }
        } else {
            for word in text.split_whitespace() {
                // A subslice of the text, so the difference of the addresses is its offset.
                word_starts.push((word.as_ptr().addr() - text.as_ptr().addr()) as u32);
                sketches.push(Sketch::of(word));
            }
        }
        Self {
            text: text.into_boxed_str(),
            ends: ends.into(),
            word_starts: word_starts.into(),
            sketches: sketches.into_iter().collect(),
        }
    }

    /// The text of all records.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Index in the chunk of the record whose values hold this offset.
    pub fn record_at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= offset)
    }

    /// Where the values of the record with this index end.
    pub fn end_of(&self, index: usize) -> usize {
        self.ends.get(index).map_or(self.text.len(), |end| *end as usize)
    }

    /// Where the value that holds this offset starts.
    pub fn value_start(&self, offset: usize) -> usize {
        memchr::memrchr(SEPARATOR, self.text.as_bytes().get(..offset).unwrap_or_default()).map_or(0, |end| end + 1)
    }

    /// Where the value that holds this offset ends.
    pub fn value_end(&self, offset: usize) -> usize {
        let rest = self.text.as_bytes().get(offset..).unwrap_or_default();
        memchr::memchr(SEPARATOR, rest).map_or(self.text.len(), |end| offset + end)
    }

    /// Words that may be alike, with their offset, in the order of the text.
    pub fn words_like<'h>(&'h self, likeness: &'h Likeness) -> impl Iterator<Item = (usize, &'h str)> {
        self.sketches.like(likeness).filter_map(|index| self.word(index))
    }

    fn word(&self, index: usize) -> Option<(usize, &str)> {
        let start = *self.word_starts.get(index)? as usize;
        Some((start, self.text.get(start..)?.split_whitespace().next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::snapshot_tests::named;

    #[test]
    fn words_of_plain_texts_are_found_as_those_of_others() {
        let plain = "Two  words\tand\u{b}more\r a\u{1c}b ";
        let other = plain.replace("Two", "Zw\u{f6}");
        let words = |name: &str| {
            let mut record = named("x");
            record.model_name = name.into();
            let haystack = Haystack::of(Field::ModelName, &[None, Some(&record), None]);
            let words = (0..haystack.word_starts.len()).filter_map(|index| haystack.word(index));
            let words: Vec<String> = words.map(|(_, word)| word.to_owned()).collect();
            (words, haystack.sketches)
        };
        let (plain, other) = (words(plain), words(&other));
        assert_eq!(plain.0, ["two", "words", "and", "more", "a\u{1c}b"]);
        assert_eq!(&plain.0[1..], &other.0[1..]);
        assert_eq!(other.1, other.0.iter().map(|word| Sketch::of(word)).collect());
        assert_eq!(plain.1, plain.0.iter().map(|word| Sketch::of(word)).collect());
    }
}
