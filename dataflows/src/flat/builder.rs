//! Filling batches.

use timely::container::SizableContainer;

use super::FlatBatch;
use crate::Diff;
use crate::rows::Row;

/// Fills batches with rows, and starts another one when one is full.
#[derive(Default)]
pub struct FlatBuilder {
    open: FlatBatch,
    full: Vec<FlatBatch>,
}

impl FlatBuilder {
    /// Appends a row with its difference; none where that is zero.
    #[inline]
    pub fn push<R: Row>(&mut self, row: R::Ref<'_>, diff: Diff) {
        if diff != 0 {
            self.open.push_row::<R>(row, diff);
            self.turn();
        }
    }

    /// Appends a row that is encoded, with its difference; none where that is zero.
    #[inline]
    pub fn push_encoded(&mut self, row: &[u8], diff: Diff) {
        if diff != 0 {
            self.open.push(row, diff);
            self.turn();
        }
    }

    /// As [`FlatBatch::push_with`].
    #[inline]
    pub fn push_with(&mut self, diff: Diff, write: impl FnOnce(&mut Vec<u8>)) {
        if diff != 0 {
            self.open.push_with(diff, write);
            self.turn();
        }
    }

    #[inline]
    fn turn(&mut self) {
        if self.open.at_capacity() {
            self.full.push(std::mem::take(&mut self.open));
        }
    }

    /// True iff there is a batch that is full.
    pub fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Gives the batches that are full.
    pub fn take_full(&mut self) -> std::vec::Drain<'_, FlatBatch> {
        self.full.drain(..)
    }

    /// The rows that have come and were not taken, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Diff)> {
        self.full.iter().chain([&self.open]).flat_map(FlatBatch::iter)
    }

    /// True iff there is no row.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.is_empty()
    }

    /// Drops all rows, and leaves their memory for others.
    pub fn clear(&mut self) {
        self.full.clear();
        self.open.clear();
    }

    /// Gives all batches that hold rows to `each`, which may leave their memory there.
    pub fn finish(&mut self, mut each: impl FnMut(&mut FlatBatch)) {
        self.full.drain(..).for_each(|mut batch| each(&mut batch));
        if !self.open.is_empty() {
            each(&mut self.open);
            self.open.clear();
        }
    }
}
