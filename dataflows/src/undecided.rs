//! Records on which it is not decided yet whether they are late: they are held one by one.

use std::rc::Rc;

use crate::combine::Combiner;
use crate::dead_letter::Letters;
use crate::driver::Driver;
use crate::flat::FlatBatch;
use crate::limits::Limit;
use crate::record::{NoHeaders, Record};
use crate::rows::Timestamp;

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
    use std::time::Duration;

    use super::*;
    use crate::driver::{DecodeRecord, Turn};
    use crate::record::Malformed;
    use crate::{Activator, Epoch, SyncActivator};

    fn at(micros: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(micros))
    }

    struct Noted(Vec<(i64, String)>);

    impl Driver for Noted {
        fn attach(&mut self, _: Activator, _: SyncActivator) {}
        fn first(&self) -> Epoch {
            1
        }
        fn turn(&mut self, _: &mut DecodeRecord<'_>) -> Turn {
            Turn::Yield
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
        let limit = Limit::new(at(5), Duration::ZERO);
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
