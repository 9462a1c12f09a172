//! Checkpoints: the rows of all persisted collections as of one epoch, its cut, and a manifest.
//!
//! - [`marks`]: as of which epochs they are made, told to all workers
//! - [`keeper`]: from sealed epochs to pieces, on each process; `shelf` is what it keeps of a collection for a worker
//! - [`run`]: the files that pieces consist of; [`merge`] makes one of several, `tiers` says of which
//! - [`coordinator`]: from pieces to a checkpoint, on the process with worker 0; [`manifest`]: what it is then
//! - [`load`]: finding the one to go on from

pub mod coordinator;
pub mod keeper;
pub mod load;
pub mod manifest;
pub mod marks;
pub mod merge;
pub mod run;
mod shelf;
#[cfg(test)]
mod tests;
mod tiers;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::{Keeper, Piece};

use crate::feed::Place;

/// Makes the keepers of persisted collections, for the workers of a process.
pub trait Keepers: Send + Sync {
    /// The keeper of a collection for one worker. Made on the worker's thread, once for each collection, in the same
    /// order on all workers.
    fn keeper(&self, collection: &str, place: Place) -> Box<dyn Keeper>;
}

/// Puts checkpoints together of the pieces of all workers. Only in the process with worker 0.
pub trait Checkpoints: Send + Sync {
    /// Is a checkpoint to be made as of this epoch? Asked when worker 0 has closed it. Once it says so, a piece of each
    /// collection and worker will come.
    fn begin(&self, epoch: Epoch) -> bool;

    /// A piece is finished.
    fn piece(&self, piece: Piece);

    /// All epochs up to this one are published: no checkpoint may be completed before its epoch is.
    fn published(&self, epoch: Epoch);

    /// All epochs are published, and all pieces, the last ones included, have come: returns when the last checkpoint is
    /// complete.
    ///
    /// # Errors
    /// If it can't be written.
    fn finish(&self) -> Result<()>;
}
