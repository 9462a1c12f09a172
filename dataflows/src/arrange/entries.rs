//! What is known of the rows of a batch without looking at their bytes, in 16 bytes a row.

use crate::Diff;

/// The hashes, differences and ends of rows, in order.
///
/// Nearly all differences fit into 32 bits, and the bytes of nearly all batches end before 2^32: what does not is beside.
#[derive(Default)]
pub(super) struct Entries {
    entries: Vec<Entry>,
    /// The rows whose differences are wide, with these.
    wide: Vec<(u32, Diff)>,
    /// The rows at whose ends another 2^32 bytes are full.
    carries: Vec<u32>,
}

/// Together, for one miss of the cache.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) hash: u64,
    /// The lower half of where the row's bytes end; they begin where those of the row before end.
    end: u32,
    /// [`WIDE`] where it stands beside.
    diff: i32,
}

/// Stands for a difference of more than 32 bits.
const WIDE: i32 = i32::MIN;

impl Entries {
    /// For up to so many rows.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Entries { entries: Vec::with_capacity(rows), ..Entries::default() }
    }

    /// Hashes in order, with what else there is.
    #[inline]
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    pub(super) fn diff(&self, index: usize) -> Diff {
        match self.entries[index].diff {
            WIDE => self.wide_diff(index),
            diff => diff.into(),
        }
    }

    #[cold]
    fn wide_diff(&self, index: usize) -> Diff {
        let place = self.wide.binary_search_by_key(&(index as u32), |(row, _)| *row);
        self.wide[place.expect("a wide difference stands beside")].1
    }

    /// Where the bytes of a row end.
    #[inline]
    pub(super) fn end(&self, index: usize) -> usize {
        let low = self.entries[index].end as usize;
        if self.carries.is_empty() { low } else { low | self.carried(index) }
    }

    #[cold]
    fn carried(&self, index: usize) -> usize {
        self.carries.partition_point(|&carry| carry as usize <= index) << u32::BITS
    }

    /// Adds a row whose bytes end there, not before those of the last one.
    #[inline]
    pub(super) fn push(&mut self, hash: u64, diff: Diff, end: usize) {
        let index = self.entries.len() as u32;
        while end >> u32::BITS > self.carries.len() {
            self.carries.push(index);
        }
        self.entries.push(Entry { hash, end: end as u32, diff: 0 });
        self.set_last(diff);
    }

    /// Gives the last row another difference.
    #[inline]
    pub(super) fn set_last(&mut self, diff: Diff) {
        let last = self.entries.len() - 1;
        if self.entries[last].diff == WIDE {
            self.wide.pop();
        }
        self.entries[last].diff = match i32::try_from(diff) {
            Ok(narrow) if narrow != WIDE => narrow,
            _ => {
                self.wide.push((last as u32, diff));
                WIDE
            }
        };
    }

    /// Takes the last row back.
    pub(super) fn pop(&mut self) {
        self.set_last(0);
        self.entries.pop();
        while self.carries.last().is_some_and(|&carry| carry as usize >= self.entries.len()) {
            self.carries.pop();
        }
    }

    /// Bytes that they take.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&self.entries[..]) + size_of_val(&self.wide[..]) + size_of_val(&self.carries[..])
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_differences_and_ends_are_what_they_were() {
        let diffs = [1, -1, i64::from(i32::MAX), i64::from(i32::MIN), i64::MIN, i64::MAX, 7, 1 << 40];
        let ends = [0, 5, 1 << 31, u32::MAX as usize, 1 << 32, 5 << 32, (5 << 32) + 1, 6 << 32];
        let mut entries = Entries::with_capacity(1);
        for _ in 0..2 {
            for (index, (&diff, &end)) in diffs.iter().zip(&ends).enumerate() {
                entries.push(index as u64, !diff, end);
                entries.set_last(diff);
                for before in 0..=index {
                    assert_eq!((entries.diff(before), entries.end(before)), (diffs[before], ends[before]));
                }
            }
            // What is taken back leaves nothing.
            (0..ends.len()).for_each(|_| entries.pop());
            assert!(entries.entries.is_empty() && entries.wide.is_empty() && entries.carries.is_empty());
        }
        assert_eq!(std::mem::size_of::<Entry>(), 16);
    }
}
