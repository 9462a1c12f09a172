//! Any dataflow, on its samples: how fast it reads them to their end, what it takes, and that its answer is the same for any
//! number of workers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use crossbeam_channel::bounded;
use cutwater_dataflows::testing::Sample;
use cutwater_dataflows::{Entry, Samples};
use indicatif::HumanCount;
use serde::Serialize;

use super::broker::{Broker, Topic, in_process_capacity};
use super::command::{Run, Took};
use super::contestant::{self, Contestant, Order};
use super::{median, write};
use crate::job::Stop;
use crate::kafka::client::{Fetch, Settings};
use crate::produce::samples::{Amount, Topics};
use crate::shown::count;
use crate::{log, out};
use crate::{produce, signals};

/// What to measure, and where.
#[derive(Clone, Debug)]
pub struct AnyOptions {
    /// The cluster; `None` is librdkafka's in-process broker.
    pub cluster: Option<Settings>,
    /// How runs fetch records.
    pub fetch: Fetch,
    /// The dataflow's own options, as typed.
    pub args: Vec<String>,
    /// Its inputs.
    pub inputs: Vec<String>,
    /// Its outputs.
    pub outputs: Vec<String>,
    /// How many samples there are, over all inputs; `None`: what suits the broker.
    pub records: Option<u64>,
    /// Their seed.
    pub seed: u64,
    /// Partitions of each topic.
    pub partitions: i32,
    /// How often each is measured.
    pub rounds: NonZeroUsize,
    /// Workers a process: beside 1, these are measured.
    pub workers: NonZeroUsize,
    /// Processes: with more than one, these are measured as well.
    pub processes: NonZeroUsize,
    /// Where to write the report.
    pub json: Option<PathBuf>,
    /// Tell no progress.
    pub quiet: bool,
}

/// Samples where nothing is said: on a cluster, and the most in the in-process broker.
const RECORDS: (u64, u64) = (1_000_000, 50_000);
/// Samples by which the size of all is told.
const LOOKED_AT: usize = 1000;

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    dataflow: String,
    in_process: bool,
    records: u64,
    bytes: u64,
    seed: u64,
    rounds: usize,
    /// True iff the final rows of all runs were found to be the same; else they are of processing time.
    compared: bool,
    bare_consumer_records_per_second: f64,
    runs: Vec<Measured>,
    /// Rows of each output in the end.
    rows: BTreeMap<String, u64>,
}

/// A number of workers.
#[derive(Debug, Serialize)]
struct Measured {
    workers: usize,
    processes: usize,
    records_per_second: f64,
    cpu_seconds_per_million: f64,
    peak_bytes: u64,
    of_bare_consumer: f64,
}

/// Measures dataflows on their samples, one after the other, prints a table to standard output, and writes what else was asked for.
///
/// # Errors
/// If something fails, or an answer depends on the number of workers.
pub fn run(dataflows: &[(&Entry, AnyOptions)]) -> Result<()> {
    let stop = Stop::default();
    let (request, begun) = (stop.clone(), stop.clone());
    signals::stop_by(move || begun.has_begun(), move || request.request())?;
    let json = dataflows.iter().find_map(|(_, options)| options.json.as_ref());
    if let Some(path) = json {
        let opened = File::options().append(true).create(true).open(path);
        opened.with_context(|| format!("writing {}", path.display()))?;
    }
    let reports: Vec<Report> = dataflows
        .iter()
        .map(|(entry, options)| of_one(entry, options, stop.clone()))
        .collect::<Result<_>>()?;
    let (figures, table) = match &reports[..] {
        [report] => (serde_json::to_string_pretty(report)?, table(report)?),
        _ => (serde_json::to_string_pretty(&reports)?, table_of_several(&reports)?),
    };
    if let Some(path) = json {
        write(path, &(figures + "\n"))?;
    }
    out::print(|out| Ok(out.write_all(table.as_bytes())?))
}

/// Measures one of them.
fn of_one(entry: &Entry, options: &AnyOptions, stop: Stop) -> Result<Report> {
    let samples = || entry.sampled(options.seed).context("the dataflow has no samples");
    let (records, bytes) = size(samples()?, options)?;
    let broker = Broker::open(options.cluster.clone(), options.fetch)?;
    let compared = !entry.is_of_processing_time();
    let bench = Bench { name: entry.name(), compared, options, stop, broker };
    bench.say(&format!(
        "on {}: {} of {} (about {}) to new topics {}-*, which are deleted at the end",
        options
            .cluster
            .as_ref()
            .map_or("an in-process broker (--brokers names a cluster)".to_owned(), |settings| {
                format!("the cluster at {}", settings.brokers)
            }),
        count(records, "sample"),
        entry.name(),
        indicatif::HumanBytes(bytes),
        bench.broker.prefix(),
    ));
    bench.stop.begin();
    bench.measure(samples()?, records)
}

/// How many samples there are to be, and about how many bytes they have.
fn size(samples: Samples, options: &AnyOptions) -> Result<(u64, u64)> {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len) as u64;
    let size = |(_, sample): (&str, Sample)| length(&sample.key) + length(&sample.value);
    let mean = (samples.take(LOOKED_AT).map(size).sum::<u64>() / LOOKED_AT as u64).max(1);
    // Keys lie where they hash to: partitions are not equally full, and neither are inputs.
    let capacity = in_process_capacity(options.partitions, mean) / 4;
    let records = match (&options.cluster, options.records) {
        (Some(_), records) => records.unwrap_or(RECORDS.0),
        (None, Some(records)) if records > capacity => bail!(
            "--records {records}: the in-process broker keeps about {} of these; name a cluster with --brokers",
            HumanCount(capacity)
        ),
        (None, records) => records.unwrap_or(RECORDS.1.min(capacity)),
    };
    Ok((records, records * mean))
}

struct Bench<'a> {
    name: &'a str,
    /// Its final rows are to be the same in all runs.
    compared: bool,
    options: &'a AnyOptions,
    stop: Stop,
    broker: Broker,
}

impl Bench<'_> {
    fn say(&self, line: &str) {
        if !self.options.quiet {
            log::say(line);
        }
    }

    fn measure(&self, samples: Samples, records: u64) -> Result<Report> {
        let topics = self.topics()?;
        let bytes = self.fill(samples, records, &topics)?;
        let (workers, processes) = (self.options.workers.get(), self.options.processes.get());
        let mut shapes = vec![(1, 1), (workers.max(2), 1)];
        if processes > 1 {
            shapes.push((workers, processes));
        }
        let folder = Folder::new(self.broker.prefix())?;
        let (mut bare, mut took, mut rows) = (Vec::new(), BTreeMap::new(), None);
        for round in 1..=self.options.rounds.get() {
            bare.push(self.bare(&topics, records)?);
            self.say(&format!(
                "round {round} of {}: bare consumer: {:.0} records/s",
                self.options.rounds,
                bare[round - 1]
            ));
            for &shape in &shapes {
                let (one, answer) = self.one(&topics, shape, &folder)?;
                ensure!(
                    one.records == records,
                    "{} has read {} of {records} records",
                    self.name,
                    one.records
                );
                self.say(&format!(
                    "round {round} of {}: {}: {:.0} records/s",
                    self.options.rounds,
                    shown(self.name, shape),
                    one.rate
                ));
                let expected = rows.get_or_insert_with(|| answer.clone());
                if self.compared {
                    agree(self.name, expected, &answer, shape)?;
                }
                took.entry(shape).or_insert_with(Vec::new).push(one);
            }
        }
        let bare = median(bare);
        let lines = |text: &Vec<u8>| text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let rows = rows.unwrap_or_default().iter().map(|(name, text)| (name.clone(), lines(text))).collect();
        let measured = |shape: &(usize, usize)| measured(*shape, &took[shape], bare);
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            dataflow: self.name.to_owned(),
            in_process: self.options.cluster.is_none(),
            records,
            bytes,
            seed: self.options.seed,
            rounds: self.options.rounds.get(),
            compared: self.compared,
            bare_consumer_records_per_second: bare,
            runs: shapes.iter().map(measured).collect(),
            rows,
        })
    }

    /// A topic for each input.
    fn topics(&self) -> Result<BTreeMap<String, Topic>> {
        let topic = |input: &String| {
            Ok((input.clone(), self.broker.topic_of_samples(input, self.options.partitions)?))
        };
        self.options.inputs.iter().map(topic).collect()
    }

    /// Writes the samples. Returns their bytes.
    fn fill(&self, samples: Samples, records: u64, topics: &BTreeMap<String, Topic>) -> Result<u64> {
        let names = topics.iter().map(|(input, topic)| (input.clone(), topic.name.clone())).collect();
        let mut to = Topics::open(self.broker.settings(), names, None)?;
        let (_never, never) = bounded(0);
        let stop = self.stop.clone();
        let samples = Box::new(samples.take_while(move |_| !stop.is_requested()));
        let amount = Amount { records: Some(records), rate: None };
        let outcome = produce::samples::run(samples, amount, &mut to, &never, None);
        outcome.result?;
        ensure!(!self.stop.is_requested(), "stopped");
        self.say(&format!("{} written in {:.1} s", count(records, "sample"), outcome.time.as_secs_f64()));
        Ok(outcome.bytes)
    }

    /// Reads all topics by a bare consumer, one after the other: records a second.
    fn bare(&self, topics: &BTreeMap<String, Topic>, records: u64) -> Result<f64> {
        let mut seconds = 0.0;
        for topic in topics.values() {
            let order = Order {
                contestant: Contestant::Ceiling,
                settings: self.broker.settings().clone(),
                group: self.broker.prefix().to_owned(),
                topic: topic.name.clone(),
                partitions: topic.partitions,
                workers: 1,
            };
            seconds += contestant::run(&order, &self.stop)?.seconds;
        }
        Ok(records as f64 / seconds)
    }

    /// One run until the end, and its final rows.
    fn one(
        &self,
        topics: &BTreeMap<String, Topic>,
        shape: (usize, usize),
        folder: &Folder,
    ) -> Result<(Took, BTreeMap<String, Vec<u8>>)> {
        let mut run = Run::of(self.broker.settings(), self.broker.prefix(), self.name, shape)?;
        for (input, topic) in topics {
            run = run.with(&["--topic", &format!("{input}={}", topic.name)]);
        }
        let file = |output: &str| folder.0.join(format!("{output}.jsonl"));
        for output in &self.options.outputs {
            // A file is appended to.
            let _ = std::fs::remove_file(file(output));
            run = run.with(&["--to", &format!("{output}=file:{}", file(output).display())]);
        }
        run = run.with(&["--emit", "final"]);
        let args: Vec<&str> = self.options.args.iter().map(String::as_str).collect();
        let took = run.with(&args).until_end(&self.stop)?;
        let read = |output: &String| {
            let path = file(output);
            let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            Ok((output.clone(), text))
        };
        Ok((took, self.options.outputs.iter().map(read).collect::<Result<_>>()?))
    }
}

/// An error where the final rows are others.
fn agree(
    name: &str,
    expected: &BTreeMap<String, Vec<u8>>,
    found: &BTreeMap<String, Vec<u8>>,
    shape: (usize, usize),
) -> Result<()> {
    for (output, rows) in found {
        if expected.get(output) != Some(rows) {
            bail!(
                "{}: the final rows of output {output:?} are not those of {}",
                shown(name, shape),
                shown(name, (1, 1))
            );
        }
    }
    Ok(())
}

fn measured((workers, processes): (usize, usize), took: &[Took], bare: f64) -> Measured {
    let of = |value: &dyn Fn(&Took) -> f64| median(took.iter().map(value).collect());
    let rate = of(&|took| took.rate);
    Measured {
        workers,
        processes,
        records_per_second: rate,
        cpu_seconds_per_million: of(&|took| took.cpu_seconds / took.records.max(1) as f64 * 1e6),
        peak_bytes: of(&|took| took.peak_bytes as f64) as u64,
        of_bare_consumer: rate / bare,
    }
}

fn shown(name: &str, shape: (usize, usize)) -> String {
    format!("{name}, {}", workers_of(shape))
}

fn workers_of((workers, processes): (usize, usize)) -> String {
    let workers = count(workers as u64, "worker");
    match processes {
        1 => workers,
        processes => format!("{processes} times {workers}"),
    }
}

fn table(report: &Report) -> Result<String> {
    let Report { dataflow, records, bytes, seed, rounds, bare_consumer_records_per_second: bare, .. } =
        report;
    let mut out = String::new();
    let broker = if report.in_process { ", in-process broker" } else { "" };
    let size = indicatif::DecimalBytes(*bytes);
    let median = if *rounds == 1 { "1 round".to_owned() } else { format!("the median of {rounds} rounds") };
    writeln!(
        out,
        "{dataflow}, until the end of {} of seed {seed} ({size}), {median}{broker}\n",
        count(*records, "sample")
    )?;
    writeln!(
        out,
        "{:<36}{:>12}{:>9}{:>12}{:>12}{:>9}",
        "", "records/s", "MB/s", "CPU s/M", "peak MB", "of bare"
    )?;
    let mb = |rate: f64| rate * *bytes as f64 / records.max(&1).to_owned() as f64 / 1e6;
    writeln!(out, "{:<36}{:>12}{:>9.1}", "bare consumer", HumanCount(*bare as u64).to_string(), mb(*bare))?;
    for run in &report.runs {
        writeln!(
            out,
            "{:<36}{:>12}{:>9.1}{:>12.2}{:>12.1}{:>9.2}",
            shown(dataflow, (run.workers, run.processes)),
            HumanCount(run.records_per_second as u64).to_string(),
            mb(run.records_per_second),
            run.cpu_seconds_per_million,
            run.peak_bytes as f64 / 1e6,
            run.of_bare_consumer,
        )?;
    }
    let rows = report.rows.iter().map(|(output, rows)| format!("{output} ({})", count(*rows, "row")));
    let which = if report.compared {
        "the final rows are the same for all"
    } else {
        "the final rows are of processing time, others in each run; in the first one"
    };
    writeln!(out, "\n{which}: {}", rows.collect::<Vec<_>>().join(", "))?;
    Ok(out)
}

/// A line for each.
fn table_of_several(reports: &[Report]) -> Result<String> {
    let mut out = String::new();
    let Some(Report { seed, rounds, in_process, runs, .. }) = reports.first() else { return Ok(out) };
    let broker = if *in_process { ", in-process broker" } else { "" };
    let rounds = if *rounds == 1 { "1 round".to_owned() } else { format!("the median of {rounds} rounds") };
    writeln!(out, "each until the end of its samples of seed {seed}, {rounds}{broker}\n")?;
    write!(out, "{:<18}{:>12}", "records/s", "samples")?;
    for run in runs {
        write!(out, "{:>18}", workers_of((run.workers, run.processes)))?;
    }
    writeln!(out, "{:>12}{:>10}{:>9}", "a core", "peak MB", "of bare")?;
    let number = |value: f64| HumanCount(value as u64).to_string();
    for report in reports {
        write!(out, "{:<18}{:>12}", report.dataflow, HumanCount(report.records).to_string())?;
        for run in &report.runs {
            write!(out, "{:>18}", number(run.records_per_second))?;
        }
        let one = &report.runs[0];
        let (core, peak) = (1e6 / one.cpu_seconds_per_million, one.peak_bytes as f64 / 1e6);
        writeln!(out, "{:>12}{peak:>10.1}{:>9.2}", number(core), one.of_bare_consumer)?;
    }
    writeln!(
        out,
        "\na core: records a second of processor time, of all threads, with 1 worker; as peak MB and of bare are\n\
         the final rows of each are the same for all{}",
        if reports.iter().all(|report| report.compared) {
            ""
        } else {
            ", but where they are of processing time"
        }
    )?;
    Ok(out)
}

/// A folder of this run's own. It is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("making the folder {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody else has a reason to remove it, and it is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_rows_are_an_error_that_names_output_and_size() {
        let rows = |text: &str| BTreeMap::from([("counts".to_owned(), text.as_bytes().to_vec())]);
        agree("words", &rows("a"), &rows("a"), (2, 1)).unwrap();
        let error = agree("words", &rows("a"), &rows("b"), (2, 2)).unwrap_err().to_string();
        assert_eq!(
            error,
            "words, 2 times 2 workers: the final rows of output \"counts\" are not those of words, 1 worker"
        );
    }

    fn report(dataflow: &str, compared: bool) -> Report {
        let run = |workers| Measured {
            workers,
            processes: 1,
            records_per_second: 1e6,
            cpu_seconds_per_million: 0.5,
            peak_bytes: 5_000_000,
            of_bare_consumer: 0.5,
        };
        Report {
            version: "1",
            dataflow: dataflow.into(),
            in_process: true,
            records: 2_000_000,
            bytes: 200_000_000,
            seed: 1,
            rounds: 3,
            compared,
            bare_consumer_records_per_second: 2e6,
            runs: vec![run(1), run(2)],
            rows: [("revenue".to_owned(), 1)].into(),
        }
    }

    #[test]
    fn several_are_a_line_each() {
        let table = table_of_several(&[report("sales", true), report("clicks", false)]).unwrap();
        let line = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            line("sales"),
            ["sales", "2,000,000", "1,000,000", "1,000,000", "2,000,000", "5.0", "0.50"]
        );
        assert_eq!(line("clicks").len(), 7);
        assert!(table.ends_with("the same for all, but where they are of processing time\n"), "{table}");
    }

    #[test]
    fn the_table_has_a_line_for_each_size() {
        let report = report("sales", true);
        let table = table(&report).unwrap();
        let one = table.lines().find(|line| line.starts_with("sales, 1 worker ")).unwrap();
        let words: Vec<&str> = one.split_whitespace().skip(3).collect();
        assert_eq!(words, ["1,000,000", "100.0", "0.50", "5.0", "0.50"]);
        assert!(table.ends_with("the final rows are the same for all: revenue (1 row)\n"), "{table}");
    }
}
