//! Combining: equal rows are summed before they leave the worker.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::flat::FlatBatch;
use crate::rows::Row;
use crate::short::word;

/// Sums the counts of equal rows. Its table keeps its memory from one epoch to the next.
///
/// A short row lies in its entry, so that a row that is there already costs one miss of the cache, or two, and no call
/// to compare it.
///
/// The rows of a record are staged, and count once they are committed: until then they can be rolled back.
///
/// The hash of its table has a seed of the process: whoever writes the records can't choose rows that collide.
pub struct Combiner {
    seed: u64,
    table: HashTable<Entry>,
    /// Rows that are yet to be looked for: [`TOGETHER`] at a time, so that their cache misses overlap.
    waiting: Vec<Entry>,
    /// How many of them are committed.
    committed: usize,
    /// The encodings of the waiting rows that are too long for an entry.
    waiting_long: Vec<u8>,
    /// Those of the rows in the table.
    long: Vec<u8>,
    /// Bytes of all rows, those that wait included.
    bytes: usize,
    scratch: Vec<u8>,
    /// Rows that have been looked for.
    settled: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    count: i64,
}

/// A row. Up to [`SHORT`] bytes: padded with zeros, its length in the last byte. Longer: its hash, where it begins among
/// the long ones (of the table, or of those that wait), and how long it is, with [`LONG`] in the last byte.
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
/// Entries of a table that is always kept, and of a list of waiting rows.
const KEPT: usize = 1 << 14;
/// Bytes of long rows that wait: their memory is kept up to this.
const KEPT_BYTES: usize = 1 << 20;

impl Default for Combiner {
    fn default() -> Self {
        Combiner {
            seed: seed(),
            table: HashTable::new(),
            waiting: Vec::new(),
            committed: 0,
            waiting_long: Vec::new(),
            long: Vec::new(),
            bytes: 0,
            scratch: Vec::new(),
            settled: 0,
        }
    }
}

/// A random number, the same for the life of the process.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| RandomState::new().build_hasher().finish())
}

impl Combiner {
    /// Adds `count` to the row with this encoding.
    #[inline]
    pub fn add(&mut self, row: &[u8], count: i64) {
        self.stage(row, count);
        self.commit();
    }

    /// Adds `count` to the row.
    #[inline]
    pub fn add_row<R: Row>(&mut self, row: R::Ref<'_>, count: i64) {
        self.stage_row::<R>(row, count);
        self.commit();
    }

    /// As [`Combiner::add_row`], once it is committed.
    #[inline]
    pub(crate) fn stage_row<R: Row>(&mut self, row: R::Ref<'_>, count: i64) {
        let mut scratch = std::mem::take(&mut self.scratch);
        R::with_encoding(row, &mut scratch, |encoded| self.stage(encoded, count));
        self.scratch = scratch;
    }

    /// As [`Combiner::stage_row`], with the row as `write` encodes it; none, if that fails.
    #[inline]
    pub(crate) fn stage_written<T, E>(
        &mut self,
        count: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let result = write(&mut scratch);
        if result.is_ok() {
            self.stage(&scratch, count);
        }
        self.scratch = scratch;
        result
    }

    #[inline]
    fn stage(&mut self, row: &[u8], count: i64) {
        let key = if row.len() > SHORT { self.stage_long(row) } else { Key::short(row) };
        self.bytes += row.len();
        self.waiting.push(Entry { key, count });
    }

    #[cold]
    fn stage_long(&mut self, row: &[u8]) -> Key {
        let hash = xxh3_64_with_seed(row, self.seed);
        let key = Key::long(hash, self.waiting_long.len(), row.len());
        self.waiting_long.extend_from_slice(row);
        key
    }

    /// The rows that are staged count from now on.
    #[inline]
    pub(crate) fn commit(&mut self) {
        if self.waiting.len() >= TOGETHER || !self.waiting_long.is_empty() {
            self.settle();
        }
        self.committed = self.waiting.len();
    }

    /// Forgets the rows that are staged and not committed.
    pub(crate) fn roll_back(&mut self) {
        // Long rows don't wait beyond a commit: all that are there are staged.
        self.waiting_long.clear();
        let staged = self.waiting.drain(self.committed..);
        self.bytes -= staged.map(|entry| entry.key.length()).sum::<usize>();
    }

    /// Looks for the rows that wait.
    fn settle(&mut self) {
        self.settled += self.waiting.len() as u64;
        let seed = self.seed;
        for Entry { key, count } in self.waiting.drain(..) {
            if key.is_long() {
                let row = key.row(&self.waiting_long);
                if settle_long(&mut self.table, seed, &mut self.long, key, row, count) {
                    self.bytes -= row.len();
                }
                continue;
            }
            let same = |entry: &Entry| entry.key == key;
            let entry = self.table.entry(key.hash(seed), same, |entry| entry.key.hash(seed));
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
        self.waiting_long.clear();
        self.committed = 0;
    }

    /// How many rows were added since the last [`Combiner::take`], equal ones counted each time.
    pub fn added(&self) -> u64 {
        self.settled + self.waiting.len() as u64
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

    /// Bytes of the rows' data, of a few twice that may be there already.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
        if self.waiting.capacity() > KEPT {
            self.waiting = Vec::new();
        }
        if self.waiting_long.capacity() > KEPT_BYTES {
            self.waiting_long = Vec::new();
        }
        (self.bytes, self.settled) = (0, 0);
        batch
    }
}

/// Looks for a long row that waits; true if it was there.
fn settle_long(
    table: &mut HashTable<Entry>,
    seed: u64,
    long: &mut Vec<u8>,
    key: Key,
    row: &[u8],
    count: i64,
) -> bool {
    let hash = key.hash(seed);
    let same = |entry: &Entry| entry.key.0[0] == hash && entry.key.is_long() && entry.key.row(long) == row;
    if let Some(there) = table.find_mut(hash, same) {
        there.count += count;
        return true;
    }
    let key = Key::long(hash, long.len(), row.len());
    long.extend_from_slice(row);
    table.insert_unique(hash, Entry { key, count }, |entry| entry.key.hash(seed));
    false
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

    /// The key of a longer row, which begins at `start`.
    fn long(hash: u64, start: usize, length: usize) -> Self {
        Key([hash, start as u64, length as u64 | u64::from(LONG) << 56])
    }

    /// The hash for the table: a folded multiplication, as in wyhash (Wang Yi, github.com/wangyi-fudan/wyhash).
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        let [a, b, c] = self.0;
        if self.is_long() {
            return a;
        }
        let inner = fold(a ^ seed ^ 0xa076_1d64_78bd_642f, b ^ seed.rotate_left(32) ^ 0xe703_7ed1_a0b4_28db);
        fold(inner ^ c, 0x8ebc_6af0_9c88_c6e3)
    }

    #[inline]
    fn length(&self) -> usize {
        if self.is_long() { (self.0[2] << 8 >> 8) as usize } else { (self.0[2] >> 56) as usize }
    }

    #[inline]
    fn is_long(&self) -> bool {
        self.0[2] >> 56 == u64::from(LONG)
    }

    /// The row, if it is a long one.
    fn row<'a>(&self, long: &'a [u8]) -> &'a [u8] {
        &long[self.0[1] as usize..][..self.length()]
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
    use crate::rows::Text;

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
        for row in [&b"the"[..], b"a", b"the", b""] {
            combiner.add(row, 1);
        }
        assert!(!combiner.is_empty());
        let bytes = |rows: &[usize]| rows.iter().map(|length| length + FlatBatch::OVERHEAD).sum::<usize>();
        assert_eq!(combiner.size(), bytes(&[3, 1, 3, 0]));
        for row in [&long[..], b"", &long] {
            combiner.add(row, 1);
        }
        // A long row has all be looked for.
        assert_eq!(combiner.size(), bytes(&[3, 1, 0, long.len()]));
        assert_eq!((combiner.len(), combiner.size()), (4, bytes(&[3, 1, 0, long.len()])));
        (0..TOGETHER).for_each(|_| combiner.add(b"a", 1));
        assert_eq!(combiner.size(), bytes(&[3, 1, 0, long.len()]));
        assert_eq!(combiner.take().size(), bytes(&[3, 1, 0, long.len()]));
        assert_eq!((combiner.is_empty(), combiner.size()), (true, 0));
    }

    #[test]
    fn rows_that_are_rolled_back_leave_nothing_behind() {
        // More rows than are looked for at a time, short and long, of records that come to nothing in between.
        let rows = |record: usize| (0..TOGETHER * 2 + record).map(move |i| format!("{:1$}", i % 50, i % 40));
        let (mut combiner, mut plain) = (Combiner::default(), Combiner::default());
        for record in 0..50 {
            let count = if record % 3 == 0 { 7 } else { 1 };
            for row in rows(record).take(if record % 5 == 0 { 3 } else { usize::MAX }) {
                combiner.stage_row::<Text>(&row, count);
                if record % 3 > 0 {
                    plain.add(row.as_bytes(), count);
                }
            }
            if record % 3 > 0 {
                combiner.commit()
            } else {
                combiner.roll_back()
            }
            assert_eq!(combiner.added(), plain.added(), "after record {record}");
        }
        assert_eq!((combiner.len(), combiner.size()), (plain.len(), plain.size()));
        let (batch, expected) = (combiner.take(), plain.take());
        let sorted = |batch: &FlatBatch| {
            let mut rows: Vec<_> = batch.iter().map(|(row, count)| (row.to_vec(), count)).collect();
            rows.sort();
            rows
        };
        assert_eq!(sorted(&batch), sorted(&expected));
    }

    #[test]
    fn rows_that_are_chosen_to_collide_do_not() {
        // Without a seed, the first eight bytes make a factor of the hash zero.
        let combiner = Combiner::default();
        let hashes: std::collections::HashSet<u64> = (0..10_000u64)
            .map(|row| [0xa076_1d64_78bd_642f_u64.to_le_bytes(), row.to_le_bytes()].concat())
            .map(|row| Key::short(&row).hash(combiner.seed))
            .collect();
        assert!(hashes.len() > 9_900, "{} of 10,000 rows have a hash of their own", hashes.len());
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
