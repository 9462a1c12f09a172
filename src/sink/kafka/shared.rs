//! What all Kafka sinks of a run share: the way in which an epoch's records are delivered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::Report;

use super::at_least_once::AtLeastOnce;
use super::pending::Pending;
use super::transactions::Transactions;
use crate::fault::Fault;
use crate::kafka::client::Settings;
use crate::state::resume::Resume;

/// How often a reader of a topic sees each change, whatever happens.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Once: an epoch is one transaction, which readers of committed records see whole
    #[default]
    ExactlyOnce,
    /// Once, or more often after a crash: no transactions, so that records can be read sooner
    AtLeastOnce,
}

/// Delivers the records of epochs, in turn.
pub(super) trait Deliver: Send {
    /// The records of the open epoch, and the topics that they go to.
    fn pending(&mut self) -> &mut Pending;

    /// A run without state starts, which has this name: all its sinks are open.
    ///
    /// # Errors
    /// If no broker answers in time, or it does not allow it.
    fn start(&mut self, run: &str) -> Result<()>;

    /// A job goes on: returns the epoch up to which the topics hold everything. Asked by each of its sinks; the first
    /// one finds out.
    ///
    /// # Errors
    /// If that can't be found out, or what the topics hold can't be of this job.
    fn resume(&mut self, from: &Resume) -> Result<Epoch>;

    /// Sends the pending records, where that can be. What goes wrong with them is found out about when the epoch is
    /// committed.
    ///
    /// # Errors
    /// What ends the run.
    fn send(&mut self, epoch: Epoch) -> Result<()>;

    /// Returns when the epoch's records have been delivered. Called by each sink; the first one has it done.
    ///
    /// # Errors
    /// What ends the run.
    fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()>;
}

/// The delivery of a run, shared by its Kafka sinks.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<dyn Deliver>>);

impl Shared {
    /// A delivery, to be started. `group` is the consumer group that the offsets of what was read are committed to.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn prepare(settings: &Settings, group: &str, delivery: Delivery, fault: &Fault) -> Result<Self> {
        Ok(Shared(match delivery {
            Delivery::ExactlyOnce => Arc::new(Mutex::new(Transactions::prepare(settings, group, fault)?)),
            Delivery::AtLeastOnce => Arc::new(Mutex::new(AtLeastOnce::prepare(settings, fault))),
        }))
    }

    /// A run without state starts, which has this name: all its sinks are open. A job that keeps state starts when it is
    /// known what it resumes from.
    ///
    /// # Errors
    /// If no broker answers in time, or it does not allow it.
    pub fn start(&self, run: &str) -> Result<()> {
        self.lock().start(run)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, dyn Deliver + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
