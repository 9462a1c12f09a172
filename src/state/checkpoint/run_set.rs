//! The rows that a worker keeps of a collection: runs, and what has changed since the last of them.

use anyhow::{Result, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::combine::Combiner;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{CheckpointPart, HashRange, Sharding, SortedRun};

use super::compaction;
use super::run::{Reader, RunFiles};

/// A run that a worker's rows are made of.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The run.
    pub(super) run: SortedRun,
    /// Bytes of its blocks that hold rows that count.
    pub(super) bytes: u64,
    /// True iff all rows of its file count.
    pub(super) whole: bool,
    /// True iff it is in a part, and so may be named by a manifest.
    pub(super) named: bool,
}

impl Held {
    /// A run of a checkpoint, of which `reader` reads.
    pub(super) fn restored(run: SortedRun, reader: &Reader) -> Self {
        Held { run, bytes: reader.bytes(), whole: reader.is_whole(), named: true }
    }

    fn new(run: SortedRun) -> Self {
        Held { bytes: run.bytes, run, whole: true, named: false }
    }
}

/// The rows that a worker keeps of a collection.
pub(super) struct RunSet {
    collection: String,
    worker: usize,
    range: HashRange,
    sharding: Sharding,
    runs: Vec<Held>,
    /// Changes that are in no run.
    changes: Combiner,
    /// The newest epoch that is sealed.
    sealed: Epoch,
    /// What is being merged.
    merging: Option<Vec<SortedRun>>,
}

impl RunSet {
    /// The rows of `collection` whose hashes lie in `range`, made of these runs.
    pub(super) fn new(
        collection: &str,
        worker: usize,
        range: HashRange,
        sharding: Sharding,
        runs: Vec<Held>,
    ) -> Self {
        let changes = Combiner::default();
        RunSet {
            collection: collection.into(),
            worker,
            range,
            sharding,
            runs,
            changes,
            sealed: 0,
            merging: None,
        }
    }

    /// The hashes of its rows.
    pub(super) fn range(&self) -> HashRange {
        self.range
    }

    /// An epoch is complete, with these changes.
    ///
    /// # Errors
    /// If changes had to be written and could not be.
    pub(super) fn seal(&mut self, epoch: Epoch, changes: &FlatBatch, files: &RunFiles) -> Result<()> {
        self.sealed = epoch;
        for (row, count) in changes.iter() {
            self.changes.add(row, count);
            if self.changes.size() > files.sizes().changes {
                self.write(files)?;
            }
        }
        Ok(())
    }

    /// A part of all that is sealed.
    ///
    /// # Errors
    /// If it can't be written, or an epoch after `epoch` is sealed.
    pub(super) fn checkpoint(&mut self, epoch: Option<Epoch>, files: &RunFiles) -> Result<CheckpointPart> {
        let (sealed, collection) = (self.sealed, self.collection.clone());
        ensure!(
            epoch.is_none_or(|epoch| sealed <= epoch),
            "a checkpoint of epoch {epoch:?}, but {sealed} is sealed in {collection}"
        );
        self.write(files)?;
        self.runs.iter_mut().for_each(|held| held.named = true);
        let runs = self.runs.iter().map(|held| held.run.clone()).collect();
        Ok(CheckpointPart { collection, worker: self.worker, epoch, runs })
    }

    /// What to merge now, once; then [`RunSet::merged`] has to be called.
    pub(super) fn next_merge(&mut self) -> Option<Vec<SortedRun>> {
        if self.merging.is_some() {
            return None;
        }
        let chosen = compaction::pick(&self.runs);
        if !chosen.is_empty() {
            self.merging = Some(chosen.into_iter().map(|index| self.runs[index].run.clone()).collect());
        }
        self.merging.clone()
    }

    /// What was to be merged has become this run, or nothing. Returns the files that nothing will ever name: no part
    /// has them.
    pub(super) fn merged(&mut self, output: Option<SortedRun>) -> Vec<String> {
        let inputs = self.merging.take().unwrap_or_default();
        let (gone, left) =
            std::mem::take(&mut self.runs).into_iter().partition(|held| inputs.contains(&held.run));
        self.runs = left;
        self.runs.extend(output.map(Held::new));
        let gone: Vec<Held> = gone;
        gone.into_iter().filter(|held| !held.named).map(|held| held.run.file).collect()
    }

    /// Writes the changes as a run.
    fn write(&mut self, files: &RunFiles) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut writer = files.write(self.range, &self.sharding);
        writer.push_batch(&self.changes.take())?;
        self.runs.extend(writer.finish()?.map(Held::new));
        Ok(())
    }
}
