//! Merging runs into one, in small steps.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{HashRange, SortedRun};

use super::run::{Reader, RunFiles, Writer};
use crate::fold::Folded;

/// Bytes of rows that a step of a merge takes, about.
const STEP: usize = 256 << 10;

/// A merge under way: writes the rows of several runs into one.
struct Merge {
    sums: Sums,
    writer: Writer,
}

impl Merge {
    fn new(files: &RunFiles, runs: &[SortedRun], range: HashRange) -> Result<Self> {
        let Some(SortedRun { sharding, .. }) = runs.first() else { bail!("nothing is to be merged") };
        let readers = runs.iter().map(|run| Reader::open(files.storage(), run)).collect::<Result<_>>()?;
        Ok(Merge { sums: Sums::new(readers)?, writer: files.write(range, sharding) })
    }

    /// Takes some rows; false when there are no more.
    fn step(&mut self) -> Result<bool> {
        self.sums.step(STEP, &mut |hash, row, count| self.writer.push(hash, row, count))
    }
}

/// Takes the rows of several runs in the order of their hashes, and sums the counts of equal ones. Holds a stretch of each
/// run in memory, whatever their size.
pub(super) struct Sums {
    inputs: Vec<Input>,
    /// The next hash of each input that has one.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Rows of one hash, of all inputs.
    equal: FlatBatch,
}

/// A run, and its current block.
struct Input {
    reader: Reader,
    block: FlatBatch,
    hashes: Vec<u64>,
    at: usize,
}

/// Takes a row: its hash, its encoding and its count.
type Each<'a> = dyn FnMut(u64, &[u8], i64) -> Result<()> + 'a;

impl Sums {
    /// The rows of what is read.
    ///
    /// # Errors
    /// If the first blocks can't be read.
    pub(super) fn new(readers: Vec<Reader>) -> Result<Self> {
        let mut inputs = Vec::with_capacity(readers.len());
        let mut next = BinaryHeap::with_capacity(readers.len());
        for reader in readers {
            let mut input = Input { reader, block: FlatBatch::default(), hashes: Vec::new(), at: 0 };
            next.extend(input.hash()?.map(|hash| Reverse((hash, inputs.len()))));
            inputs.push(input);
        }
        Ok(Sums { inputs, next, equal: FlatBatch::default() })
    }

    /// Gives the next rows whose sum is not zero, from about so many bytes; false when there are no more.
    ///
    /// # Errors
    /// If a run can't be read, and those of `each`.
    pub(super) fn step(&mut self, bytes: usize, each: &mut Each<'_>) -> Result<bool> {
        let mut taken = 0;
        while taken < bytes {
            let Some(Reverse((hash, index))) = self.next.pop() else { return Ok(false) };
            let others = self.next.peek().map(|Reverse((next, _))| *next);
            let input = &mut self.inputs[index];
            let mut next = Some(hash);
            if self.equal.is_empty() && others != Some(hash) {
                // Nobody else has a row before the next of the others.
                while let Some(hash) = next.filter(|&hash| taken < bytes && others.is_none_or(|o| hash < o)) {
                    let (row, count) = input.row();
                    each(hash, row, count)?;
                    taken += row.len() + FlatBatch::OVERHEAD;
                    next = input.advance()?;
                }
                self.next.extend(next.map(|hash| Reverse((hash, index))));
                continue;
            }
            let (row, count) = input.row();
            self.equal.push(row, count);
            taken += row.len() + FlatBatch::OVERHEAD;
            self.next.extend(input.advance()?.map(|hash| Reverse((hash, index))));
            if self.next.peek().is_none_or(|Reverse((next, _))| *next != hash) {
                self.flush(hash, each)?;
            }
        }
        Ok(true)
    }

    /// Gives the sums of the rows of one hash.
    fn flush(&mut self, hash: u64, each: &mut Each<'_>) -> Result<()> {
        let mut order: Vec<usize> = (0..self.equal.len()).collect();
        order.sort_by_key(|&index| self.equal.row(index));
        for equal in order.chunk_by(|&a, &b| self.equal.row(a) == self.equal.row(b)) {
            let count = equal.iter().map(|&index| self.equal.count(index)).sum();
            if count != 0 {
                each(hash, self.equal.row(equal[0]), count)?;
            }
        }
        self.equal.clear();
        Ok(())
    }
}

impl Input {
    /// Its next row.
    fn row(&self) -> (&[u8], i64) {
        (self.block.row(self.at), self.block.count(self.at))
    }

    /// Goes to the row after that, and returns its hash.
    fn advance(&mut self) -> Result<Option<u64>> {
        self.at += 1;
        self.hash()
    }

    /// The hash of its next row.
    fn hash(&mut self) -> Result<Option<u64>> {
        while self.at == self.block.len() {
            let Some(block) = self.reader.next(|rows| rows.to_batch())? else { return Ok(None) };
            self.hashes.clear();
            self.hashes.extend(block.iter().map(|(row, _)| self.reader.sharding().hash(row)));
            ensure!(self.hashes.is_sorted(), "rows of a run are not in order");
            (self.block, self.at) = (block, 0);
        }
        Ok(Some(self.hashes[self.at]))
    }
}

/// What the merging has to do.
pub(super) enum Work {
    /// Runs to be merged, of the run set with this number and range.
    Merge(usize, HashRange, Vec<SortedRun>),
    /// RunFiles that nothing names.
    Remove(Vec<String>),
}

/// What became of the runs of the run set with this number.
pub(super) struct Merged(pub(super) usize, pub(super) Option<SortedRun>);

/// Merges runs, one merge after the other, in steps.
pub struct Merging {
    files: Arc<RunFiles>,
    inbox: Receiver<Work>,
    outbox: Sender<Merged>,
    waiting: VecDeque<Work>,
    current: Option<(usize, Merge)>,
}

impl Merging {
    pub(super) fn new(files: Arc<RunFiles>, inbox: Receiver<Work>, outbox: Sender<Merged>) -> Self {
        Merging { files, inbox, outbox, waiting: VecDeque::new(), current: None }
    }

    /// Does a little; false if there is nothing to do.
    ///
    /// # Errors
    /// If a run can't be read or written.
    pub fn step(&mut self) -> Result<bool> {
        loop {
            match self.inbox.try_recv() {
                Ok(work) => self.waiting.push_back(work),
                Err(TryRecvError::Empty) => break,
                // The run has ended: nobody needs what is under way, and nothing of it is left.
                Err(TryRecvError::Disconnected) => {
                    self.waiting.retain(|work| matches!(work, Work::Remove(_)));
                    self.current = None;
                    break;
                }
            }
        }
        if let Some((run_set, mut merge)) = self.current.take() {
            if merge.step()? {
                self.current = Some((run_set, merge));
            } else {
                let _ = self.outbox.send(Merged(run_set, merge.writer.finish()?));
            }
            return Ok(true);
        }
        match self.waiting.pop_front() {
            Some(Work::Merge(run_set, range, runs)) => {
                self.current = Some((run_set, Merge::new(&self.files, &runs, range)?));
            }
            Some(Work::Remove(files)) => files.iter().for_each(|file| self.remove(file)),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Waits for something to do; false if there will be nothing any more.
    pub fn wait(&mut self) -> bool {
        self.waiting.extend(self.inbox.recv());
        !self.waiting.is_empty()
    }

    fn remove(&self, file: &str) {
        // RunFiles that nothing names are looked for at every start as well.
        if let Err(error) = self.files.storage().remove(file) {
            static LEFT: Folded = Folded::new("files that are left");
            LEFT.warn_always(|| format!("a file that is not needed any more is left: {error:#}"));
        }
    }
}
