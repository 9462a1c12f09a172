//! What a dataflow is built from: named inputs, collections, named outputs.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::operators::Concat;
use timely::dataflow::{Scope, Stream};

use crate::dataflow::{Build, OutputShape};
use crate::decode::Decode;
use crate::flat::FlatBatch;
use crate::operators::flatten::{flatten, unflatten};
use crate::render::{Change, render};
use crate::row::Row;
use crate::source::{Driver, Report, source};
use crate::{Diff, Epoch};

/// A dataflow under construction: names inputs, and takes outputs.
#[derive(Clone)]
pub struct Flow<'s> {
    scope: Scope<'s, Epoch>,
    parts: Rc<RefCell<Parts<'s>>>,
    drivers: Rc<RefCell<DriverOf>>,
}

/// Gives the driver of the input of that name.
pub type DriverOf = Box<dyn FnMut(&str) -> Box<dyn Driver>>;

/// What the runtime is given of a dataflow that was built.
#[derive(Default)]
pub struct Parts<'s> {
    /// The names of the inputs, in the order of their use.
    pub inputs: Vec<String>,
    /// The outputs, in the order of their declaration.
    pub outputs: Vec<Output<'s>>,
    /// The dead letters of each input, as rows of [`DeadLetter`](crate::dead_letter::DeadLetter).
    pub dead_letters: Vec<Stream<'s, Epoch, FlatBatch>>,
    /// What the workers read, for each input.
    pub reports: Vec<Stream<'s, Epoch, Vec<Report>>>,
}

/// A named output: its changes, net for each worker and epoch, and how they are shown.
pub struct Output<'s> {
    /// Its name and columns.
    pub shape: OutputShape,
    /// Its changes, on the worker that made them.
    pub changes: Stream<'s, Epoch, FlatBatch>,
    /// Shows changes of one epoch, from all workers, in order.
    pub render: Render,
}

/// See [`render`].
pub type Render = Arc<dyn Fn(&[FlatBatch]) -> Vec<Change> + Send + Sync>;

impl<'s> Flow<'s> {
    /// Builds `dataflow` in `scope`, with a driver from `drivers` for each input.
    pub fn build(scope: Scope<'s, Epoch>, dataflow: &dyn Build, drivers: DriverOf) -> Parts<'s> {
        let parts = Rc::default();
        let drivers = Rc::new(RefCell::new(drivers));
        dataflow.build(&Flow { scope, parts: Rc::clone(&parts), drivers });
        parts.take()
    }

    /// The input of that name. What it is bound to is the command line's affair.
    ///
    /// # Panics
    /// If the dataflow has named this input before.
    pub fn input(&self, name: &str) -> Input<'s> {
        let mut parts = self.parts.borrow_mut();
        assert!(!parts.inputs.iter().any(|other| other == name), "input {name:?} is named twice");
        parts.inputs.push(name.to_owned());
        Input { flow: self.clone(), name: name.to_owned() }
    }

    /// Brings a collection back that differential operators have made.
    pub fn collection<R: Row>(&self, rows: VecCollection<'s, Epoch, R, Diff>) -> Collection<'s, R> {
        Collection { flow: self.clone(), rows: Rows::Loose(rows) }
    }
}

/// An input that is still records.
pub struct Input<'s> {
    flow: Flow<'s>,
    name: String,
}

impl<'s> Input<'s> {
    /// Decodes the records. Equal rows of a worker and epoch are summed before they go anywhere.
    pub fn decode<D: Decode>(self, decoder: D) -> Collection<'s, D::Row> {
        let driver = (self.flow.drivers.borrow_mut())(&self.name);
        let source = source(self.flow.scope, &self.name, driver, decoder);
        let mut parts = self.flow.parts.borrow_mut();
        parts.dead_letters.push(source.dead_letters);
        parts.reports.push(source.reports);
        drop(parts);
        Collection { flow: self.flow, rows: Rows::Flat(source.rows, PhantomData) }
    }
}

/// A collection of rows that changes with the epochs.
pub struct Collection<'s, R: Row> {
    flow: Flow<'s>,
    rows: Rows<'s, R>,
}

/// The two forms of a collection between operators.
enum Rows<'s, R: Row> {
    /// Encoded and net for each worker and epoch.
    Flat(Stream<'s, Epoch, FlatBatch>, PhantomData<R>),
    /// As differential's operators take and leave them.
    Loose(VecCollection<'s, Epoch, R, Diff>),
}

impl<'s, R: Row> Collection<'s, R> {
    /// The flow it is part of.
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }

    /// The collection as differential's operators take it. [`Flow::collection`] is the way back.
    pub fn differential(self) -> VecCollection<'s, Epoch, R, Diff> {
        match self.rows {
            Rows::Flat(stream, _) => unflatten(stream).as_collection(),
            Rows::Loose(rows) => rows,
        }
    }

    /// The collection encoded, equal rows of a worker and epoch summed.
    pub(crate) fn flat(self) -> Stream<'s, Epoch, FlatBatch> {
        match self.rows {
            Rows::Flat(stream, _) => stream,
            Rows::Loose(rows) => flatten(rows.inner),
        }
    }

    /// Applies `logic` to every row.
    pub fn map<R2: Row>(self, logic: impl FnMut(R) -> R2 + 'static) -> Collection<'s, R2> {
        let flow = self.flow.clone();
        flow.collection(self.differential().map(logic))
    }

    /// Keeps the rows for which `keep` says so.
    pub fn filter(self, keep: impl FnMut(&R) -> bool + 'static) -> Self {
        let flow = self.flow.clone();
        flow.collection(self.differential().filter(keep))
    }

    /// The rows of both collections, those that are in both as often as in both together.
    pub fn concat(self, other: Self) -> Self {
        let flow = self.flow.clone();
        let rows = match (self.rows, other.rows) {
            (Rows::Flat(one, _), Rows::Flat(other, _)) => Rows::Flat(one.concat(other), PhantomData),
            (one, other) => {
                let (one, other) = (
                    Collection { flow: flow.clone(), rows: one },
                    Collection { flow: flow.clone(), rows: other },
                );
                Rows::Loose(one.differential().concat(other.differential()))
            }
        };
        Collection { flow, rows }
    }

    /// Hands the collection out under `name`. `key` names the columns that tell one row from another, which
    /// come first, and `value` the others.
    ///
    /// # Panics
    /// If the dataflow has an output of that name, or the columns are not as many as the row's, or no key
    /// column is named.
    pub fn output(self, name: &str, key: &[&str], value: &[&str]) {
        let width = key.len() + value.len();
        assert!(width == R::WIDTH, "output {name:?} names {width} columns; its rows have {}", R::WIDTH);
        assert!(!key.is_empty(), "output {name:?} names no key column");
        let parts = Rc::clone(&self.flow.parts);
        let shape = OutputShape {
            name: name.to_owned(),
            key: key.iter().map(|&column| column.to_owned()).collect(),
            value: value.iter().map(|&column| column.to_owned()).collect(),
        };
        let render: Render = {
            let shape = shape.clone();
            Arc::new(move |batches| render::<R>(&shape, batches))
        };
        let changes = self.flat();
        let mut parts = parts.borrow_mut();
        assert!(
            !parts.outputs.iter().any(|other| other.shape.name == name),
            "output {name:?} is named twice"
        );
        parts.outputs.push(Output { shape, changes, render });
    }
}
