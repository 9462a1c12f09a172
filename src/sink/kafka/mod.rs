//! Changes to Kafka topics. Exactly once: all that an epoch adds to any of them, and the offsets of what was read for
//! it, is one transaction. Or at least once, without transactions.
//!
//! - this module: the records of an output
//! - `shared`: what all outputs of a run share: the way in which an epoch is delivered
//! - `transactions`, `at_least_once`: the two ways
//! - `pending`, `kept`: the records of the open epoch
//! - `letter`: dead letters in Kafka's own form
//! - `target`: a topic that is written to, and how large a record it takes
//! - `writer`: a producer, and what its errors ask for; `calls`: those that may not come back
//! - `group`: the group's committed offsets, which say what the topics hold
//! - `was_committed`: whether a transaction was committed that may have been
//! - `resume`: what follows from them for a job that goes on

mod at_least_once;
mod calls;
mod group;
mod kept;
mod letter;
mod pending;
mod polled;
mod resume;
mod shared;
mod target;
mod transactions;
mod was_committed;
mod writer;

use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;

pub use letter::TIMESTAMP as LETTER_TIMESTAMP;
pub use shared::{Delivery, Shared};

use super::too_large::{OnTooLarge, TooLarge};
use super::{Emit, Origin, Sink, lines, upserts};
use crate::kafka::topics::Making;
use crate::measure::transactions::Transacted;
use crate::state::resume::Resume;

/// Writes an output to a topic.
pub struct Kafka {
    shared: Shared,
    /// The topic's number in `shared`.
    topic: usize,
    form: Form,
    on_too_large: OnTooLarge,
}

/// What records say.
#[derive(Clone, Copy)]
enum Form {
    /// What `--emit` says.
    Rows(Emit),
    /// Dead letters: the records that they were.
    DeadLetters,
}

impl Kafka {
    /// A sink to `topic`, delivered as `shared` does. A missing topic is made where `making` says how.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is not there, or can't be made.
    pub fn open(
        shared: &Shared,
        topic: &str,
        making: Option<Making>,
        emit: Emit,
        on_too_large: OnTooLarge,
    ) -> Result<Self> {
        let topic = shared.lock().pending().topic(topic, making)?;
        Ok(Kafka { topic, shared: shared.clone(), form: Form::Rows(emit), on_too_large })
    }

    /// As [`Kafka::open`], for dead letters: each is the record that it was, with headers that say where that was and
    /// why it is here. Where the topic does not take so many bytes, its value is cut.
    ///
    /// # Errors
    /// As [`Kafka::open`].
    pub fn open_dead_letters(shared: &Shared, topic: &str, making: Option<Making>) -> Result<Self> {
        let topic = shared.lock().pending().topic(topic, making)?;
        Ok(Kafka { topic, shared: shared.clone(), form: Form::DeadLetters, on_too_large: OnTooLarge::Fail })
    }
}

impl Sink for Kafka {
    fn transactions(&self) -> Option<Arc<Transacted>> {
        Some(Arc::clone(&self.shared.lock().pending().transacted))
    }

    fn begin(&mut self, _epoch: Epoch, origin: Origin<'_>) {
        if origin.with_rows {
            let mut shared = self.shared.lock();
            origin.offsets.clone_into(&mut shared.pending().target(self.topic).offsets);
        }
    }

    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        let mut shared = self.shared.lock();
        let pending = shared.pending();
        output.clone_into(&mut pending.target(self.topic).output);
        let mut keep =
            |key: &[u8], value: Option<&[u8]>| pending.kept.push(self.topic, Some(key), value, None);
        let there = || changes.iter().flat_map(|change| (0..change.diff).map(move |_| change));
        match self.form {
            Form::Rows(Emit::Upserts) => upserts(changes).for_each(|(key, row)| keep(key, row)),
            Form::Rows(Emit::Changes) => {
                let mut value = Vec::new();
                for change in changes {
                    value.clear();
                    lines::change(epoch, output, change, &mut value);
                    keep(&change.key, Some(&value));
                }
            }
            Form::Rows(Emit::Append | Emit::Final) => {
                there().for_each(|change| keep(&change.key, Some(&change.row)))
            }
            Form::DeadLetters => {
                for change in there() {
                    let letter::Read { letter, key, value } = letter::read(&change.row)?;
                    pending.kept.push(self.topic, key.as_deref(), value.as_deref(), Some(letter));
                }
            }
        }
        shared.send(epoch)
    }

    fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()> {
        self.shared.lock().commit(epoch, reports)
    }

    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        self.shared.lock().resume(from)
    }

    fn refuse(&self, output: &str, changes: &[Change]) -> Option<(Vec<Change>, Vec<TooLarge>)> {
        let Form::Rows(emit) = self.form else { return None };
        if self.on_too_large == OnTooLarge::Fail {
            return None;
        }
        let mut shared = self.shared.lock();
        let target = shared.pending().target(self.topic);
        let most = target.most_of_a_row(output);
        let size = |change: &Change| change.key.len() + change.row.len();
        if changes.iter().all(|change| size(change) <= most) {
            return None;
        }
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for change in changes {
            if size(change) <= most {
                taken.push(change.clone());
            } else if change.diff > 0 {
                let reason = format!(
                    "output {output:?}: the row has {} bytes, and topic {} takes fewer ({})",
                    size(change),
                    target.name,
                    target.limit
                );
                refused.push(TooLarge { topic: target.name.clone(), change: change.clone(), reason });
            } else if emit == Emit::Upserts && change.key.len() <= most {
                // The row never was in the topic. But an earlier one of this key may be, and is gone as well.
                taken.push(change.clone());
            }
        }
        Some((taken, refused))
    }
}
