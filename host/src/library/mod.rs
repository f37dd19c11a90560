//! The library of one model type: records, indexes, scanning and the store.
//!
//! Readers take an immutable [`snapshot::Snapshot`]; one writer at a time publishes the next.
//! Nothing here knows of HTTP.

mod acting;
pub mod arrangement;
pub mod auto_tags;
pub mod bits;
pub mod blocks;
pub mod chunk;
pub mod collection;
pub mod columns;
pub mod deleting;
pub mod descriptions;
pub mod duplicates;
pub mod edit;
pub mod editing;
pub mod filter;
pub mod folders;
pub mod groups;
pub mod hashing;
pub mod haystack;
pub mod history;
pub mod io_profile;
pub mod item;
pub mod keeping;
pub mod key_index;
pub mod keys;
pub mod license;
pub mod linking;
pub mod listing;
pub mod lookup;
pub mod metadata;
pub mod moves;
pub mod moving;
mod order_build;
pub mod orders;
pub mod organising;
mod parallel;
pub mod path_template;
pub mod path_texts;
pub mod patterns;
pub mod preview;
pub mod previewing;
pub mod priority_tags;
pub mod progress;
pub mod record;
pub mod relative_paths;
mod relocating;
pub mod renaming;
pub mod roots;
pub mod safetensors;
pub mod scan;
pub mod search;
pub mod sets;
pub mod shared_text;
pub mod shuffle;
pub mod sidecar;
pub mod similarity;
pub mod snapshot;
#[cfg(test)]
mod snapshot_tests;
pub mod store;
pub mod text;
pub mod thumbnails;
pub mod trained_words;
pub mod trash;
pub mod undoing;
pub mod verifying;
pub mod waiting;
pub mod watch;

pub use collection::Library;
pub use record::Record;
pub use snapshot::Snapshot;
