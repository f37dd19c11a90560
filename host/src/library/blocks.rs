//! Long sorted lists in blocks, so that a change copies the blocks it touches and no more.

use std::ops::Range;
use std::sync::Arc;

/// Items in a block when it is made; twice as many split it.
const FULL: usize = 512;

/// A list in blocks. Cloning it costs nothing; positions count from 0.
#[derive(Debug)]
pub struct Blocks<T> {
    spine: Arc<Spine<T>>,
}

#[derive(Debug)]
struct Spine<T> {
    blocks: Vec<Arc<[T]>>,
    // Position of each block's first item.
    starts: Vec<usize>,
    len: usize,
}

impl<T> Clone for Blocks<T> {
    fn clone(&self) -> Self {
        Self {
            spine: self.spine.clone(),
        }
    }
}

impl<T: Copy> Default for Blocks<T> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl<T: Copy> From<&[T]> for Blocks<T> {
    fn from(items: &[T]) -> Self {
        Self::of(items.chunks(FULL).map(Arc::from).collect())
    }
}

impl<T: Copy> Blocks<T> {
    fn of(blocks: Vec<Arc<[T]>>) -> Self {
        let mut len = 0;
        let starts = blocks
            .iter()
            .map(|block| {
                let start = len;
                len += block.len();
                start
            })
            .collect();
        Self {
            spine: Arc::new(Spine { blocks, starts, len }),
        }
    }

    /// Whether this is the other list, or its copy that was not changed.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spine, &other.spine)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.spine.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spine.len == 0
    }

    /// All items.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> {
        self.spine.blocks.iter().flat_map(|block| block.iter().copied())
    }

    /// The blocks, as slices that follow each other.
    pub fn slices(&self) -> impl DoubleEndedIterator<Item = &[T]> {
        self.spine.blocks.iter().map(|block| &**block)
    }

    /// The item at a position.
    pub fn get(&self, position: usize) -> Option<T> {
        let block = self.block_of(position);
        let start = *self.spine.starts.get(block)?;
        self.spine.blocks.get(block)?.get(position - start).copied()
    }

    /// The items at these positions, as far as they exist.
    pub fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = T> {
        let (from, to) = (range.start.min(self.len()), range.end.min(self.len()));
        let blocks = if from < to {
            self.block_of(from)..self.block_of(to - 1) + 1
        } else {
            0..0
        };
        let starts = self.spine.starts.get(blocks.clone()).unwrap_or_default();
        let blocks = self.spine.blocks.get(blocks).unwrap_or_default();
        blocks.iter().zip(starts).flat_map(move |(block, start)| {
            let own = from.saturating_sub(*start)..(to - start).min(block.len());
            block.get(own).unwrap_or_default().iter().copied()
        })
    }

    /// The first position whose item, and all after it, fail the test; those before it pass.
    pub fn partition_point(&self, mut passes: impl FnMut(&T) -> bool) -> usize {
        let block = self
            .spine
            .blocks
            .partition_point(|block| block.last().is_some_and(&mut passes));
        match (self.spine.blocks.get(block), self.spine.starts.get(block)) {
            (Some(items), Some(start)) => start + items.partition_point(passes),
            _ => self.len(),
        }
    }

    /// Takes out the items at some positions and puts others in before the items at some
    /// positions (the length puts one last). Positions are those before the change, ascending.
    pub fn edit(&mut self, out: &[usize], into: &[(usize, T)]) {
        if out.is_empty() && into.is_empty() {
            return;
        }
        let (mut out, mut into) = (out.iter().copied().peekable(), into.iter().copied().peekable());
        let mut blocks: Vec<Arc<[T]>> = Vec::with_capacity(self.spine.blocks.len() + 2);
        for (block, start) in self.spine.blocks.iter().zip(&self.spine.starts) {
            let end = start + block.len();
            if out.peek().is_none_or(|next| *next >= end) && into.peek().is_none_or(|(next, _)| *next >= end) {
                blocks.push(block.clone());
                continue;
            }
            let mut items = Vec::with_capacity(block.len() + 8);
            for (offset, item) in block.iter().enumerate() {
                let position = start + offset;
                while let Some((_, new)) = into.next_if(|(next, _)| *next == position) {
                    items.push(new);
                }
                if out.next_if_eq(&position).is_none() {
                    items.push(*item);
                }
            }
            push(&mut blocks, items);
        }
        push(&mut blocks, into.map(|(_, item)| item).collect());
        *self = Self::of(blocks);
    }

    fn block_of(&self, position: usize) -> usize {
        self.spine
            .starts
            .partition_point(|start| *start <= position)
            .saturating_sub(1)
    }
}

/// Adds items as blocks: split where they are many, joined to the last block where both are few.
fn push<T: Copy>(blocks: &mut Vec<Arc<[T]>>, mut items: Vec<T>) {
    if let Some(last) = blocks.pop_if(|last| last.len() + items.len() <= FULL / 2) {
        items.splice(0..0, last.iter().copied());
    }
    if items.len() <= 2 * FULL {
        if !items.is_empty() {
            blocks.push(items.into());
        }
        return;
    }
    let pieces = items.len().div_ceil(FULL);
    blocks.extend(items.chunks(items.len().div_ceil(pieces)).map(Arc::from));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn edits_do_what_they_do_to_a_plain_list(
            steps in proptest::collection::vec((proptest::collection::vec(0usize..3000, 0..40), proptest::collection::vec((0usize..3000, any::<u32>()), 0..1500)), 1..5),
            from in 0usize..3000, length in 0usize..2000,
        ) {
            let (mut blocks, mut plain) = (Blocks::default(), Vec::<u32>::new());
            for (mut out, mut into) in steps {
                out.retain(|position| *position < plain.len());
                out.sort_unstable();
                out.dedup();
                into.iter_mut().for_each(|(position, _)| *position = (*position).min(plain.len()));
                into.sort_by_key(|(position, _)| *position);
                blocks.edit(&out, &into);
                let mut next = Vec::new();
                for position in 0..=plain.len() {
                    next.extend(into.iter().filter(|(own, _)| *own == position).map(|(_, item)| *item));
                    if position < plain.len() && !out.contains(&position) {
                        next.push(plain[position]);
                    }
                }
                plain = next;
                prop_assert_eq!(blocks.iter().collect::<Vec<_>>(), plain.clone());
            }
            let range = from.min(plain.len())..(from + length).min(plain.len());
            prop_assert_eq!(blocks.range(from..from + length).collect::<Vec<_>>(), &plain[range]);
            prop_assert_eq!(blocks.get(from), plain.get(from).copied());
            plain.sort_unstable();
            let sorted = Blocks::from(plain.as_slice());
            prop_assert_eq!(sorted.partition_point(|item| *item < u32::MAX / 2), plain.partition_point(|item| *item < u32::MAX / 2));
        }
    }
}
