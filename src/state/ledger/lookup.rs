//! Looking up a cut in the ledger, while it is written: nothing of it is held in memory.

use std::sync::Arc;

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;

use super::reading::{Found, Reading};
use super::segment;
use super::{Ledger, Segments};
use crate::state::cut::Cut;
use crate::state::storage::Storage;

/// Tells the cuts of epochs that are durable and not retired.
pub struct Lookup {
    storage: Arc<dyn Storage>,
    job: String,
    segments: Segments,
}

impl Ledger {
    /// Who tells cuts, from any thread.
    pub fn lookup(&self) -> Lookup {
        let (storage, job) = (Arc::clone(&self.storage), self.job.clone());
        Lookup { storage, job, segments: self.segments.clone() }
    }
}

impl Lookup {
    /// The cut of an epoch; empty for epoch 0. Reads the segment that holds it: about a megabyte at most.
    ///
    /// # Errors
    /// If the epoch is not in the ledger, or that can't be read or is damaged.
    pub fn cut(&self, epoch: Epoch) -> Result<Cut> {
        let segments = self.segments.now();
        let mut cut = Cut::default();
        let mut last = 0;
        if epoch > 0 && !segments.is_empty() {
            let begin = segment::begin(&segments, epoch);
            // The epoch may be the one before the first that is left: its cut is in the header.
            last = segments[begin].first - 1;
            for found in Reading::of(&*self.storage, Some(&self.job), segments[begin..].to_vec()) {
                match found? {
                    Found::Segment(before, _) if last == epoch => cut = before,
                    Found::Segment(before, _) if cut.is_empty() => cut = before,
                    Found::Segment(..) | Found::Torn(_) => {}
                    Found::Entry { entry, .. } => {
                        cut.advance(&entry.cut);
                        last = entry.epoch;
                    }
                    Found::Damage(problem) => bail!("the ledger is damaged: {problem}"),
                }
                if last >= epoch {
                    break;
                }
            }
        }
        if last != epoch {
            bail!("the ledger in {} does not have the cut of epoch {epoch}", self.storage.place());
        }
        Ok(cut)
    }
}
