//! `cutwater generate`: sample input for a dataflow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use clap::Command;
use cutwater_dataflows::{Entry, Envelope, Samples, Shape};

use super::bind::bind;
use super::find_entry;
use super::kafka::KafkaArgs;
use super::options::LogArgs;
use crate::kafka::topics::Making;
use crate::produce::pace::Rate;
use crate::produce::samples::{self, Amount, Destination, Lines, Topics};
use crate::signals::Stopping;
use crate::usage::usage;
use crate::{log, out};

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Sample input for a dataflow, each input to its topic, to files or to standard output\n\n\
     cutwater generate word-count -t lines --create-topics 4 --records 100000\n\n\
     Samples are made from a seed, and are the same for the same seed: records as the dataflow's help describes them, with keys \
     where an input is a table, somewhat out of order in their event times, and now and then something special: a late event, a \
     deletion, a record that can't be read.\n\n\
     With --brokers each input goes to the topic of its own name, or to that of --topic. With --to file:DIR it goes to \
     DIR/INPUT.jsonl, a record a line, as `cutwater test` reads it: the value, or of a table the key, a tab and the value. Without \
     either, the samples of a dataflow of one input go to standard output, likewise.\n\n\
     The times of samples count from a fixed day. Topics that are made here keep records whatever their time; others may drop them \
     soon (retention.ms).";

/// The options of `cutwater generate`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct GenerateArgs {
    /// The dataflow, as `cutwater list` names it
    #[arg(value_name = "DATAFLOW")]
    pub dataflow: String,

    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Seed of the samples
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Samples")]
    pub seed: u64,
    /// How many, over all inputs [default: 1000; with --rate, until it is stopped]
    #[arg(long, value_name = "N", help_heading = "Samples")]
    pub records: Option<u64>,
    /// Make N records a second, evenly
    #[arg(long, value_name = "N", help_heading = "Samples")]
    pub rate: Option<Rate>,
    /// The topic of an input; TOPIC alone is for the only input; repeatable [default: the input's name]
    #[arg(short, long, value_name = "NAME=TOPIC", help_heading = "Samples")]
    pub topic: Vec<String>,
    /// Make topics that are missing; without REPLICATION, as many copies as the cluster makes
    #[arg(long, value_name = "PARTITIONS[:REPLICATION]", help_heading = "Samples")]
    pub create_topics: Option<Making>,
    /// Write a new file for each input to this folder, and nothing to a cluster
    #[arg(short = 'o', long, value_name = "file:DIR", help_heading = "Samples")]
    pub to: Option<String>,
}

/// How many records there are where nothing is said.
const RECORDS: u64 = 1000;

/// Makes samples as the options say, and tells how it went. With `typed_brokers`, a cluster is named by an option, and not by
/// the environment alone.
pub(super) fn generate(
    args: &GenerateArgs,
    typed_brokers: bool,
    general: &LogArgs,
    registry: &[Entry],
) -> Result<()> {
    let entry = find_entry(registry, &args.dataflow)?;
    let samples = entry.sampled(args.seed).ok_or_else(|| none(entry, registry))?;
    let (samples, inputs) = inputs(entry, samples)?;
    let folder = args.to.as_deref().map(folder).transpose()?;
    if typed_brokers && args.to.is_some() {
        return Err(usage("samples go to files or to a cluster, not to both: leave --to out, or --brokers"));
    }
    let stopping = Stopping::listen()?;
    let records = args.records.or(if args.rate.is_some() { None } else { Some(RECORDS) });
    let amount = Amount { records, rate: args.rate };
    let fill = |to: &mut dyn Destination| {
        stopping.begin();
        let bar = log::records_bar(general.quiet, records);
        let outcome = samples::run(samples, amount, to, &stopping.asked, bar.as_ref());
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        outcome
    };
    let outcome = if let Some(folder) = folder {
        fill(&mut Lines::in_folder(&folder, &inputs)?)
    } else if args.kafka.brokers.as_deref().is_some_and(|brokers| !brokers.is_empty()) {
        let topics = topics(&args.topic, &inputs)?;
        fill(&mut Topics::open(&args.kafka.settings()?, topics, args.create_topics)?)
    } else {
        let [(input, keyed)] = &inputs[..] else { return Err(nowhere(entry, &inputs)) };
        let mut outcome = None;
        // Nothing but samples: a pipe reads them.
        out::print(|out| {
            let name = "standard output".to_owned();
            let done = outcome.insert(fill(&mut Lines::new([(input.clone(), out, name, *keyed)])));
            std::mem::replace(&mut done.result, Ok(()))
        })?;
        outcome.expect("it was made")
    };
    if !general.quiet {
        let how = if outcome.result.is_ok() { "done" } else { "acknowledged" };
        log::say(&format!("{how}: {}", outcome.line()));
    }
    outcome.result
}

/// How many samples are looked at where a dataflow's inputs depend on options that must be given.
const LOOKED_AT: usize = 10_000;

/// The names of the inputs, each with whether its lines begin with a key, as those of a table do.
fn inputs(entry: &Entry, mut samples: Samples) -> Result<(Samples, Vec<(String, bool)>)> {
    let none: [&str; 0] = [];
    let command = entry.arguments(Command::new(entry.name()).no_binary_name(true));
    let by_default = command.try_get_matches_from(none).and_then(|matches| entry.parse(&matches));
    if let Ok(dataflow) = by_default {
        let shape = Shape::of(&*dataflow)?;
        let keyed = |input: &String| {
            shape.formats.get(input).is_some_and(|format| format.envelope != Envelope::Append)
        };
        let inputs = shape.inputs.iter().map(|input| (input.clone(), keyed(input))).collect();
        return Ok((samples, inputs));
    }
    // Null values delete, and only a table's records do that.
    let first: Vec<_> = samples.by_ref().take(LOOKED_AT).collect();
    let names: BTreeSet<&str> = first.iter().map(|(input, _)| *input).collect();
    let deletes = |name: &str| first.iter().any(|(input, sample)| *input == name && sample.value.is_none());
    let inputs = names.into_iter().map(|name| (name.to_owned(), deletes(name))).collect();
    Ok((Box::new(first.into_iter().chain(samples)), inputs))
}

/// The topic of each input.
fn topics(typed: &[String], inputs: &[(String, bool)]) -> Result<BTreeMap<String, String>> {
    let names: Vec<String> = inputs.iter().map(|(input, _)| input.clone()).collect();
    let mut topics: BTreeMap<String, String> =
        names.iter().map(|name| (name.clone(), name.clone())).collect();
    for text in typed {
        let (input, topic) = bind("--topic", text, "input", &names)?;
        if topic.is_empty() {
            return Err(usage(format!("--topic {text}: the topic's name is empty")));
        }
        topics.insert(input.to_owned(), topic.to_owned());
    }
    Ok(topics)
}

fn folder(typed: &str) -> Result<PathBuf> {
    match typed.strip_prefix("file:") {
        Some(folder) if !folder.is_empty() => Ok(PathBuf::from(folder)),
        _ => Err(usage(format!("--to {typed}: expected file:DIR"))),
    }
}

/// What to say of a dataflow without samples.
pub(super) fn none(entry: &Entry, registry: &[Entry]) -> anyhow::Error {
    let has = registry.iter().filter(|entry| entry.sampled(0).is_some()).map(Entry::name);
    let has = match has.collect::<Vec<_>>().join(", ") {
        names if names.is_empty() => "nor has any other".to_owned(),
        names => format!("these have: {names}"),
    };
    usage(format!(
        "dataflow {} has no samples; {has}. Its entry in the registry gets some with `.samples(…)`",
        entry.name()
    ))
}

/// What to say where several inputs have nowhere to go.
fn nowhere(entry: &Entry, inputs: &[(String, bool)]) -> anyhow::Error {
    let names: Vec<&str> = inputs.iter().map(|(input, _)| input.as_str()).collect();
    usage(format!(
        "{} has the inputs {}, and standard output takes one: say --to file:DIR, or --brokers HOST:PORT for a topic each",
        entry.name(),
        names.join(", ")
    ))
}
