//! A batch of an arrangement: rows in the order of their hashes, with times and differences.

use super::directory::Directory;
use super::entries::{Entries, Entry};
use super::held::{Held, Holder};
use crate::{Diff, Epoch};

/// Rows in the order of hash, bytes and time. No row is there twice at a time, and no difference is zero.
///
/// Rows with the same key are side by side, in the order of their bytes.
pub struct Batch {
    entries: Entries,
    bytes: Vec<u8>,
    times: Times,
    directory: Directory,
    /// Where somebody wants to know what it takes.
    held: Option<Held>,
}

/// The times of the rows of a batch.
enum Times {
    /// All of one, as in the batch of an epoch, and in what is compacted.
    One(Epoch),
    /// One a row.
    Each(Vec<Epoch>),
}

/// An update: a row, when it changes, and by how much.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The hash of the row's key.
    pub hash: u64,
    /// The row, encoded.
    pub row: &'a [u8],
    /// The epoch.
    pub time: Epoch,
    /// How often it appears, or is withdrawn.
    pub diff: Diff,
}

/// A row that is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a> {
    pub(crate) hash: u64,
    pub(crate) row: &'a [u8],
}

/// Entries that are looked at one by one. Among more, which somebody must have chosen to have similar hashes, or one,
/// a row is searched by halves.
const FEW: usize = 8;

/// Probes that are on their way at the same time: their cache misses overlap.
pub(crate) const TOGETHER: usize = 32;

impl Batch {
    /// How many updates it holds.
    pub fn len(&self) -> usize {
        self.entries.entries().len()
    }

    /// True iff it holds none. Those of a trace hold some.
    pub fn is_empty(&self) -> bool {
        self.entries.entries().is_empty()
    }

    /// The same, as what an operator holds, if it tells of that.
    pub(crate) fn held_by(mut self, holder: Option<&Holder>) -> Self {
        self.held = holder.map(|holder| holder.hold(self.memory()));
        self
    }

    /// The operator that holds it.
    pub(super) fn holder(&self) -> Option<&Holder> {
        self.held.as_ref().map(Held::holder)
    }

    /// Bytes that it takes.
    fn memory(&self) -> usize {
        let times = match &self.times {
            Times::One(_) => 0,
            Times::Each(times) => size_of_val(&times[..]),
        };
        self.entries.memory() + self.bytes.len() + times + self.directory.memory()
    }

    /// The update at `index`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn update(&self, index: usize) -> Update<'_> {
        let (hash, diff) = (self.entries.entries()[index].hash, self.entries.diff(index));
        let time = match &self.times {
            Times::One(time) => *time,
            Times::Each(times) => times[index],
        };
        Update { hash, row: self.row(index), time, diff }
    }

    /// The last time of any row.
    pub fn last(&self) -> Epoch {
        match &self.times {
            Times::One(time) => *time,
            Times::Each(times) => times.iter().copied().max().unwrap_or(Epoch::MIN),
        }
    }

    /// The hash of the row at `index`; none after the last.
    #[inline]
    pub(super) fn hash(&self, index: usize) -> Option<u64> {
        self.entries.entries().get(index).map(|entry| entry.hash)
    }

    /// The hashes of the first and the last row.
    pub(super) fn ends(&self) -> (u64, u64) {
        let entries = self.entries.entries();
        (entries[0].hash, entries[entries.len() - 1].hash)
    }

    /// Bytes of all rows.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn row(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.entries.end(index - 1) };
        &self.bytes[start..self.entries.end(index)]
    }

    /// Adds to each of `sums` the differences, of all times, of the row that is looked for at its place.
    ///
    /// # Panics
    /// If there are fewer sums than probes.
    pub(crate) fn sum(&self, probes: &[Probe<'_>], sums: &mut [Diff]) {
        for (probes, sums) in probes.chunks(TOGETHER).zip(sums.chunks_mut(TOGETHER)) {
            // Each loop is one miss of the cache a probe, and no turn waits for the one before.
            let mut candidates = [(0, 0); TOGETHER];
            for (probe, candidates) in probes.iter().zip(&mut candidates) {
                *candidates = self.directory.candidates(probe.hash);
            }
            for (probe, (start, end)) in probes.iter().zip(&mut candidates) {
                let entries = &self.entries.entries()[*start as usize..*end as usize];
                let before = |entry: &Entry| entry.hash < probe.hash;
                *start += match entries.len() {
                    ..=FEW => entries.iter().take_while(|entry| before(entry)).count() as u32,
                    _ => entries.partition_point(before) as u32,
                };
            }
            for ((probe, &(start, end)), sum) in probes.iter().zip(&candidates).zip(sums) {
                let start = self.first(probe, start as usize, end as usize);
                for index in start..end as usize {
                    if self.entries.entries()[index].hash != probe.hash {
                        break;
                    }
                    if self.row(index) == probe.row {
                        *sum += self.entries.diff(index);
                    } else if index >= start + FEW {
                        break;
                    }
                }
            }
        }
    }
}

impl Batch {
    /// Where the rows with these keys are, and others whose keys have the same hashes: to each place of `ranges`, for the
    /// hash at its place. No more than [`TOGETHER`] are looked for at a time.
    pub(crate) fn ranges(&self, hashes: &[u64], ranges: &mut [(usize, usize)]) {
        for (hash, range) in hashes.iter().zip(&mut *ranges) {
            let (start, end) = self.directory.candidates(*hash);
            *range = (start as usize, end as usize);
        }
        for (hash, range) in hashes.iter().zip(ranges) {
            let (start, end) = *range;
            let entries = &self.entries.entries()[start..end];
            let first = partition(entries, |entry| entry.hash < *hash);
            let count = partition(&entries[first..], |entry| entry.hash == *hash);
            *range = (start + first, start + first + count);
        }
    }

    /// The updates of the rows with this key, among those whose keys have its hash: a range that [`Batch::ranges`] found.
    pub(crate) fn of_key(&self, range: (usize, usize), key: &[u8]) -> impl Iterator<Item = Update<'_>> {
        let (start, end) = self.range_of_key(range, key);
        (start..end).map(|index| self.update(index))
    }

    /// Where these are.
    pub(crate) fn range_of_key(&self, (mut start, mut end): (usize, usize), key: &[u8]) -> (usize, usize) {
        // No key is the beginning of another, and rows of a hash are in the order of their bytes: nearly always, all are of
        // the key.
        while start < end && !self.row(start).starts_with(key) {
            start += 1;
        }
        while start < end && !self.row(end - 1).starts_with(key) {
            end -= 1;
        }
        (start, end)
    }

    /// Where to begin to look for a row, of which `start` is the first entry with its hash, if there is one.
    #[inline]
    fn first(&self, probe: &Probe<'_>, start: usize, end: usize) -> usize {
        if end - start <= FEW || self.entries.entries()[start + FEW].hash != probe.hash {
            return start;
        }
        let same = self.entries.entries()[start..end].partition_point(|entry| entry.hash == probe.hash);
        let (mut first, mut last) = (start, start + same);
        while first < last {
            let middle = first.midpoint(last);
            if self.row(middle) < probe.row {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        first
    }
}

/// How many entries at the front are so.
#[inline]
fn partition(entries: &[Entry], so: impl Fn(&Entry) -> bool) -> usize {
    match entries.len() {
        ..=FEW => entries.iter().take_while(|entry| so(entry)).count(),
        _ => entries.partition_point(so),
    }
}

/// A batch that is being built, from updates in order.
pub(super) struct Building {
    batch: Batch,
}

impl Building {
    /// For up to so many rows, with so many bytes in all, and hashes in that range.
    pub(super) fn new(rows: usize, bytes: usize, (first, last): (u64, u64)) -> Self {
        Building {
            batch: Batch {
                entries: Entries::with_capacity(rows),
                bytes: Vec::with_capacity(bytes),
                times: Times::One(Epoch::MIN),
                directory: Directory::new(rows, first, last),
                held: None,
            },
        }
    }

    /// Adds an update. One of the same row and time as the last is added to that.
    #[inline]
    pub(super) fn push(&mut self, update: Update<'_>) {
        let Update { hash, row, time, diff } = update;
        let batch = &mut self.batch;
        if let Some(last) = batch.entries.entries().last()
            && last.hash == hash
        {
            let last = batch.len() - 1;
            let before = batch.update(last);
            if before.time == time && before.row == row {
                match before.diff + diff {
                    0 => self.pop(),
                    diff => batch.entries.set_last(diff),
                }
                return;
            }
        }
        let index = batch.len();
        match &mut batch.times {
            Times::Each(times) => times.push(time),
            Times::One(one) if index == 0 => *one = time,
            Times::One(one) if *one == time => {}
            Times::One(one) => {
                let mut times = vec![*one; index];
                times.push(time);
                batch.times = Times::Each(times);
            }
        }
        // Where the row before was taken back, the slot has its start already, and it is the same.
        batch.directory.push(index, hash);
        batch.bytes.extend_from_slice(row);
        batch.entries.push(hash, diff, batch.bytes.len());
    }

    /// Takes the last update back.
    fn pop(&mut self) {
        let batch = &mut self.batch;
        batch.entries.pop();
        batch.bytes.truncate(batch.len().checked_sub(1).map_or(0, |last| batch.entries.end(last)));
        if let Times::Each(times) = &mut batch.times {
            times.pop();
        }
    }

    /// The batch; none if all cancelled out.
    pub(super) fn done(self) -> Option<Batch> {
        let mut batch = self.batch;
        if batch.is_empty() {
            return None;
        }
        batch.directory.finish(batch.len());
        batch.entries.shrink_to_fit();
        batch.bytes.shrink_to_fit();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_however_many_have_the_same_hash() {
        for same in [1, 2, FEW, FEW + 1, FEW + 2, 1000] {
            let rows: Vec<[u8; 4]> = (0..3000u32).map(u32::to_be_bytes).collect();
            let hash = |index: usize| (index / same) as u64;
            let mut building = Building::new(2 * rows.len(), 8 * rows.len(), (0, hash(rows.len() - 1)));
            for (index, row) in rows.iter().enumerate() {
                for time in 0..2 {
                    building.push(Update { hash: hash(index), row, time, diff: index as i64 + 1 });
                }
            }
            let batch = building.done().expect("there are rows");
            let mut probes: Vec<_> =
                rows.iter().enumerate().map(|(index, row)| Probe { hash: hash(index), row }).collect();
            let absent = [7; 5];
            probes.push(Probe { hash: 0, row: &absent });
            let mut sums = vec![0; probes.len()];
            batch.sum(&probes, &mut sums);
            let expected: Vec<i64> = (1..=rows.len() as i64).map(|index| 2 * index).chain([0]).collect();
            assert_eq!(sums, expected, "{same} of each hash");
        }
    }
}
