//! Lateness: how far behind the watermark a record may come and still count.
//!
//! A record is late if its event time is less than the watermark of the epoch before the one in which it is read, minus the
//! lateness. Both are functions of the cuts, so every number of workers and every replay decide the same. The decision is the
//! source's, where the record still is what was read: a late one becomes a dead letter. The source may read records before
//! the time of the epoch before is known on its worker: these are held one by one until it is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::combine::Combiner;
use crate::dataflow::{Build, wrapped};
use crate::flat::FlatBatch;
use crate::operators::micros::{after, micros};
use crate::record::{Malformed, NoHeaders, Record};
use crate::rows::Timestamp;
use crate::source::{Driver, Letters};
use crate::{Activator, Epoch};

/// The dataflow with a lateness: its late records become dead letters, and operators that can drop state do. Without one,
/// nothing is late.
pub fn with_lateness(dataflow: Arc<dyn Build>, lateness: Option<Duration>) -> Arc<dyn Build> {
    let Some(lateness) = lateness else { return dataflow };
    wrapped(dataflow, move |dataflow, flow| {
        flow.set_lateness(lateness);
        dataflow.build(flow);
    })
}

/// `time` less `lateness`: what is before it is late, and what ends before it can change no more.
pub fn horizon(time: Timestamp, lateness: Duration) -> Timestamp {
    after(time, -micros(lateness))
}

/// What decides on the records of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The watermark of the epoch before; `None` where it is not known: then no record is late.
    watermark: Option<Timestamp>,
    lateness: Duration,
}

impl Limit {
    /// Why a record with this event time does not count.
    #[inline]
    pub(crate) fn late(&self, event_time: Option<Timestamp>) -> Option<Malformed> {
        let (time, watermark) = (event_time?, self.watermark?);
        (time < horizon(watermark, self.lateness)).then(|| self.reason(time, watermark))
    }

    #[cold]
    fn reason(&self, time: Timestamp, watermark: Timestamp) -> Malformed {
        let lateness = humantime::format_duration(self.lateness);
        Malformed(
            format!("late: its event time {time} is more than the lateness, {lateness}, behind the watermark {watermark}")
                .into(),
        )
    }
}

/// The limits of a worker's sources: told by the operator that tells the time.
pub(crate) struct Limits {
    lateness: Duration,
    /// The watermark that the run resumes with.
    before: Option<Timestamp>,
    /// The newest epoch of which the time is known, and its watermark.
    known: Cell<Option<(Epoch, Option<Timestamp>)>>,
    sources: RefCell<Vec<Activator>>,
}

impl Limits {
    pub(crate) fn new(lateness: Duration, before: Option<Timestamp>) -> Rc<Self> {
        Rc::new(Limits { lateness, before, known: Cell::new(None), sources: RefCell::default() })
    }

    /// The lateness.
    pub(crate) fn lateness(&self) -> Duration {
        self.lateness
    }

    /// Has this source run when a limit becomes known.
    pub(crate) fn wake(&self, source: Activator) {
        self.sources.borrow_mut().push(source);
    }

    /// The times of all epochs up to this one are known. The watermark is that of the last one: no source is past an epoch
    /// on which it has not decided, so none needs an earlier one.
    pub(crate) fn reached(&self, epoch: Epoch, watermark: Option<Timestamp>) {
        if self.known.get().is_none_or(|(known, _)| known < epoch) {
            self.known.set(Some((epoch, watermark)));
            self.sources.borrow().iter().for_each(Activator::activate);
        }
    }

    /// What decides on the records of an epoch, once it is known. `first` is the first epoch of the run.
    pub(crate) fn of(&self, epoch: Epoch, first: Epoch) -> Option<Limit> {
        let watermark = match self.known.get() {
            _ if epoch == first => self.before,
            Some((known, watermark)) if known + 1 >= epoch => watermark,
            _ => return None,
        };
        Some(Limit { watermark, lateness: self.lateness })
    }
}

/// A record on which it is not decided yet: what it was, and what it has decoded to.
struct Undecided {
    event_time: Option<Timestamp>,
    topic: Rc<str>,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    rows: FlatBatch,
    /// How many rows it has decoded to, equal ones counted each time.
    added: u64,
}

/// The records of an epoch on which it is not decided yet, in the order in which they were read.
#[derive(Default)]
pub(crate) struct Waiting {
    records: Vec<Undecided>,
    bytes: usize,
}

impl Waiting {
    /// True iff there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of the records and their rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds a record, and the rows that it has decoded to, which are taken from `rows`.
    pub(crate) fn push(&mut self, record: &Record<'_>, event_time: Option<Timestamp>, rows: &mut Combiner) {
        let topic = match self.records.last() {
            Some(last) if *last.topic == *record.topic => Rc::clone(&last.topic),
            _ => record.topic.into(),
        };
        let added = rows.added();
        let rows = rows.take();
        self.bytes += record.size() + rows.size();
        self.records.push(Undecided {
            event_time,
            topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            rows,
            added,
        });
    }

    /// Decides on all of them: the rows of those that count go to `rows`, the others to `letters`. Returns how many rows
    /// count, equal ones of a record counted each time, and how many records do not.
    pub(crate) fn decide(
        &mut self,
        limit: &Limit,
        rows: &mut Combiner,
        letters: &mut Letters,
        driver: &mut dyn Driver,
    ) -> (u64, u64) {
        let (mut added, mut late) = (0, 0);
        for waiting in std::mem::take(self).records {
            match limit.late(waiting.event_time) {
                Some(reason) => {
                    let record = waiting.read();
                    letters.push(&record, &reason);
                    driver.late(&record, &reason);
                    late += 1;
                }
                None => {
                    waiting.rows.iter().for_each(|(row, count)| rows.add(row, count));
                    added += waiting.added;
                }
            }
        }
        (added, late)
    }
}

impl Undecided {
    /// The record as it was read. Its headers are gone: a dead letter has none.
    fn read(&self) -> Record<'_> {
        Record {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &NoHeaders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(micros))
    }

    #[test]
    fn a_record_is_late_that_is_more_than_the_lateness_behind() {
        let limit = |watermark| Limit { watermark, lateness: Duration::from_micros(10) };
        let late = |watermark, time| limit(watermark).late(time).is_some();
        assert!(!late(at(100), at(90)) && late(at(100), at(89)));
        assert!(!late(None, at(i64::MIN)) && !late(at(100), None));
        assert!(!late(at(i64::MIN), at(i64::MIN)), "it does not wrap around");
        let reason = limit(at(3_600_000_000)).late(at(0)).unwrap().0;
        for text in ["late", "1970-01-01T00:00:00Z", "10us", "1970-01-01T01:00:00Z"] {
            assert!(reason.contains(text), "{text} in {reason}");
        }
    }

    #[test]
    fn the_limit_of_an_epoch_is_the_watermark_of_the_one_before() {
        let limits = Limits::new(Duration::ZERO, at(5));
        let watermark = |epoch| limits.of(epoch, 3).map(|limit| limit.watermark);
        assert_eq!((watermark(3), watermark(4)), (Some(at(5)), None));
        limits.reached(2, at(9));
        assert_eq!((watermark(3), watermark(4)), (Some(at(5)), None));
        limits.reached(3, at(7));
        assert_eq!((watermark(4), watermark(5)), (Some(at(7)), None));
        limits.reached(3, at(8));
        assert_eq!(watermark(4), Some(at(7)));
    }

    struct Noted(Vec<(i64, String)>);

    impl Driver for Noted {
        fn attach(&mut self, _: Activator, _: crate::SyncActivator) {}
        fn first(&self) -> Epoch {
            1
        }
        fn turn(&mut self, _: &mut crate::source::DecodeRecord<'_>) -> crate::source::Turn {
            crate::source::Turn::Yield
        }
        fn late(&mut self, record: &Record<'_>, reason: &Malformed) {
            self.0.push((record.offset, reason.0.to_string()));
        }
    }

    #[test]
    fn records_that_wait_are_counted_with_all_their_rows_or_told_as_late() {
        let mut waiting = Waiting::default();
        for (offset, time) in [(0, at(4)), (1, at(5)), (2, None)] {
            let mut rows = Combiner::default();
            [b"a", b"a", b"b"].into_iter().for_each(|row| rows.add(row, 1));
            let record = Record { offset, ..Record::of_value(Some(b"aab")) };
            waiting.push(&record, time, &mut rows);
        }
        assert!(waiting.bytes() > 3 * 3);
        let limit = Limit { watermark: at(5), lateness: Duration::ZERO };
        let (mut rows, mut letters, mut noted) = (Combiner::default(), Letters::default(), Noted(Vec::new()));
        assert_eq!(waiting.decide(&limit, &mut rows, &mut letters, &mut noted), (6, 1));
        assert!(waiting.is_empty());
        let batch = rows.take();
        let mut rows: Vec<_> = batch.iter().collect();
        rows.sort();
        assert_eq!(rows, [(&b"a"[..], 4), (b"b", 2)]);
        assert_eq!((letters.batch.len(), noted.0.len(), noted.0[0].0), (1, 1, 0));
        assert_eq!(letters.reasons.iter().collect::<Vec<_>>(), [("late", 1)]);
    }
}
