//! Flat batches: many rows in three flat arrays, for combining, for exchange and for files.

mod builder;
mod codec;

use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::container::{DrainContainer, PushInto, SizableContainer};
use timely::dataflow::channels::ContainerBytes;

use crate::rows::{Row, encode_into};

pub use builder::FlatBuilder;
pub use codec::{Damaged, FlatRef, decode, encode, encoded_length};

/// A batch of encoded rows, each with a count (its difference).
///
/// Row `i` is `bytes[ends[i - 1]..ends[i]]`, from 0 for the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatBatch {
    counts: Vec<i64>,
    ends: Vec<u64>,
    bytes: Vec<u8>,
}

/// Bytes of row data after which a batch that is being filled is sent on.
const FULL: usize = 1 << 18;

impl FlatBatch {
    /// Bytes a row beside its data: its end and its count.
    pub const OVERHEAD: usize = 16;

    /// An empty batch with room for so many rows, with so many bytes of data in all.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        FlatBatch {
            counts: Vec::with_capacity(rows),
            ends: Vec::with_capacity(rows),
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// How many rows the batch holds.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// True iff the batch holds no rows.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Bytes in use: row data, ends and counts.
    pub fn size(&self) -> usize {
        self.bytes.len() + Self::OVERHEAD * self.counts.len()
    }

    /// Bytes of row data.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The count of row `index`.
    ///
    /// # Panics
    /// If the batch has no such row.
    pub fn count(&self, index: usize) -> i64 {
        self.counts[index]
    }

    /// Appends a row's encoding with its count.
    #[inline]
    pub fn push(&mut self, row: &[u8], count: i64) {
        if self.counts.is_empty() {
            // A drained batch still holds its rows' bytes.
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len() as u64);
        self.counts.push(count);
    }

    /// Appends a row with its count, encoded in place.
    #[inline]
    pub fn push_row<R: Row>(&mut self, row: R::Ref<'_>, count: i64) {
        self.push_with(count, |bytes| encode_into::<R>(row, bytes));
    }

    /// Appends what `write` appends to the bytes, as a row with this count.
    #[inline]
    pub fn push_with(&mut self, count: i64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.counts.is_empty() {
            self.bytes.clear();
        }
        write(&mut self.bytes);
        self.ends.push(self.bytes.len() as u64);
        self.counts.push(count);
    }

    /// Turns appearances into withdrawals, and these into appearances.
    pub fn negate(&mut self) {
        self.counts.iter_mut().for_each(|count| *count = -*count);
    }

    /// The encoding of row `index`.
    ///
    /// # Panics
    /// If the batch has no such row.
    #[inline]
    pub fn row(&self, index: usize) -> &[u8] {
        &self.bytes[start(&self.ends, index)..self.ends[index] as usize]
    }

    /// The rows in order, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        (0..self.len()).map(|index| (self.row(index), self.counts[index]))
    }

    /// The counts, where each row ends, and the rows' bytes.
    pub(crate) fn into_arrays(self) -> (Vec<i64>, Vec<u64>, Vec<u8>) {
        (self.counts, self.ends, self.bytes)
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.ends.clear();
        self.bytes.clear();
    }
}

/// Where row `index` starts.
#[inline]
fn start(ends: &[u64], index: usize) -> usize {
    if index == 0 { 0 } else { ends[index - 1] as usize }
}

impl Accountable for FlatBatch {
    fn record_count(&self) -> i64 {
        self.len() as i64
    }
}

impl<'a> PushInto<(&'a [u8], i64)> for FlatBatch {
    #[inline]
    fn push_into(&mut self, (row, count): (&'a [u8], i64)) {
        self.push(row, count);
    }
}

impl SizableContainer for FlatBatch {
    fn at_capacity(&self) -> bool {
        self.size() >= FULL
    }
    fn ensure_capacity(&mut self, stash: &mut Option<Self>) {
        if self.bytes.capacity() == 0
            && let Some(mut stash) = stash.take()
        {
            stash.clear();
            *self = stash;
        }
    }
}

/// Drains a batch row by row: the rows are removed when the iterator is dropped.
pub struct Drain<'a> {
    counts: std::vec::Drain<'a, i64>,
    ends: std::vec::Drain<'a, u64>,
    bytes: &'a [u8],
    start: usize,
}

impl<'a> Iterator for Drain<'a> {
    type Item = (&'a [u8], i64);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let end = self.ends.next()? as usize;
        let row = &self.bytes[self.start..end];
        self.start = end;
        Some((row, self.counts.next()?))
    }
}

impl DrainContainer for FlatBatch {
    type Item<'a> = (&'a [u8], i64);
    type DrainIter<'a> = Drain<'a>;
    fn drain(&mut self) -> Drain<'_> {
        Drain { counts: self.counts.drain(..), ends: self.ends.drain(..), bytes: &self.bytes, start: 0 }
    }
}

impl ContainerBytes for FlatBatch {
    fn from_bytes(bytes: Bytes) -> Self {
        // The bytes are shared with other messages of the channel and can't be written, as decoding in place
        // does: it works on an aligned copy.
        let mut copy = vec![0u64; bytes.len().div_ceil(8)];
        let copy = &mut bytemuck::cast_slice_mut(&mut copy)[..bytes.len()];
        copy.copy_from_slice(&bytes);
        // What a peer sent over TCP and framed as a message is whole; a batch that is not is a fault of the
        // program, and timely's interface has no way to report one but a panic.
        codec::decode(copy, |batch| batch.to_batch()).expect("a peer sent a damaged batch")
    }
    fn length_in_bytes(&self) -> usize {
        codec::encoded_length(self)
    }
    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        codec::encode(self, writer).expect("writing a batch to a channel");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_batch_gives_all_rows_once_and_is_empty() {
        let mut batch = FlatBatch::default();
        for (row, count) in [("a", 1), ("", -2), ("ccc", 3)] {
            batch.push(row.as_bytes(), count);
        }
        let rows: Vec<(Vec<u8>, i64)> = batch.drain().map(|(row, count)| (row.to_vec(), count)).collect();
        assert_eq!(rows, [(b"a".to_vec(), 1), (b"".to_vec(), -2), (b"ccc".to_vec(), 3)]);
        assert!(batch.is_empty());
        // The bytes of drained rows must not come back as part of the next row.
        batch.push(b"dd", 4);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(&b"dd"[..], 4)]);
    }
}
