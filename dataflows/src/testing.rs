//! Tests of dataflows and operators without a broker: records are given in code, epoch by epoch, with restarts in between,
//! at any number of workers. A test takes milliseconds.
//!
//! ```
//! use cutwater_dataflows::testing::Test;
//! use cutwater_dataflows::word_count::WordCount;
//!
//! let test = Test::of(WordCount::default())
//!     .epoch([("lines", "a b a")])
//!     .restart()
//!     .epoch([("lines", "b")]);
//! // At 1, 2 and 3 workers, with and without the restart, which changes their number: the same, or it panics.
//! let outcome = test.check();
//! assert_eq!(outcome.changes_of("counts", 2), [r#"-1 {"word":"b","count":1}"#, r#"+1 {"word":"b","count":2}"#]);
//! assert_eq!(outcome.rows("counts"), [r#"{"word":"a","count":2}"#, r#"{"word":"b","count":2}"#]);
//! ```

mod driver;
mod expected;
mod fixture;
mod given;
mod outcome;
mod run;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::combine::Combiner;
use crate::dataflow::{Build, Dataflow, Shape};
use crate::decode::Decode;
use crate::flow::Flow;
use crate::format::{Binding, Decoder, Layout, RowWriter, Undecoded, bound};
use crate::lateness::with_lateness;
use crate::record::{Malformed, Record};
use crate::rows::{Timestamp, to_row};
pub use crate::sample::Sample;
use crate::source::{NotRows, decode};

pub use expected::{KnownRow, RowReader, difference};
pub use fixture::{lines, read_records, records, write_record};
pub use given::{Given, given};
pub use outcome::Outcome;

/// A dataflow, what it is given, and where it is restarted.
#[derive(Clone)]
pub struct Test {
    dataflow: Arc<dyn Build>,
    epochs: Vec<Step>,
    workers: usize,
    /// A restart keeps the number of workers.
    same_workers: bool,
    /// Records are of a topic that has their input's name.
    topics_by_input: bool,
    /// The next epoch comes after a restart.
    restarts: bool,
}

/// What comes in an epoch, and whether the dataflow is restarted before it.
#[derive(Clone, Default)]
struct Step {
    records: Vec<(String, Sample)>,
    restart: bool,
    /// When the epoch closes.
    closed: Option<Timestamp>,
}

impl Test {
    /// A test of a dataflow, with its options.
    pub fn of(dataflow: impl Dataflow) -> Self {
        Test::of_built(Arc::new(dataflow))
    }

    /// A test of what `build` builds, without options and a type for them.
    pub fn building(name: &'static str, build: impl Fn(&Flow<'_>) + Send + Sync + 'static) -> Self {
        Test::of_built(Arc::new(Building { name, build }))
    }

    /// A test of a dataflow whose type is not known, such as one of a registry's [`Entry`](crate::Entry).
    pub fn of_built(dataflow: Arc<dyn Build>) -> Self {
        let (workers, same_workers, topics_by_input, restarts) = (1, false, false, false);
        Test { dataflow, epochs: Vec::new(), workers, same_workers, topics_by_input, restarts }
    }

    /// Reads an input in this format and envelope, as `--format` would have it.
    pub fn format(self, input: &str, binding: Binding) -> Self {
        Test { dataflow: bound(self.dataflow, [(input.to_owned(), binding)].into()), ..self }
    }

    /// With this lateness, as `--lateness` would have it.
    pub fn lateness(self, lateness: Duration) -> Self {
        Test { dataflow: with_lateness(self.dataflow, Some(lateness)), ..self }
    }

    /// How many workers run it at first; 1 if nothing is said.
    pub fn workers(self, workers: usize) -> Self {
        Test { workers, ..self }
    }

    /// Restarts keep the number of workers; without this they change it.
    pub fn same_workers(self) -> Self {
        Test { same_workers: true, ..self }
    }

    /// Records are of a topic that has their input's name, at the offsets in which they come: so the dead letters of several
    /// inputs can be told apart. Without this the topic is `test`.
    pub fn topics_by_input(self) -> Self {
        Test { topics_by_input: true, ..self }
    }

    /// One more epoch, in which these records come: each with its input.
    pub fn epoch<'a, S: Into<Sample>>(mut self, records: impl IntoIterator<Item = (&'a str, S)>) -> Self {
        let records = records.into_iter().map(|(input, sample)| (input.to_owned(), sample.into())).collect();
        let restart = std::mem::take(&mut self.restarts);
        self.epochs.push(Step { records, restart, closed: None });
        self
    }

    /// The epoch that was added last closes at this wall-clock time, or when the one before does, if that is later. Without
    /// it, epochs close one second after the other, the first one a second after the Unix epoch.
    ///
    /// The watermark is the largest event time that has come.
    pub fn at(mut self, closed: Timestamp) -> Self {
        self.epochs.last_mut().expect("there is an epoch").closed = Some(closed);
        self
    }

    /// Restarts the dataflow before the next epoch, with another number of workers, from what is persisted.
    pub fn restart(mut self) -> Self {
        self.restarts = true;
        self
    }

    /// What the dataflow reads, writes and holds.
    ///
    /// # Panics
    /// If the dataflow can't be built.
    pub fn shape(&self) -> Shape {
        Shape::of(&*self.dataflow).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs it.
    ///
    /// # Panics
    /// If the dataflow can't be built or panics, or the key of an output that is said to tell its rows apart does not.
    pub fn run(&self) -> Outcome {
        let outcome = run::run(self);
        if let Some(place) = &outcome.not_unique {
            panic!("{place}");
        }
        outcome
    }

    /// Runs it with 1, 2 and 3 workers, each with and without its restarts.
    ///
    /// # Panics
    /// If one of them gives another answer than the others, naming output and epoch. As [`Test::run`].
    pub fn check(&self) -> Outcome {
        self.agreed([1, 2, 3]).unwrap_or_else(|how_not| panic!("{how_not}"))
    }

    /// As [`Test::check`], at these numbers of workers, of which there is one at least.
    ///
    /// # Errors
    /// Where one gives another answer than the others: which, and how it differs. Else, where the key of an output does not
    /// tell its rows apart although it is said to.
    ///
    /// # Panics
    /// If the dataflow can't be built or panics.
    pub fn agreed(&self, workers: impl IntoIterator<Item = usize>) -> Result<Outcome, String> {
        let mut calm = self.clone();
        calm.epochs.iter_mut().for_each(|epoch| epoch.restart = false);
        let restarts = self.epochs.iter().any(|epoch| epoch.restart);
        let mut expected: Option<Outcome> = None;
        for workers in workers {
            let ways = [(&calm, "without restarts"), (self, "with restarts")];
            for (test, how) in &ways[..if restarts { 2 } else { 1 }] {
                let outcome = run::run(&(*test).clone().workers(workers));
                let Some(expected) = &expected else {
                    expected = Some(outcome);
                    continue;
                };
                if let Some(how_not) = expected.difference(&outcome) {
                    return Err(format!("{} at {workers} workers {how}: {how_not}", self.dataflow.name()));
                }
            }
        }
        let outcome = expected.expect("a number of workers is given");
        match &outcome.not_unique {
            Some(place) => Err(format!("{}: {place}", self.dataflow.name())),
            None => Ok(outcome),
        }
    }
}

/// A dataflow that a closure builds.
struct Building<F> {
    name: &'static str,
    build: F,
}

impl<F> fmt::Debug for Building<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<F: Fn(&Flow<'_>) + Send + Sync> Build for Building<F> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn build(&self, flow: &Flow<'_>) {
        (self.build)(flow);
    }
}

/// The rows that `decoder` makes of a record with this value, in order, each with its count.
///
/// # Errors
/// Those of the decoder, a panic included.
pub fn decoded<D: Decode>(decoder: &mut D, value: Option<&[u8]>) -> Result<Vec<(D::Row, i64)>, Malformed> {
    let record = Record::of_value(value);
    let mut combiner = Combiner::default();
    match decode(decoder, &record, &mut combiner) {
        Ok(_) => {}
        Err(NotRows::Malformed(reason)) => return Err(reason),
        Err(NotRows::NotYet) => return Err(Malformed::because("it can't be decoded yet")),
    }
    let mut rows: Vec<_> = combiner.take().iter().map(|(row, count)| (to_row(row), count)).collect();
    rows.sort();
    Ok(rows)
}

/// The encoded row that a format's decoder makes of one payload.
///
/// ```
/// use cutwater_dataflows::format::{Format as _, Json, Layout};
/// use cutwater_dataflows::prelude::*;
/// use cutwater_dataflows::rows::decode;
/// use cutwater_dataflows::testing::decoded_row;
///
/// let schema = Schema::of::<(Text, i64)>().named(&["product"], &["pieces"]).unwrap();
/// let (mut decoder, layout) = (Json.open(&schema).unwrap(), Layout::new(&schema).unwrap());
/// let row = decoded_row(&mut *decoder, &layout, br#"{"pieces":7,"product":"bolt"}"#).unwrap();
/// assert_eq!(decode::<(Text, i64)>(&row), Ok(("bolt", 7)));
/// ```
///
/// # Errors
/// Those of the decoder.
pub fn decoded_row(decoder: &mut dyn Decoder, layout: &Layout, payload: &[u8]) -> Result<Vec<u8>, Undecoded> {
    let mut encoded = Vec::new();
    let mut row = RowWriter::new(layout, &mut encoded);
    decoder.decode(payload, &Record::of_value(Some(payload)), &mut row)?;
    row.finish()?;
    Ok(encoded)
}
