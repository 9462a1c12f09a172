//! Persisting: what the runtime keeps of a collection, so that it survives a restart.

use serde::{Deserialize, Serialize};

use crate::flat::FlatBatch;
use crate::key;
use crate::rows::value::read_value;
use crate::rows::{Kind, Place, Row};
use crate::{Epoch, SyncActivator};

/// By what the rows of a persisted collection are hashed, and so sorted in its files and distributed among workers. It
/// stands beside each file, so that files can be read without the dataflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sharding(Option<Kind>);

impl Sharding {
    /// By the whole row.
    pub fn by_row() -> Self {
        Sharding(None)
    }

    /// By the first part of a pair.
    pub fn by_key<K: Row>() -> Self {
        Sharding(Some(K::kind()))
    }

    /// The hash of a row; of bytes that are none, some hash.
    #[inline]
    pub fn hash(&self, row: &[u8]) -> u64 {
        let Some(kind) = &self.0 else { return key::hash(row) };
        let mut rest = row;
        match read_value(kind, &mut rest, Place::Inner) {
            Ok(_) => key::hash(&row[..row.len() - rest.len()]),
            // Damaged: the caller compares the hash.
            Err(_) => key::hash(row),
        }
    }
}

/// A range of row hashes (see [`Sharding`]), both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashRange {
    /// The first hash of the range.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl HashRange {
    /// The hashes whose rows are kept by a worker: equal parts of all hashes, in order.
    ///
    /// # Panics
    /// If `worker` is none of `workers`.
    pub fn of(worker: usize, workers: usize) -> Self {
        assert!(worker < workers, "worker {worker} of {workers}");
        let start = |worker: usize| ((worker as u128) << 64).div_ceil(workers as u128);
        HashRange { first: start(worker) as u64, last: (start(worker + 1) - 1) as u64 }
    }

    /// The worker that keeps the row with this hash: the one whose range holds it.
    #[inline]
    pub fn worker(hash: u64, workers: usize) -> usize {
        ((u128::from(hash) * workers as u128) >> 64) as usize
    }

    /// True iff the hash lies in the range.
    #[inline]
    pub fn holds(self, hash: u64) -> bool {
        self.first <= hash && hash <= self.last
    }

    /// The hashes in both ranges, if there are any.
    pub fn both(self, other: HashRange) -> Option<HashRange> {
        let both = HashRange { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }
}

/// A run: rows in the order of their hashes, in a file of the runtime's, of which those in a range of hashes count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortedRun {
    /// The file.
    pub file: String,
    /// The hashes that count.
    pub range: HashRange,
    /// By what its rows are hashed. Always written: parts pass between processes in a form that can leave no field out.
    pub sharding: Sharding,
    /// Rows in the whole file.
    pub rows: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// One worker's part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPart {
    /// The persisted collection.
    pub collection: String,
    /// The worker.
    pub worker: usize,
    /// All epochs up to this one are in it; `None` in the part that is made at the end, of all epochs.
    pub epoch: Option<Epoch>,
    /// The runs whose rows, taken together, are the worker's rows of the collection.
    pub runs: Vec<SortedRun>,
}

/// Keeps one persisted collection for one worker. Lives in the runtime; errors end the run there.
pub trait StateWriter: 'static {
    /// Says how to have the operator run again, from any thread: when a part is finished.
    fn attach(&mut self, anywhere: SyncActivator);

    /// Hands over some more of the worker's rows as of the checkpoint that the run resumes from, each once, in the order
    /// of their hashes. Returns true as long as there are more. Called until then, before anything is sealed.
    fn restore(&mut self, each: &mut dyn FnMut(FlatBatch)) -> bool;

    /// An epoch is complete, with these changes of the worker's rows. Called in order; epochs without changes are
    /// left out.
    fn seal(&mut self, epoch: Epoch, changes: FlatBatch);

    /// Has a part be made of all that is sealed: epochs up to `epoch`, or all that there will ever be.
    fn checkpoint(&mut self, epoch: Option<Epoch>);

    /// The parts that are finished since the last call.
    fn finished(&mut self) -> Vec<CheckpointPart>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_hashes_once_and_tell_the_worker() {
        for workers in [1, 2, 3, 7, 64, 1000] {
            let mut next = Some(0);
            for worker in 0..workers {
                let range = HashRange::of(worker, workers);
                assert_eq!(Some(range.first), next);
                for hash in [range.first, range.first + 1, range.last - 1, range.last] {
                    assert!(range.holds(hash));
                    assert_eq!(HashRange::worker(hash, workers), worker, "{hash} of {workers}");
                }
                next = range.last.checked_add(1);
            }
            assert_eq!(next, None);
        }
    }
}
