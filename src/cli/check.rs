//! `cutwater check`: would a run with these options begin? Nothing is changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::{Build, Format, Shape};
use nix::unistd::{AccessFlags, access};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;

use super::first;
use super::formats::{self, Bound};
use super::options::RunArgs;
use super::plan::Plan;
use super::processes::hosts;
use super::resume::{identity, state_options};
use crate::fault::Fault;
use crate::feed::kafka::{From, OnDataLoss};
use crate::kafka::client::{Client, Settings};
use crate::kafka::identity::{cluster_id, topic_ids};
use crate::kafka::topics::{self, Pattern, Topic};
use crate::out;
use crate::schema_registry::Registry;
use crate::secrets;
use crate::shown::{count, shown};
use crate::sink::{SinkKind, Target};
use crate::state::identity::Identity;
use crate::state::inspect::Inspection;
use crate::state::lock::Lock;
use crate::state::storage;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Check whether a dataflow would run, and change nothing\n\n\
     cutwater check word-count -t lines -o kafka:counts --state /var/lib/cutwater/words\n\n\
     It takes the options of `run`, and looks at what a run needs before it reads its first record: brokers that answer, topics \
     that are there with leaders for their partitions and with the offsets that are wanted, formats that fit, a schema registry \
     that answers, sinks that can be \
     written, a state that is whole, nobody else's and of this job. A line each: `ok`, or `wrong` and what to do.\n\n\
     No topic is made, no file, no consumer group; no web server is called. Exit code 0 if all is well, 1 if something is wrong, 2 \
     for options that can't be.";

/// Checks what a run with these options would need.
///
/// # Errors
/// A usage error for options that can't be, as of `run`; another if something is wrong.
pub(super) fn check(
    args: &RunArgs,
    dataflow: Arc<dyn Build>,
    known: &[Arc<dyn Format>],
    sinks: &[SinkKind],
) -> Result<()> {
    let Bound { dataflow, bindings } = formats::bound(args, dataflow, known, &Fault::default())?;
    let shape = Shape::of(&*dataflow)?;
    let plan = Plan::new(args, &shape, dataflow.name(), sinks)?;
    let mut findings = Findings::default();
    findings.add("dataflow", Ok(format!("{dataflow:?}")));
    for input in &shape.inputs {
        let how = match shape.formats.get(input) {
            Some(format) => format!("read as {format}: {}", format.schema),
            None => match shape.decoded.get(input) {
                Some(format) => format!("read as {format}, by a decoder of the dataflow"),
                None => "read by a decoder of the dataflow".to_owned(),
            },
        };
        findings.add(&format!("input {input}"), Ok(how));
    }
    if let Some(url) = &args.schema_registry {
        let registry = Registry::new(url, args.kafka.connect_timeout, &Fault::default());
        findings.add(
            "schema registry",
            registry.map_err(anyhow::Error::msg).and_then(|registry| registry.answers()),
        );
    }
    if args.processes.get() > 1 {
        let size = format!("{} of {} workers", count(args.processes.get() as u64, "process"), args.workers);
        findings.add("cluster", hosts(args).map(|_| size));
    }
    let cluster = findings.cluster(&plan.settings);
    for (input, patterns) in &plan.inputs {
        patterns.iter().for_each(|pattern| findings.topic(input, pattern, &plan, cluster.as_ref()));
    }
    if cluster.is_some() {
        match first::look(&plan, &shape, &bindings) {
            Ok(0) => {}
            looked => findings.add("first records", looked.map(|_| "fit how they are read".to_owned())),
        }
    }
    for (output, targets) in shape.outputs.iter().zip(&plan.outputs) {
        targets.iter().for_each(|to| findings.sink(&output.name, to, &plan, cluster.as_ref()));
    }
    plan.dead_letter.iter().for_each(|to| findings.sink("dead letters", to, &plan, cluster.as_ref()));
    if let Some(place) = &args.state {
        let fits = state_options(args, place, &shape, dataflow.name(), &plan.finals());
        let state = fits.and_then(|_| state(args, place, &*dataflow, &shape, &plan, cluster.as_ref()));
        findings.add("state", state);
    }
    findings.end()
}

/// What is right and what is wrong, as a line each.
#[derive(Default)]
struct Findings(Vec<(String, Result<String>)>);

impl Findings {
    fn add(&mut self, what: &str, found: Result<String>) {
        self.0.push((what.to_owned(), found));
    }

    /// The cluster, where it answers.
    fn cluster(&mut self, settings: &Settings) -> Option<Cluster> {
        let found = Cluster::ask(settings);
        let told = found.as_ref().map(|cluster| {
            let brokers = count(cluster.metadata.brokers().len() as u64, "broker");
            format!(
                "{} answers: {brokers}, {}",
                settings.brokers,
                count(cluster.topics.len() as u64, "topic")
            )
        });
        self.add("brokers", told.map_err(|error| anyhow::anyhow!("{error:#}")));
        found.ok()
    }

    fn topic(&mut self, input: &str, pattern: &Pattern, plan: &Plan, cluster: Option<&Cluster>) {
        let Some(cluster) = cluster else { return };
        self.add(&format!("input {input}"), cluster.reads(pattern, plan));
    }

    fn sink(&mut self, output: &str, target: &Target, plan: &Plan, cluster: Option<&Cluster>) {
        let found = match target {
            Target::Stdout => Ok("standard output".to_owned()),
            Target::None => Ok("goes nowhere".to_owned()),
            Target::File(path) => file(path),
            Target::Webhook(url) => Ok(format!("webhook {url}; it is not called now")),
            Target::Own(kind, place) => {
                Ok(format!("{kind}:{place}, of this program's own kinds; it is not opened now"))
            }
            Target::Kafka(topic) => match cluster {
                Some(cluster) => cluster.writes(topic, plan),
                None => return,
            },
        };
        self.add(&format!("output {output}"), found);
    }

    /// Prints the lines.
    fn end(self) -> Result<()> {
        let wrong = self.0.iter().filter(|(_, found)| found.is_err()).count();
        out::print(|out| {
            for (what, found) in &self.0 {
                let (verdict, text) = match found {
                    Ok(text) => ("ok", text.clone()),
                    Err(error) => ("wrong", format!("{error:#}")),
                };
                writeln!(out, "{verdict:<6} {:<16} {}", shown(what), shown(&secrets::hidden(&text)))?;
            }
            Ok(())
        })?;
        if wrong > 0 {
            bail!("it would not run: {wrong} of {} failed", count(self.0.len() as u64, "check"));
        }
        Ok(())
    }
}

/// A cluster that answers.
struct Cluster {
    client: BaseConsumer<Client>,
    metadata: Metadata,
    topics: Vec<Topic>,
}

impl Cluster {
    fn ask(settings: &Settings) -> Result<Cluster> {
        let client = settings.metadata()?;
        topics::connect(&client, settings)?;
        let topics = topics::list(&client)?;
        let metadata = client.fetch_metadata(None, settings.connect_timeout)?;
        Ok(Cluster { client, metadata, topics })
    }

    /// Whether the topics of an input can be read.
    fn reads(&self, pattern: &Pattern, plan: &Plan) -> Result<String> {
        let found: Vec<&Topic> = self.topics.iter().filter(|(topic, _)| pattern.matches(topic)).collect();
        let typed = match pattern {
            Pattern::Name(name) if found.is_empty() => {
                let make = topics::how_to_make(&plan.settings.brokers, name);
                bail!("{} (to make it: {make})", topics::missing(name, &self.topics))
            }
            Pattern::Regex { typed, .. } if found.is_empty() && plan.reading.until_end => {
                bail!("no topic matches {typed}: --until-end reads what is there now, and that is nothing")
            }
            Pattern::Regex { typed, .. } if found.is_empty() => {
                return Ok(format!("no topic matches {typed} yet; new ones would be looked for"));
            }
            Pattern::Name(name) => name,
            Pattern::Regex { typed, .. } => typed,
        };
        let mut partitions = 0;
        for (topic, number) in &found {
            self.led(topic)?;
            partitions += number;
            if let From::Offset(wanted) = plan.reading.from {
                (0..*number).try_for_each(|partition| self.holds(topic, partition, wanted, plan))?;
            }
        }
        let topics = match pattern {
            Pattern::Name(_) => format!("topic {typed}"),
            Pattern::Regex { .. } => format!("{} of {typed}", count(found.len() as u64, "topic")),
        };
        Ok(format!("{topics}, {}", count(partitions.unsigned_abs().into(), "partition")))
    }

    /// An error if a partition of the topic has no leader.
    fn led(&self, name: &str) -> Result<()> {
        let brokers: Vec<i32> = self.metadata.brokers().iter().map(|broker| broker.id()).collect();
        let topics = self.metadata.topics().iter().filter(|topic| topic.name() == name);
        for partition in topics.flat_map(|topic| topic.partitions()) {
            if !brokers.contains(&partition.leader()) {
                bail!("topic {name} partition {} has no leader: look at its brokers", partition.id());
            }
        }
        Ok(())
    }

    /// An error if the partition does not hold the offset that is wanted.
    fn holds(&self, topic: &str, partition: i32, wanted: i64, plan: &Plan) -> Result<()> {
        let asking = || format!("asking for the offsets of {topic} partition {partition}");
        let timeout = plan.settings.connect_timeout;
        let (first, end) = self.client.fetch_watermarks(topic, partition, timeout).with_context(asking)?;
        if wanted < first && plan.reading.on_data_loss == OnDataLoss::Fail {
            bail!(
                "{topic} partition {partition}: offset {wanted} is wanted, but the first available is {first}; \
                 --on-data-loss continue goes on without what is missing"
            );
        }
        // What an open transaction holds back lies beyond: this may be it.
        if wanted > end {
            bail!("{topic} partition {partition}: offset {wanted} is wanted, but it ends at {end}");
        }
        Ok(())
    }

    /// Whether a topic can be written.
    fn writes(&self, name: &str, plan: &Plan) -> Result<String> {
        match self.topics.iter().find(|(topic, _)| topic == name) {
            Some((_, partitions)) => {
                self.led(name)?;
                Ok(format!("kafka:{name}, {}", count(partitions.unsigned_abs().into(), "partition")))
            }
            None => match plan.create_topics {
                Some(making) => Ok(format!(
                    "kafka:{name}, which is not there and would be made, {}",
                    count(making.partitions.unsigned_abs().into(), "partition")
                )),
                None => bail!(
                    "kafka:{name}: {} (--create-topics PARTITIONS makes it)",
                    topics::missing(name, &self.topics)
                ),
            },
        }
    }
}

/// Whether a file can be written.
fn file(path: &Path) -> Result<String> {
    let shown = path.display();
    if path.is_dir() {
        bail!("file:{shown} is a folder: name a file in it");
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (what, there) = if path.exists() { (path, "is there") } else { (folder, "would be made") };
    if what != path && !what.is_dir() {
        bail!("file:{shown} can't be written: {} is not a folder", what.display());
    }
    access(what, AccessFlags::W_OK)
        .with_context(|| format!("file:{shown} can't be written: {}", what.display()))?;
    Ok(format!("file:{shown} {there}"))
}

/// Whether a state can be resumed from, or made.
fn state(
    args: &RunArgs,
    place: &str,
    dataflow: &dyn Build,
    shape: &Shape,
    plan: &Plan,
    cluster: Option<&Cluster>,
) -> Result<String> {
    let folder = storage::folder(place)?;
    if let Some(folder) = &folder {
        if !folder.exists() {
            return made(folder).map(|()| format!("{place} is not there and would be made"));
        }
        access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
            .with_context(|| format!("{place} can't be written"))?;
        if let Some(holder) = Lock::holder(folder) {
            bail!("the state {place} is in use by {holder}: end that run first, or use another folder");
        }
    }
    let storage = storage::open(place)?;
    let inspection = Inspection::of(&storage, false)?;
    if let Some(problem) = inspection.problems.first() {
        let problems = count(inspection.problems.len() as u64, "problem");
        bail!("{place} is damaged ({problems}; `cutwater state {place} --verify` tells all): {problem}");
    }
    let Some(stored) = &inspection.identity else { return Ok(format!("{place} is empty: a new job")) };
    if let Some(cluster) = cluster {
        stored.check(&this_job(args, dataflow, shape, plan, cluster)?, place)?;
    }
    let Some(checkpoint) = inspection.checkpoints.last() else {
        return Ok(format!("{place} is of this job; it has no checkpoint yet"));
    };
    for (_, topic, partition, next) in checkpoint.cut.iter() {
        let there = |cluster: &&Cluster| cluster.topics.iter().any(|(name, _)| name == topic);
        if let Some(cluster) = cluster.filter(there) {
            cluster.holds(topic, partition, next, plan)?;
        }
    }
    Ok(format!("{place} is of this job; it would resume from the checkpoint of epoch {}", checkpoint.epoch))
}

/// An error if a folder that is not there can't be made.
fn made(folder: &Path) -> Result<()> {
    let folder = std::path::absolute(folder)?;
    let above: &Path = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    if !fs::metadata(above)?.is_dir() {
        bail!("{} is not a folder", above.display());
    }
    access(above, AccessFlags::W_OK | AccessFlags::X_OK)
        .with_context(|| format!("a folder can't be made in {}", above.display()))
}

/// The identity that a run would have.
fn this_job(
    args: &RunArgs,
    dataflow: &dyn Build,
    shape: &Shape,
    plan: &Plan,
    cluster: &Cluster,
) -> Result<Identity> {
    let matching = |(topic, _): &&Topic| plan.inputs.values().flatten().any(|pattern| pattern.matches(topic));
    let read: Vec<&str> = cluster.topics.iter().filter(matching).map(|(topic, _)| topic.as_str()).collect();
    let written = plan.written();
    let written: Vec<&str> = written.iter().map(String::as_str).collect();
    let (read, written) = (topic_ids(&cluster.client, &read)?, topic_ids(&cluster.client, &written)?);
    let id = cluster_id(&cluster.client)?;
    identity(args, dataflow, shape, &plan.reading.group, id, read, written)
}
