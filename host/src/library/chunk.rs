//! Records in chunks of a fixed size. A change copies one chunk and the list of chunks;
//! readers of the older snapshot keep theirs.

use std::sync::Arc;

use super::parallel::{Job, run};
use super::path_texts::PathTexts;
use super::record::Record;

/// Records in a chunk.
pub(super) const CHUNK: usize = 256;

/// Place of a record in its library, the same in every snapshot until the record is removed.
pub type Slot = u32;

/// What is searched in the records of a chunk: one text per field, all records after each
/// other, lower-case, so that a search runs over a few kilobytes at a time.
#[derive(Debug, Clone, Default)]
pub struct Haystack {
    text: String,
    // End of each record's part.
    ends: Vec<u32>,
}

/// Between two records, so that no search text matches across them.
const SEPARATOR: char = '\n';

impl Haystack {
    fn push(&mut self, parts: impl Iterator<Item = impl AsRef<str>>) {
        for (index, part) in parts.enumerate() {
            if index > 0 {
                self.text.push(SEPARATOR);
            }
            let part = part.as_ref();
            if part.is_ascii() {
                let start = self.text.len();
                self.text.push_str(part);
                self.text[start..].make_ascii_lowercase();
            } else {
                self.text.extend(part.chars().flat_map(char::to_lowercase));
            }
        }
        self.text.push(SEPARATOR);
        self.ends.push(self.text.len() as u32);
    }

    /// The text of all records.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many parts there are, one for each place in the chunk.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Index in the chunk of the record whose part holds this offset.
    pub fn record_at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= offset)
    }

    /// Where the part of the record with this index ends.
    pub fn end_of(&self, index: usize) -> usize {
        self.ends.get(index).map_or(self.text.len(), |end| *end as usize)
    }

    /// Values of the record with this index.
    pub fn values(&self, index: usize) -> impl Iterator<Item = &str> {
        let start = if index == 0 { 0 } else { self.end_of(index - 1) };
        let end = self.end_of(index).saturating_sub(SEPARATOR.len_utf8()).max(start);
        self.text[start..end].split(SEPARATOR)
    }
}

/// The fields that a search looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// File name.
    FileName,
    /// Name to show.
    ModelName,
    /// Tags.
    Tags,
    /// Creator.
    Creator,
}

/// Up to 256 records with what is searched in them.
#[derive(Debug, Clone)]
pub struct Chunk {
    records: Vec<Option<Arc<Record>>>,
    haystacks: [Haystack; 4],
    paths: PathTexts,
}

impl Chunk {
    fn empty() -> Self {
        Self {
            records: vec![None; CHUNK],
            haystacks: Default::default(),
            paths: PathTexts::default(),
        }
    }

    /// The record at a place.
    pub fn get(&self, index: usize) -> Option<&Record> {
        self.records.get(index)?.as_deref()
    }

    /// The paths of the chunk's records, one for each place.
    pub fn paths(&self) -> &PathTexts {
        &self.paths
    }

    /// The text of a field of all records of the chunk, one part for each of the 256 places.
    pub fn haystack(&self, field: Field) -> &Haystack {
        &self.haystacks[field as usize]
    }

    fn index(&mut self) {
        self.paths = PathTexts::of(&self.records);
        self.haystacks = Default::default();
        for record in &self.records {
            let record = record.as_deref();
            self.haystacks[Field::FileName as usize].push(record.iter().map(|r| &*r.file_name));
            self.haystacks[Field::ModelName as usize].push(record.iter().map(|r| &*r.model_name));
            self.haystacks[Field::Tags as usize].push(record.iter().flat_map(|r| r.tags.iter()));
            self.haystacks[Field::Creator as usize].push(record.and_then(|r| r.remote.creator.as_deref()).iter());
        }
        for haystack in &mut self.haystacks {
            haystack.text.shrink_to_fit();
        }
    }
}

/// All records of a snapshot by slot.
#[derive(Debug, Clone, Default)]
pub struct Records {
    chunks: Vec<Arc<Chunk>>,
}

impl Records {
    /// The record in a slot.
    pub fn get(&self, slot: Slot) -> Option<&Arc<Record>> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.records[slot % CHUNK].as_ref()
    }

    /// Chunks with the slot of their first record.
    pub fn chunks(&self) -> impl Iterator<Item = (Slot, &Chunk)> {
        self.chunks
            .iter()
            .enumerate()
            .map(|(index, chunk)| ((index * CHUNK) as Slot, &**chunk))
    }

    /// All records with their slots, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Arc<Record>)> {
        self.chunks().flat_map(|(first, chunk)| {
            chunk
                .records
                .iter()
                .enumerate()
                .filter_map(move |(index, record)| Some((first + index as Slot, record.as_ref()?)))
        })
    }

    /// Whether there are no records at all, excluded ones included.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// One more than the highest slot there can be.
    pub fn slot_bound(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Sets slots, copying only the chunks that they are in.
    pub fn set(&mut self, changes: impl IntoIterator<Item = (Slot, Option<Arc<Record>>)>) {
        let mut touched = std::collections::BTreeSet::new();
        let mut count = 0;
        for (slot, record) in changes {
            let (chunk, index) = (slot as usize / CHUNK, slot as usize % CHUNK);
            while self.chunks.len() <= chunk {
                self.chunks.push(Arc::new(Chunk::empty()));
            }
            Arc::make_mut(&mut self.chunks[chunk]).records[index] = record;
            touched.insert(chunk);
            count += 1;
        }
        let chunks = self.chunks.iter_mut().enumerate();
        let mut chunks: Vec<_> = chunks.filter(|(index, _)| touched.contains(index)).collect();
        let jobs = chunks.chunks_mut(64).map(|chunks| -> Job<'_> {
            Box::new(|| {
                for (_, chunk) in chunks {
                    Arc::make_mut(chunk).index();
                }
            })
        });
        run(jobs.collect(), count);
    }
}
