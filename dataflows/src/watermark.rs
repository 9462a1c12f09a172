//! The times of an epoch: the watermark of each input, and when the epoch closed.
//!
//! Each worker reports what it knows when it closes an epoch. What that comes to is a function of the reports alone, so
//! all who hear of all reports agree on it: the operators that ask for the time, and the ledger. A replayed epoch has
//! the times that the ledger says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rows::Timestamp;

/// Stands for the event time of a partition that has had none yet, and is waited for.
pub const UNKNOWN: i64 = i64::MIN;

/// What a worker says of time in an input when it closes an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeReport {
    /// The worker.
    pub worker: usize,
    /// True iff this alone makes it an epoch: it was closed for a timer, or is replayed.
    pub forced: bool,
    /// The wall-clock time at which the worker closed the epoch: microseconds since the Unix epoch.
    pub closed: i64,
    /// What is known of event time.
    pub known: Known,
}

/// What a worker knows of event time in an input. Times are microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// From what it has read.
    Read(EventTimes),
    /// From the ledger: the watermarks of the input and of the whole dataflow.
    Replayed {
        /// Of the input.
        input: Option<i64>,
        /// Of the dataflow.
        flow: Option<i64>,
    },
}

/// Event times of a worker's partitions of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimes {
    /// The least watermark of the partitions that are not idle; [`UNKNOWN`] where one has none yet. `None` where all are
    /// idle.
    pub low: Option<i64>,
    /// The largest event time read.
    pub high: Option<i64>,
}

impl EventTimes {
    /// Those of the partitions of both.
    pub fn and(self, other: Self) -> Self {
        let low = self.low.into_iter().chain(other.low).min();
        EventTimes { low, high: self.high.max(other.high) }
    }

    /// The watermark that they come to: that of the partitions that are not idle, and where all are, the largest event
    /// time. `None` where it is not known yet.
    fn watermark(self) -> Option<i64> {
        self.low.or(self.high).filter(|&time| time != UNKNOWN)
    }
}

/// The times of an epoch. All are microseconds since the Unix epoch, and none goes back from one epoch to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The wall-clock time at which the epoch closed: the latest at which a worker did.
    pub closed: i64,
    /// The watermark of the dataflow: as of one input that has the partitions of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<i64>,
    /// The watermarks of the inputs that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watermarks: BTreeMap<String, i64>,
}

/// Tells the times of each epoch from the reports of all workers.
#[derive(Clone, Debug, Default)]
pub struct Watermarks {
    times: Times,
    /// What each worker said last, by input and worker.
    known: BTreeMap<(String, usize), EventTimes>,
}

impl Watermarks {
    /// For a run that resumes after an epoch of these times.
    pub fn after(times: Times) -> Self {
        Watermarks { times, known: BTreeMap::new() }
    }

    /// The times of the last epoch.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Takes the reports of an epoch, each with its input; returns its times. Their order makes no difference.
    pub fn advance<'a>(&mut self, reports: impl IntoIterator<Item = (&'a str, TimeReport)>) -> &Times {
        for (input, report) in reports {
            self.times.closed = self.times.closed.max(report.closed);
            match report.known {
                Known::Read(times) => drop(self.known.insert((input.to_owned(), report.worker), times)),
                Known::Replayed { input: watermark, flow } => {
                    self.raise(input, watermark);
                    self.times.watermark = self.times.watermark.max(flow);
                }
            }
        }
        let mut all = EventTimes::default();
        let mut inputs: BTreeMap<&str, EventTimes> = BTreeMap::new();
        for ((input, _), &times) in &self.known {
            all = all.and(times);
            let of = inputs.entry(input).or_default();
            *of = of.and(times);
        }
        let inputs: Vec<(String, Option<i64>)> =
            inputs.into_iter().map(|(input, times)| (input.to_owned(), times.watermark())).collect();
        inputs.iter().for_each(|(input, watermark)| self.raise(input, *watermark));
        self.times.watermark = self.times.watermark.max(all.watermark());
        &self.times
    }

    fn raise(&mut self, input: &str, watermark: Option<i64>) {
        if let Some(watermark) = watermark {
            let of = self.times.watermarks.entry(input.to_owned()).or_insert(watermark);
            *of = watermark.max(*of);
        }
    }
}

/// The time of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Up to where the records have come, by event time: the least watermark of the partitions that are not idle, over all
    /// inputs. `None` as long as nothing is known of one of them. It never goes back.
    pub watermark: Option<Timestamp>,
    /// The wall-clock time at which the epoch closed. It never goes back.
    pub closed: Timestamp,
}

impl From<&Times> for Now {
    fn from(times: &Times) -> Self {
        let watermark = times.watermark.map(Timestamp::from_micros);
        Now { watermark, closed: Timestamp::from_micros(times.closed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(worker: usize, closed: i64, low: Option<i64>, high: Option<i64>) -> TimeReport {
        TimeReport { worker, forced: false, closed, known: Known::Read(EventTimes { low, high }) }
    }

    fn times(closed: i64, watermark: Option<i64>, inputs: &[(&str, i64)]) -> Times {
        let watermarks = inputs.iter().map(|&(input, watermark)| (input.to_owned(), watermark)).collect();
        Times { closed, watermark, watermarks }
    }

    #[test]
    fn the_least_that_is_not_idle_and_never_back() {
        let mut watermarks = Watermarks::default();
        // One worker has a partition of which nothing was read.
        let first = [("a", read(0, 10, Some(5), Some(9))), ("a", read(1, 12, Some(UNKNOWN), Some(100)))];
        assert_eq!(*watermarks.advance(first), times(12, None, &[]));
        // It goes idle; the calendar goes back.
        assert_eq!(
            *watermarks.advance([("a", read(1, 3, None, Some(100)))]),
            times(12, Some(5), &[("a", 5)])
        );
        // Another comes up.
        let joined = [("a", read(1, 20, Some(UNKNOWN), Some(100)))];
        assert_eq!(*watermarks.advance(joined), times(20, Some(5), &[("a", 5)]));
        let behind = [("a", read(1, 20, Some(4), Some(100))), ("a", read(0, 21, Some(8), Some(9)))];
        assert_eq!(*watermarks.advance(behind), times(21, Some(5), &[("a", 5)]));
        // All are idle: nothing is waited for.
        let idle = [("a", read(1, 22, None, Some(100))), ("a", read(0, 21, None, Some(9)))];
        assert_eq!(*watermarks.advance(idle), times(22, Some(100), &[("a", 100)]));
        assert_eq!(
            *watermarks.advance([("a", read(1, 23, Some(99), Some(100)))]),
            times(23, Some(100), &[("a", 100)])
        );
    }

    #[test]
    fn an_idle_input_does_not_hold_the_others_back() {
        let mut watermarks = Watermarks::default();
        let both = [("a", read(0, 1, Some(50), Some(60))), ("table", read(0, 1, Some(3), Some(3)))];
        assert_eq!(*watermarks.advance(both), times(1, Some(3), &[("a", 50), ("table", 3)]));
        let idle = [("table", read(0, 2, None, Some(3)))];
        assert_eq!(*watermarks.advance(idle), times(2, Some(50), &[("a", 50), ("table", 3)]));
    }

    #[test]
    fn what_is_replayed_is_as_the_ledger_says() {
        let mut watermarks = Watermarks::after(times(7, Some(3), &[("a", 4)]));
        let known = Known::Replayed { input: Some(9), flow: Some(5) };
        let replayed = |worker| ("a", TimeReport { worker, forced: true, closed: 8, known });
        assert_eq!(*watermarks.advance([replayed(0), replayed(1)]), times(8, Some(5), &[("a", 9)]));
        // What is read after that begins with partitions of which nothing is known.
        let live = [("a", read(0, 9, Some(UNKNOWN), Some(7)))];
        assert_eq!(*watermarks.advance(live), times(9, Some(5), &[("a", 9)]));
    }
}
