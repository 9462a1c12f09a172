//! `cutwater run`: from options to a job.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cutwater_dataflows::{Build, Format, Shape};

use super::first;
use super::formats::{self, Bound};
use super::live::{self, Live};
use super::options::{LogArgs, RunArgs};
use super::plan::Plan;
use super::processes::{cluster, secret, watched};
use super::progress::Progress;
use super::resume::{cluster_of, go_on, identity, state_options};
use super::running::Running;
use super::served::Served;
use crate::cluster::{Connected, Secret};
use crate::fault::Fault;
use crate::feed::kafka::KafkaFeeds;
use crate::job::{self, Job, State};
use crate::kafka::client::Settings;
use crate::log;
use crate::publish::Cuts;
use crate::shown::count;
use crate::sink::SinkKind;
use crate::state::joining::Joining;
use crate::state::lock::Lock;
use crate::state::open::{Kept, StateOptions};
use crate::supervise::Inherited;
use crate::{exit, signals, supervise};

/// Runs a dataflow as the options say: here, or in several processes that are started and watched here.
pub(super) fn run(
    args: &RunArgs,
    general: &LogArgs,
    dataflow: Arc<dyn Build>,
    formats: &[Arc<dyn Format>],
    sinks: &[SinkKind],
) -> Result<()> {
    let fault = Fault::default();
    let Bound { dataflow, bindings } = formats::bound(args, dataflow, formats, &fault)?;
    let shape = Shape::of(&*dataflow)?;
    let plan = Plan::new(args, &shape, dataflow.name(), sinks)?;
    let state = args
        .state
        .as_ref()
        .map(|place| state_options(args, place, &shape, dataflow.name(), &plan.finals()))
        .transpose()?;
    let inherited = supervise::inherited()?;
    let secret = secret(args, inherited.as_ref())?;
    let watched = watched(args, secret.as_ref());
    let place = live::place(args, general.quiet, plan.writes_stdout(), watched.is_some())?;
    if let Some(watched) = watched {
        return supervise::supervise(&watched);
    }
    signals::renew_on_hangup()?;
    let running = Running::new(args, dataflow, shape, fault);
    let is_told = running.process == 0 && !general.quiet;
    if running.process == 0 {
        first::look(&plan, &running.shape, &bindings)?;
    }
    if args.processes.get() > 1 {
        log::name_process(running.process);
    }
    run_here(&running, plan, Given { state, inherited, secret, place, is_told }, sinks)
}

/// What a process is given for its run, beside what it is to do.
struct Given {
    /// How state is to be kept.
    state: Option<StateOptions>,
    inherited: Option<Inherited>,
    secret: Option<Secret>,
    /// Where a table is drawn.
    place: Option<live::Place>,
    /// True iff the user is told of its progress.
    is_told: bool,
}

/// Runs the dataflow in this process.
fn run_here(running: &Running<'_>, plan: Plan, given: Given, sinks: &[SinkKind]) -> Result<()> {
    let Running { args, process, fault, .. } = running;
    let Given { state: state_options, inherited, secret, place, is_told } = given;
    let (here, rows) = (*process == 0, plan.writes_stdout());
    Served::measure(running);
    obey_signals(running)?;
    let mut served = Served::start(running, &plan, inherited.is_some())?;
    let cluster = cluster(args, &*running.dataflow, inherited, secret)?;
    exit::name_peers(&cluster.addresses);
    // The sinks of worker 0 take all rows; the other processes open none.
    let letters_are_kept = plan.dead_letter.is_some();
    let (outputs, mut dead_letters) = plan.open(here, state_options.is_some(), fault, sinks)?;
    dead_letters.extend(served.letters());
    // The process that writes them looks after them.
    let written = if here { plan.written() } else { Vec::new() };
    let epochs = plan.epochs;
    let Plan { settings, reading, inputs, .. } = plan;
    let topics =
        Topics { group: reading.group.clone(), settings: settings.clone(), written: written.clone() };
    let feeds =
        KafkaFeeds::connect(settings, reading, inputs, written, fault)?.with_workers(args.workers.get());
    let mut connected = cluster.connect()?;
    let Resumed { state, cuts, kept } = resumed(running, state_options, &topics, &feeds, &mut connected)?;
    served.keeps(kept.as_ref().map(|(kept, _)| kept));
    let views = served.viewing(running, state.as_ref())?;
    let workers = connected.workers()?;
    if here {
        feeds.show_lag(&running.status);
    }
    announce(running);
    let job = Job {
        dataflow: Arc::clone(&running.dataflow),
        feeds: Arc::new(feeds),
        epochs,
        outputs,
        dead_letters,
        letters_are_kept,
        cuts,
        views,
        state,
        status: running.status.clone(),
    };
    let drawn = Drawn::start(running, place, is_told, rows, &served)?;
    let result = job::run(job, workers, &running.stop, fault);
    let well = result.is_ok();
    served.close();
    let result = result.and(fault.bound(move || {
        drop(drawn);
        end(kept, well);
        Ok(())
    }));
    if result.is_ok() && is_told {
        log::say(&format!("done: {}", running.status.figures().line()));
    }
    result
}

/// How much longer than `--stop-timeout` the processes take that don't publish: less than their supervisor allows.
const AFTER_PROCESS_0: Duration = Duration::from_secs(2);

/// From now on, a signal has the run stop within `--stop-timeout`.
fn obey_signals(running: &Running<'_>) -> Result<()> {
    let Running { args, stop, fault, .. } = running;
    // Process 0 publishes, and knows what the run waits for. The others end with it, or a little later by themselves.
    let status = (running.process == 0).then(|| running.status.clone());
    let limit = args.stop_timeout + if status.is_some() { Duration::ZERO } else { AFTER_PROCESS_0 };
    let keeps = args.state.is_some();
    let (begun, stop, fault) = (stop.clone(), stop.clone(), fault.clone());
    signals::stop_by(
        move || begun.has_begun(),
        move || {
            stop.request();
            let status = status.clone();
            let published = move || status.map(|status| status.figures().epoch);
            if let Err(error) = stop.enforce(&fault, limit, keeps, published) {
                fault.raise(error);
            }
            tracing::info!("stopping: finishing the open epoch; once more to stop at once");
        },
    )
}

/// Says that it starts.
fn announce(running: &Running<'_>) {
    let (workers, processes) = (running.args.workers.get(), running.args.processes.get());
    tracing::info!(
        dataflow = running.dataflow.name(),
        version = env!("CARGO_PKG_VERSION"),
        workers,
        processes,
        "starting {}: {} in {}",
        running.dataflow.name(),
        count(workers as u64, "worker"),
        count(processes as u64, "process"),
    );
}

/// The topics of a run, and who asks for them.
struct Topics {
    settings: Settings,
    group: String,
    written: Vec<String>,
}

/// What is to be ended after the run.
type ToEnd = (Kept, Option<Lock>);

/// What a process runs with: what it resumes from, who hears of cuts, and what to end after the run.
struct Resumed {
    state: Option<State>,
    cuts: Option<Box<dyn Cuts>>,
    kept: Option<ToEnd>,
}

/// What this process runs with.
fn resumed(
    running: &Running<'_>,
    options: Option<StateOptions>,
    topics: &Topics,
    feeds: &KafkaFeeds,
    connected: &mut Connected,
) -> Result<Resumed> {
    let Running { args, dataflow, shape, fault, .. } = running;
    let (Some(place), Some(options)) = (&args.state, options) else {
        let cuts: Box<dyn Cuts> = Box::new(Joining::new(feeds.ids().clone()));
        return Ok(Resumed { state: None, cuts: Some(cuts), kept: None });
    };
    let identity = || {
        let cluster = cluster_of(&topics.settings, fault)?;
        // Those that discovery compares with from now on.
        let read = feeds.ids().of(feeds.topics().iter().map(String::as_str));
        let written = feeds.ids().of(topics.written.iter().map(String::as_str));
        identity(args, &**dataflow, shape, &topics.group, cluster, read, written)
    };
    let (state, cuts, kept) = go_on(place, options, identity, feeds, connected, args, fault)?;
    Ok(Resumed { state: Some(state), cuts, kept: Some(kept) })
}

/// Ends what keeps the state, after a run that has ended `well`, or not.
fn end(kept: Option<ToEnd>, well: bool) {
    match kept {
        Some((kept, _lock)) if well => kept.end(),
        // What hangs there may still write. The lock on the state is let go when the process has ended.
        kept => std::mem::forget(kept),
    }
}

/// What is drawn while it lives.
struct Drawn {
    _progress: Option<Progress>,
    _live: Option<Live>,
}

impl Drawn {
    /// Draws the table, or else the progress where somebody is told of it. `rows`: some go to standard output.
    fn start(
        running: &Running<'_>,
        place: Option<live::Place>,
        is_told: bool,
        rows: bool,
        served: &Served,
    ) -> Result<Drawn> {
        let live = live::start(place, running, served)?;
        let draws = is_told && live.is_none();
        let progress = draws.then(|| Progress::start(rows, running.status.clone()));
        Ok(Drawn { _progress: progress, _live: live })
    }
}
