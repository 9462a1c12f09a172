//! What a dataflow is, and how the command line finds it.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use clap::ArgMatches;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::Scope;
use timely::logging::{TimelyEvent, TimelyEventBuilder};
use timely::worker::{Config, Worker};

use crate::driver::{DecodeRecord, Driver, Turn};
use crate::flow::{DriverOf, Flow, Parts, Persistence};
use crate::flow_time::FlowTime;
use crate::format::{Format, formats};
use crate::panics::caught;
use crate::sample::Sample;
pub use crate::shape::{OutputShape, Shape, Unique};
use crate::{Activator, Epoch, SyncActivator};

/// A dataflow: its options, and how it is built from them.
///
/// The options are the fields, as `clap` reads them; the doc comment of the type is the dataflow's help. Two
/// dataflows are taken for the same when their debug form is.
pub trait Dataflow: clap::Args + Debug + Send + Sync + 'static {
    /// The name under which `cutwater run` knows it.
    const NAME: &'static str;

    /// Builds the dataflow. Called once on every worker, and once before that to learn its inputs and outputs:
    /// it must build the same graph each time, and do nothing else.
    fn build(&self, flow: &Flow<'_>);
}

/// A dataflow with its options read.
pub trait Build: Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Builds it, as [`Dataflow::build`].
    fn build(&self, flow: &Flow<'_>);
}

impl<D: Dataflow> Build for D {
    fn name(&self) -> &'static str {
        D::NAME
    }
    fn build(&self, flow: &Flow<'_>) {
        Dataflow::build(self, flow);
    }
}

/// The dataflow as `build` builds it, which is given the dataflow to be built in its course. Its name and options stay.
pub(crate) fn wrapped(
    dataflow: Arc<dyn Build>,
    build: impl Fn(&dyn Build, &Flow<'_>) + Send + Sync + 'static,
) -> Arc<dyn Build> {
    Arc::new(Wrapped { dataflow, build })
}

struct Wrapped<F> {
    dataflow: Arc<dyn Build>,
    build: F,
}

/// Its options alone.
impl<F> Debug for Wrapped<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.dataflow.fmt(f)
    }
}

impl<F: Fn(&dyn Build, &Flow<'_>) + Send + Sync> Build for Wrapped<F> {
    fn name(&self) -> &'static str {
        self.dataflow.name()
    }
    fn build(&self, flow: &Flow<'_>) {
        (self.build)(&*self.dataflow, flow);
    }
}

impl<'s> Flow<'s> {
    /// Builds `dataflow` in `scope`, with a driver from `drivers` for each input. Its persisted collections are kept
    /// by what `persistence` gives, or not at all.
    pub fn build(
        scope: Scope<'s, Epoch>,
        dataflow: &dyn Build,
        drivers: DriverOf,
        persistence: Option<Persistence<'s>>,
        time: FlowTime,
    ) -> Parts<'s> {
        let flow = Flow::begin(scope, drivers, persistence, time);
        dataflow.build(&flow);
        flow.finish()
    }
}

/// A line of the registry.
pub struct Entry {
    name: &'static str,
    arguments: fn(clap::Command) -> clap::Command,
    parse: fn(&ArgMatches) -> Result<Arc<dyn Build>, clap::Error>,
    formats: Vec<Arc<dyn Format>>,
    samples: Option<fn(u64) -> Samples>,
    processing_time: bool,
}

/// Records that a dataflow can be tried with, each with the name of its input: without end, and the same for the same seed.
/// Their timestamps, and event times within, count from a fixed day, not from today's.
pub type Samples = Box<dyn Iterator<Item = (&'static str, Sample)> + Send>;

/// The registry's line for dataflow `D`.
pub fn entry<D: Dataflow>() -> Entry {
    Entry {
        name: D::NAME,
        arguments: D::augment_args,
        parse: |matches| Ok(Arc::new(D::from_arg_matches(matches)?)),
        formats: formats(),
        samples: None,
        processing_time: false,
    }
}

impl Entry {
    /// The dataflow's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The entry with one more format in which its inputs can be read.
    pub fn format(mut self, format: impl Format) -> Self {
        self.formats.push(Arc::new(format));
        self
    }

    /// The formats in which its inputs can be read.
    pub fn formats(&self) -> &[Arc<dyn Format>] {
        &self.formats
    }

    /// The entry with records to try it with, made from a seed: what `cutwater generate` writes.
    pub fn samples(mut self, samples: fn(u64) -> Samples) -> Self {
        self.samples = Some(samples);
        self
    }

    /// Records to try it with, where the dataflow has some.
    pub fn sampled(&self, seed: u64) -> Option<Samples> {
        self.samples.map(|samples| samples(seed))
    }

    /// The entry of a dataflow whose rows depend on when epochs close (`Now::closed`): a replay gives the same ones, but another run
    /// on the same records does not. `cutwater bench` compares those of its runs, and these not.
    pub fn of_processing_time(mut self) -> Self {
        self.processing_time = true;
        self
    }

    /// True iff its rows depend on when epochs close.
    pub fn is_of_processing_time(&self) -> bool {
        self.processing_time
    }

    /// Adds the dataflow's own options and help to a command.
    pub fn arguments(&self, command: clap::Command) -> clap::Command {
        (self.arguments)(command)
    }

    /// Reads the dataflow's options.
    ///
    /// # Errors
    /// If they are not as its arguments say.
    pub fn parse(&self, matches: &ArgMatches) -> Result<Arc<dyn Build>, clap::Error> {
        (self.parse)(matches)
    }
}

/// Why a dataflow can't be built: a mistake in its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    dataflow: &'static str,
    why: String,
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dataflow {} can't be built: {}", self.dataflow, self.why)
    }
}

impl std::error::Error for BuildError {}

impl Shape {
    /// Learns the shape of a dataflow by building it once, on a worker that never runs.
    ///
    /// # Errors
    /// If the dataflow breaks the rules of [`Flow`] or its `build` panics, or moves rows to later epochs.
    pub fn of(dataflow: &dyn Build) -> Result<Self, BuildError> {
        rehearse(dataflow, |parts| Shape {
            inputs: parts.inputs,
            formats: parts.formats,
            decoded: parts.decoded,
            outputs: parts.outputs.into_iter().map(|output| output.shape).collect(),
            persisted: parts.persisted,
            types: parts.types,
            unpersisted_state: parts.unpersisted_state,
        })
    }
}

/// The name of differential's operator that gives rows a later time.
const DELAY: &str = "Delay";

/// Builds a dataflow on a worker that never runs.
fn rehearse<T>(dataflow: &dyn Build, read: impl FnOnce(Parts<'_>) -> T) -> Result<T, BuildError> {
    struct Idle;
    impl Driver for Idle {
        fn attach(&mut self, _here: Activator, _anywhere: SyncActivator) {}
        fn first(&self) -> Epoch {
            1
        }
        fn turn(&mut self, _: &mut DecodeRecord<'_>) -> Turn {
            Turn::Yield
        }
    }
    let operators = Rc::new(RefCell::new(Vec::new()));
    let built = caught(|| {
        let mut worker =
            Worker::new(Config::default(), Allocator::Thread(Thread::default()), Some(Instant::now()));
        note_operators(&worker, &operators);
        let built = worker.dataflow(|scope| {
            let drivers = Box::new(|_: &str| -> Box<dyn Driver> { Box::new(Idle) });
            read(Flow::build(scope, dataflow, drivers, None, FlowTime::default()))
        });
        worker.log_register().expect("it has one").flush();
        built
    });
    let fault = |why| BuildError { dataflow: dataflow.name(), why };
    let built = built.map_err(fault)?;
    // Inside a loop, times are the loop's own.
    if operators.borrow().iter().any(|(depth, name)| *depth == OUTERMOST && name == DELAY) {
        return Err(fault(format!(
            "its operator {DELAY:?} gives rows the time of a later epoch, but an answer belongs to the epoch in which \
             its records were read"
        )));
    }
    Ok(built)
}

/// The length of an operator's address that is in no scope but the dataflow's.
const OUTERMOST: usize = 2;

/// Notes each operator that a worker builds: how deep it lies, and its name.
fn note_operators(worker: &Worker, operators: &Rc<RefCell<Vec<(usize, String)>>>) {
    let operators = Rc::clone(operators);
    let mut log = worker.log_register().expect("a worker with a clock has a register");
    log.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
        for (_, event) in events.iter_mut().flat_map(|events| events.drain(..)) {
            if let TimelyEvent::Operates(operator) = event {
                operators.borrow_mut().push((operator.addr.len(), operator.name));
            }
        }
    });
}
