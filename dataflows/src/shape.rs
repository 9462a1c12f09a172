//! What a dataflow that is built consists of, as those see it who run it.

use std::collections::BTreeMap;

use timely::dataflow::Stream;

use crate::Epoch;
use crate::flat::FlatBatch;
use crate::format::InputShape;
use crate::rows::Schema;

/// What a dataflow reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The names of its inputs.
    pub inputs: Vec<String>,
    /// How those are read that a format reads, by name.
    pub formats: BTreeMap<String, InputShape>,
    /// The name of the format that the dataflow decodes itself, by input, where it has one.
    pub decoded: BTreeMap<String, &'static str>,
    /// Its outputs.
    pub outputs: Vec<OutputShape>,
    /// The names of its persisted collections.
    pub persisted: Vec<String>,
    /// The schemas of their rows, by name.
    pub types: BTreeMap<String, Schema>,
    /// Operators that remember rows which are not persisted. A dataflow that has one can't be resumed.
    pub unpersisted_state: Vec<String>,
}

/// The name and columns of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputShape {
    /// The output's name.
    pub name: String,
    /// Its columns: those of the key tell one row from another.
    pub schema: Schema,
    /// True iff all its rows are made of persisted collections, so that a restart has all of them.
    pub restorable: bool,
    /// Whether it has one row of a key at most, as far as the way it is made shows.
    pub unique: Unique,
    /// True iff its rows are only ever added, as its author says: what sinks get of it is `append`, unless they are told
    /// otherwise.
    pub appends: bool,
    /// True iff its rows leave with the offsets that they were read from, where a sink has a place for them.
    pub with_offsets: bool,
}

/// What is known of the rows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// There is one at most.
    ByKey,
    /// It takes so many columns, the first ones, to tell one row from another: more than the key has.
    ByMore(usize),
    /// Nothing.
    Unknown,
}

/// A named output: its changes.
pub struct Output<'s> {
    /// Its name and columns.
    pub shape: OutputShape,
    /// Its changes, on the worker that made them: with what precedes the first epoch, at time 0, if told so.
    pub changes: Box<dyn FnOnce(bool) -> Stream<'s, Epoch, FlatBatch> + 's>,
}
