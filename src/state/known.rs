//! What is known of a state while a run keeps it, so that nobody need read it: who writes it says so here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutwater_dataflows::Epoch;

use super::checkpoint::manifest::Manifest;
use super::cut::Cut;

/// What is known of a state. Clones share it.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Summary>>);

/// What there is by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where it is kept.
    pub place: String,
    /// Its checkpoints, the newest last.
    pub checkpoints: Vec<Checkpoint>,
    /// The first and the last epoch of the ledger, which has all between them.
    pub ledger: Option<(Epoch, Epoch)>,
    /// The cut of the last.
    pub cut: Cut,
}

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// All epochs up to this one are in it.
    pub epoch: Epoch,
    /// When it was complete: microseconds since the Unix epoch.
    pub time: u64,
    /// Of each collection, the stored rows, their bytes, and their runs.
    pub collections: BTreeMap<String, (u64, u64, u64)>,
}

impl Known {
    /// Of a state that is kept there.
    pub(super) fn of(place: String) -> Self {
        Known(Arc::new(Mutex::new(Summary { place, ..Summary::default() })))
    }

    /// What there is by now.
    pub fn now(&self) -> Summary {
        self.lock().clone()
    }

    /// A checkpoint is complete; so many are kept.
    pub(super) fn complete(&self, manifest: &Manifest, kept: usize) {
        let collections = manifest.collections.iter();
        let of =
            collections.map(|(name, rows)| (name.clone(), (rows.rows, rows.bytes, rows.runs.len() as u64)));
        let checkpoint = Checkpoint { epoch: manifest.epoch, time: manifest.time, collections: of.collect() };
        let mut summary = self.lock();
        summary.checkpoints.push(checkpoint);
        let gone = summary.checkpoints.len().saturating_sub(kept);
        summary.checkpoints.drain(..gone);
    }

    /// The ledger has these epochs, and the last of them moved the cut by so much.
    pub(super) fn ledger(&self, range: Option<(Epoch, Epoch)>, moved: &Cut) {
        let mut summary = self.lock();
        summary.ledger = range;
        summary.cut.advance(moved);
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
