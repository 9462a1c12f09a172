//! Sorted runs: rows in order, each with the epochs in which its number changed.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use cutwater_dataflows::{Diff, Epoch};

/// Encoded rows in their order, which never change. A row is there once, with its changes in the order of their epochs.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    bytes: Vec<u8>,
    /// Where the bytes, and the changes, of each row end.
    ends: Vec<(usize, usize)>,
    changes: Vec<(Epoch, Diff)>,
}

impl Sorted {
    /// Of these rows, all at one epoch, in any order.
    pub(super) fn of<'a>(epoch: Epoch, rows: impl IntoIterator<Item = (&'a [u8], Diff)>) -> Self {
        let mut rows: Vec<(&[u8], Diff)> = rows.into_iter().collect();
        // Each worker's rows are in order: a sort that merges what is has little to do.
        rows.sort_by(|a, b| a.0.cmp(b.0));
        let mut sorted = Sorted::default();
        for same in rows.chunk_by(|a, b| a.0 == b.0) {
            sorted.push(same[0].0, same.iter().map(|&(_, diff)| (epoch, diff)));
        }
        sorted.shrink();
        sorted
    }

    /// All of these, of which each has later epochs than the one before. Changes of epochs up to `since` become one, or go
    /// where nothing of them is wanted.
    pub(super) fn merge(runs: &[Arc<Sorted>], since: Since) -> Self {
        let mut merged = Sorted::default();
        let mut heads: BinaryHeap<Head<'_>> =
            (0..).zip(runs).filter_map(|(age, run)| Head::at(run, 0, age)).collect();
        let mut changes = Vec::new();
        while let Some(row) = heads.peek().map(|head| head.row) {
            changes.clear();
            take(&mut heads, row, |found| {
                changes.extend(found.iter().filter_map(|&change| since.seen(change)))
            });
            merged.push(row, changes.iter().copied());
        }
        merged.shrink();
        merged
    }

    /// Appends a row with its changes, summed by epoch. What cancels out is left out.
    fn push(&mut self, row: &[u8], changes: impl Iterator<Item = (Epoch, Diff)>) {
        let start = self.changes.len();
        for (epoch, diff) in changes {
            match self.changes[start..].last_mut() {
                Some((last, sum)) if *last == epoch => *sum += diff,
                _ => self.changes.push((epoch, diff)),
            }
            // A later epoch may follow only once this is known not to be nothing.
            if self.changes[start..].last().is_some_and(|(_, sum)| *sum == 0) {
                self.changes.pop();
            }
        }
        if self.changes.len() > start {
            self.bytes.extend_from_slice(row);
            self.ends.push((self.bytes.len(), self.changes.len()));
        }
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.changes.shrink_to_fit();
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The epoch of its first row's first change.
    pub(super) fn first_epoch(&self) -> Option<Epoch> {
        self.changes.first().map(|&(epoch, _)| epoch)
    }

    /// What merging it costs: its changes.
    pub(super) fn weight(&self) -> usize {
        self.changes.len()
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 16 * (self.ends.len() + self.changes.len())
    }

    /// The row at a place.
    pub(super) fn row(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index).0..self.ends[index].0]
    }

    /// Its changes.
    pub(super) fn changes(&self, index: usize) -> &[(Epoch, Diff)] {
        &self.changes[self.start(index).1..self.ends[index].1]
    }

    fn start(&self, index: usize) -> (usize, usize) {
        if index == 0 { (0, 0) } else { self.ends[index - 1] }
    }

    /// The place of the first row that is not below this.
    fn find(&self, row: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle) < row { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// What is asked of old epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// Rows as of this epoch and later ones.
    AsOf(Epoch),
    /// Rows that were added after this epoch.
    After(Epoch),
}

impl Since {
    /// The change as it is seen.
    fn seen(self, (epoch, diff): (Epoch, Diff)) -> Option<(Epoch, Diff)> {
        match self {
            Since::AsOf(since) => Some((epoch.max(since), diff)),
            Since::After(since) => (epoch > since).then_some((epoch, diff)),
        }
    }
}

/// Where a walk over several runs is in one of them.
struct Head<'a> {
    row: &'a [u8],
    index: usize,
    run: &'a Sorted,
    /// Of runs that have the same row, the least comes first.
    age: usize,
}

impl<'a> Head<'a> {
    /// At a place of a run; `None` if that is its end.
    fn at(run: &'a Sorted, index: usize, age: usize) -> Option<Self> {
        (index < run.len()).then(|| Head { row: run.row(index), index, run, age })
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The least comes first from a heap.
        other.row.cmp(self.row).then(other.age.cmp(&self.age))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Head<'_> {}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

/// Shows the changes that each run has of a row, which is the first of all, and passes over it.
fn take<'a>(heads: &mut BinaryHeap<Head<'a>>, row: &[u8], mut each: impl FnMut(&'a [(Epoch, Diff)])) {
    while let Some(mut head) = heads.peek_mut().filter(|head| head.row == row) {
        each(head.run.changes(head.index));
        let next = head.index + 1;
        if next < head.run.len() {
            (head.row, head.index) = (head.run.row(next), next);
        } else {
            PeekMut::pop(head);
        }
    }
}

/// The rows of several runs, in order, from the first that is not below `from`: each with how often it is there as of
/// `epoch`, where that is not 0. Changes up to `after` don't count.
pub(super) fn walk<'a>(
    runs: &'a [Arc<Sorted>],
    from: &[u8],
    after: Option<Epoch>,
    epoch: Epoch,
) -> impl Iterator<Item = (&'a [u8], Diff)> + use<'a> {
    let head = |run: &'a Arc<Sorted>| Head::at(run, run.find(from), 0);
    let mut heads: BinaryHeap<Head<'a>> = runs.iter().filter_map(head).collect();
    let counts = move |at: Epoch| at <= epoch && after.is_none_or(|after| at > after);
    std::iter::from_fn(move || {
        loop {
            let row = heads.peek()?.row;
            let mut sum = 0;
            take(&mut heads, row, |changes| {
                let counted = changes.iter().filter(|(at, _)| counts(*at));
                sum += counted.map(|(_, diff)| diff).sum::<Diff>();
            });
            if sum != 0 {
                return Some((row, sum));
            }
        }
    })
}
