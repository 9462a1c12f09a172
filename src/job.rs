//! A job: a dataflow with its feeds and sinks, run by the workers of one process.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cutwater_dataflows::clock::FlowTime;
use cutwater_dataflows::digest::{DigestPart, digested};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::flow::Persistence;
use cutwater_dataflows::operators::accumulate::accumulate;
use cutwater_dataflows::render::{Encoded, Renderer, RendererOf, Wanted, json, render};
use cutwater_dataflows::source::Driver;
use cutwater_dataflows::{Build, Epoch, Flow, Output, OutputShape, Shape, dead_letter, panics};
use timely::CommunicationConfig;
use timely::communication::AllocatorBuilder;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{Scope, Stream};
use timely::worker::Worker;

use crate::dead_letter_log::DeadLetterLog;
use crate::epoch::{Clock, EpochOptions, announce};
use crate::fault::Fault;
use crate::feed::{Feed, Feeds, Place};
use crate::fold;
use crate::measure::operators::Graph;
use crate::measure::operators::carry::Carry;
use crate::measure::operators::tally::Tally;
use crate::publish::{Cuts, Noting, Outlet, Publisher, Publishing, Step, Views, publish, spawn, stages};
use crate::sink::check::Check;
use crate::sink::{Emit, Sink};
use crate::source::Shared;
use crate::state::checkpoint::barriers::{barriers, collect_parts};
use crate::state::checkpoint::{Checkpoints, StateWriters};
use crate::state::cut::Topics;
use crate::state::resume::Resume;
use crate::status::Status;
pub use crate::stopping::Stop;
use crate::supervised;
use crate::time::{MachineTime, Time};

/// What to run.
pub struct Job {
    /// The dataflow, with its options.
    pub dataflow: Arc<dyn Build>,
    /// Where records come from.
    pub feeds: Arc<dyn Feeds>,
    /// When epochs close.
    pub epochs: EpochOptions,
    /// For each of the dataflow's outputs, in their order, where its rows go.
    pub outputs: Vec<Binding>,
    /// Where dead letters go. Their rows are changes, shown as those of an output `dead-letters`.
    pub dead_letters: Vec<Box<dyn Sink>>,
    /// True iff dead letters go where the user has said, in all processes: then no warning says how to keep them.
    pub letters_are_kept: bool,
    /// Hears of every cut before its epoch leaves. Used only in the process with worker 0.
    pub cuts: Option<Box<dyn Cuts>>,
    /// Whether its outputs are to be asked while it runs, the same in all processes.
    pub views: Viewing,
    /// What the run resumes from and keeps; without it, it starts from nothing and leaves nothing behind.
    pub state: Option<State>,
    /// Figures of the run; only those of the process with worker 0 are filled.
    pub status: Status,
}

/// Who is told of the changes of all outputs, beside their sinks.
#[derive(Default)]
pub enum Viewing {
    /// Nobody.
    #[default]
    Off,
    /// Those in the process with worker 0, which is another one.
    Elsewhere,
    /// These.
    Here(Box<dyn Views>),
}

/// What a run resumes from, and how it keeps its persisted collections.
#[derive(Clone)]
pub struct State {
    /// What it resumes from.
    pub resume: Arc<Resume>,
    /// Makes the writers of this process's workers.
    pub writers: Arc<dyn StateWriters>,
    /// Puts checkpoints together. Only in the process with worker 0.
    pub checkpoints: Option<Arc<dyn Checkpoints>>,
}

/// Where the rows of an output go.
pub struct Binding {
    /// What its sinks get of it, in all processes: nothing, several of those that are of epochs, or [`Emit::Final`].
    pub emits: Vec<Emit>,
    /// True: its sinks get the rows that precede the first epoch, and all epochs after that, also those that are published.
    pub snapshot: bool,
    /// Makes what renders its rows for the sinks, on all workers.
    pub renderer: RendererOf,
    /// The sinks. Only those in the process with worker 0 are used.
    pub sinks: Vec<Box<dyn Sink>>,
}

impl Binding {
    /// Changes as JSON to these sinks.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Binding { emits: vec![Emit::Changes], snapshot: false, renderer: json(), sinks }
    }

    /// The rows that are there after the end, once, instead of the changes of each epoch.
    fn at_end(&self) -> bool {
        self.emits.contains(&Emit::Final)
    }
}

/// What the workers do with the changes of an output.
struct Leaving {
    /// They are accumulated until the end.
    at_end: bool,
    /// What precedes the first epoch is among them.
    snapshot: bool,
    wanted: Wanted,
    renderer: Arc<dyn Renderer>,
}

/// The name under which dead letters are shown.
pub const DEAD_LETTERS: &str = "dead-letters";

/// The workers of this process, and what connects them to those of others.
pub struct Workers {
    /// One builder a worker.
    pub builders: Vec<AllocatorBuilder>,
    /// Held until the run has ended.
    pub connections: Box<dyn std::any::Any + Send>,
    /// True iff the cluster has other processes.
    pub peers: bool,
}

impl Workers {
    /// Threads of this process alone.
    ///
    /// # Errors
    /// If timely can't make them.
    pub fn threads(count: usize) -> Result<Self> {
        let (builders, connections) = CommunicationConfig::Process(count)
            .try_build()
            .map_err(|error| anyhow!("making workers: {error}"))?;
        Ok(Workers { builders, connections, peers: false })
    }
}

/// The longest time a worker sleeps and its sources are not run. They are woken by records, messages and timers;
/// this bounds how late they notice that they are to stop, do what is due by time (commit offsets), and what a
/// lost wake-up could cost.
const TICK: Duration = Duration::from_millis(250);

/// Runs the job to its end: until all feeds have ended, or `stop` is requested, or an error.
///
/// # Errors
/// The first error of any feed, decoder or sink of this process, within moments: threads that can't end then are left
/// alone, and the process must exit.
pub fn run(job: Job, workers: Workers, stop: &Stop, fault: &Fault) -> Result<()> {
    let checkpoints = job.state.as_ref().and_then(|state| state.checkpoints.clone());
    let (setup, mut noting, mut publishing) = Setup::new(job, stop, fault)?;
    let noting = spawn("ledger", fault, move || noting.step(true))?;
    let raised = fault.clone();
    let publishing = spawn("publish", fault, move || {
        let step = publishing.step(true)?;
        // Where a worker has failed, this is over as well.
        if step == Step::Over && !raised.is_raised() {
            publishing.finish()?;
        }
        Ok(step)
    })?;
    let (peers, over) = (workers.peers, stop.clone());
    let guards = timely::execute::execute_from(
        workers.builders,
        workers.connections,
        timely::WorkerConfig::default(),
        move |worker| {
            let name = format!("worker {}", worker.index());
            setup.fault.guard(&name, || setup.live(worker));
            if setup.fault.is_raised() {
                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            }
        },
    )
    .map_err(|error| anyhow!("starting workers: {error}"))?;
    let raised = fault.clone();
    let join = move || {
        // A panic there has been raised as a fault.
        let _ = noting.join().and(publishing.join());
        over.all_published();
        drop(guards.join());
        match checkpoints {
            Some(checkpoints) if !raised.is_raised() => checkpoints.finish(),
            _ => Ok(()),
        }
    };
    // Workers whose peers have gone wait for them forever.
    let ended = if peers { fault.bound_at_once(join) } else { fault.bound(join) };
    fault.take().map_or(ended, Err)
}

/// What the workers do with the changes of an output, and where they go then. Those of epochs up to `published` have left.
fn leave(output: &OutputShape, binding: Binding, published: Option<Epoch>) -> (Leaving, Outlet) {
    let check = Check::of(output, &binding.emits);
    let keys = check.as_ref().is_some_and(Check::wants_keys);
    let from = if binding.snapshot { Some(0) } else { wanted(published).from };
    let leaving = Leaving {
        at_end: binding.at_end(),
        snapshot: binding.snapshot || binding.at_end() || keys || published.is_none(),
        wanted: Wanted { from: from.filter(|_| !binding.emits.is_empty()), keys },
        renderer: (binding.renderer)(&output.schema),
    };
    let Binding { snapshot, sinks, .. } = binding;
    let with_offsets = output.with_offsets;
    (leaving, Outlet { name: output.name.clone(), check, snapshot, with_offsets, sinks })
}

/// What is wanted of an output whose epochs up to `published` have left.
fn wanted(published: Option<Epoch>) -> Wanted {
    Wanted { from: Some(published.unwrap_or(0) + 1), keys: false }
}

/// What each worker builds from.
pub struct Setup {
    dataflow: Arc<dyn Build>,
    shape: Shape,
    feeds: Arc<dyn Feeds>,
    epochs: EpochOptions,
    /// Of each output.
    leaving: Vec<Leaving>,
    /// Are there views?
    viewed: bool,
    publisher: Mutex<Option<Publisher>>,
    state: Option<State>,
    status: Status,
    stop: Stop,
    fault: Fault,
    time: Arc<dyn Time>,
    dead_letters: Arc<DeadLetterLog>,
    /// For the worker of this process that tells what was restored.
    restored: Mutex<Option<Arc<dyn StateWriters>>>,
}

impl Setup {
    /// What the workers of a job build from, and the stages that publish what they make.
    ///
    /// # Errors
    /// If the dataflow can't be built, or a sink can't resume from the job's state.
    ///
    /// # Panics
    /// If there are not as many bindings as the dataflow has outputs.
    pub fn new(job: Job, stop: &Stop, fault: &Fault) -> Result<(Setup, Noting, Publishing)> {
        let Job {
            dataflow,
            feeds,
            epochs,
            outputs,
            dead_letters,
            letters_are_kept,
            cuts,
            views,
            state,
            status,
        } = job;
        let shape = Shape::of(&*dataflow)?;
        assert_eq!(shape.outputs.len(), outputs.len(), "a binding for each output of {}", dataflow.name());
        let published = state.as_ref().map(|state| state.resume.published);
        let (leaving, mut outlets): (Vec<Leaving>, Vec<Outlet>) = shape
            .outputs
            .iter()
            .zip(outputs)
            .map(|(output, binding)| leave(output, binding, published))
            .unzip();
        outlets.push(Outlet {
            name: DEAD_LETTERS.into(),
            // One of a place is as good as another.
            check: None,
            snapshot: false,
            with_offsets: false,
            sinks: dead_letters,
        });
        let (resume, checkpoints) = match &state {
            Some(state) => (Some(&*state.resume), state.checkpoints.clone()),
            None => (None, None),
        };
        if let Some(resume) = resume {
            status.resumes(resume);
        }
        let (viewed, views) = match views {
            Viewing::Off => (false, None),
            Viewing::Elsewhere => (true, None),
            Viewing::Here(views) => (true, Some(views)),
        };
        let (publisher, noting, publishing) =
            stages(outlets, cuts, views, checkpoints, resume, status.clone(), fault)?;
        let checkpoints = state.iter().flat_map(|state| &state.checkpoints);
        checkpoints.for_each(|checkpoints| status.follow_checkpoints(Arc::clone(checkpoints)));
        let restored = Mutex::new(state.as_ref().map(|state| Arc::clone(&state.writers)));
        let publisher = Mutex::new(Some(publisher));
        let (stop, fault) = (stop.clone(), fault.clone());
        let time: Arc<dyn Time> = Arc::new(MachineTime::default());
        let dead_letters = Arc::new(DeadLetterLog::new(letters_are_kept));
        let setup = Setup {
            dataflow,
            shape,
            feeds,
            epochs,
            leaving,
            viewed,
            publisher,
            state,
            status,
            stop,
            fault,
            time,
            dead_letters,
            restored,
        };
        Ok((setup, noting, publishing))
    }

    /// Has the workers go by another time than the machine's.
    pub fn with_time(self, time: Arc<dyn Time>) -> Self {
        Setup { time, ..self }
    }

    /// The life of a worker.
    fn live(&self, worker: &mut Worker) {
        let mut life = match self.begin(worker) {
            Ok(life) => life,
            Err(error) => return self.fault.raise(error),
        };
        self.stop.begin();
        while worker.has_dataflows() {
            worker.step_or_park(Some(TICK));
            if self.fault.is_raised() {
                return;
            }
            life.after_step();
        }
        life.end();
    }

    /// Builds the dataflow on a worker.
    ///
    /// # Errors
    /// If a feed can't be opened.
    pub fn begin(&self, worker: &mut Worker) -> Result<WorkerLoop> {
        panics::runs(self.dataflow.name());
        let place = Place { worker: worker.index(), workers: worker.peers() };
        let publisher = (place.worker == 0)
            .then(|| self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take())
            .flatten();
        // Before the graph: a worker that fails here builds none, instead of another one than its peers.
        let feeds = self.open(place)?;
        let resume = self.resume();
        let first = resume.map_or(0, |resume| resume.checkpoint) + 1;
        let clock = Clock::new(self.epochs, first, Arc::clone(&self.time));
        clock.borrow_mut().replays_through(resume.map_or(0, |resume| resume.last()));
        let sources = self.sources(feeds, &clock)?;
        let probe = Handle::<Epoch>::new();
        self.status.start();
        let tally = self.status.is_measured().then(|| Tally::start(worker)).flatten();
        worker.dataflow_named(self.dataflow.name(), |scope| {
            self.build(scope, place, &clock, sources.clone(), publisher, &probe);
        });
        let carry = tally.map(|tally| {
            let restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner).take();
            Carry::build(worker, tally, self.status.operators().clone(), restored)
        });
        let (time, nudged) = (Arc::clone(&self.time), self.time.now());
        let (stop, dead_letters) = (self.stop.clone(), Arc::clone(&self.dead_letters));
        let replayed = resume.map_or(0, |resume| resume.last());
        Ok(WorkerLoop { sources, clock, probe, stop, time, nudged, dead_letters, replayed, carry })
    }

    fn resume(&self) -> Option<&Arc<Resume>> {
        self.state.as_ref().map(|state| &state.resume)
    }

    /// The feed of each input for the worker at `place`, and from where it is read.
    ///
    /// # Errors
    /// If one can't be opened.
    fn open(&self, place: Place) -> Result<Vec<Opened>> {
        let begin = self.resume().filter(|resume| resume.last() > 0).map(|resume| resume.begin());
        let open = |input: &String| {
            let begin = begin.as_ref().map(|begin| begin.of(input));
            let feed = self
                .feeds
                .open(input, place, begin.as_ref())
                .with_context(|| format!("opening input {input:?}"))?;
            let mut begin = begin.unwrap_or_default();
            for (topic, partitions) in &mut begin {
                partitions.retain(|&partition, _| place.owns(topic, partition));
            }
            Ok((input.clone(), begin, feed))
        };
        self.shape.inputs.iter().map(open).collect()
    }

    /// The source of each input.
    ///
    /// # Errors
    /// If one can't resume.
    fn sources(&self, feeds: Vec<Opened>, clock: &Rc<RefCell<Clock>>) -> Result<Vec<(String, Shared)>> {
        let source = |(input, begin, feed): Opened| {
            let resume = self.resume();
            let source = Shared::new(feed, &input, &begin, resume, clock, &self.fault, &self.dead_letters)
                .with_context(|| format!("resuming input {input:?}"))?;
            Ok((input, source))
        };
        feeds.into_iter().map(source).collect()
    }

    /// Builds the dataflow in `scope`, from its sources to what publishes its outputs.
    fn build(
        &self,
        scope: Scope<'_, Epoch>,
        place: Place,
        clock: &Rc<RefCell<Clock>>,
        sources: Vec<(String, Shared)>,
        publisher: Option<Publisher>,
        probe: &Handle<Epoch>,
    ) {
        announce(scope, clock);
        let driver = move |input: &str| -> Box<dyn Driver> {
            let (_, source) =
                sources.iter().find(|(name, _)| name == input).expect("the shape names every input");
            Box::new(source.clone())
        };
        let checkpoints = self.state.as_ref().and_then(|state| state.checkpoints.clone());
        let checkpoints = checkpoints.filter(|_| place.worker == 0);
        let persistence = self.state.as_ref().map(|state| {
            let writers = Arc::clone(&state.writers);
            Persistence {
                writers: Box::new(move |collection, sharding| writers.writer(collection, place, sharding)),
                barriers: barriers(scope, clock, checkpoints.clone()),
            }
        });
        let resume = self.resume();
        let before = resume.filter(|resume| resume.checkpoint > 0).map(|resume| resume.times.clone());
        let time = FlowTime { before, wakers: clock.borrow().wakers().clone() };
        let parts = Flow::build(scope, &*self.dataflow, Box::new(driver), persistence, time);
        let Rendered { mut rows, views, digests } = self.render(parts.outputs);
        let letters = scope.concatenate(parts.dead_letters);
        let wanted = wanted(resume.map(|resume| resume.published));
        rows.push(render(DEAD_LETTERS, letters, dead_letter::renderer(), wanted));
        publish(scope, rows, views, digests, parts.reports, publisher).probe_with(probe);
        collect_parts(scope, parts.checkpoint_parts, checkpoints);
    }

    /// Renders the outputs, for their sinks and for views.
    fn render<'s>(&self, outputs: Vec<Output<'s>>) -> Rendered<'s> {
        let mut rendered = Rendered::default();
        for (number, (output, leaving)) in outputs.into_iter().zip(&self.leaving).enumerate() {
            let name = output.shape.name;
            let mut changes = (output.changes)(leaving.snapshot || self.viewed);
            if self.state.is_some() {
                let digest;
                (changes, digest) = digested(changes, number);
                rendered.digests.push(digest);
            }
            if self.viewed {
                let all = Wanted { from: Some(0), keys: false };
                let name = format!("{name}, for views");
                rendered.views.push(render(&name, changes.clone(), Arc::new(Encoded), all));
            }
            if leaving.at_end {
                changes = accumulate(changes);
            }
            rendered.rows.push(render(&name, changes, Arc::clone(&leaving.renderer), leaving.wanted));
        }
        rendered
    }
}

/// An input with its feed, and from where that is read.
type Opened = (String, Topics, Box<dyn Feed>);

/// What the outputs are on their way to who publishes them.
#[derive(Default)]
struct Rendered<'s> {
    /// Of each output, for its sinks.
    rows: Vec<Stream<'s, Epoch, FlatBatch>>,
    /// Of each output, for views, where there are any.
    views: Vec<Stream<'s, Epoch, FlatBatch>>,
    /// Of each output, where a state is kept.
    digests: Vec<Stream<'s, Epoch, Vec<DigestPart>>>,
}

/// A worker's part in a run, between the steps of its dataflow.
pub struct WorkerLoop {
    sources: Vec<(String, Shared)>,
    clock: Rc<RefCell<Clock>>,
    probe: Handle<Epoch>,
    stop: Stop,
    time: Arc<dyn Time>,
    nudged: Duration,
    dead_letters: Arc<DeadLetterLog>,
    /// The last epoch that a run before had.
    replayed: Epoch,
    /// Where operators are measured.
    carry: Option<Carry>,
}

impl WorkerLoop {
    /// To be called after each step of the worker.
    pub fn after_step(&mut self) {
        let frontier = self.probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Epoch::MAX);
        let mut clock = self.clock.borrow_mut();
        clock.published(frontier);
        if frontier > self.replayed + 1 && frontier != Epoch::MAX {
            supervised::progress();
        }
        let now = self.time.now();
        if now.saturating_sub(self.nudged) >= TICK {
            self.nudged = now;
            clock.nudge();
            self.dead_letters.tick();
            fold::tick();
        }
        if self.stop.is_requested() {
            clock.stop();
        }
        drop(clock);
        self.tell_figures(frontier == Epoch::MAX);
    }

    /// Tells what this worker has done, where it is time to; for the last time once all is published.
    fn tell_figures(&mut self, ended: bool) {
        let Some(carry) = self.carry.as_mut().filter(|carry| carry.is_due() || ended && !carry.has_ended())
        else {
            return;
        };
        let blocked = self.sources.iter().map(|(_, source)| source.blocked()).sum();
        if ended { carry.end(blocked) } else { carry.tell(blocked) }
    }

    /// The graph that was built, where operators are measured.
    pub fn graph(&self) -> Option<Graph> {
        self.carry.as_ref().map(Carry::graph)
    }

    /// To be called when the dataflow has ended well.
    pub fn end(self) {
        for (_, source) in self.sources {
            source.finish();
        }
    }
}
