//! A batch of messages of the client, and what becomes of each.

use std::collections::HashMap;

use super::super::{Each, Took};
use super::damage::{Trouble, is_of_a_place};
use super::partition::{Partition, Spot};
use super::reader::{self, Handed};
use crate::kafka::native::batch::Event;

/// A slot that no partition has.
const NOWHERE: usize = usize::MAX;

/// Hands over the messages of a batch.
pub(super) struct Batch<'a, 'e> {
    pub(super) slots: &'a HashMap<(String, i32), usize>,
    pub(super) partitions: &'a mut [Partition],
    /// The slot of the last record: the next one is most likely of the same partition.
    pub(super) last: &'a mut usize,
    /// True while brokers fail: those that have answered are noted.
    pub(super) failing: bool,
    pub(super) told: &'a mut Told,
    /// Takes the records.
    pub(super) each: &'a mut Each<'e>,
}

/// What a batch has come to, to be handled after it.
#[derive(Default)]
pub(super) struct Told {
    /// Bytes of the records that were taken.
    pub(super) bytes: usize,
    /// True iff a record is to be handed over once more: it came too early.
    pub(super) early: bool,
    pub(super) troubles: Vec<Trouble>,
    /// The brokers that have answered.
    pub(super) answered: Vec<i32>,
}

impl reader::Each for Batch<'_, '_> {
    /// Hands over a message, or has its partition keep it.
    #[inline]
    fn take(&mut self, lent: impl Handed) {
        if !lent.follows() {
            *self.last = find(self.slots, self.partitions, *self.last, lent.topic(), lent.partition());
            if self.failing {
                self.told.answered.extend(lent.broker());
            }
        }
        let partition = self.partitions.get_mut(*self.last);
        let beyond = match lent.event() {
            Event::Record(record) => {
                let Some(partition) = partition else { return };
                match partition.place(record.offset) {
                    Spot::Here if (self.each)(&record) == Took::Yes => {
                        self.told.bytes += record.size();
                        partition.advance(record.offset + 1);
                        return;
                    }
                    Spot::Here => {
                        partition.wait(record.offset);
                        self.told.early = true;
                        (partition, record.offset, record.size())
                    }
                    Spot::Behind => return,
                    Spot::Beyond => (partition, record.offset, record.size()),
                }
            }
            Event::End { offset } => {
                partition.into_iter().for_each(|partition| partition.reach_end(offset));
                return;
            }
            Event::Passed { offset } => {
                partition.into_iter().for_each(|partition| partition.pass(offset));
                return;
            }
            Event::Error { topic, partition: number, offset, code, text } => {
                if is_of_a_place(code) {
                    partition.into_iter().for_each(Partition::halt);
                }
                // Handled after the batch.
                let topic = topic.to_owned();
                self.told.troubles.push(Trouble { topic, partition: number, offset, code, text });
                return;
            }
        };
        let (partition, offset, size) = beyond;
        partition.stash(offset, size, lent);
    }
}

/// The slot of a partition; [`NOWHERE`] if it is not read. `last` is a good guess.
fn find(
    slots: &HashMap<(String, i32), usize>,
    partitions: &[Partition],
    last: usize,
    topic: &str,
    partition: i32,
) -> usize {
    match partitions.get(last) {
        Some(there) if there.partition == partition && there.topic == topic => last,
        _ => slots.get(&(topic.to_owned(), partition)).copied().unwrap_or(NOWHERE),
    }
}
