//! The source operator, without the world outside: it decodes what its [`Driver`] hands it, sums rows for
//! the open epoch, and sends them when the driver closes it.
//!
//! The driver lives in the runtime. It knows the feed (Kafka, a file, a test's), decides when an epoch
//! closes, and keeps the cut. The operator knows capabilities. So dataflows need nothing of Kafka to compile,
//! and the decoder is called with its type known.

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Scope, Stream};

use crate::combine::Combiner;
use crate::dead_letter::{self, DeadLetter};
use crate::decode::{Decode, Rows};
use crate::flat::FlatBatch;
use crate::panics::caught;
use crate::record::{Malformed, Record};
use crate::rows::{Row, Timestamp, encode_into};
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
    /// Records that became dead letters.
    pub dead_letters: u64,
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
    /// Why it is a dead letter, if it is one.
    pub malformed: Option<Malformed>,
    /// Bytes of the distinct rows that the open epoch has come to by now.
    pub held: usize,
    /// The record's event time, where it has one and is no dead letter.
    pub event_time: Option<Timestamp>,
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
}

/// The streams of a source operator.
pub(crate) struct Source<'s> {
    /// The decoded rows, summed for each worker and epoch.
    pub(crate) rows: Stream<'s, Epoch, FlatBatch>,
    /// Records that could not be decoded.
    pub(crate) dead_letters: Stream<'s, Epoch, FlatBatch>,
    /// One report for each epoch in which something was read or that was closed for a timer, and where there is something
    /// new to say of time.
    pub(crate) reports: Stream<'s, Epoch, Vec<Report>>,
}

/// Builds the source operator of an input.
pub(crate) fn source<'s, D: Decode>(
    scope: Scope<'s, Epoch>,
    input: &str,
    mut driver: Box<dyn Driver>,
    mut decoder: D,
) -> Source<'s> {
    let input = input.to_owned();
    let mut builder = OperatorBuilder::new(format!("Source: {input}"), scope);
    let (rows, rows_stream) = builder.new_output::<FlatBatch>();
    let (dead, dead_stream) = builder.new_output::<FlatBatch>();
    let (reports, reports_stream) = builder.new_output::<Vec<Report>>();
    let address = builder.operator_info().address;
    driver.attach(scope.activator_for(address.clone()), scope.worker().sync_activator_for(address.to_vec()));
    let (first, worker) = (driver.first(), scope.index());

    builder.build(move |mut capabilities| {
        // Epochs count from 1: time 0 stays free for what is there before the first record.
        for capability in &mut capabilities {
            capability.downgrade(&first);
        }
        let mut capabilities = Some(capabilities);
        let mut rows = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(rows);
        let mut dead = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(dead);
        let mut reports = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(reports);
        let mut open = Combiner::default();
        let mut letters = FlatBatch::default();
        let mut scratch = Vec::new();

        move |_frontiers| {
            let Some(held) = &mut capabilities else { return };
            loop {
                let turn = driver.turn(&mut |record| {
                    let (malformed, event_time) = match decode(&mut decoder, record, &mut open) {
                        Ok(event_time) => (None, event_time),
                        Err(reason) => (Some(reason), None),
                    };
                    if let Some(reason) = &malformed {
                        scratch.clear();
                        encode_into::<DeadLetter>(dead_letter::row(record, reason).borrow(), &mut scratch);
                        letters.push(&scratch, 1);
                    }
                    Decoded { malformed, held: open.bytes(), event_time }
                });
                let (mut report, done) = match turn {
                    Turn::Yield => return,
                    Turn::Close(report) => (report, false),
                    Turn::Done(report) => (report, true),
                };
                report.rows = open.added();
                let mut batch = open.take();
                if !batch.is_empty() {
                    rows.activate().session(&held[0]).give_container(&mut batch);
                }
                if !letters.is_empty() {
                    dead.activate().session(&held[1]).give_container(&mut letters);
                    letters.clear();
                }
                if report.is_epoch() || report.time.is_some() {
                    report.input.clone_from(&input);
                    report.time.iter_mut().for_each(|time| time.worker = worker);
                    reports.activate().session(&held[2]).give(report);
                }
                if done {
                    capabilities = None;
                    return;
                }
                for capability in held.iter_mut() {
                    let next = *capability.time() + 1;
                    capability.downgrade(&next);
                }
            }
        }
    });

    Source { rows: rows_stream, dead_letters: dead_stream, reports: reports_stream }
}

/// Adds the rows of a record: all of them, or none. Returns its event time.
#[inline]
pub(crate) fn decode<D: Decode>(
    decoder: &mut D,
    record: &Record<'_>,
    open: &mut Combiner,
) -> Result<Option<Timestamp>, Malformed> {
    let mut rows = Rows::new(open);
    let decoded = caught(|| decoder.decode(record, &mut rows));
    let event_time = rows.told_event_time().or_else(|| record.event_time());
    let result = match decoded {
        Ok(result) => result,
        Err(panic) => Err(Malformed(format!("the decoder panicked: {panic}").into())),
    };
    if result.is_ok() {
        open.commit()
    } else {
        open.roll_back()
    }
    result.map(|()| event_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NoHeaders;
    use crate::rows::Text;

    /// Pushes the words of a line up to one that is bad, or that it panics at.
    struct UpTo;

    impl Decode for UpTo {
        type Row = Text;
        fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
            for word in std::str::from_utf8(record.value.unwrap_or_default()).unwrap().split(' ') {
                match word {
                    "bad" => return Err(Malformed::because("a bad word")),
                    "worse" => panic!("no such {word}"),
                    word => rows.push(word),
                }
            }
            Ok(())
        }
    }

    /// Takes the time from the value, and refuses it then.
    struct At;

    impl Decode for At {
        type Row = Text;
        fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
            let value = std::str::from_utf8(record.value.unwrap_or_default()).unwrap();
            let time = value.trim_end_matches('!').parse();
            time.into_iter().for_each(|time| rows.event_time(Timestamp::from_micros(time)));
            if value.ends_with('!') { Err(Malformed::because("refused")) } else { Ok(()) }
        }
    }

    #[test]
    fn the_event_time_is_the_decoders_or_the_timestamp() {
        let mut open = Combiner::default();
        let mut decoded = |timestamp, value: &str| {
            let (value, headers) = (Some(value.as_bytes()), &NoHeaders);
            let record = Record { topic: "t", partition: 0, offset: 0, timestamp, key: None, value, headers };
            decode(&mut At, &record, &mut open).map(|time| time.map(Timestamp::micros))
        };
        assert_eq!(decoded(Some(3), "7"), Ok(Some(7)));
        assert_eq!(decoded(Some(3), ""), Ok(Some(3000)));
        assert_eq!(decoded(None, "7"), Ok(Some(7)));
        assert_eq!(decoded(None, ""), Ok(None));
        assert_eq!(decoded(Some(3), "7!"), Err(Malformed::because("refused")));
    }

    #[test]
    fn half_a_record_is_none() {
        let mut open = Combiner::default();
        let mut decoded = |value: &str| {
            let value = Some(value.as_bytes());
            let headers = &NoHeaders;
            let record =
                Record { topic: "t", partition: 0, offset: 0, timestamp: None, key: None, value, headers };
            decode(&mut UpTo, &record, &mut open).map(drop).map_err(|reason| reason.0.into_owned())
        };
        let long = "long".repeat(20);
        let many = "many ".repeat(1000);
        assert_eq!(decoded("the cat the"), Ok(()));
        assert_eq!(decoded(&format!("half {long} the {many}bad more")), Err("a bad word".to_owned()));
        let panic = decoded(&format!("half {long} {many}worse")).unwrap_err();
        assert!(panic.contains("the decoder panicked: no such worse"), "{panic}");
        assert_eq!(decoded("cat"), Ok(()));
        assert_eq!(open.added(), 4);
        let batch = open.take();
        let mut rows: Vec<_> = batch.iter().collect();
        rows.sort();
        assert_eq!(rows, [(&b"cat"[..], 2), (b"the", 2)]);
    }
}
