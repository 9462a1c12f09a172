//! Delivery without transactions: a record can be read as soon as it has arrived.
//!
//! An epoch is published when the brokers have acknowledged all its records, each in all replicas that are in sync. When
//! that is not known of one, all of the epoch are sent again. A job that resumes sends what its ledger does not know to be
//! published, with the same records in the same epochs: readers that drop what they have seen of an epoch, by its key and
//! the header `epoch`, see each change once. Nothing keeps two runs of a job from writing at the same time but the lock on
//! its state.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::Report;

use super::calls::Calls;
use super::pending::Pending;
use super::shared::Deliver;
use super::writer::{TransactionError, Writer};
use crate::crash;
use crate::fault::Fault;
use crate::fold::Folded;
use crate::kafka::client::Settings;
use crate::kafka::topics;
use crate::retry::Retry;
use crate::state::resume::Resume;

/// The longest wait before an epoch is sent again.
const LONGEST: Duration = Duration::from_secs(5);

/// The delivery of a run.
pub(super) struct AtLeastOnce {
    pending: Pending,
    /// `None` until it has started, and while it is replaced.
    writer: Option<Writer>,
    calls: Calls,
    /// What was delivered last.
    done: Option<Epoch>,
    /// Epochs that were sent again, as they were said.
    said: Folded,
}

impl AtLeastOnce {
    /// To be started.
    pub(super) fn prepare(settings: &Settings, fault: &Fault) -> Self {
        AtLeastOnce {
            pending: Pending::new(settings, fault),
            writer: None,
            calls: Calls::new(fault),
            done: None,
            said: Folded::new("epochs that were written again"),
        }
    }

    fn make_writer(&self) -> Result<Writer> {
        Writer::idempotent(&self.pending.settings, self.pending.most(), &self.calls)
    }

    /// Sends what is not sent yet, where nothing has gone wrong so far.
    fn send_pending(&mut self, epoch: Epoch) -> Result<(), TransactionError> {
        let writer = self.writer.as_mut().expect("it starts before it writes");
        if self.pending.sent == 0 {
            writer.mark();
        }
        self.pending.send(epoch, writer)
    }

    /// One try: returns when all is acknowledged.
    fn attempt(&mut self, epoch: Epoch) -> Result<(), TransactionError> {
        if let Some(trouble) = self.pending.trouble.take() {
            return Err(trouble);
        }
        self.send_pending(epoch)?;
        crash::point("records-sent");
        self.writer.as_mut().expect("it has sent").acknowledged()
    }
}

impl Deliver for AtLeastOnce {
    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    fn start(&mut self, _run: &str) -> Result<()> {
        let settings = &self.pending.settings;
        topics::connect(&settings.metadata()?, settings)?;
        self.writer = Some(self.make_writer()?);
        Ok(())
    }

    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        if self.writer.is_none() {
            self.start(&from.job)?;
        }
        Ok(from.published)
    }

    fn send(&mut self, epoch: Epoch) -> Result<()> {
        if self.pending.trouble.is_some() {
            return Ok(());
        }
        let sent = self.send_pending(epoch);
        self.pending.note(sent)
    }

    fn commit(&mut self, epoch: Epoch, _reports: &[Report]) -> Result<()> {
        if self.done == Some(epoch) {
            return Ok(());
        }
        let (mut retry, begun) = (Retry::new(&self.pending.fault, LONGEST, None), Instant::now());
        while let Err(error) = self.attempt(epoch) {
            self.pending.transacted.again();
            let shown = format!("writing to {}", self.pending.shown_topics());
            let why = match error {
                TransactionError::End(error) => return Err(self.pending.explained(error, "")),
                TransactionError::Lost(why) => why,
                TransactionError::TooLarge { record, bytes, why } => {
                    self.pending.too_large(record, bytes, &why).context(shown)?;
                    why
                }
            };
            // What it still has in flight may arrive as well: that is what "at least" is for.
            self.writer = None;
            self.pending.sent = 0;
            self.said
                .warn(|| format!("{why}; writing epoch {epoch} again: some of its records may come twice"));
            retry.wait(&why)?;
            self.writer = Some(self.make_writer()?);
        }
        self.pending.transacted.committed(begun.elapsed());
        self.pending.clear();
        self.done = Some(epoch);
        Ok(())
    }
}
