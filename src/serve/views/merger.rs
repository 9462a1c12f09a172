//! Merging of sorted runs, beside whoever publishes.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::sorted::{Since, Sorted};
use crate::serve::yields_to_the_run;

/// Runs of an output to be merged: those from a place on.
pub(super) struct Task {
    pub(super) output: usize,
    /// The place of the first; the others follow.
    pub(super) place: usize,
    pub(super) runs: Vec<Arc<Sorted>>,
    pub(super) since: Since,
}

/// Which runs are being merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) output: usize,
    pub(super) place: usize,
    pub(super) runs: usize,
}

/// A thread that merges, one task at a time.
pub(super) struct Merger {
    tasks: Sender<Task>,
    merged: Receiver<Sorted>,
    busy: Option<Busy>,
}

impl Merger {
    /// Starts it. It ends when this is dropped.
    pub(super) fn start() -> Result<Self> {
        let (tasks, inbox) = bounded::<Task>(1);
        let (outbox, merged) = bounded(1);
        std::thread::Builder::new()
            .name("cutwater:views".into())
            .spawn(move || {
                yields_to_the_run();
                for Task { runs, since, .. } in inbox {
                    if outbox.send(Sorted::merge(&runs, since)).is_err() {
                        return;
                    }
                }
            })
            .context("starting the thread that merges views")?;
        Ok(Merger { tasks, merged, busy: None })
    }

    /// What it has merged, and of which runs.
    pub(super) fn take(&mut self) -> Option<(Busy, Sorted)> {
        let merged = self.merged.try_recv().ok()?;
        Some((self.busy.take()?, merged))
    }

    /// The runs that it merges.
    pub(super) fn busy(&self) -> Option<Busy> {
        self.busy
    }

    /// Merges these, where it has nothing to do.
    pub(super) fn merge(&mut self, task: Task) {
        self.busy = Some(Busy { output: task.output, place: task.place, runs: task.runs.len() });
        // It lives as long as this, and has no other task.
        let _ = self.tasks.send(task);
    }
}
