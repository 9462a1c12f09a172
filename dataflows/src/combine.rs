//! Combining: equal rows are summed before they leave the worker.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::flat::FlatBatch;
use crate::row::Row;
use crate::short::word;

/// The hash by which rows are distributed among workers. Fixed: XXH3-64 of the row's encoding, seed 0.
#[inline]
pub fn row_hash(encoded: &[u8]) -> u64 {
    xxh3_64(encoded)
}

/// Sums the counts of equal rows. Its table keeps its memory from one epoch to the next.
///
/// A short row lies in its entry, so that a row that is there already costs one miss of the cache, or two, and no call
/// to compare it.
#[derive(Default)]
pub struct Combiner {
    table: HashTable<Entry>,
    /// Short rows that are yet to be looked for: [`TOGETHER`] at a time, so that their cache misses overlap.
    waiting: Vec<Entry>,
    /// The encodings of rows that are too long for an entry.
    long: Vec<u8>,
    /// Bytes of all rows, those that wait included.
    bytes: usize,
    scratch: Vec<u8>,
    added: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    count: i64,
}

/// A row. Up to [`SHORT`] bytes: padded with zeros, its length in the last byte. Longer: its hash, where it begins among
/// the long ones, and how long it is, with [`LONG`] in the last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u64; 3]);

/// Bytes of the longest row that lies in its entry.
const SHORT: usize = 23;
/// What says that a row does not.
const LONG: u8 = u8::MAX;

/// Rows that are looked for at the same time.
const TOGETHER: usize = 64;

/// A table is given back when an epoch leaves it emptier than one of so many.
const SPARSE: usize = 16;
/// Entries of a table that is always kept.
const KEPT: usize = 1 << 14;

impl Combiner {
    /// Adds `count` to the row with this encoding.
    #[inline]
    pub fn add(&mut self, row: &[u8], count: i64) {
        self.added += 1;
        if row.len() > SHORT {
            return self.add_long(row, count);
        }
        self.bytes += row.len();
        self.waiting.push(Entry { key: Key::short(row), count });
        if self.waiting.len() == TOGETHER {
            self.settle();
        }
    }

    /// Looks for the rows that wait.
    fn settle(&mut self) {
        for Entry { key, count } in self.waiting.drain(..) {
            let entry = self.table.entry(key.hash(), |entry| entry.key == key, |entry| entry.key.hash());
            match entry {
                hashbrown::hash_table::Entry::Occupied(mut there) => {
                    there.get_mut().count += count;
                    self.bytes -= key.length();
                }
                hashbrown::hash_table::Entry::Vacant(room) => {
                    room.insert(Entry { key, count });
                }
            }
        }
    }

    fn add_long(&mut self, row: &[u8], count: i64) {
        let hash = row_hash(row);
        let long = &mut self.long;
        let same =
            |entry: &Entry| entry.key.0[0] == hash && entry.key.is_long() && entry.key.row(long) == row;
        if let Some(there) = self.table.find_mut(hash, same) {
            there.count += count;
            return;
        }
        let key = Key([hash, long.len() as u64, row.len() as u64 | u64::from(LONG) << 56]);
        long.extend_from_slice(row);
        self.bytes += row.len();
        self.table.insert_unique(hash, Entry { key, count }, |entry| entry.key.hash());
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
    pub fn len(&mut self) -> usize {
        self.settle();
        self.table.len()
    }

    /// True iff it holds no rows.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.waiting.is_empty()
    }

    /// Bytes of the rows it holds, as [`FlatBatch::size`] counts them, and of a few that may be there already.
    pub fn size(&self) -> usize {
        self.bytes + FlatBatch::OVERHEAD * (self.table.len() + self.waiting.len())
    }

    /// The sums, in no particular order, without those that are zero. The combiner is empty after that.
    pub fn take(&mut self) -> FlatBatch {
        let mut batch = FlatBatch::with_capacity(self.len(), self.bytes);
        for Entry { key, count } in self.table.iter().filter(|entry| entry.count != 0) {
            if key.is_long() {
                batch.push(key.row(&self.long), *count);
            } else {
                let bytes = key.0.map(u64::to_le_bytes);
                batch.push(&bytes.as_flattened()[..key.length()], *count);
            }
        }
        if self.len() < self.table.capacity() / SPARSE && self.table.capacity() > KEPT {
            self.table = HashTable::with_capacity(KEPT / 2);
        }
        self.table.clear();
        self.long.clear();
        (self.bytes, self.added) = (0, 0);
        batch
    }
}

impl Key {
    /// The key of a row of up to [`SHORT`] bytes.
    #[inline]
    fn short(row: &[u8]) -> Self {
        let length = (row.len() as u64) << 56;
        match row.len() {
            ..=8 => Key([word(row), 0, length]),
            9..=16 => Key([word(&row[..8]), word(&row[8..]), length]),
            _ => Key([word(&row[..8]), word(&row[8..16]), word(&row[16..]) | length]),
        }
    }

    /// The hash for the table: a folded multiplication, as in wyhash (Wang Yi, github.com/wangyi-fudan/wyhash).
    #[inline]
    fn hash(&self) -> u64 {
        let [a, b, c] = self.0;
        if self.is_long() {
            return a;
        }
        fold(fold(a ^ 0xa076_1d64_78bd_642f, b ^ 0xe703_7ed1_a0b4_28db) ^ c, 0x8ebc_6af0_9c88_c6e3)
    }

    #[inline]
    fn length(&self) -> usize {
        (self.0[2] >> 56) as usize
    }

    #[inline]
    fn is_long(&self) -> bool {
        self.0[2] >> 56 == u64::from(LONG)
    }

    /// The row, if it is a long one.
    fn row<'a>(&self, long: &'a [u8]) -> &'a [u8] {
        let length = (self.0[2] << 8 >> 8) as usize;
        &long[self.0[1] as usize..][..length]
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
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
            let mut rows: Vec<_> = batch.iter().collect();
            rows.sort();
            assert_eq!(rows, [(&b""[..], 2), (b"a", 1), (b"the", 2)]);
        }
    }

    #[test]
    fn rows_of_every_length_are_told_apart() {
        let mut combiner = Combiner::default();
        let mut expected = std::collections::HashMap::new();
        for length in 0..=40 {
            // A zero and a one at each place: padding is not content.
            for (place, byte) in (0..length).flat_map(|place| [(place, 0), (place, 1)]).chain([(length, 0)]) {
                let mut row = vec![0; length];
                row.get_mut(place).into_iter().for_each(|at| *at = byte);
                for _ in 0..2 {
                    combiner.add(&row, place as i64 + 1);
                    *expected.entry(row.clone()).or_insert(0) += place as i64 + 1;
                }
            }
        }
        let bytes: usize = expected.keys().map(Vec::len).sum();
        assert_eq!((combiner.len(), combiner.size()), (expected.len(), bytes + 16 * expected.len()));
        let batch = combiner.take();
        assert_eq!((batch.len(), batch.size()), (expected.len(), bytes + 16 * expected.len()));
        for (row, count) in batch.iter() {
            assert_eq!(expected[row], count, "{row:?}");
        }
    }

    #[test]
    fn the_size_counts_what_waits_until_it_is_found_to_be_there() {
        let mut combiner = Combiner::default();
        assert!(combiner.is_empty());
        let long = [7; SHORT + 1];
        for row in [&b"the"[..], b"a", b"the", b"", &long, b"", &long] {
            combiner.add(row, 1);
        }
        assert!(!combiner.is_empty());
        let bytes = |rows: &[usize]| rows.iter().map(|length| length + FlatBatch::OVERHEAD).sum::<usize>();
        assert_eq!(combiner.size(), bytes(&[3, 1, 3, 0, 0, long.len()]));
        assert_eq!((combiner.len(), combiner.size()), (4, bytes(&[3, 1, 0, long.len()])));
        (0..TOGETHER).for_each(|_| combiner.add(b"a", 1));
        assert_eq!(combiner.size(), bytes(&[3, 1, 0, long.len()]));
        assert_eq!(combiner.take().size(), bytes(&[3, 1, 0, long.len()]));
        assert_eq!((combiner.is_empty(), combiner.size()), (true, 0));
    }

    #[test]
    fn a_burst_is_given_back() {
        let mut combiner = Combiner::default();
        (0u64..1_000_000).for_each(|row| combiner.add(&row.to_le_bytes(), 1));
        combiner.take();
        let burst = combiner.table.capacity();
        combiner.add(b"one", 1);
        combiner.take();
        assert!(combiner.table.capacity() < burst / 16);
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
