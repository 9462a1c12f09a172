//! Merging runs into one, in small steps.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use anyhow::{Result, ensure};
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use cutwater_dataflows::combine::row_hash;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{HashRange, Run};

use super::run::{Reader, RunFiles, Writer};

/// Rows that a step of a merge takes, about.
const STEP: usize = 10_000;

/// A merge under way: takes the rows of several runs in the order of their hashes, sums the counts of equal ones, and
/// writes those whose sum is not zero. Holds a stretch of each run in memory, whatever their size.
struct Merge {
    inputs: Vec<Input>,
    /// The next hash of each input that has one.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Rows of one hash, of all inputs.
    equal: FlatBatch,
    writer: Writer,
}

/// A run that is being merged, and its current block.
struct Input {
    reader: Reader,
    block: FlatBatch,
    hashes: Vec<u64>,
    at: usize,
}

impl Merge {
    fn new(files: &RunFiles, runs: &[Run], range: HashRange) -> Result<Self> {
        let mut inputs = Vec::with_capacity(runs.len());
        let mut next = BinaryHeap::with_capacity(runs.len());
        for run in runs {
            let reader = Reader::open(files.storage(), run)?;
            let mut input = Input { reader, block: FlatBatch::default(), hashes: Vec::new(), at: 0 };
            next.extend(input.hash()?.map(|hash| Reverse((hash, inputs.len()))));
            inputs.push(input);
        }
        Ok(Merge { inputs, next, equal: FlatBatch::default(), writer: files.write(range) })
    }

    /// Takes some rows; false when there are no more.
    fn step(&mut self) -> Result<bool> {
        for _ in 0..STEP {
            let Some(Reverse((hash, index))) = self.next.pop() else { return Ok(false) };
            let input = &mut self.inputs[index];
            self.equal.push(input.block.row(input.at), input.block.count(input.at));
            input.at += 1;
            self.next.extend(input.hash()?.map(|hash| Reverse((hash, index))));
            if self.next.peek().is_none_or(|Reverse((next, _))| *next != hash) {
                self.flush(hash)?;
            }
        }
        Ok(true)
    }

    /// Writes the sums of the rows of one hash.
    fn flush(&mut self, hash: u64) -> Result<()> {
        if self.equal.len() > 1 {
            let mut order: Vec<usize> = (0..self.equal.len()).collect();
            order.sort_by_key(|&index| self.equal.row(index));
            for equal in order.chunk_by(|&a, &b| self.equal.row(a) == self.equal.row(b)) {
                let count = equal.iter().map(|&index| self.equal.count(index)).sum();
                if count != 0 {
                    self.writer.push(hash, self.equal.row(equal[0]), count)?;
                }
            }
        } else {
            self.writer.push(hash, self.equal.row(0), self.equal.count(0))?;
        }
        self.equal.clear();
        Ok(())
    }
}

impl Input {
    /// The hash of its next row.
    fn hash(&mut self) -> Result<Option<u64>> {
        while self.at == self.block.len() {
            let Some(block) = self.reader.next(|rows| rows.to_batch())? else { return Ok(None) };
            self.hashes.clear();
            self.hashes.extend(block.iter().map(|(row, _)| row_hash(row)));
            ensure!(self.hashes.is_sorted(), "rows of a run are not in order");
            (self.block, self.at) = (block, 0);
        }
        Ok(Some(self.hashes[self.at]))
    }
}

/// What the merging has to do.
pub(super) enum Work {
    /// Runs to be merged, of the shelf with this number and range.
    Merge(usize, HashRange, Vec<Run>),
    /// RunFiles that nothing names.
    Remove(Vec<String>),
}

/// What became of the runs of the shelf with this number.
pub(super) struct Merged(pub(super) usize, pub(super) Option<Run>);

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
        if let Some((shelf, mut merge)) = self.current.take() {
            if merge.step()? {
                self.current = Some((shelf, merge));
            } else {
                let _ = self.outbox.send(Merged(shelf, merge.writer.finish()?));
            }
            return Ok(true);
        }
        match self.waiting.pop_front() {
            Some(Work::Merge(shelf, range, runs)) => {
                self.current = Some((shelf, Merge::new(&self.files, &runs, range)?));
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
            tracing::warn!("a file that is not needed any more is left: {error:#}");
        }
    }
}
