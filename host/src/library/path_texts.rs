//! What autocompletion looks through: the paths of a chunk's records below their roots, in lower
//! case and without their endings, all in one text.

use std::sync::Arc;

use super::record::Record;
use super::text::folded;

/// Endings of files that are not searched.
const ENDINGS: [&str; 4] = [".safetensors", ".ckpt", ".pt", ".bin"];
/// Between two paths, so that no term matches across them.
const SEPARATOR: char = '\n';

/// Paths of records in their order.
#[derive(Debug, Clone, Default)]
pub struct PathTexts {
    text: Box<str>,
    // Where each record's path ends.
    ends: Box<[u32]>,
}

impl PathTexts {
    pub(super) fn of(records: &[Option<Arc<Record>>]) -> Self {
        let mut text = String::new();
        let ends = records.iter().map(|record| {
            if let Some(record) = record {
                push(&mut text, record.relative_path());
            }
            text.push(SEPARATOR);
            text.len() as u32
        });
        let ends = ends.collect();
        Self {
            text: text.into_boxed_str(),
            ends,
        }
    }

    /// All paths, each with a byte behind it that belongs to none.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which record's path holds this offset of the text.
    pub fn record_at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= offset)
    }

    /// Where the next record's path starts.
    pub fn end_of(&self, index: usize) -> usize {
        self.ends.get(index).map_or(self.text.len(), |end| *end as usize)
    }

    /// The path of a record.
    pub fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.end_of(before));
        let end = self.end_of(index).saturating_sub(SEPARATOR.len_utf8());
        self.text.get(start..end).unwrap_or_default()
    }
}

fn push(text: &mut String, path: &str) {
    let lower;
    let path = if path.is_ascii() {
        path
    } else {
        lower = folded(path);
        &lower
    };
    let ending = ENDINGS.iter().find_map(|ending| {
        let bare = path.len().checked_sub(ending.len())?;
        path.get(bare..)?.eq_ignore_ascii_case(ending).then_some(bare)
    });
    let start = text.len();
    text.push_str(path.get(..ending.unwrap_or(path.len())).unwrap_or_default());
    if let Some(new) = text.get_mut(start..) {
        new.make_ascii_lowercase();
    }
}
