//! `cutwater run`: from options to a job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::{Build, Format, Shape};
use xxhash_rust::xxh3::xxh3_64;

use super::emit::emits;
use super::formats;
#[cfg(feature = "live")]
use super::live;
use super::log;
use super::options::{LogArgs, MOST_WORKERS, RunArgs};
use super::progress::Progress;
use super::resume::{cluster_of, go_on, identity, state_options};
use super::usage;
use crate::address;
use crate::cluster::{Cluster, SHORTEST_SILENCE, Secret};
use crate::epoch::EpochOptions;
use crate::fault::Fault;
use crate::feed::kafka::{KafkaFeeds, Reading};
use crate::job::{self, Binding, DEAD_LETTERS, Job, Stop, Viewing};
use crate::kafka::client::Settings;
use crate::kafka::topics::{Making, Pattern};
#[cfg(feature = "http")]
use crate::measure::history::Keeper;
use crate::publish::Cuts;
#[cfg(feature = "http")]
use crate::serve::views::History;
#[cfg(feature = "http")]
use crate::serve::{About, Service};
use crate::shown::count;
use crate::sink::too_large::OnTooLarge;
use crate::sink::{Delivery, Emit, Opener, Sink, SinkKind, Target};
use crate::state::joining::Joining;
use crate::status::Status;
use crate::supervise::{Processes, Restart, Watched};
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
    let dataflow = formats::bound(args, dataflow, formats, &fault)?;
    let shape = Shape::of(&*dataflow)?;
    let plan = Plan::new(args, &shape, dataflow.name(), sinks)?;
    let state_options = args
        .state
        .as_ref()
        .map(|place| state_options(args, place, &shape, dataflow.name(), &plan.finals()))
        .transpose()?;
    let inherited = supervise::inherited()?;
    let secret = match &inherited {
        Some(inherited) => Some(inherited.secret.clone()),
        None => args.cluster_secret_file.as_deref().map(Secret::read).transpose()?,
    };
    let watched = watched(args, secret.as_ref());
    let to_stdout = plan.targets().any(|target| *target == Target::Stdout);
    #[cfg(feature = "live")]
    let place = live::place(args, general.quiet, to_stdout, watched.is_some())?;
    if let Some(watched) = watched {
        return supervise::supervise(&watched);
    }
    signals::renew_on_hangup()?;
    let process = args.process.unwrap_or(0);
    if args.processes.get() > 1 {
        log::name_process(process);
    }
    let stop = Stop::default();
    let status = Status::default();
    #[cfg(feature = "http")]
    if args.http.http.is_some() {
        status.measure();
    }
    obey_signals(args, &stop, &fault, (process == 0).then(|| status.clone()))?;
    #[cfg(feature = "http")]
    let (service, server) = match process {
        0 => {
            let service = service(args, &*dataflow, &shape, &plan, &status, &stop, &fault);
            let server = args.http.start(service.clone())?;
            ((server.is_some() || args.live()).then_some(service), server)
        }
        // Who watches over hosts asks each of them.
        _ if inherited.is_none() && is_alone(&hosts(args)?, process) => {
            let service = service(args, &*dataflow, &shape, &plan, &status, &stop, &fault);
            (None, args.http.start_peer(service)?)
        }
        _ => (None, None),
    };
    #[cfg(feature = "http")]
    let history = service.as_ref().map(|_| Keeper::start(status.clone())).transpose()?;
    let (addresses, listener) = match inherited {
        Some(inherited) => (inherited.addresses, Some(inherited.listener)),
        None => (hosts(args)?, None),
    };
    let cluster = Cluster {
        workers: args.workers.get(),
        process,
        addresses,
        listener,
        fingerprint: fingerprint(args, &*dataflow),
        secret,
        timeout: args.kafka.connect_timeout,
        peer_timeout: args.peer_timeout,
    };
    exit::name_peers(&cluster.addresses);
    // The sinks of worker 0 take all rows; the other processes open none.
    let (outputs, dead_letters) = plan.open(process == 0, state_options.is_some(), &fault, sinks)?;
    #[cfg(feature = "http")]
    let dead_letters = {
        let mut sinks = dead_letters;
        sinks.extend(service.iter().filter(|_| server.is_some()).map(|service| service.letters().sink()));
        sinks
    };
    let group = plan.reading.group.clone();
    // The process that writes them looks after them.
    let written = if process == 0 { plan.written() } else { Vec::new() };
    let feeds =
        KafkaFeeds::connect(plan.settings.clone(), plan.reading, plan.inputs, written.clone(), &fault)?
            .with_workers(args.workers.get());
    let mut connected = cluster.connect()?;
    let (state, cuts, kept) = match (&args.state, state_options) {
        (Some(place), Some(state_options)) => {
            let identity = || {
                let cluster = cluster_of(&plan.settings, &fault)?;
                // Those that discovery compares with from now on.
                let read = feeds.ids().of(feeds.topics().iter().map(String::as_str));
                let written = feeds.ids().of(written.iter().map(String::as_str));
                identity(args, &*dataflow, &shape, &group, cluster, read, written)
            };
            let (state, cuts, kept) =
                go_on(place, state_options, identity, &feeds, &mut connected, args, &fault)?;
            (Some(state), cuts, Some(kept))
        }
        _ => (None, Some(Box::new(Joining::new(feeds.ids().clone())) as Box<dyn Cuts>), None),
    };
    #[cfg(feature = "http")]
    if let (Some(service), Some((kept, _))) = (&service, &kept) {
        service.keeps(kept.known().clone());
    }
    #[cfg(feature = "http")]
    let views = viewing(args, service.as_ref(), state.as_ref())?;
    #[cfg(not(feature = "http"))]
    let views = Viewing::Off;
    let workers = connected.workers()?;
    if process == 0 {
        feeds.show_lag(&status);
    }
    tracing::info!(
        dataflow = dataflow.name(),
        version = env!("CARGO_PKG_VERSION"),
        workers = args.workers.get(),
        processes = args.processes.get(),
        "starting {}: {} in {}",
        dataflow.name(),
        count(args.workers.get() as u64, "worker"),
        count(args.processes.get() as u64, "process"),
    );
    let job = Job {
        dataflow,
        feeds: Arc::new(feeds),
        epochs: plan.epochs,
        outputs,
        dead_letters,
        cuts,
        views,
        state,
        status: status.clone(),
    };
    #[cfg(feature = "live")]
    let live = match (place, &service) {
        (Some(place), Some(service)) => {
            Some(live::start(place, args, job.dataflow.name(), status.clone(), service.views().clone())?)
        }
        _ => None,
    };
    #[cfg(not(feature = "live"))]
    let live: Option<()> = None;
    let draws = process == 0 && !general.quiet && live.is_none();
    let progress = draws.then(|| Progress::start(to_stdout, status.clone()));
    let result = job::run(job, workers, &stop, &fault);
    let well = result.is_ok();
    #[cfg(feature = "http")]
    drop((server, history));
    let result = result.and(fault.bound(move || {
        drop((progress, live));
        match kept {
            Some((kept, _lock)) if well => kept.end(),
            // What hangs there may still write. The lock on the state is let go when the process has ended.
            kept => std::mem::forget(kept),
        }
        Ok(())
    }));
    if result.is_ok() && process == 0 && !general.quiet {
        log::say(&format!("done: {}", status.figures().line()));
    }
    result
}

/// What the server knows of the run.
#[cfg(feature = "http")]
fn service(
    args: &RunArgs,
    dataflow: &dyn Build,
    shape: &Shape,
    plan: &Plan,
    status: &Status,
    stop: &Stop,
    fault: &Fault,
) -> Service {
    let processes = args.processes.get();
    let about = About {
        dataflow: dataflow.name().to_owned(),
        shape: shape.clone(),
        workers: args.workers.get() * processes,
        processes,
        state: args.state.clone(),
        topics: plan.inputs.clone(),
        options: args.options.clone(),
    };
    Service::new(about, status.clone(), stop.clone(), fault.clone())
}

/// True iff a process is on another host than process 0, which listens for HTTP there.
#[cfg(feature = "http")]
fn is_alone(addresses: &[String], process: usize) -> bool {
    let host = |process: usize| addresses.get(process).and_then(|address| Some(address.rsplit_once(':')?.0));
    host(process).is_some_and(|own| host(0) != Some(own))
}

/// What this process is to watch over, instead of running the dataflow itself.
fn watched(args: &RunArgs, secret: Option<&Secret>) -> Option<Watched> {
    let processes = match args.process {
        None if args.processes.get() > 1 => Processes::All(args.processes.get()),
        process if args.restart != Restart::Never && !supervise::is_supervised() => {
            Processes::One(process.unwrap_or(0))
        }
        _ => return None,
    };
    Some(Watched {
        processes,
        secret: secret.cloned(),
        stop_timeout: args.stop_timeout,
        restart: args.restart,
    })
}

/// Who is told of changes, so that outputs can be asked.
#[cfg(feature = "http")]
fn viewing(args: &RunArgs, service: Option<&Service>, state: Option<&job::State>) -> Result<Viewing> {
    let history = match (&args.http.http, args.live()) {
        (Some(_), _) => args.http.history(),
        // The table shows the newest epoch alone.
        (None, true) => History { time: Duration::ZERO, bytes: 0 },
        (None, false) => return Ok(Viewing::Off),
    };
    let Some(service) = service else { return Ok(Viewing::Elsewhere) };
    let resume = state.map(|state| &*state.resume);
    Ok(Viewing::Here(service.views().fill(history, resume)?))
}

/// How much longer than `--stop-timeout` the processes take that don't publish: less than their supervisor allows.
const AFTER_PROCESS_0: Duration = Duration::from_secs(2);

/// From now on, a signal has the run stop within `--stop-timeout`. `status`: of a process that publishes.
fn obey_signals(args: &RunArgs, stop: &Stop, fault: &Fault, status: Option<Status>) -> Result<()> {
    // Process 0 knows what the run waits for. The others end with it, or a little later by themselves.
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

/// The sinks of each output, and those of dead letters.
type Sinks = (Vec<Binding>, Vec<Box<dyn Sink>>);

/// What the options mean for this dataflow.
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) reading: Reading,
    pub(super) inputs: BTreeMap<String, Vec<Pattern>>,
    epochs: EpochOptions,
    /// For each output, in order.
    pub(super) outputs: Vec<Vec<Target>>,
    pub(super) dead_letter: Option<Target>,
    /// What was typed for each output.
    emits: Vec<Option<Emit>>,
    webhook_max_bytes: usize,
    pub(super) create_topics: Option<Making>,
    delivery: Delivery,
    on_too_large: OnTooLarge,
}

impl Plan {
    /// Reads the options.
    ///
    /// # Errors
    /// A usage error if they can't be.
    pub(super) fn new(args: &RunArgs, shape: &Shape, name: &str, sinks: &[SinkKind]) -> Result<Self> {
        let settings = args.kafka.settings()?;
        let mut inputs: BTreeMap<String, Vec<Pattern>> = BTreeMap::new();
        for text in &args.topic {
            let (input, topic) = bind("--topic", text, "input", &shape.inputs)?;
            let pattern = Pattern::parse(topic).map_err(|error| usage(error.to_string()))?;
            inputs.entry(input.to_owned()).or_default().push(pattern);
        }
        if let Some(unbound) = shape.inputs.iter().find(|input| !inputs.contains_key(*input)) {
            return Err(usage(match shape.inputs.len() {
                1 => format!("{name} reads input {unbound:?}: say from which topic with --topic TOPIC"),
                _ => format!(
                    "{name} reads input {unbound:?}: say from which topic with --topic {unbound}=TOPIC"
                ),
            }));
        }
        let names: Vec<String> = shape.outputs.iter().map(|output| output.name.clone()).collect();
        let mut outputs: Vec<Vec<Target>> = vec![Vec::new(); names.len()];
        for text in &args.to {
            let (output, target) = bind("--to", text, "output", &names)?;
            let target: Target = target.parse().map_err(|error| usage(format!("--to {text}: {error}")))?;
            let index = names.iter().position(|name| name == output).expect("bound to one of them");
            outputs[index].push(target);
        }
        for targets in outputs.iter_mut().filter(|targets| targets.is_empty()) {
            targets.push(Target::Stdout);
        }
        let targets = || outputs.iter().flatten().chain(&args.dead_letter);
        check_targets(targets(), sinks)?;
        if targets().any(|target| target.topic().is_some()) {
            let transactions = args.delivery == Delivery::ExactlyOnce;
            settings.check_outputs(transactions).map_err(|error| usage(error.to_string()))?;
        }
        check_topics(&inputs, &outputs, args.dead_letter.as_ref(), &names)?;
        if args.delivery == Delivery::AtLeastOnce && !targets().any(|target| target.topic().is_some()) {
            return Err(usage(
                "--delivery at-least-once is for Kafka sinks: it needs a kafka:TOPIC in --to or --dead-letter",
            ));
        }
        if args.create_topics.is_some() && !targets().any(|target| matches!(target, Target::Kafka(_))) {
            return Err(usage(
                "--create-topics makes topics that are written: it needs a kafka:TOPIC in --to or --dead-letter",
            ));
        }
        let emits = emits(&args.emit, &shape.outputs)?;
        if emits.contains(&Some(Emit::Final)) && !args.until_end {
            return Err(usage("--emit final shows the rows after the end: it needs --until-end"));
        }
        check_state(args)?;
        if args.on_too_large == OnTooLarge::DeadLetter && args.dead_letter.is_none() {
            return Err(usage(
                "--on-too-large dead-letter: say where dead letters go, with --dead-letter SINK",
            ));
        }
        check_cluster(args)?;
        #[cfg(feature = "http")]
        args.http.check()?;
        let group = args
            .kafka
            .set
            .iter()
            .rev()
            .find_map(|property| property.strip_prefix("group.id="))
            .map_or_else(|| format!("cutwater-{name}"), str::to_owned);
        let all_final = !emits.is_empty() && emits.iter().all(|emit| *emit == Some(Emit::Final));
        let usual = if all_final { EpochOptions::at_end() } else { EpochOptions::default() };
        Ok(Plan {
            settings,
            reading: Reading {
                from: args.from,
                until_end: args.until_end,
                on_data_loss: args.on_data_loss,
                group,
                // A Kafka sink commits them in its transactions.
                commits: args.delivery == Delivery::AtLeastOnce
                    || !targets().any(|target| matches!(target, Target::Kafka(_))),
            },
            inputs,
            epochs: EpochOptions {
                shortest: args.epoch.unwrap_or(usual.shortest),
                max_records: args.max_records.get(),
                max_bytes: args.max_bytes.get(),
                in_flight: args.in_flight.get(),
                idle_after: args.idle_after,
            },
            outputs,
            dead_letter: args.dead_letter.clone(),
            emits,
            webhook_max_bytes: args.webhook_max_bytes.get(),
            create_topics: args.create_topics,
            delivery: args.delivery,
            on_too_large: args.on_too_large,
        })
    }

    /// The outputs, by their place, whose rows leave after the end.
    pub(super) fn finals(&self) -> Vec<bool> {
        self.emits.iter().map(|emit| *emit == Some(Emit::Final)).collect()
    }

    /// The topics that are written.
    pub(super) fn written(&self) -> Vec<String> {
        self.targets().filter_map(Target::topic).map(str::to_owned).collect()
    }

    /// All sinks.
    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.outputs.iter().flatten().chain(&self.dead_letter)
    }

    /// Opens the sinks, where rows arrive here.
    fn open(&self, here: bool, durable: bool, fault: &Fault, kinds: &[SinkKind]) -> Result<Sinks> {
        let opener = Opener::new(&self.settings, &self.reading.group, durable, self.webhook_max_bytes, fault);
        let mut opener = opener
            .creating(self.create_topics)
            .delivering(self.delivery)
            .on_too_large(self.on_too_large)
            .with_kinds(kinds);
        let mut open = |target: &Target, emit: Emit| -> Result<Option<Box<dyn Sink>>> {
            if here { opener.open(target, emit) } else { Ok(None) }
        };
        let outputs = self
            .outputs
            .iter()
            .zip(&self.emits)
            .map(|(targets, emit)| {
                let bound = targets.iter().filter(|target| **target != Target::None);
                let bound = bound.map(|target| (target, emit.unwrap_or(target.default_emit())));
                let sinks = bound.clone().filter_map(|(target, emit)| open(target, emit).transpose());
                let sinks = sinks.collect::<Result<_>>()?;
                Ok(Binding { emits: bound.map(|(_, emit)| emit).collect(), ..Binding::new(sinks) })
            })
            .collect::<Result<_>>()?;
        // Dead letters never change: what --emit says of rows that do is not for them.
        let dead_letters = match &self.dead_letter {
            Some(target) if here => {
                opener.open_dead_letters(target).context(DEAD_LETTERS)?.into_iter().collect()
            }
            _ => Vec::new(),
        };
        opener.start()?;
        Ok((outputs, dead_letters))
    }
}

/// Refuses sinks that can't be right, alone or together.
fn check_targets<'a>(targets: impl Iterator<Item = &'a Target>, sinks: &[SinkKind]) -> Result<()> {
    let mut files = BTreeSet::new();
    for target in targets {
        target.check(sinks).map_err(usage)?;
        if let Target::File(path) = target
            && (path.is_file() || !path.exists())
            && !files.insert(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        {
            return Err(usage(format!(
                "two sinks write to the same file, {}: give each its own",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Refuses topics that are written and read, or that two sinks write to. `outputs` are those of `names`, in order.
fn check_topics(
    inputs: &BTreeMap<String, Vec<Pattern>>,
    outputs: &[Vec<Target>],
    dead_letter: Option<&Target>,
    names: &[String],
) -> Result<()> {
    let outputs = names
        .iter()
        .zip(outputs)
        .flat_map(|(name, targets)| targets.iter().map(move |target| (format!("output {name:?}"), target)));
    let targets = outputs.chain(dead_letter.map(|target| ("--dead-letter".to_owned(), target)));
    let mut written: BTreeMap<&str, String> = BTreeMap::new();
    for (what, topic) in targets.filter_map(|(what, target)| Some((what, target.topic()?))) {
        for (input, pattern) in inputs.iter().flat_map(|(input, all)| all.iter().map(move |p| (input, p))) {
            if !pattern.matches(topic) {
                continue;
            }
            return Err(usage(match pattern {
                Pattern::Name(_) => format!(
                    "topic {topic} is read by input {input:?} and written by {what}: the run would read what it \
                     writes. Write to another topic"
                ),
                Pattern::Regex { typed, .. } => format!(
                    "topic {topic} is written by {what}, and matches {typed}, which input {input:?} reads: the run \
                     would read what it writes. Write to another topic, or have the expression leave it out"
                ),
            }));
        }
        if let Some(other) = written.insert(topic, what.clone()) {
            return Err(usage(format!(
                "{other} and {what} write to the same topic, {topic}: give each its own"
            )));
        }
    }
    Ok(())
}

/// Splits `NAME=REST`, where `NAME` is one of `names`; without a name, `text` is for the only one.
pub(super) fn bind<'a>(
    option: &str,
    text: &'a str,
    what: &str,
    names: &'a [String],
) -> Result<(&'a str, &'a str)> {
    if let Some((name, rest)) = text.split_once('=')
        && let Some(name) = names.iter().find(|known| *known == name)
    {
        return Ok((name, rest));
    }
    // An expression or a path may hold the sign as well.
    match (names, text.split_once('=')) {
        ([only], None) => Ok((only, text)),
        ([only], Some(_)) if text.starts_with('^') || text.contains(':') => Ok((only, text)),
        (_, Some((name, _))) => {
            Err(usage(format!("{option} {text}: there is no {what} {name:?}, but {}", names.join(", "))))
        }
        (names, None) => {
            Err(usage(format!("{option} {text}: for which {what}? There are {}", names.join(", "))))
        }
    }
}

/// Refuses options of a state where none is kept.
fn check_state(args: &RunArgs) -> Result<()> {
    let typed = [("--checkpoint", args.checkpoint), ("--ledger-retention", args.ledger_retention)];
    if args.state.as_ref().is_some_and(String::is_empty) {
        return Err(usage("--state: the folder's name is empty"));
    }
    if args.restart != Restart::Never && args.state.is_none() {
        return Err(usage(
            "--restart on-failure starts the run again from its state, but none is kept: say where with --state DIR|URL",
        ));
    }
    match typed.into_iter().find_map(|(option, value)| value.map(|_| option)) {
        Some(option) if args.state.is_none() => {
            Err(usage(format!("{option} is of a state, but none is kept: say where with --state DIR|URL")))
        }
        _ => Ok(()),
    }
}

fn check_cluster(args: &RunArgs) -> Result<()> {
    let processes = args.processes.get();
    if args.workers.get().saturating_mul(processes) > MOST_WORKERS {
        return Err(usage(format!(
            "--workers {} of --processes {processes}: more than {MOST_WORKERS} workers in all",
            args.workers
        )));
    }
    if args.peer_timeout < SHORTEST_SILENCE {
        return Err(usage(format!(
            "--peer-timeout {:?}: shorter than {SHORTEST_SILENCE:?}, the shortest silence that can be noticed",
            args.peer_timeout
        )));
    }
    match args.process {
        Some(process) if process >= processes => Err(usage(format!(
            "--process {process}: there are {processes} processes (--processes), counted from 0"
        ))),
        Some(_) if processes > 1 && args.hostfile.is_none() && !supervise::is_supervised() => {
            Err(usage("--process needs --hostfile: where do the other processes listen?"))
        }
        _ if args.cluster_open && args.hostfile.is_none() => {
            Err(usage("--cluster-open is for processes on several hosts: it needs --hostfile"))
        }
        _ if args.cluster_open && args.cluster_secret_file.is_some() => Err(usage(
            "--cluster-open takes any process that connects, and --cluster-secret-file only those that know the secret: \
             choose one",
        )),
        _ if args.cluster_secret_file.is_some() && processes == 1 => Err(usage(
            "--cluster-secret-file is for several processes: say how many there are with --processes",
        )),
        _ if args.hostfile.is_some() && processes == 1 => {
            Err(usage("--hostfile is for several processes: say how many there are with --processes"))
        }
        None if args.hostfile.is_some() => {
            Err(usage("--hostfile is for processes on several hosts: say with --process which one this is"))
        }
        _ => Ok(()),
    }
}

/// The addresses of all processes.
pub(super) fn hosts(args: &RunArgs) -> Result<Vec<String>> {
    let (processes, Some(path)) = (args.processes.get(), &args.hostfile) else { return Ok(Vec::new()) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading --hostfile {shown}"))?;
    let mut hosts: Vec<String> = Vec::new();
    let mut far = None;
    for (number, line) in (1..).zip(text.lines()) {
        let host = line.split('#').next().unwrap_or_default().trim();
        if host.is_empty() {
            continue;
        }
        address::check(host).map_err(|error| usage(format!("--hostfile {shown}, line {number}: {error}")))?;
        if hosts.iter().any(|known| known == host) {
            return Err(usage(format!("--hostfile {shown}, line {number}: {host} is there twice")));
        }
        if far.is_none() && hosts.len() < processes && !address::is_loopback(host) {
            far = Some((number, host.to_owned()));
        }
        hosts.push(host.to_owned());
    }
    if hosts.len() < processes {
        bail!(
            "--hostfile {shown} names {}, but there are {processes} processes (--processes)",
            count(hosts.len() as u64, "host")
        );
    }
    if let Some((number, host)) = far
        && args.cluster_secret_file.is_none()
        && !args.cluster_open
    {
        return Err(usage(format!(
            "--hostfile {shown}, line {number}: {host} is not of this machine alone, so that others could connect to the \
             processes and take part in the run: give all of them the same --cluster-secret-file FILE (`openssl rand -hex 32 \
             >FILE` makes one), or allow it with --cluster-open"
        )));
    }
    Ok(hosts.into_iter().take(processes).collect())
}

/// Equal in processes that build the same dataflow and read the same input.
fn fingerprint(args: &RunArgs, dataflow: &dyn Build) -> u64 {
    let RunArgs { topic, format, from, until_end, workers, processes, emit, state, lateness, .. } = args;
    #[cfg(feature = "http")]
    let views = args.http.http.is_some();
    #[cfg(not(feature = "http"))]
    let views = false;
    let version = env!("CARGO_PKG_VERSION");
    let name = dataflow.name();
    xxh3_64(
        format!(
            "{version} {name} {dataflow:?} {topic:?} {format:?} {from:?} {until_end} {workers} {processes} {emit:?} {state:?} {lateness:?} {views}"
        )
        .as_bytes(),
    )
}
