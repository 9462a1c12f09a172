//! Merging of sorted runs, beside whoever publishes.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::sorted::{Since, Sorted};
use crate::serve::yields_to_the_run;

/// Two runs of an output to be merged.
pub(super) struct Pair {
    pub(super) output: usize,
    /// The place of the first; the other follows.
    pub(super) place: usize,
    pub(super) older: Arc<Sorted>,
    pub(super) newer: Arc<Sorted>,
    pub(super) since: Since,
}

/// A thread that merges, one pair at a time.
pub(super) struct Merger {
    pairs: Sender<Pair>,
    merged: Receiver<Sorted>,
    /// The pair's output and place, while there is one.
    busy: Option<(usize, usize)>,
}

impl Merger {
    /// Starts it. It ends when this is dropped.
    pub(super) fn start() -> Result<Self> {
        let (pairs, inbox) = bounded::<Pair>(1);
        let (outbox, merged) = bounded(1);
        std::thread::Builder::new()
            .name("cutwater:views".into())
            .spawn(move || {
                yields_to_the_run();
                for pair in inbox {
                    if outbox.send(Sorted::merge(&pair.older, &pair.newer, pair.since)).is_err() {
                        return;
                    }
                }
            })
            .context("starting the thread that merges views")?;
        Ok(Merger { pairs, merged, busy: None })
    }

    /// What it has merged, with the output and the place of the pair.
    pub(super) fn take(&mut self) -> Option<((usize, usize), Sorted)> {
        let merged = self.merged.try_recv().ok()?;
        Some((self.busy.take()?, merged))
    }

    /// The output and the place of the pair that it merges.
    pub(super) fn busy(&self) -> Option<(usize, usize)> {
        self.busy
    }

    /// Merges a pair, where it has nothing to do.
    pub(super) fn merge(&mut self, pair: Pair) {
        self.busy = Some((pair.output, pair.place));
        // It lives as long as this, and has no other pair.
        let _ = self.pairs.send(pair);
    }
}
