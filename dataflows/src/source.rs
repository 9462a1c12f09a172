//! The source operator, without the world outside: it decodes what its [`Driver`] hands it, sums rows for
//! the open epoch, and sends them when the driver closes it.
//!
//! The driver lives in the runtime. It knows the feed (Kafka, a file, a test's), decides when an epoch
//! closes, and keeps the cut. The operator knows capabilities. So dataflows need nothing of Kafka to compile,
//! and the decoder is called with its type known.

use std::collections::VecDeque;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Scope, Stream};

use crate::Epoch;
use crate::combine::Combiner;
use crate::dead_letter::Letters;
use crate::decode::{Decode, Rows};
pub use crate::driver::{DecodeRecord, Decoded, Driver, Moved, Report, Turn, times};
use crate::flat::FlatBatch;
use crate::limits::{Limit, Limits};
use crate::panics::caught;
use crate::record::{Malformed, Record};
use crate::rows::Timestamp;
use crate::undecided::Waiting;

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

/// Builds the source operator of an input. `limits`: what decides on late records, where a lateness is set.
pub(crate) fn source<'s, D: Decode>(
    scope: Scope<'s, Epoch>,
    input: &str,
    mut driver: Box<dyn Driver>,
    decoder: D,
    limits: Option<Rc<Limits>>,
) -> Source<'s> {
    let input = input.to_owned();
    let mut builder = OperatorBuilder::new(format!("Source: {input}"), scope);
    let (rows, rows_stream) = builder.new_output::<FlatBatch>();
    let (dead, dead_stream) = builder.new_output::<FlatBatch>();
    let (reports, reports_stream) = builder.new_output::<Vec<Report>>();
    let address = builder.operator_info().address;
    driver.attach(scope.activator_for(address.clone()), scope.worker().sync_activator_for(address.to_vec()));
    limits.iter().for_each(|limits| limits.wake(scope.activator_for(address.clone())));
    let (first, worker) = (driver.first(), scope.index());

    builder.build(move |mut capabilities| {
        // Epochs count from 1: time 0 stays free for what is there before the first record.
        for capability in &mut capabilities {
            capability.downgrade(&first);
        }
        let outputs = Outputs {
            rows: OutputBuilder::from(rows),
            dead: OutputBuilder::from(dead),
            reports: OutputBuilder::from(reports),
        };
        let intake = Intake::new(decoder, first, limits);
        let (held, closed) = (Some(capabilities), VecDeque::new());
        let mut operator = Operator { input, worker, driver, intake, closed, held, outputs };
        move |_frontiers| operator.run()
    });

    Source { rows: rows_stream, dead_letters: dead_stream, reports: reports_stream }
}

type To<C> = OutputBuilder<Epoch, CapacityContainerBuilder<C>>;

struct Outputs {
    rows: To<FlatBatch>,
    dead: To<FlatBatch>,
    reports: To<Vec<Report>>,
}

/// The operator, when it runs.
struct Operator<D> {
    input: String,
    worker: usize,
    driver: Box<dyn Driver>,
    intake: Intake<D>,
    /// Epochs that are closed and not sent: those of which some records wait for a decision, and those after them.
    closed: VecDeque<Closed>,
    /// At the first epoch that is not sent; `None` once all is.
    held: Option<Vec<Capability<Epoch>>>,
    outputs: Outputs,
}

impl<D: Decode> Operator<D> {
    fn run(&mut self) {
        loop {
            self.intake.look_at_limit(&mut *self.driver);
            self.send();
            if self.held.is_none() || self.closed.back().is_some_and(|closed| closed.done) {
                return;
            }
            let Operator { driver, intake, .. } = self;
            let (report, done) = match driver.turn(&mut |record| intake.take(record)) {
                Turn::Yield => return,
                Turn::Close(report) => (report, false),
                Turn::Done(report) => (report, true),
            };
            self.closed.push_back(self.intake.close(report, done));
        }
    }

    /// Sends the closed epochs on whose records it is decided, in order.
    fn send(&mut self) {
        while let (Some(held), Some(mut closed)) = (&mut self.held, self.closed.pop_front()) {
            let epoch = *held[0].time();
            if !closed.waiting.is_empty() {
                let Some(limit) = self.intake.limit(epoch) else { return self.closed.push_front(closed) };
                closed.decide(&limit, &mut *self.driver);
            }
            let Closed {
                mut rows, letters: Letters { batch: mut letters, reasons }, mut report, done, ..
            } = closed;
            report.reasons = reasons;
            if !rows.is_empty() {
                self.outputs.rows.activate().session(&held[0]).give_container(&mut rows);
            }
            if !letters.is_empty() {
                self.outputs.dead.activate().session(&held[1]).give_container(&mut letters);
            }
            if report.is_epoch() || report.time.is_some() {
                report.input.clone_from(&self.input);
                report.time.iter_mut().for_each(|time| time.worker = self.worker);
                self.outputs.reports.activate().session(&held[2]).give(report);
            }
            if done {
                self.held = None;
                return;
            }
            held.iter_mut().for_each(|capability| capability.downgrade(&(epoch + 1)));
        }
    }
}

/// What becomes of the records of the open epoch.
struct Intake<D> {
    decoder: D,
    rows: Combiner,
    letters: Letters,
    late: Option<Late>,
}

/// What decides on late records.
struct Late {
    limits: Rc<Limits>,
    first: Epoch,
    /// The open epoch, and its limit once that is known.
    epoch: Epoch,
    limit: Option<Limit>,
    /// The rows of one record.
    one: Combiner,
    waiting: Waiting,
    /// Of the records that have waited: how many rows they have come to beyond those that were summed, and how many are late.
    summed: u64,
    letters: u64,
}

impl<D: Decode> Intake<D> {
    fn new(decoder: D, first: Epoch, limits: Option<Rc<Limits>>) -> Self {
        let late = limits.map(|limits| Late {
            limit: limits.of(first, first),
            limits,
            first,
            epoch: first,
            one: Combiner::default(),
            waiting: Waiting::default(),
            summed: 0,
            letters: 0,
        });
        Intake { decoder, rows: Combiner::default(), letters: Letters::default(), late }
    }

    /// The limit of an epoch, where it is known.
    fn limit(&self, epoch: Epoch) -> Option<Limit> {
        self.late.as_ref().and_then(|late| late.limits.of(epoch, late.first))
    }

    /// Takes a record of the open epoch.
    #[inline]
    fn take(&mut self, record: &Record<'_>) -> Decoded {
        let Intake { decoder, rows: open, letters, late } = self;
        let limit = late.as_ref().and_then(|late| late.limit);
        let mut waits = late.as_mut().filter(|late| late.limit.is_none());
        let rows = match &mut waits {
            Some(late) => &mut late.one,
            None => &mut *open,
        };
        let (malformed, event_time) = match stage(decoder, record, rows) {
            Ok(event_time) => (limit.and_then(|limit| limit.late(event_time)), event_time),
            Err(NotRows::Malformed(reason)) => (Some(reason), None),
            Err(NotRows::NotYet) => {
                rows.roll_back();
                let held = open.bytes() + late.as_ref().map_or(0, |late| late.waiting.bytes());
                return Decoded { malformed: None, held, event_time: None, not_yet: true };
            }
        };
        if let Some(reason) = &malformed {
            rows.roll_back();
            letters.push(record, reason);
        } else {
            rows.commit();
            if let Some(late) = waits {
                late.waiting.push(record, event_time, &mut late.one);
            }
        }
        let held = open.bytes() + late.as_ref().map_or(0, |late| late.waiting.bytes());
        Decoded { malformed, held, event_time, not_yet: false }
    }

    /// Decides on the records of the open epoch that wait, if its limit has become known.
    fn look_at_limit(&mut self, driver: &mut dyn Driver) {
        let Some(late) = self.late.as_mut().filter(|late| late.limit.is_none()) else { return };
        late.limit = late.limits.of(late.epoch, late.first);
        let Some(limit) = late.limit.filter(|_| !late.waiting.is_empty()) else { return };
        let before = self.rows.added();
        let (rows, letters) = late.waiting.decide(&limit, &mut self.rows, &mut self.letters, driver);
        late.summed += rows - (self.rows.added() - before);
        late.letters += letters;
    }

    /// Closes the open epoch.
    fn close(&mut self, mut report: Report, done: bool) -> Closed {
        report.rows = self.rows.added();
        let mut waiting = Waiting::default();
        if let Some(late) = &mut self.late {
            report.rows += std::mem::take(&mut late.summed);
            report.dead_letters += std::mem::take(&mut late.letters);
            waiting = std::mem::take(&mut late.waiting);
            late.epoch += 1;
            late.limit = late.limits.of(late.epoch, late.first);
        }
        let letters = std::mem::take(&mut self.letters);
        Closed { rows: self.rows.take(), letters, waiting, report, done }
    }
}

/// An epoch that is closed.
struct Closed {
    rows: FlatBatch,
    letters: Letters,
    /// Records on which it is not decided yet.
    waiting: Waiting,
    report: Report,
    /// It is the last one.
    done: bool,
}

impl Closed {
    /// Decides on the records that wait.
    fn decide(&mut self, limit: &Limit, driver: &mut dyn Driver) {
        let mut sum = Combiner::default();
        self.rows.iter().for_each(|(row, count)| sum.add(row, count));
        let (rows, letters) = self.waiting.decide(limit, &mut sum, &mut self.letters, driver);
        self.report.rows += rows;
        self.report.dead_letters += letters;
        self.rows = sum.take();
    }
}

/// Why a record has come to no rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotRows {
    /// It is a dead letter.
    Malformed(Malformed),
    /// It is to be decoded later.
    NotYet,
}

/// Stages the rows of a record. Returns its event time.
#[inline]
fn stage<D: Decode>(
    decoder: &mut D,
    record: &Record<'_>,
    open: &mut Combiner,
) -> Result<Option<Timestamp>, NotRows> {
    let mut rows = Rows::new(open);
    let decoded = caught(|| decoder.decode(record, &mut rows));
    let event_time = rows.told_event_time().or_else(|| record.event_time());
    match decoded {
        Ok(Ok(())) if rows.is_early() => Err(NotRows::NotYet),
        Ok(result) => result.map(|()| event_time).map_err(NotRows::Malformed),
        Err(panic) => Err(NotRows::Malformed(Malformed(format!("the decoder panicked: {panic}").into()))),
    }
}

/// Adds the rows of a record: all of them, or none. Returns its event time.
pub(crate) fn decode<D: Decode>(
    decoder: &mut D,
    record: &Record<'_>,
    open: &mut Combiner,
) -> Result<Option<Timestamp>, NotRows> {
    let staged = stage(decoder, record, open);
    if staged.is_ok() {
        open.commit()
    } else {
        open.roll_back()
    }
    staged
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let record = Record { timestamp, ..Record::of_value(Some(value.as_bytes())) };
            decode(&mut At, &record, &mut open).map(|time| time.map(Timestamp::micros))
        };
        assert_eq!(decoded(Some(3), "7"), Ok(Some(7)));
        assert_eq!(decoded(Some(3), ""), Ok(Some(3000)));
        assert_eq!(decoded(None, "7"), Ok(Some(7)));
        assert_eq!(decoded(None, ""), Ok(None));
        assert_eq!(decoded(Some(3), "7!"), Err(NotRows::Malformed(Malformed::because("refused"))));
    }

    #[test]
    fn half_a_record_is_none() {
        let mut open = Combiner::default();
        let mut decoded = |value: &str| {
            let record = Record::of_value(Some(value.as_bytes()));
            decode(&mut UpTo, &record, &mut open).map(drop).map_err(|not| match not {
                NotRows::Malformed(reason) => reason.0.into_owned(),
                NotRows::NotYet => "not yet".to_owned(),
            })
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
