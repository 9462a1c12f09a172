//! What a dataflow is built from: named inputs, collections, named outputs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use timely::dataflow::{Scope, Stream};

use crate::Epoch;
use crate::driver::{Driver, Report};
use crate::flat::FlatBatch;
use crate::flow_time::{FlowTime, TimeOfFlow};
use crate::format::{Binding, Envelope, InputShape};
use crate::persist::{CheckpointPart, Sharding, StateWriter};
use crate::rows::{Row, Schema};
use crate::shape::Output;

/// A dataflow under construction: names inputs, and takes outputs.
#[derive(Clone)]
pub struct Flow<'s> {
    scope: Scope<'s, Epoch>,
    parts: Rc<RefCell<Parts<'s>>>,
    drivers: Rc<RefCell<DriverOf>>,
    persistence: Rc<RefCell<Option<Persistence<'s>>>>,
    time: Rc<TimeOfFlow<'s>>,
    /// How inputs are read, where that is bound.
    bindings: Rc<RefCell<BTreeMap<String, Binding>>>,
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
pub type StateWriterOf = Box<dyn FnMut(&str, Sharding) -> Box<dyn StateWriter>>;

/// What the runtime is given of a dataflow that was built.
#[derive(Default)]
pub struct Parts<'s> {
    /// The names of the inputs, in the order of their use.
    pub inputs: Vec<String>,
    /// How those are read that a format reads, by name.
    pub formats: BTreeMap<String, InputShape>,
    /// The name of the format that the dataflow decodes itself, by input, where it has one.
    pub decoded: BTreeMap<String, &'static str>,
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
    pub checkpoint_parts: Vec<Stream<'s, Epoch, Vec<CheckpointPart>>>,
    /// Operators that remember rows which are not persisted: they would forget them in a restart.
    pub unpersisted_state: Vec<String>,
}

impl<'s> Flow<'s> {
    /// A flow in a scope of one's own, for operators in another timely program, or to measure one: it has no inputs, nothing
    /// survives, and nobody takes its outputs. [`Flow::collection_of`] brings rows in, [`Collection::changes`](crate::Collection::changes) takes them
    /// out.
    ///
    /// ```
    /// # use cutwater_dataflows::{flat::FlatBatch, prelude::*};
    /// use timely::dataflow::operators::{Input as _, Probe as _};
    ///
    /// timely::execute_directly(|worker| {
    ///     let (mut words, probe) = worker.dataflow(|scope| {
    ///         let (input, stream) = scope.new_input::<FlatBatch>();
    ///         let words = Flow::new(scope).collection_of::<Text>(stream);
    ///         (input, words.count().changes().probe().0)
    ///     });
    ///     let mut batch = FlatBatch::default();
    ///     batch.push_row::<Text>("the", 1);
    ///     words.send_batch(&mut batch);
    ///     words.advance_to(1);
    ///     while probe.less_than(&1) {
    ///         worker.step();
    ///     }
    /// });
    /// ```
    pub fn new(scope: Scope<'s, Epoch>) -> Self {
        let drivers: DriverOf = Box::new(|input| panic!("this flow has no input {input:?}"));
        Flow::begin(scope, drivers, None, FlowTime::default())
    }

    /// A flow of which nothing is built yet.
    pub(crate) fn begin(
        scope: Scope<'s, Epoch>,
        drivers: DriverOf,
        persistence: Option<Persistence<'s>>,
        time: FlowTime,
    ) -> Self {
        Flow {
            scope,
            parts: Rc::default(),
            drivers: Rc::new(RefCell::new(drivers)),
            persistence: Rc::new(RefCell::new(persistence)),
            time: TimeOfFlow::new(time),
            bindings: Rc::default(),
        }
    }

    /// All of it is built: what the runtime is given of it.
    pub(crate) fn finish(self) -> Parts<'s> {
        self.time.finish(self.scope, &self.parts.borrow().reports);
        self.parts.take()
    }

    /// Notes an input.
    ///
    /// # Panics
    /// If one of that name has been noted.
    #[track_caller]
    pub(crate) fn take_input(&self, name: &str) {
        let mut parts = self.parts.borrow_mut();
        assert!(
            !parts.inputs.iter().any(|other| other == name),
            "input {name:?} is named twice: name it once, and clone its collection"
        );
        parts.inputs.push(name.to_owned());
    }

    pub(crate) fn time(&self) -> &TimeOfFlow<'s> {
        &self.time
    }

    /// Says how the input of that name is read, where its rows are those of a format.
    pub fn bind(&self, input: &str, binding: Binding) {
        self.bindings.borrow_mut().insert(input.to_owned(), binding);
    }

    pub(crate) fn binding(&self, input: &str) -> Option<Binding> {
        self.bindings.borrow().get(input).cloned()
    }

    pub(crate) fn has_format(&self, input: &str) -> bool {
        self.parts.borrow().formats.contains_key(input)
    }

    /// The envelope of an input that a format reads; `None` before it is read, and where the dataflow decodes it itself.
    pub fn envelope(&self, input: &str) -> Option<Envelope> {
        self.parts.borrow().formats.get(input).map(|shape| shape.envelope)
    }

    pub(crate) fn take_format(&self, input: &str, shape: InputShape) {
        self.parts.borrow_mut().formats.insert(input.to_owned(), shape);
    }

    pub(crate) fn take_decoded(&self, input: &str, format: &'static str) {
        self.parts.borrow_mut().decoded.insert(input.to_owned(), format);
    }

    /// How many workers there are, in all processes.
    pub(crate) fn workers(&self) -> usize {
        self.scope.peers()
    }

    pub(crate) fn scope(&self) -> Scope<'s, Epoch> {
        self.scope
    }

    pub(crate) fn driver(&self, input: &str) -> Box<dyn Driver> {
        (self.drivers.borrow_mut())(input)
    }

    pub(crate) fn take_source(
        &self,
        dead_letters: Stream<'s, Epoch, FlatBatch>,
        reports: Stream<'s, Epoch, Vec<Report>>,
    ) {
        let mut parts = self.parts.borrow_mut();
        parts.dead_letters.push(dead_letters);
        parts.reports.push(reports);
    }

    pub(crate) fn note_unpersisted(&self, operator: &str) {
        self.parts.borrow_mut().unpersisted_state.push(operator.to_owned());
    }

    #[track_caller]
    pub(crate) fn take_output(&self, output: Output<'s>) {
        let mut parts = self.parts.borrow_mut();
        let name = &output.shape.name;
        assert!(
            !parts.outputs.iter().any(|other| other.shape.name == *name),
            "output {name:?} is named twice: give each output a name of its own, and concat what is to be one"
        );
        parts.outputs.push(output);
    }

    /// The writer of the persisted collection of that name, and the barriers, where collections are kept.
    ///
    /// # Panics
    /// If the dataflow has persisted another collection under that name.
    #[track_caller]
    pub(crate) fn state_writer<R: Row>(
        &self,
        name: &str,
        sharding: Sharding,
    ) -> Option<(Box<dyn StateWriter>, Barriers<'s>)> {
        let mut parts = self.parts.borrow_mut();
        let twice = parts.types.insert(name.to_owned(), Schema::of::<R>()).is_some();
        assert!(!twice, "collection {name:?} is persisted twice: give each a name of its own");
        parts.persisted.push(name.to_owned());
        drop(parts);
        let mut persistence = self.persistence.borrow_mut();
        let Persistence { writers, barriers } = persistence.as_mut()?;
        Some((writers(name, sharding), barriers.clone()))
    }

    /// Takes the parts of a persisted collection.
    pub(crate) fn take_checkpoint_parts(&self, parts: Stream<'s, Epoch, Vec<CheckpointPart>>) {
        self.parts.borrow_mut().checkpoint_parts.push(parts);
    }
}
