//! What the source operator and the runtime agree on: how it is driven, and what it reports.

use serde::{Deserialize, Serialize};

use crate::reasons::Reasons;
use crate::record::{Malformed, Record};
use crate::rows::Timestamp;
use crate::watermark::TimeReport;
use crate::{Activator, Epoch, SyncActivator};

/// What one worker read for one input in one epoch: its part of the cut, and figures about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The input.
    pub input: String,
    /// The partitions whose next offset moved in this epoch.
    pub moved: Vec<Moved>,
    /// Records read.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Rows they decoded to, equal ones counted each time.
    pub rows: u64,
    /// Records that became dead letters, late ones among them.
    pub dead_letters: u64,
    /// Why they did.
    pub reasons: Reasons,
    /// The least timestamp of the records: milliseconds since the Unix epoch.
    pub oldest: Option<i64>,
    /// Microseconds since the Unix epoch at which the first record of the epoch was read.
    pub first_read: u64,
    /// True iff a run before had read the epoch, and it was read again.
    pub again: bool,
    /// What the worker says of time: there where it says something new, and in every report of an epoch.
    pub time: Option<TimeReport>,
}

impl Report {
    /// True iff the report alone makes it an epoch: something was read, or it was closed for a timer. Others only say
    /// something of time, and count where there is such a report of the same epoch.
    pub fn is_epoch(&self) -> bool {
        self.records > 0 || !self.moved.is_empty() || self.time.is_some_and(|time| time.forced)
    }
}

/// What reports say of time, each with its input.
pub fn times(reports: &[Report]) -> impl Iterator<Item = (&str, TimeReport)> {
    reports.iter().filter_map(|report| Some((report.input.as_str(), report.time?)))
}

/// A partition whose next offset moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moved {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where reading of it began, in the first report that names it; `None` in later ones, and where the run goes on
    /// from an offset that was known before.
    pub start: Option<i64>,
    /// The topic's id, in the first report of a run that names the partition, where the brokers tell it.
    pub id: Option<String>,
    /// The offset after the last record of the epoch.
    pub next: i64,
    /// The end of the partition as last heard from the broker: `end - next` is the lag.
    pub end: i64,
}

/// What the source operator does next.
#[derive(Debug)]
pub enum Turn {
    /// Nothing for now. The driver has seen to it that the operator is activated again.
    Yield,
    /// Closes the open epoch with this report, and turns again.
    Close(Report),
    /// Closes the open epoch with this report, and ends the input.
    Done(Report),
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Why it is a dead letter, if it is one by now: see [`Driver::late`].
    pub malformed: Option<Malformed>,
    /// Bytes of the distinct rows that the open epoch has come to by now.
    pub held: usize,
    /// The record's event time, where it has one and could be decoded.
    pub event_time: Option<Timestamp>,
    /// True iff it can't be decoded yet: it was not read, and is to be handed over once more, before all others of its
    /// partition.
    pub not_yet: bool,
}

/// Decodes a record for the open epoch.
pub type DecodeRecord<'a> = dyn FnMut(&Record<'_>) -> Decoded + 'a;

/// Feeds a source operator.
pub trait Driver: 'static {
    /// Says how to have the operator run again: from its own worker, and from any thread.
    fn attach(&mut self, here: Activator, anywhere: SyncActivator);

    /// The first epoch, which is open from the start.
    fn first(&self) -> Epoch;

    /// One turn: hands some records to `decode`, which says what became of each, and returns what the operator does
    /// next.
    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> Turn;

    /// A record that was decoded has come to nothing all the same: it is late. It is counted in the report already.
    fn late(&mut self, _record: &Record<'_>, _reason: &Malformed) {}
}
