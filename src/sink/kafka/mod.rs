//! Changes to Kafka topics, exactly once: all that an epoch adds to any of them, and the offsets of what was read for
//! it, is one transaction.
//!
//! - this module: the records of an output
//! - `transactions`: what all outputs of a run share: an epoch's records, and its transaction
//! - `kept`: the records of the open epoch
//! - `writer`: a producer, and what its errors ask for
//! - `group`: the group's committed offsets, which say what the topics hold
//! - `judge`: whether a transaction was committed that may have been
//! - `resume`: what follows from them for a job that goes on

mod group;
mod judge;
mod kept;
mod resume;
mod transactions;
mod writer;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;

pub use transactions::Shared;

use super::{Emit, Sink, lines, upserts};
use crate::kafka::topics::Making;
use crate::state::resume::Resume;

/// Writes an output to a topic.
pub struct Kafka {
    shared: Shared,
    /// The topic's number in `shared`.
    topic: usize,
    emit: Emit,
}

impl Kafka {
    /// A sink to `topic`, in the transactions of `shared`. A missing topic is made where `making` says how.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is not there, or can't be made.
    pub fn open(shared: &Shared, topic: &str, making: Option<Making>, emit: Emit) -> Result<Self> {
        Ok(Kafka { topic: shared.lock().topic(topic, making)?, shared: shared.clone(), emit })
    }
}

impl Sink for Kafka {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        let mut transactions = self.shared.lock();
        let mut keep = |key: &[u8], value: Option<&[u8]>| transactions.keep(self.topic, key, value);
        match self.emit {
            Emit::Upserts => upserts(changes).for_each(|(key, row)| keep(key, row)),
            Emit::Changes => {
                let mut value = Vec::new();
                for change in changes {
                    value.clear();
                    lines::change(epoch, output, change, &mut value);
                    keep(&change.key, Some(&value));
                }
            }
            Emit::Final => changes
                .iter()
                .flat_map(|change| (0..change.diff).map(move |_| change))
                .for_each(|change| keep(&change.key, Some(&change.row))),
        }
        transactions.send_kept(epoch)
    }

    fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()> {
        self.shared.lock().commit(epoch, reports)
    }

    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        self.shared.lock().resume(from)
    }
}
