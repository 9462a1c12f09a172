//! Combining: equal rows are summed before they leave the worker.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::flat::FlatBatch;
use crate::row::Row;

/// The hash by which rows are distributed among workers. Fixed: XXH3-64 of the row's encoding, seed 0.
#[inline]
pub fn row_hash(encoded: &[u8]) -> u64 {
    xxh3_64(encoded)
}

/// Sums the counts of equal rows. In steady state it allocates nothing: table and batch keep their memory
/// from one epoch to the next.
#[derive(Default)]
pub struct Combiner {
    /// Indexes of rows in `batch`, with the upper half of their hash to spare most comparisons.
    table: HashTable<(u32, u32)>,
    batch: FlatBatch,
    scratch: Vec<u8>,
    added: u64,
}

impl Combiner {
    /// Adds `count` to the row with this encoding.
    #[inline]
    pub fn add(&mut self, row: &[u8], count: i64) {
        let hash = row_hash(row);
        let tag = (hash >> 32) as u32;
        let batch = &mut self.batch;
        self.added += 1;
        let found = self.table.find(hash, |&(index, other)| other == tag && batch.row(index as usize) == row);
        if let Some(&(index, _)) = found {
            *batch.count_mut(index as usize) += count;
            return;
        }
        let index = u32::try_from(batch.len()).expect("an epoch holds under 2^32 distinct rows a worker");
        batch.push(row, count);
        self.table.insert_unique(hash, (index, tag), |&(index, _)| row_hash(batch.row(index as usize)));
    }

    /// Adds `count` to the row.
    #[inline]
    pub fn add_row<R: Row>(&mut self, row: R::Ref<'_>, count: i64) {
        let mut scratch = std::mem::take(&mut self.scratch);
        R::with_encoding(row, &mut scratch, |encoded| self.add(encoded, count));
        self.scratch = scratch;
    }

    /// How many rows were added since the last [`Combiner::take`], equal ones counted each time.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How many distinct rows it holds, those included whose count has come to zero.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// True iff it holds no rows.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Bytes of the rows it holds, as [`FlatBatch::size`] counts them.
    pub fn size(&self) -> usize {
        self.batch.size()
    }

    /// The sums, in the order in which their rows first came, without those that are zero. The combiner is
    /// empty after that.
    pub fn take(&mut self) -> FlatBatch {
        self.added = 0;
        self.table.clear();
        let mut batch = std::mem::take(&mut self.batch);
        batch.drop_zeros();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Text;

    #[test]
    fn equal_rows_are_summed_and_zeros_vanish() {
        let mut combiner = Combiner::default();
        for round in 0..2 {
            for word in ["the", "a", "the", "", "gone", ""] {
                combiner.add(word.as_bytes(), 1);
            }
            combiner.add_row::<Text>("gone", -1);
            assert_eq!(combiner.added(), 7, "round {round}");
            let batch = combiner.take();
            assert_eq!(batch.iter().collect::<Vec<_>>(), [(&b"the"[..], 2), (b"a", 1), (b"", 2)]);
        }
    }

    #[test]
    fn many_rows_equal_a_plain_recount() {
        let mut combiner = Combiner::default();
        let mut expected = std::collections::HashMap::new();
        for i in 0u64..200_000 {
            let row = (i * i % 7919).to_string();
            combiner.add(row.as_bytes(), i as i64);
            *expected.entry(row).or_insert(0) += i as i64;
        }
        let batch = combiner.take();
        assert_eq!(batch.len(), expected.len());
        for (row, count) in batch.iter() {
            assert_eq!(expected[std::str::from_utf8(row).unwrap()], count);
        }
    }
}
