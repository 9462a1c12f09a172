//! A job: a dataflow with its feeds and sinks, run by the workers of one process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use cutwater_dataflows::dataflow::renders;
use cutwater_dataflows::operators::accumulate::accumulate;
use cutwater_dataflows::source::Driver;
use cutwater_dataflows::{Build, Epoch, Flow, Shape, dead_letter};
use timely::CommunicationConfig;
use timely::communication::AllocatorBuilder;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::worker::Worker;

use crate::epoch::{Clock, EpochOptions, announce};
use crate::fault::Fault;
use crate::feed::{Feed, Feeds, Place};
use crate::publish::{Cuts, Outlet, Publisher, Publishing, publish};
use crate::sink::Sink;
use crate::source::Shared;
use crate::status::Status;

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
    /// Hears of every cut before its epoch leaves. Used only in the process with worker 0.
    pub cuts: Option<Box<dyn Cuts>>,
    /// Figures of the run; only those of the process with worker 0 are filled.
    pub status: Status,
}

/// Where the rows of an output go.
#[derive(Default)]
pub struct Binding {
    /// True: the rows that are there after the end, once, instead of the changes of each epoch.
    pub at_end: bool,
    /// The sinks. Only those in the process with worker 0 are used.
    pub sinks: Vec<Box<dyn Sink>>,
}

/// The name under which dead letters are shown.
pub const DEAD_LETTERS: &str = "dead-letters";

/// Has a run stop: the open epoch is finished and published. Clones share it.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Has the run stop soon.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once it was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

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
/// The first error of any feed, decoder or sink of this process. With peers, the process must exit then: the
/// other workers can't go on without it.
pub fn run(job: Job, workers: Workers, stop: &Stop, fault: &Fault) -> Result<()> {
    let Job { dataflow, feeds, epochs, outputs, dead_letters, cuts, status } = job;
    let shape = Shape::of(&*dataflow);
    let at_end: Vec<bool> = outputs.iter().map(|binding| binding.at_end).collect();
    let (publisher, publishing) = start_publishing(&*dataflow, outputs, dead_letters, cuts, &status, fault)?;
    let publisher = Mutex::new(Some(publisher));
    let setup = Setup {
        dataflow,
        shape,
        feeds,
        epochs,
        at_end,
        publisher,
        status,
        stop: stop.clone(),
        fault: fault.clone(),
    };
    let peers = workers.peers;
    let guards = timely::execute::execute_from(
        workers.builders,
        workers.connections,
        timely::WorkerConfig::default(),
        move |worker| {
            let name = format!("worker {}", worker.index());
            setup.fault.guard(&name, || setup.run(worker));
            if setup.fault.is_raised() {
                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            }
        },
    )
    .map_err(|error| anyhow!("starting workers: {error}"))?;
    if peers {
        // Workers whose peers have gone wait for them forever: the first error ends the process.
        let (ended, end) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || ended.send(guards.join()));
        crossbeam_channel::select! {
            recv(fault.heard()) -> _ => {}
            recv(end) -> _ => publishing.join(),
        }
    } else {
        guards.join();
        publishing.join();
    }
    fault.take().map_or(Ok(()), Err)
}

fn start_publishing(
    dataflow: &dyn Build,
    outputs: Vec<Binding>,
    dead_letters: Vec<Box<dyn Sink>>,
    cuts: Option<Box<dyn Cuts>>,
    status: &Status,
    fault: &Fault,
) -> Result<(Publisher, Publishing)> {
    let renders = renders(dataflow);
    ensure!(
        renders.len() == outputs.len(),
        "{} has {} outputs; {} are bound",
        dataflow.name(),
        renders.len(),
        outputs.len()
    );
    let mut outlets: Vec<Outlet> = renders
        .into_iter()
        .zip(outputs)
        .map(|((name, render), binding)| Outlet { name, render, sinks: binding.sinks })
        .collect();
    outlets.push(Outlet { name: DEAD_LETTERS.into(), render: dead_letter::render(), sinks: dead_letters });
    Publishing::start(outlets, cuts, status.clone(), fault.clone())
}

/// What each worker builds from.
struct Setup {
    dataflow: Arc<dyn Build>,
    shape: Shape,
    feeds: Arc<dyn Feeds>,
    epochs: EpochOptions,
    at_end: Vec<bool>,
    publisher: Mutex<Option<Publisher>>,
    status: Status,
    stop: Stop,
    fault: Fault,
}

impl Setup {
    /// The life of a worker.
    fn run(&self, worker: &mut Worker) {
        let place = Place { worker: worker.index(), workers: worker.peers() };
        let publisher = (place.worker == 0)
            .then(|| self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take())
            .flatten();
        // Before the graph: a worker that fails here builds none, instead of another one than its peers.
        let feeds: Result<Vec<(String, Box<dyn Feed>)>> = self
            .shape
            .inputs
            .iter()
            .map(|input| {
                let feed = self
                    .feeds
                    .open(input, place, None)
                    .with_context(|| format!("opening input {input:?}"))?;
                Ok((input.clone(), feed))
            })
            .collect();
        let feeds = match feeds {
            Ok(feeds) => feeds,
            Err(error) => return self.fault.raise(error),
        };
        let clock = Clock::new(self.epochs);
        let mut sources: Vec<(String, Shared)> =
            feeds.into_iter().map(|(input, feed)| (input, Shared::new(feed, &clock, &self.fault))).collect();
        let drivers = sources.clone();
        let probe = Handle::<Epoch>::new();
        self.status.start();
        worker.dataflow_named(self.dataflow.name(), |scope| {
            announce(scope, &clock);
            let driver = move |input: &str| -> Box<dyn Driver> {
                let (_, source) =
                    drivers.iter().find(|(name, _)| name == input).expect("the shape names every input");
                Box::new(source.clone())
            };
            let parts = Flow::build(scope, &*self.dataflow, Box::new(driver));
            let mut changes: Vec<_> = parts
                .outputs
                .into_iter()
                .zip(&self.at_end)
                .map(|(output, at_end)| if *at_end { accumulate(output.changes) } else { output.changes })
                .collect();
            changes.push(scope.concatenate(parts.dead_letters));
            publish(scope, changes, parts.reports, publisher).probe_with(&probe);
        });
        let mut nudged = Instant::now();
        while worker.has_dataflows() {
            worker.step_or_park(Some(TICK));
            if self.fault.is_raised() {
                return;
            }
            let frontier = probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Epoch::MAX);
            let mut clock = clock.borrow_mut();
            clock.published(frontier);
            if nudged.elapsed() >= TICK {
                nudged = Instant::now();
                clock.nudge();
            }
            if self.stop.is_requested() {
                clock.stop();
            }
        }
        for (_, source) in sources.drain(..) {
            source.finish();
        }
    }
}
