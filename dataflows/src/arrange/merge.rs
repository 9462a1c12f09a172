//! Merges two batches, a little at a time.

use differential_dataflow::trace::implementations::spine_fueled::{Merger, SpineBatch};
use timely::progress::frontier::AntichainRef;

use super::Holder;
use super::batch::{Batch, Building, Update};
use crate::Epoch;

impl SpineBatch for Batch {
    type Time = Epoch;
    type Merger = Merge;

    fn len(&self) -> usize {
        Batch::len(self)
    }
}

/// A merge in progress.
pub struct Merge {
    next: [usize; 2],
    /// Times before it are of no more interest, and taken for it.
    compaction: Option<Epoch>,
    merged: Building,
    holder: Option<Holder>,
}

impl Merger<Batch> for Merge {
    fn new(one: &Batch, other: &Batch, compaction: AntichainRef<'_, Epoch>) -> Self {
        let (ends, others) = (one.ends(), other.ends());
        let ends = (ends.0.min(others.0), ends.1.max(others.1));
        let merged = Building::new(one.len() + other.len(), one.size() + other.size(), ends);
        let compaction = compaction.first().copied();
        Merge { next: [0, 0], compaction, merged, holder: one.holder().cloned() }
    }

    fn work(&mut self, one: &Batch, other: &Batch, fuel: &mut isize) {
        while *fuel > 0 {
            // Hashes alone tell the order of nearly all rows.
            let side = match (one.hash(self.next[0]), other.hash(self.next[1])) {
                (Some(left), Some(right)) if left == right => {
                    usize::from(order(&self.next_of(other, 1)) < order(&self.next_of(one, 0)))
                }
                (Some(left), Some(right)) => usize::from(right < left),
                (Some(_), None) => 0,
                (None, Some(_)) => 1,
                (None, None) => return,
            };
            self.merged.push(self.next_of(if side == 0 { one } else { other }, side));
            self.next[side] += 1;
            *fuel -= 1;
        }
    }

    fn done(self) -> Option<Batch> {
        self.merged.done().map(|batch| batch.held_by(self.holder.as_ref()))
    }
}

impl Merge {
    #[inline]
    fn next_of<'a>(&self, batch: &'a Batch, side: usize) -> Update<'a> {
        let mut update = batch.update(self.next[side]);
        // Whoever reads the trace reads it at times from the compaction frontier on.
        update.time = update.time.max(self.compaction.unwrap_or(Epoch::MIN));
        update
    }
}

fn order<'a>(update: &Update<'a>) -> (u64, &'a [u8], Epoch) {
    (update.hash, update.row, update.time)
}
