//! What survives a run: the ledger of cuts, and checkpoints of persisted collections.
//!
//! - [`cut`]: offsets of many partitions; [`resume`]: what a run goes on from, the same on all processes
//! - [`checkpoint`]: making and loading checkpoints
//! - [`trail`]: the cuts since the last checkpoint
//! - [`storage`]: where files are kept

pub mod checkpoint;
pub mod cut;
pub mod resume;
pub mod storage;
pub mod trail;
