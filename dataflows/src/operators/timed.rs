//! Rows of several epochs, on their way out of an operator.

use std::collections::BTreeMap;

use crate::flat::{FlatBatch, FlatBuilder};
use crate::{Diff, Epoch};

/// Rows by their epochs.
#[derive(Default)]
pub(crate) struct Timed {
    /// The epoch of the rows that come now: nearly all do.
    epoch: Epoch,
    rows: FlatBuilder,
    others: BTreeMap<Epoch, FlatBuilder>,
}

impl Timed {
    /// Where rows of an epoch go.
    #[inline]
    pub(crate) fn of(&mut self, epoch: Epoch) -> &mut FlatBuilder {
        if epoch != self.epoch {
            let rows = std::mem::replace(&mut self.rows, self.others.remove(&epoch).unwrap_or_default());
            self.others.insert(self.epoch, rows);
            self.epoch = epoch;
        }
        &mut self.rows
    }

    /// Adds the row that `write` appends, so many times.
    #[inline]
    pub(crate) fn push_with(&mut self, epoch: Epoch, diff: Diff, write: impl FnOnce(&mut Vec<u8>)) {
        if diff != 0 {
            self.of(epoch).push_with(diff, write);
        }
    }

    /// Gives the full batches of the epoch of the rows that come now.
    #[inline]
    pub(crate) fn give_full(&mut self, mut give: impl FnMut(Epoch, &mut FlatBatch)) {
        if self.rows.has_full() {
            let epoch = self.epoch;
            self.rows.take_full().for_each(|mut batch| give(epoch, &mut batch));
        }
    }

    /// Gives all that is there.
    pub(crate) fn finish(&mut self, mut give: impl FnMut(Epoch, &mut FlatBatch)) {
        let epoch = self.epoch;
        self.rows.finish(|batch| give(epoch, batch));
        for (epoch, mut rows) in std::mem::take(&mut self.others) {
            rows.finish(|batch| give(epoch, batch));
        }
    }
}
