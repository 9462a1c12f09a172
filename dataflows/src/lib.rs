//! Cutwater's dataflows, and what they are written against.
//!
//! A dataflow sees named inputs, its own options and named outputs, and nothing else: this crate depends on
//! timely and differential dataflow, not on Kafka. To add one, write a file like [`word_count`] and a line in
//! [`registry`].
//!
//! ```
//! use cutwater_dataflows::prelude::*;
//!
//! /// Counts lines by their first letter
//! #[derive(clap::Args, Debug)]
//! struct Initials {}
//!
//! struct Initial;
//! impl Decode for Initial {
//!     type Row = Text;
//!     fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
//!         let line = record.value.ok_or(Malformed::because("null value"))?;
//!         let line = std::str::from_utf8(line).map_err(|_| Malformed::because("not UTF-8"))?;
//!         if let Some(letter) = line.chars().next() {
//!             rows.push(letter.encode_utf8(&mut [0; 4]));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! impl Dataflow for Initials {
//!     const NAME: &'static str = "initials";
//!     fn build(&self, flow: &Flow<'_>) {
//!         flow.input("lines").decode(Initial).persist("initials").count().output("initials", &["letter"], &["lines"]);
//!     }
//! }
//! # let shape = Shape::of(&Initials {}).unwrap();
//! # assert_eq!(shape.inputs, ["lines"]);
//! # assert_eq!(shape.outputs[0].schema.columns[0].name, "letter");
//! ```
//!
//! # Layout
//! In the order in which they are best read:
//!
//! - [`record`], [`decode`], [`split`], [`rows`]: what comes in, and what it becomes
//! - [`input`], [`mod@format`]: how records are read, and how their bytes become values
//! - [`flow`]: inputs, collections and outputs; [`operators`]: what is done to them
//! - [`combine`], [`flat`]: equal rows summed before they leave the worker, and the batches that carry them;
//!   `arrange`: the arrangements that hold them
//! - [`clock`], [`waker`], [`watermark`], [`lateness`]: time, as of the cut
//! - [`source`]: the operator that reads, and the interface to the runtime that drives it; [`persist`]: the
//!   interface to the runtime that keeps collections
//! - [`mod@digest`], [`render`], [`dead_letter`], [`reasons`]: what goes out
//! - below these, for several of them: `driver`, `flow_time`, `limits`, `undecided`, `sample`, `shape`. What is public of them is had where
//!   it is documented: [`source`], [`clock`], [`lateness`], [`testing`], [`dataflow`] and [`output`]
//! - [`dataflow`]: options, registry, shape; [`words`]: the options of those that read words; [`word_count`]: a dataflow; [`panics`]: what becomes of faults in one

pub mod arrange;
pub mod arrangement;
pub mod balances;
pub mod cleanse;
pub mod clock;
pub mod collection;
pub mod combine;
pub mod components;
pub mod dataflow;
pub mod dead_letter;
pub mod decode;
pub mod digest;
mod driver;
pub mod duration;
pub mod event_monitor;
pub mod flat;
pub mod flow;
mod flow_time;
pub mod format;
pub mod group;
pub mod input;
pub mod key;
pub mod lateness;
mod limits;
pub mod operators;
pub mod ordered;
pub mod output;
pub mod panics;
pub mod persist;
pub mod reasons;
pub mod record;
pub mod render;
pub(crate) mod rule_file;
pub mod sales;
mod sample;
mod shape;
pub(crate) mod short;
pub mod source;
pub mod split;
pub mod testing;
pub mod top_words;
mod undecided;
pub mod user_behaviour;
pub mod waker;
pub mod watermark;
pub mod word_count;
pub mod words;

pub use arrangement::Arrangement;
pub use collection::Collection;
pub use cutwater_rows as rows;
pub use dataflow::{Build, BuildError, Dataflow, Entry, OutputShape, Samples, Shape, Unique, entry};
pub use flow::{Flow, Parts};
pub use format::{Binding, Envelope, Format, InputShape};
pub use input::{Input, Refined};
pub use output::Output;

use timely::scheduling::activate;

/// The logical time of records: a batch of them, the same on all workers. Counts from 1 without gaps.
pub type Epoch = u64;
/// How often a row appeared (positive) or was withdrawn (negative).
pub type Diff = i64;
/// Has an operator run again, from its own worker.
pub type Activator = activate::Activator;
/// Has an operator run again, from any thread.
pub type SyncActivator = activate::SyncActivator;

/// What a dataflow is written with.
pub mod prelude {
    pub use crate::arrangement::Arrangement;
    pub use crate::clock::{Clock, Now};
    pub use crate::collection::Collection;
    pub use crate::dataflow::{Dataflow, Shape, entry};
    pub use crate::decode::{Decode, Rows};
    pub use crate::flow::Flow;
    pub use crate::format::{Binding, Envelope, Format};
    pub use crate::group::Group;
    pub use crate::operators::hysteresis::Levels;
    pub use crate::operators::map::Emit;
    pub use crate::operators::stateful::{Due, KeyedState};
    pub use crate::operators::sum::Summand;
    pub use crate::operators::{
        Aggregates, ArrangeBy, CombineByKey, Concat, Consolidate, Count, CountDistinct, CountWindows,
        Deduplicate, DeduplicateWithin, Differential, Exchange, Filter, Hysteresis, Inspect, IntervalJoin,
        Join, JoinAsOf, Latest, LookUp, Map, Negate, Persist, Quantiles, Rate, Reduce, ReduceOrdered,
        Sequence, Sessions, Stateful, Sum, Threshold, TopK, Upsert, Window, Windows,
    };
    pub use crate::ordered::Ordered;
    pub use crate::record::{Malformed, Record};
    pub use crate::rows::{Bytes, Column, Decimal, DynRow, Float, Kind, Row, Schema, Text, Timestamp, Value};
    pub use crate::waker::Waker;
    pub use crate::{Diff, Epoch};
    pub use {clap, differential_dataflow, timely};
}

/// The dataflows that come with Cutwater.
pub fn registry() -> Vec<Entry> {
    vec![
        entry::<balances::Balances>().samples(balances::samples),
        entry::<cleanse::Cleanse>().samples(cleanse::samples),
        entry::<components::Components>().samples(components::samples),
        entry::<event_monitor::EventMonitor>().samples(event_monitor::samples),
        entry::<sales::Sales>().samples(sales::samples),
        entry::<top_words::TopWords>().samples(top_words::samples),
        entry::<user_behaviour::UserBehaviour>().samples(user_behaviour::samples),
        entry::<word_count::WordCount>().samples(word_count::samples),
    ]
}
