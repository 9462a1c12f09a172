//! What a dataflow is built from: named inputs, collections, named outputs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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
use crate::operators::since::{since, since_flat};
use crate::persist::{CheckpointPart, StateWriter};
use crate::render::{Change, render};
use crate::rows::{Json, Row, Schema};
use crate::source::{Driver, Report, source};
use crate::{Diff, Epoch};

/// A dataflow under construction: names inputs, and takes outputs.
#[derive(Clone)]
pub struct Flow<'s> {
    scope: Scope<'s, Epoch>,
    parts: Rc<RefCell<Parts<'s>>>,
    drivers: Rc<RefCell<DriverOf>>,
    persistence: Rc<RefCell<Option<Persistence<'s>>>>,
}

/// Gives the driver of the input of that name.
pub type DriverOf = Box<dyn FnMut(&str) -> Box<dyn Driver>>;

/// What it takes to keep collections.
pub struct Persistence<'s> {
    /// Gives the writer of the collection of that name.
    pub writers: StateWriterOf,
    /// Epochs as of which a checkpoint is to be made, at their own times, on all workers.
    pub barriers: Barriers<'s>,
}

/// Epochs, each at its own time.
pub type Barriers<'s> = Stream<'s, Epoch, Vec<Epoch>>;

/// Gives the writer of the persisted collection of that name.
pub type StateWriterOf = Box<dyn FnMut(&str) -> Box<dyn StateWriter>>;

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
    /// The names of the persisted collections, in the order of their declaration.
    pub persisted: Vec<String>,
    /// The types of their rows, by name.
    pub types: BTreeMap<String, Schema>,
    /// The parts of checkpoints, of each persisted collection that is kept.
    pub parts: Vec<Stream<'s, Epoch, Vec<CheckpointPart>>>,
    /// Operators that remember rows which are not persisted: they would forget them in a restart.
    pub unpersisted_state: Vec<String>,
}

/// A named output: its changes, net for each worker and epoch, and how they are shown.
pub struct Output<'s> {
    /// Its name and columns.
    pub shape: OutputShape,
    /// Its changes, on the worker that made them: with what precedes the first epoch, at time 0, if told so.
    pub changes: Box<dyn FnOnce(bool) -> Stream<'s, Epoch, FlatBatch> + 's>,
    /// Shows changes of one epoch, from all workers, in order.
    pub render: Render,
}

/// See [`render`].
pub type Render = Arc<dyn Fn(&[FlatBatch]) -> Vec<Change> + Send + Sync>;

impl<'s> Flow<'s> {
    /// Builds `dataflow` in `scope`, with a driver from `drivers` for each input. Its persisted collections are kept
    /// by what `keeping` gives, or not at all.
    pub fn build(
        scope: Scope<'s, Epoch>,
        dataflow: &dyn Build,
        drivers: DriverOf,
        persistence: Option<Persistence<'s>>,
    ) -> Parts<'s> {
        let parts = Rc::default();
        let drivers = Rc::new(RefCell::new(drivers));
        let persistence = Rc::new(RefCell::new(persistence));
        dataflow.build(&Flow { scope, parts: Rc::clone(&parts), drivers, persistence });
        parts.take()
    }

    /// The input of that name. What it is bound to is the command line's affair.
    ///
    /// # Panics
    /// If the dataflow has named this input before.
    #[track_caller]
    pub fn input(&self, name: &str) -> Input<'s> {
        let mut parts = self.parts.borrow_mut();
        assert!(!parts.inputs.iter().any(|other| other == name), "input {name:?} is named twice");
        parts.inputs.push(name.to_owned());
        Input { flow: self.clone(), name: name.to_owned() }
    }

    /// Brings a collection back that differential operators have made.
    pub fn collection<R: Row>(&self, rows: VecCollection<'s, Epoch, R, Diff>) -> Collection<'s, R> {
        // Whoever took rows to differential that are not persisted has been noted for it there.
        Collection { flow: self.clone(), rows: Rows::Loose(rows), kept: true, determined: None }
    }

    /// A collection that an operator hands on encoded. Whoever remembered rows that are not persisted has been noted.
    /// `before` is set if somebody takes what precedes the first epoch.
    pub(crate) fn encoded<R: Row>(
        &self,
        rows: Stream<'s, Epoch, FlatBatch>,
        before: Before,
    ) -> Collection<'s, R> {
        let rows = Rows::Flat { stream: rows, placed: false, before, row: PhantomData };
        Collection { flow: self.clone(), rows, kept: true, determined: None }
    }

    /// The collection that `persist` hands on.
    pub(crate) fn persisted<R: Row>(&self, rows: Stream<'s, Epoch, FlatBatch>) -> Collection<'s, R> {
        Collection {
            flow: self.clone(),
            rows: Rows::Flat { stream: rows, placed: true, before: Before::default(), row: PhantomData },
            kept: true,
            determined: None,
        }
    }

    /// The writer of the persisted collection of that name, and the barriers, where collections are kept.
    ///
    /// # Panics
    /// If the dataflow has persisted another collection under that name.
    #[track_caller]
    pub(crate) fn keeping<R: Row>(&self, name: &str) -> Option<(Box<dyn StateWriter>, Barriers<'s>)> {
        let mut parts = self.parts.borrow_mut();
        let twice = parts.types.insert(name.to_owned(), Schema::of::<R>()).is_some();
        assert!(!twice, "collection {name:?} is persisted twice");
        parts.persisted.push(name.to_owned());
        drop(parts);
        let mut persistence = self.persistence.borrow_mut();
        let Persistence { writers, barriers } = persistence.as_mut()?;
        Some((writers(name), barriers.clone()))
    }

    /// Takes the parts of a persisted collection.
    pub(crate) fn take_parts(&self, parts: Stream<'s, Epoch, Vec<CheckpointPart>>) {
        self.parts.borrow_mut().parts.push(parts);
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
        let before = Before::default();
        let rows = Rows::Flat { stream: source.rows, placed: false, before, row: PhantomData };
        Collection { flow: self.flow, rows, kept: false, determined: None }
    }
}

/// A collection of rows that changes with the epochs.
pub struct Collection<'s, R: Row> {
    flow: Flow<'s>,
    rows: Rows<'s, R>,
    /// True iff it is made of persisted collections alone.
    kept: bool,
    /// So many columns, the first ones, tell one row from another: no two rows agree in them, and none is there twice.
    determined: Option<usize>,
}

/// Whether somebody takes what precedes the first epoch: those rows have been published, and an output leaves them out.
/// An operator that makes them of restored rows can spare itself the work. Known when the dataflow is built.
pub(crate) type Before = Rc<Cell<bool>>;

/// The two forms of a collection between operators.
enum Rows<'s, R: Row> {
    /// Encoded and net for each worker and epoch. `placed`: each row is on the worker that its hash says.
    Flat { stream: Stream<'s, Epoch, FlatBatch>, placed: bool, before: Before, row: PhantomData<R> },
    /// As differential's operators take and leave them.
    Loose(VecCollection<'s, Epoch, R, Diff>),
}

impl<'s, R: Row> Collection<'s, R> {
    /// The flow it is part of.
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }

    /// The collection as differential's operators take it. [`Flow::collection`] is the way back. Those that remember
    /// rows need them to be persisted before: a run that keeps state refuses to start otherwise.
    pub fn differential(self) -> VecCollection<'s, Epoch, R, Diff> {
        self.remembered_by("differential");
        self.loose()
    }

    /// Notes that an operator remembers the rows of this collection.
    pub(crate) fn remembered_by(&self, operator: &str) {
        if !self.kept {
            self.flow.parts.borrow_mut().unpersisted_state.push(operator.to_owned());
        }
    }

    fn loose(self) -> VecCollection<'s, Epoch, R, Diff> {
        match self.rows {
            Rows::Flat { stream, before, .. } => {
                before.set(true);
                unflatten(stream).as_collection()
            }
            Rows::Loose(rows) => rows,
        }
    }

    /// True iff each row is on the worker that its hash says.
    pub(crate) fn is_placed(&self) -> bool {
        matches!(self.rows, Rows::Flat { placed: true, .. })
    }

    /// The collection encoded, equal rows of a worker and epoch summed.
    pub(crate) fn into_flat(self) -> Stream<'s, Epoch, FlatBatch> {
        match self.rows {
            Rows::Flat { stream, before, .. } => {
                before.set(true);
                stream
            }
            Rows::Loose(rows) => flatten(rows.inner),
        }
    }

    /// As `into_flat`, without what precedes the first epoch.
    fn into_flat_since(self) -> Stream<'s, Epoch, FlatBatch> {
        match self.rows {
            Rows::Flat { stream, .. } => since_flat(stream),
            Rows::Loose(rows) => flatten(since(rows.inner)),
        }
    }

    /// Applies `logic` to every row.
    pub fn map<R2: Row>(self, logic: impl FnMut(R) -> R2 + 'static) -> Collection<'s, R2> {
        let (flow, kept) = (self.flow.clone(), self.kept);
        Collection { rows: Rows::Loose(self.loose().map(logic)), flow, kept, determined: None }
    }

    /// Keeps the rows for which `keep` says so.
    pub fn filter(self, keep: impl FnMut(&R) -> bool + 'static) -> Self {
        let (flow, kept, determined) = (self.flow.clone(), self.kept, self.determined);
        Collection { rows: Rows::Loose(self.loose().filter(keep)), flow, kept, determined }
    }

    /// The rows of both collections, those that are in both as often as in both together.
    pub fn concat(self, other: Self) -> Self {
        let (flow, kept) = (self.flow.clone(), self.kept && other.kept);
        let placed = self.is_placed() && other.is_placed();
        let flat = |collection: &Self| matches!(collection.rows, Rows::Flat { .. });
        let rows = if flat(&self) && flat(&other) {
            let stream = self.into_flat().concat(other.into_flat());
            Rows::Flat { stream, placed, before: Before::default(), row: PhantomData }
        } else {
            Rows::Loose(self.loose().concat(other.loose()))
        };
        Collection { flow, rows, kept, determined: None }
    }

    /// Says that the first `columns` columns tell one row from another.
    pub(crate) fn determined_by(self, columns: Option<usize>) -> Self {
        Collection { determined: columns, ..self }
    }

    /// The number of columns, if it is known, that tell one row from another.
    pub(crate) fn determined(&self) -> Option<usize> {
        self.determined
    }

    /// Hands the collection out under `name`. `key` names the columns that tell one row from another, which
    /// come first, and `value` the others.
    ///
    /// # Panics
    /// If the dataflow has an output of that name, or the columns are not as many as the row's, or no key
    /// column is named.
    #[track_caller]
    pub fn output(self, name: &str, key: &[&str], value: &[&str]) {
        let schema = match Schema::of::<R>().named(key, value) {
            Ok(schema) if schema.key > 0 => schema,
            Ok(_) => panic!("output {name:?} names no key column"),
            Err(why) => panic!("output {name:?}: {why}"),
        };
        let parts = Rc::clone(&self.flow.parts);
        let json = Json::new(schema.clone());
        let render: Render = Arc::new(move |batches| render(&json, batches));
        let shape = OutputShape {
            name: name.to_owned(),
            kept: self.kept,
            unique: self.determined.is_some_and(|columns| columns <= schema.key),
            schema,
        };
        let changes = Box::new(|before: bool| if before { self.into_flat() } else { self.into_flat_since() });
        let mut parts = parts.borrow_mut();
        assert!(
            !parts.outputs.iter().any(|other| other.shape.name == name),
            "output {name:?} is named twice"
        );
        parts.outputs.push(Output { shape, changes, render });
    }
}
