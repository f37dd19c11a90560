//! Records in chunks of a fixed size. A change copies one chunk and the list of chunks;
//! readers of the older snapshot keep theirs.

use std::sync::Arc;

use super::haystack::{FIELDS, Field, Haystack};
use super::parallel::{Job, run};
use super::path_texts::PathTexts;
use super::record::Record;

/// Records in a chunk.
pub(super) const CHUNK: usize = 256;

/// Place of a record in its library, the same in every snapshot until the record is removed.
pub type Slot = u32;

/// Up to 256 records with what is searched in them.
#[derive(Debug, Clone)]
pub struct Chunk {
    records: Vec<Option<Arc<Record>>>,
    haystacks: [Haystack; FIELDS],
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
        let records: Vec<Option<&Record>> = self.records.iter().map(Option::as_deref).collect();
        self.haystacks = Field::ALL.map(|field| Haystack::of(field, &records));
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
        // Slots of a large change come one after the other.
        let (mut count, mut last) = (0, usize::MAX);
        for (slot, record) in changes {
            let (chunk, index) = (slot as usize / CHUNK, slot as usize % CHUNK);
            while self.chunks.len() <= chunk {
                self.chunks.push(Arc::new(Chunk::empty()));
            }
            Arc::make_mut(&mut self.chunks[chunk]).records[index] = record;
            if chunk != last {
                touched.insert(chunk);
                last = chunk;
            }
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
