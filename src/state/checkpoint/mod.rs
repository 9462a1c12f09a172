//! Checkpoints: the rows of all persisted collections as of one epoch, its cut, and a manifest.
//!
//! - [`barriers`]: as of which epochs they are made, told to all workers
//! - [`state_writer`]: from sealed epochs to parts, on each process; `run_set` is what it keeps of a collection for a worker
//! - [`run`]: the files that parts consist of; [`merge`] makes one of several, `compaction` says of which
//! - [`coordinator`]: from parts to a checkpoint, on the process with worker 0; [`manifest`]: what it is then
//! - [`load`]: finding the one to resume from

pub mod barriers;
mod compaction;
pub mod coordinator;
pub mod load;
pub mod manifest;
pub mod merge;
pub mod run;
mod run_set;
pub mod state_writer;
#[cfg(test)]
mod tests;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::{CheckpointPart, Sharding, StateWriter};

use crate::feed::Place;
use crate::measure::buckets::{Buckets, DURATIONS};

/// Makes the writers of persisted collections, for the workers of a process.
pub trait StateWriters: Send + Sync {
    /// The writer of a collection for one worker. Made on the worker's thread, once for each collection, in the same
    /// order on all workers.
    fn writer(&self, collection: &str, place: Place, sharding: Sharding) -> Box<dyn StateWriter>;

    /// Rows and bytes that the workers of this process have restored so far.
    fn restored(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// The checkpoints that a run has made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The epoch of the newest one, or of that which the run resumed from; 0 where there is none.
    pub epoch: Epoch,
    /// When it was complete, in microseconds since the Unix epoch; 0 where there is none.
    pub at: u64,
    /// The rows in its files.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long each took that the run has made.
    pub took: Buckets,
}

impl Default for Made {
    fn default() -> Self {
        Made { epoch: 0, at: 0, rows: 0, bytes: 0, took: Buckets::new(DURATIONS) }
    }
}

/// Puts checkpoints together of the parts of all workers. Only in the process with worker 0.
pub trait Checkpoints: Send + Sync {
    /// Is a checkpoint to be made as of this epoch? Asked when worker 0 has closed it, and from time to time as long as it
    /// is the last one. Once it says so, a part of each collection and worker will come.
    fn begin(&self, epoch: Epoch) -> bool;

    /// A part is finished.
    fn part(&self, part: CheckpointPart);

    /// Those that were made so far.
    fn made(&self) -> Made;

    /// All epochs up to this one are published: no checkpoint may be completed before its epoch is.
    fn published(&self, epoch: Epoch);

    /// All epochs are published, and all parts, the last ones included, have come: returns when the last checkpoint is
    /// complete.
    ///
    /// # Errors
    /// If it can't be written.
    fn finish(&self) -> Result<()>;
}
