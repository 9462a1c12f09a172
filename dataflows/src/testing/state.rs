//! State in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::combine::Combiner;
use crate::flat::FlatBatch;
use crate::persist::{CheckpointPart, HashRange, Sharding, StateWriter};
use crate::{Epoch, SyncActivator};

/// What is persisted, by collection.
#[derive(Clone, Default)]
pub(super) struct State(Arc<Mutex<BTreeMap<String, Combiner>>>);

impl State {
    /// The rows of each collection, once all that wrote them have gone.
    pub(super) fn rows(&self) -> BTreeMap<String, FlatBatch> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().map(|(name, rows)| (name.clone(), rows.take())).collect()
    }

    /// The writer of a collection for one worker, which restores its part of `restored`.
    pub(super) fn writer(
        &self,
        collection: &str,
        restored: Option<&FlatBatch>,
        sharding: &Sharding,
        (worker, workers): (usize, usize),
    ) -> Box<dyn StateWriter> {
        let range = HashRange::of(worker, workers);
        let rows = restored.into_iter().flat_map(FlatBatch::iter);
        let mut mine: Vec<_> = rows.map(|(row, count)| (sharding.hash(row), row, count)).collect();
        mine.retain(|(hash, ..)| range.holds(*hash));
        mine.sort_unstable();
        let mut restored = Vec::new();
        // In small batches, so that tests meet several.
        for rows in mine.chunks(5) {
            let mut batch = FlatBatch::default();
            rows.iter().for_each(|(_, row, count)| batch.push(row, *count));
            restored.push(batch);
        }
        restored.reverse();
        Box::new(Writer {
            state: self.clone(),
            collection: collection.to_owned(),
            worker,
            restored,
            ended: false,
        })
    }
}

struct Writer {
    state: State,
    collection: String,
    worker: usize,
    /// What is to be restored, the next batch last.
    restored: Vec<FlatBatch>,
    ended: bool,
}

impl Writer {
    fn add(&self, rows: &FlatBatch) {
        let mut all = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = all.entry(self.collection.clone()).or_default();
        rows.iter().for_each(|(row, count)| sums.add(row, count));
    }
}

impl StateWriter for Writer {
    fn attach(&mut self, _: SyncActivator) {}

    fn restore(&mut self, each: &mut dyn FnMut(FlatBatch)) -> bool {
        if let Some(batch) = self.restored.pop() {
            self.add(&batch);
            each(batch);
        }
        !self.restored.is_empty()
    }

    fn seal(&mut self, _: Epoch, changes: FlatBatch) {
        self.add(&changes);
    }

    fn checkpoint(&mut self, epoch: Option<Epoch>) {
        self.ended = epoch.is_none();
    }

    fn finished(&mut self) -> Vec<CheckpointPart> {
        if !std::mem::take(&mut self.ended) {
            return Vec::new();
        }
        let (collection, worker) = (self.collection.clone(), self.worker);
        vec![CheckpointPart { collection, worker, epoch: None, runs: Vec::new() }]
    }
}
