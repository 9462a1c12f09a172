//! Rendered batches: encoded rows with what a renderer made of them.
//!
//! A row of such a batch is the encoded row, the value, the key, and then the lengths of row and key, four bytes each: so a
//! flat batch carries them between workers and processes, in whatever format they are.

use std::ops::Range;

use super::Renderer;
use crate::Diff;
use crate::flat::FlatBatch;

/// Bytes of the two lengths.
const LENGTHS: usize = 8;

/// What of a row is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// Key and value.
    All,
    /// The key.
    Key,
}

/// Builds rendered batches.
pub(super) struct Builder<'a> {
    renderer: &'a dyn Renderer,
    parts: Parts,
    batch: FlatBatch,
    row: Vec<u8>,
    key: Vec<u8>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(renderer: &'a dyn Renderer, parts: Parts) -> Self {
        Builder { renderer, parts, batch: FlatBatch::default(), row: Vec::new(), key: Vec::new() }
    }

    /// Renders an encoded row.
    pub(super) fn push(&mut self, row: &[u8], diff: Diff) {
        self.row.clear();
        self.key.clear();
        self.row.extend_from_slice(row);
        self.renderer.render(row, &mut self.key, &mut self.row);
        if self.parts == Parts::Key {
            self.row.truncate(row.len());
        }
        self.row.extend_from_slice(&self.key);
        for length in [row.len(), self.key.len()] {
            let length = u32::try_from(length).expect("a row has less than 4 GiB");
            self.row.extend_from_slice(&length.to_le_bytes());
        }
        self.batch.push(&self.row, diff);
    }

    /// Bytes of the batch.
    pub(super) fn size(&self) -> usize {
        self.batch.size()
    }

    /// Takes the batch, and begins another.
    pub(super) fn take(&mut self) -> FlatBatch {
        std::mem::take(&mut self.batch)
    }
}

/// The net changes in `batches`, as one rendered batch in the order of their rows.
pub fn rendered(renderer: &dyn Renderer, batches: &[FlatBatch]) -> FlatBatch {
    let mut builder = Builder::new(renderer, Parts::All);
    for_each_net(batches, |row, diff| builder.push(row, diff));
    builder.take()
}

/// Calls `each` with the net changes in `batches`, in the order of their encoded rows, which is that of the rows.
pub(super) fn for_each_net(batches: &[FlatBatch], mut each: impl FnMut(&[u8], Diff)) {
    // Most rows differ in their first bytes: those are compared without a look at the row.
    let all = batches.iter().flat_map(FlatBatch::iter);
    let mut rows: Vec<(u64, &[u8], Diff)> = all.map(|(row, diff)| (first_bytes(row), row, diff)).collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    for same in rows.chunk_by(|a, b| a.0 == b.0 && a.1 == b.1) {
        match same.iter().map(|(_, _, diff)| diff).sum() {
            0 => {}
            diff => each(same[0].1, diff),
        }
    }
}

/// The first eight bytes of a row, as a number of the same order. A shorter row is filled up with zeros.
fn first_bytes(row: &[u8]) -> u64 {
    match row.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..row.len()].copy_from_slice(row);
            u64::from_be_bytes(bytes)
        }
    }
}

/// Where the parts of a row of a rendered batch are in it.
pub(super) struct Place {
    pub(super) row: Range<usize>,
    pub(super) value: Range<usize>,
    pub(super) key: Range<usize>,
}

impl Place {
    /// # Panics
    /// If the bytes are not those of a rendered row.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (parts, lengths) = bytes.split_last_chunk::<LENGTHS>().expect("a rendered row has lengths");
        let [a, b, c, d, e, f, g, h] = *lengths;
        let row = u32::from_le_bytes([a, b, c, d]) as usize;
        let key = u32::from_le_bytes([e, f, g, h]) as usize;
        let end = parts.len();
        Place { row: 0..row, value: row..end - key, key: end - key..end }
    }
}

/// The encoded rows of a rendered batch, as they come in it, with their differences.
///
/// # Panics
/// If the batch is not a rendered one.
pub fn encoded(batch: &FlatBatch) -> impl Iterator<Item = (&[u8], Diff)> {
    batch.iter().map(|(row, diff)| (&row[Place::of(row).row], diff))
}

/// Calls `each` with the key and the difference of each row of a rendered batch.
pub fn for_each_key(batch: &FlatBatch, mut each: impl FnMut(&[u8], Diff)) {
    for (row, diff) in batch.iter() {
        each(&row[Place::of(row).key], diff);
    }
}
