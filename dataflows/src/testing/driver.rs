//! Hands the records of a test to a source operator.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Sample;
use crate::record::{NoHeaders, Record};
use crate::rows::Timestamp;
use crate::source::{DecodeRecord, Driver, Report, Turn};
use crate::watermark::{EventTimes, Known, TimeReport, Times};
use crate::{Activator, Epoch, SyncActivator};

/// Feeds one input on one worker.
pub(super) struct Feed {
    pub(super) topic: String,
    /// What comes in each epoch from the first one on: the number of a record in its input, and the record.
    pub(super) epochs: VecDeque<Vec<(usize, Sample)>>,
    pub(super) first: Epoch,
    pub(super) here: Option<Activator>,
    /// Hands out one epoch a turn, so that the other operators run in between.
    pub(super) slow: bool,
    pub(super) clock: Clock,
}

/// Tells the times of an input on one worker. Nothing is waited for: the watermark is the largest event time.
pub(super) struct Clock {
    pub(super) input: String,
    /// When each epoch closes, from the first one on.
    pub(super) closed: VecDeque<i64>,
    /// The largest event time.
    pub(super) high: Option<i64>,
    /// What it has come to, over all inputs and workers.
    pub(super) times: Arc<Mutex<Times>>,
}

impl Clock {
    fn close(&mut self) -> Option<TimeReport> {
        let (closed, high) = (self.closed.pop_front()?, self.high);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.closed = times.closed.max(closed);
        times.watermark = times.watermark.max(high);
        if let Some(high) = high {
            let of = times.watermarks.entry(self.input.clone()).or_insert(high);
            *of = high.max(*of);
        }
        let known = Known::Read(EventTimes { low: None, high });
        Some(TimeReport { worker: 0, forced: true, closed, known })
    }
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
                topic: &self.topic,
                partition: 0,
                offset: number as i64,
                timestamp: sample.timestamp,
                key: sample.key.as_deref(),
                value: sample.value.as_deref(),
                headers: &NoHeaders,
            });
            report.dead_letters += u64::from(decoded.malformed.is_some());
            self.clock.high = self.clock.high.max(decoded.event_time.map(Timestamp::micros));
        }
        report.time = self.clock.close();
        Turn::Close(report)
    }
}
