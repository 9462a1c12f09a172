//! Merging: rendered batches of all workers become the changes of an epoch.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use bytes::Bytes;

use super::Change;
use super::batch::Place;
use crate::Diff;
use crate::flat::FlatBatch;

/// The net changes in rendered batches, each in the order of its rows: ordered by row, and so by key first.
///
/// Costs one comparison a row where the batches are one worker's; of several, as many more as their number has binary
/// digits.
///
/// # Panics
/// If a batch is not a rendered one.
pub fn merge(batches: Vec<FlatBatch>) -> Vec<Change> {
    let batches: Vec<Batch> = batches.into_iter().filter(|batch| !batch.is_empty()).map(Batch::of).collect();
    let mut net = Net { changes: Vec::with_capacity(batches.iter().map(Batch::len).sum()), last: None };
    let mut heads: BinaryHeap<Head<'_>> = in_order(&batches).into_iter().filter_map(Head::of).collect();
    while let Some(mut head) = heads.peek_mut() {
        net.add(&head.row);
        if !head.advance() {
            PeekMut::pop(head);
        }
    }
    net.finish()
}

/// The changes in a rendered batch, as they come in it.
///
/// # Panics
/// If the batch is not a rendered one.
pub fn as_they_come(batch: FlatBatch) -> Vec<Change> {
    let batch = Batch::of(batch);
    (0..batch.len()).map(|index| batch.row(index).change(batch.counts[index])).collect()
}

/// A rendered batch whose memory its changes share.
struct Batch {
    counts: Vec<Diff>,
    ends: Vec<u64>,
    bytes: Bytes,
}

impl Batch {
    fn of(batch: FlatBatch) -> Self {
        let (counts, ends, bytes) = batch.into_arrays();
        Batch { counts, ends, bytes: bytes.into() }
    }

    fn len(&self) -> usize {
        self.counts.len()
    }

    fn row(&self, index: usize) -> Row<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let bytes = &self.bytes[start..self.ends[index] as usize];
        Row { batch: self, index, start, place: Place::of(bytes) }
    }
}

/// A row of a batch.
struct Row<'a> {
    batch: &'a Batch,
    index: usize,
    /// Where it starts.
    start: usize,
    place: Place,
}

impl<'a> Row<'a> {
    fn encoded(&self) -> &'a [u8] {
        &self.batch.bytes[self.start..self.start + self.place.row.end]
    }

    fn change(&self, diff: Diff) -> Change {
        let part = |place: &std::ops::Range<usize>| {
            self.batch.bytes.slice(self.start + place.start..self.start + place.end)
        };
        Change { key: part(&self.place.key), row: part(&self.place.value), diff }
    }
}

/// Sets of batches, each in the order of its rows as a whole: as many as there are workers that sent some.
fn in_order(batches: &[Batch]) -> Vec<Vec<&Batch>> {
    let mut sets: Vec<Vec<&Batch>> = Vec::new();
    for batch in batches {
        let follows = |set: &Vec<&Batch>| {
            set.last().is_none_or(|last| last.row(last.len() - 1).encoded() <= batch.row(0).encoded())
        };
        match sets.iter_mut().find(|set| follows(set)) {
            Some(set) => set.push(batch),
            None => sets.push(vec![batch]),
        }
    }
    sets
}

/// The next row of a set of batches. The least is the greatest: the first to be taken from a heap.
struct Head<'a> {
    row: Row<'a>,
    /// The batches after the row's.
    rest: std::vec::IntoIter<&'a Batch>,
}

impl<'a> Head<'a> {
    fn of(batches: Vec<&'a Batch>) -> Option<Self> {
        let mut rest = batches.into_iter();
        Some(Head { row: rest.next()?.row(0), rest })
    }

    /// Goes to the next row. False if there is none.
    fn advance(&mut self) -> bool {
        let (batch, next) = (self.row.batch, self.row.index + 1);
        if next < batch.len() {
            self.row = batch.row(next);
            return true;
        }
        let following = self.rest.next();
        following.is_some_and(|batch| {
            self.row = batch.row(0);
            true
        })
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.row.encoded().cmp(self.row.encoded())
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Head<'_> {}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

/// Sums equal rows, which come one after the other.
struct Net<'a> {
    changes: Vec<Change>,
    /// The last row's encoding. Its change is the last one, with the difference so far.
    last: Option<&'a [u8]>,
}

impl<'a> Net<'a> {
    fn add(&mut self, row: &Row<'a>) {
        let diff = row.batch.counts[row.index];
        let encoded = row.encoded();
        if self.last == Some(encoded)
            && let Some(change) = self.changes.last_mut()
        {
            change.diff += diff;
            return;
        }
        self.drop_cancelled();
        self.last = Some(encoded);
        self.changes.push(row.change(diff));
    }

    /// Drops the last change where its rows have cancelled out.
    fn drop_cancelled(&mut self) {
        self.changes.pop_if(|change| change.diff == 0);
    }

    fn finish(mut self) -> Vec<Change> {
        self.drop_cancelled();
        self.changes
    }
}
