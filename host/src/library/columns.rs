//! One value for each slot, in pieces, so that a change copies the pieces it touches.

use std::sync::Arc;

use super::chunk::Slot;

/// Values by slot, `PIECE` of them together. A slot that was never set has the default.
#[derive(Debug, Clone)]
pub struct Column<T, const PIECE: usize> {
    pieces: Vec<Arc<[T]>>,
}

impl<T, const PIECE: usize> Default for Column<T, PIECE> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Clone + Default, const PIECE: usize> Column<T, PIECE> {
    /// The value of a slot; none where no slot near it was ever set.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        let slot = slot as usize;
        self.pieces.get(slot / PIECE)?.get(slot % PIECE)
    }

    /// The value of a slot, to be changed.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let slot = slot as usize;
        while self.pieces.len() <= slot / PIECE {
            self.pieces.push(vec![T::default(); PIECE].into());
        }
        Arc::make_mut(self.pieces.get_mut(slot / PIECE)?).get_mut(slot % PIECE)
    }

    /// Sets the value of a slot.
    pub fn set(&mut self, slot: Slot, value: T) {
        if let Some(own) = self.get_mut(slot) {
            *own = value;
        }
    }

    /// All values by slot.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }
}
