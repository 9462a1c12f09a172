//! What survives a run: the ledger of cuts, and checkpoints of persisted collections.
//!
//! - [`cut`]: offsets of many partitions; [`resume`]: what a run resumes from, the same on all processes
//! - [`ledger`]: the cut of every epoch; [`digest`]: what stands there for its output
//! - [`checkpoint`]: making and loading checkpoints
//! - [`storage`]: where files are kept; [`sealed`]: lines with their checksum
//! - [`identity`], [`lock`]: whose state it is, and who has it in use
//! - [`joining`]: topics that are new to a run; [`gone`]: those that are not there any more
//! - [`open`]: all of that together, for a run
//! - [`inspect`]: what is in a state, for people; [`known`]: what is known of it while a run keeps it

pub mod checkpoint;
pub mod cut;
pub mod digest;
pub mod gone;
pub mod identity;
pub mod inspect;
pub mod joining;
pub mod known;
pub mod ledger;
pub mod lock;
pub mod open;
pub mod resume;
pub mod sealed;
pub mod storage;
