//! Hands the records of a test to a source operator.

use std::collections::VecDeque;

use super::Sample;
use crate::record::{NoHeaders, Record};
use crate::source::{DecodeRecord, Driver, Report, Turn};
use crate::{Activator, Epoch, SyncActivator};

/// Feeds one input on one worker.
pub(super) struct Feed {
    /// What comes in each epoch from the first one on: the number of a record in its input, and the record.
    pub(super) epochs: VecDeque<Vec<(usize, Sample)>>,
    pub(super) first: Epoch,
    pub(super) here: Option<Activator>,
    /// Hands out one epoch a turn, so that the other operators run in between.
    pub(super) slow: bool,
}

impl Driver for Feed {
    fn attach(&mut self, here: Activator, _: SyncActivator) {
        self.here = Some(here);
    }

    fn first(&self) -> Epoch {
        self.first
    }

    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> Turn {
        if self.slow && self.epochs.len() % 2 == 1 {
            self.slow = false;
            self.here.iter().for_each(Activator::activate);
            return Turn::Yield;
        }
        self.slow = true;
        let Some(records) = self.epochs.pop_front() else { return Turn::Done(Report::default()) };
        let mut report = Report { records: records.len() as u64, ..Report::default() };
        for (number, sample) in records {
            let decoded = decode(&Record {
                topic: "test",
                partition: 0,
                offset: number as i64,
                timestamp: sample.timestamp,
                key: sample.key.as_deref(),
                value: sample.value.as_deref(),
                headers: &NoHeaders,
            });
            report.dead_letters += u64::from(decoded.malformed.is_some());
        }
        Turn::Close(report)
    }
}
