//! `cutwater bench`: from options to what is measured.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Command;
use cutwater_dataflows::{Entry, Shape};
use indicatif::HumanCount;

use super::kafka::{KafkaArgs, duration};
use super::options::{LogArgs, MOST_WORKERS, number, workers};
use super::{find_entry, generate};
use crate::bench::{self, AnyOptions, Law, Options, Rates, Spec};
use crate::feed::kafka::check_fetch;
use crate::kafka::client::{Fetch, Settings};
use crate::sink::Delivery;
use crate::usage::usage;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Measure word-count's throughput and latency, beside a bare consumer\n\n\
     On the cluster that --brokers names it makes topics of its own, says what it will write to them, and deletes them. \
     CUTWATER_BROKERS names none here: what fills topics is to be told where. It fills one and has it read to \
     its end, in turn and each by a process of its own, by bare consumers that drop what they read (as many as there \
     are workers, with many messages a call: the ceiling), by as many with one message a call, by a hand-written \
     program that splits and counts in one hash map in one thread, and by word-count. Then it offers \
     records at rates, each to a word-count of its own that writes changed counts to a topic, and takes the time from a \
     record's append to its count being visible to a reader of committed output: the reader's clock less the broker's. \
     Every count is checked.\n\n\
     Without --brokers it takes librdkafka's in-process broker, made for tests, for a quick look: the figures are that \
     broker's more than anything else's.\n\n\
     With --dataflow NAME it measures another dataflow, on its samples (`cutwater generate`): to the end, with one worker and with several, \
     beside one bare consumer, with processor time and memory; and it fails where the final rows depend on the number of \
     workers. The dataflow's own options follow `--`. A program of your own dataflows measures each that has samples, where none \
     is named.\n\n\
     The table goes to standard output. At offered rates it says how many processors word-count, producer, reader and all else \
     on the machine (the broker, where it is here) had in use. Where they share a machine with word-count, compare figures of \
     one run with each other, not with those of another machine.";

/// The options of `cutwater bench`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Which dataflow to measure; another than word-count on its samples [default: word-count; in a program without it, each that
    /// has samples]
    #[arg(long, value_name = "NAME", help_heading = "Workload")]
    pub dataflow: Option<String>,
    /// Options of that dataflow, after `--`
    #[arg(last = true, value_name = "OPTION")]
    pub options: Vec<String>,

    /// How often words come
    #[arg(long, value_enum, default_value_t = Law::Uniform, help_heading = "Workload")]
    pub workload: Law,
    /// Words a record [default: 1; of zipf 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Workload")]
    pub words: Option<u32>,
    /// Distinct words [default: 5000; of zipf 200000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Workload")]
    pub vocabulary: Option<u32>,
    /// Partitions of the topics that are read; what is written has one
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000), help_heading = "Workload")]
    pub partitions: i32,
    /// Records of the topic that is read to its end [default: 10000000 on a cluster]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Workload")]
    pub records: Option<u64>,
    /// Seed of the records
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Workload")]
    pub seed: u64,

    /// Worker threads a process
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = workers, help_heading = "Measurement")]
    pub workers: NonZeroUsize,
    /// Processes of word-count; several are compared with one that has as many workers
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = workers, help_heading = "Measurement")]
    pub processes: NonZeroUsize,
    /// How often the topic is read by each; the median counts
    #[arg(long, value_name = "N", default_value = "3", value_parser = number, help_heading = "Measurement")]
    pub rounds: NonZeroUsize,
    /// Records a second to offer: R1,R2,..., none, or auto: doubled up to the highest that is sustained, then half
    #[arg(long, value_name = "RATES", default_value = "auto", help_heading = "Measurement")]
    pub rates: Rates,
    /// Seconds to offer each rate [default: 10 on a cluster, else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600), help_heading = "Measurement")]
    pub seconds: Option<u32>,
    /// Shortest time an epoch stays open, at offered rates
    #[arg(short, long, value_name = "DURATION", default_value = "10ms", value_parser = duration, help_heading = "Measurement")]
    pub epoch: Duration,
    /// How what is measured fetches records, but for bare consumers: by librdkafka, or by direct fetches
    #[arg(long, value_enum, value_name = "librdkafka|direct", default_value_t = Fetch::Librdkafka, hide_possible_values = true, help_heading = "Measurement")]
    pub fetch: Fetch,
    /// How word-count writes, at offered rates
    #[arg(long, value_enum, value_name = "exactly-once|at-least-once", default_value_t = Delivery::ExactlyOnce, hide_possible_values = true, help_heading = "Measurement")]
    pub delivery: Delivery,
    /// Measure half of the highest sustained rate once more, with ledger and checkpoints in a new folder there
    #[arg(short, long, value_name = "DIR", help_heading = "Measurement")]
    pub state: Option<PathBuf>,

    /// Write all figures there
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Draw throughput against latency there
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub svg: Option<PathBuf>,

    /// This process is one that is measured
    #[arg(long, hide = true)]
    pub contestant: bool,
}

/// Records on a cluster where nothing else is said: a few seconds of reading.
const RECORDS: u64 = 10_000_000;
/// Records that may be offered at one rate.
const MOST: f64 = 1e8;

/// Measures as the options say.
pub(super) fn bench(args: &BenchArgs, general: &LogArgs, registry: &[Entry]) -> Result<()> {
    if args.contestant {
        return bench::serve_contestant();
    }
    let entries = on_samples(args, registry)?;
    if !entries.is_empty() {
        let dataflows: Result<Vec<_>> = entries
            .into_iter()
            .map(|entry| Ok((entry, any(args, entry, registry, general.quiet)?)))
            .collect();
        return bench::run_any(&dataflows?);
    }
    if !args.options.is_empty() {
        return Err(usage("options after `--` are those of another dataflow: name it with --dataflow NAME"));
    }
    let options = options(args, general.quiet)?;
    if options.cluster.is_none() && std::env::var_os("CUTWATER_BROKERS").is_some_and(|name| !name.is_empty())
    {
        tracing::info!("CUTWATER_BROKERS is not used here: --brokers names a cluster to measure on");
    }
    bench::run(&options)
}

/// The dataflow that has a workload of its own.
const WORD_COUNT: &str = "word-count";

/// The dataflows to measure on their samples; none where it is word-count on a workload of its own.
fn on_samples<'a>(args: &BenchArgs, registry: &'a [Entry]) -> Result<Vec<&'a Entry>> {
    let entries: Vec<_> = match args.dataflow.as_deref() {
        Some(WORD_COUNT) => return find_entry(registry, WORD_COUNT).map(|_| Vec::new()),
        Some(name) => return Ok(vec![find_entry(registry, name)?]),
        None if registry.iter().any(|entry| entry.name() == WORD_COUNT) => return Ok(Vec::new()),
        None => registry.iter().filter(|entry| entry.sampled(args.seed).is_some()).collect(),
    };
    if entries.is_empty() {
        return Err(usage(
            "no dataflow of this program has samples to be measured on: its entry in the registry gets some with `.samples(…)`",
        ));
    }
    if entries.len() > 1 && !args.options.is_empty() {
        return Err(usage("options after `--` are those of one dataflow: name it with --dataflow NAME"));
    }
    Ok(entries)
}

/// How to measure another dataflow.
fn any(args: &BenchArgs, entry: &Entry, registry: &[Entry], quiet: bool) -> Result<AnyOptions> {
    let of_words = [
        ("--words", args.words.is_some()),
        ("--vocabulary", args.vocabulary.is_some()),
        ("--svg", args.svg.is_some()),
        ("--state", args.state.is_some()),
        ("--delivery", args.delivery != Delivery::ExactlyOnce),
        ("--rates", matches!(args.rates, Rates::These(_))),
    ];
    if let Some((option, _)) = of_words.iter().find(|(_, typed)| *typed) {
        return Err(usage(format!(
            "{option} is for word-count's own workload, not for --dataflow {}",
            entry.name()
        )));
    }
    if entry.sampled(args.seed).is_none() {
        return Err(generate::none(entry, registry));
    }
    let command = entry.arguments(Command::new(entry.name()).no_binary_name(true));
    let matches = command.try_get_matches_from(&args.options).map_err(|error| {
        let error = error.to_string();
        let why = error.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        usage(format!("--dataflow {}: its options, which follow `--`: {why}", entry.name()))
    })?;
    let shape = Shape::of(&*entry.parse(&matches)?)?;
    Ok(AnyOptions {
        cluster: cluster(args)?,
        fetch: args.fetch,
        args: args.options.clone(),
        inputs: shape.inputs,
        outputs: shape.outputs.into_iter().map(|output| output.name).collect(),
        records: args.records,
        seed: args.seed,
        partitions: args.partitions,
        rounds: args.rounds,
        workers: args.workers,
        processes: args.processes,
        json: args.json.clone(),
        quiet,
    })
}

/// The cluster that was typed, if one was.
fn cluster(args: &BenchArgs) -> Result<Option<Settings>> {
    match args.kafka.brokers.as_deref() {
        Some(brokers) if !brokers.is_empty() => {
            let settings = Settings { fetch: args.fetch, ..args.kafka.settings()? };
            check_fetch(&settings).map_err(|error| usage(format!("{error:#}")))?;
            Ok(Some(settings))
        }
        _ if !args.kafka.set.is_empty() => {
            Err(usage("--set is for a cluster: name its brokers with --brokers HOST:PORT"))
        }
        _ => Ok(None),
    }
}

/// What is generated.
fn workload(args: &BenchArgs) -> Result<Spec> {
    let zipf = args.workload == Law::Zipf;
    let words = args.words.unwrap_or(if zipf { 10 } else { 1 }) as usize;
    let vocabulary = args.vocabulary.unwrap_or(if zipf { 200_000 } else { 5_000 }) as usize;
    if args.partitions as usize > vocabulary {
        return Err(usage(
            "--partitions: each partition has words of its own, so --vocabulary has to be as large",
        ));
    }
    Ok(Spec { law: args.workload, words, vocabulary, partitions: args.partitions, seed: args.seed })
}

/// How many records there are of a workload.
fn records(args: &BenchArgs, is_cluster: bool, workload: &Spec) -> Result<u64> {
    match (is_cluster, args.records) {
        (true, records) => Ok(records.unwrap_or(RECORDS)),
        (false, records) => {
            let capacity = bench::in_process_capacity(workload);
            let records = records.unwrap_or(capacity);
            if records > capacity {
                return Err(usage(format!(
                    "--records {records}: the in-process broker keeps {} of these; name a cluster with --brokers",
                    HumanCount(capacity)
                )));
            }
            Ok(records)
        }
    }
}

/// Refuses rates that can't be measured for so long.
fn check_rates(args: &BenchArgs, seconds: u32) -> Result<()> {
    if args.svg.is_some() && args.rates == Rates::None {
        return Err(usage("--svg shows latencies at offered rates: it needs --rates"));
    }
    if let Rates::These(rates) = &args.rates
        && let Some(rate) = rates.iter().find(|&&rate| rate * f64::from(seconds) > MOST)
    {
        return Err(usage(format!(
            "--rates {rate} --seconds {seconds}: that is more than {} records; what becomes of each is kept in memory",
            HumanCount(MOST as u64)
        )));
    }
    Ok(())
}

fn options(args: &BenchArgs, quiet: bool) -> Result<Options> {
    let cluster = cluster(args)?;
    if args.workers.get() * args.processes.get() > MOST_WORKERS {
        return Err(usage(format!(
            "--workers {} of --processes {}: more than {MOST_WORKERS} workers in all",
            args.workers, args.processes
        )));
    }
    let workload = workload(args)?;
    let records = records(args, cluster.is_some(), &workload)?;
    let seconds = args.seconds.unwrap_or(if cluster.is_some() { 10 } else { 3 });
    check_rates(args, seconds)?;
    Ok(Options {
        cluster,
        fetch: args.fetch,
        workload,
        records,
        rounds: args.rounds,
        workers: args.workers,
        processes: args.processes,
        epoch: args.epoch,
        delivery: args.delivery,
        rates: args.rates.clone(),
        time: Duration::from_secs(seconds.into()),
        state: args.state.clone(),
        json: args.json.clone(),
        svg: args.svg.clone(),
        quiet,
    })
}
