//! `cutwater bench`: throughput and latency of word-count, beside a bare consumer, on any broker.
//!
//! In one run and in turn: a topic is filled, and read to its end by bare consumers (the ceiling), by those that are
//! handed one message a call, by a program as one would write it by hand, and by word-count; then word-count is offered
//! records at rates, and a committed reader of its output tells how long each took. Every count is checked.
//!
//! - `workload`, `broker`, `load`: what is counted, where, and how it gets there
//! - `contestant`, `bare`, `single`: what reads to the end, each in a process of its own; `command`: `cutwater run` as a
//!   user starts it; `process`: processes, what they took
//! - `offered`, `reader`, `latency`, `sweep`: an offered rate, and which ones; `cores`: who takes the processors meanwhile
//! - `any`: another dataflow, on its samples
//! - `report`, `plot`: what was measured, as JSON, table and picture

mod any;
mod bare;
mod broker;
mod command;
mod contestant;
mod cores;
mod latency;
mod load;
mod offered;
mod plot;
mod process;
mod reader;
mod report;
mod rows;
mod single;
mod sweep;
mod workload;

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::HumanBytes;

use crate::job::Stop;
use crate::kafka::client::{Fetch, Settings};
use crate::shown::count;
use crate::signals;
use crate::sink::Delivery;
use crate::{log, out};
pub use any::{AnyOptions, run as run_any};
use broker::{Broker, Topic};
use command::{Counted, Run};
use contestant::{Contestant, Order, Told};
use load::Load;
use offered::Offer;
pub use report::Report;
use report::{Processes, UntilEnd};
pub use sweep::Rates;
use sweep::Search;
pub use workload::{Law, Spec};
use workload::{Placing, Text};

/// The first rate that is offered, in records a second: of a real broker, and of the in-process one.
const FIRST_RATE: (f64, f64) = (50_000.0, 2_000.0);

/// What to measure, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster; `None` is librdkafka's in-process broker.
    pub cluster: Option<Settings>,
    /// How runs fetch records.
    pub fetch: Fetch,
    /// The workload.
    pub workload: Spec,
    /// Records of the topic that is read to its end.
    pub records: u64,
    /// How often each contestant reads it.
    pub rounds: NonZeroUsize,
    /// Workers a process.
    pub workers: NonZeroUsize,
    /// Processes. With more than one, they are compared with one that has as many workers.
    pub processes: NonZeroUsize,
    /// `--delivery` at offered rates.
    pub delivery: Delivery,
    /// `--epoch` at offered rates.
    pub epoch: Duration,
    /// The rates to offer.
    pub rates: Rates,
    /// For how long to offer each.
    pub time: Duration,
    /// Where word-count keeps state, at half of the highest sustained rate once more.
    pub state: Option<PathBuf>,
    /// Where to write the report.
    pub json: Option<PathBuf>,
    /// Where to draw throughput against latency.
    pub svg: Option<PathBuf>,
    /// Tell no progress.
    pub quiet: bool,
}

/// The process of a contestant, which this program starts for itself.
///
/// # Errors
/// If it fails.
pub fn serve_contestant() -> Result<()> {
    contestant::serve()
}

/// The most records that the in-process broker keeps of this workload.
pub fn in_process_capacity(workload: &Spec) -> u64 {
    // No word is longer than nine letters, and each is followed by a space or the end.
    broker::in_process_capacity(workload.partitions, 10 * workload.words as u64)
}

/// Measures, prints the table to standard output, and writes what else was asked for. Stopped by a signal, it tells what
/// it has measured until then.
///
/// # Errors
/// If something fails, or a count is wrong.
pub fn run(options: &Options) -> Result<()> {
    let stop = Stop::default();
    let request = stop.clone();
    let begun = stop.clone();
    signals::stop_by(move || begun.has_begun(), move || request.request())?;
    let broker = Broker::open(options.cluster.clone(), options.fetch)?;
    // Where a file can't be written, it is told before anything is measured.
    for path in options.json.iter().chain(&options.svg) {
        let opened = File::options().append(true).create(true).open(path);
        opened.with_context(|| format!("writing {}", path.display()))?;
    }
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let mut bench = Bench {
        options,
        stop,
        broker,
        report: Report {
            version: env!("CARGO_PKG_VERSION"),
            librdkafka,
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            in_process: options.cluster.is_none(),
            workload: options.workload.clone(),
            until_end: Vec::new(),
            processes: None,
            epoch_ms: options.epoch.as_secs_f64() * 1e3,
            offered: Vec::new(),
        },
    };
    bench.announce();
    bench.stop.begin();
    let result = bench.until_end().and_then(|()| bench.offered());
    let (report, stopped) = (&bench.report, bench.stop.is_requested());
    let printed = if report.until_end.is_empty() && report.offered.is_empty() {
        Ok(())
    } else {
        out::print(|out| Ok(out.write_all(report.table().as_bytes())?))
    };
    if let Some(path) = &options.json {
        write(path, &(serde_json::to_string_pretty(report)? + "\n"))?;
    }
    if let Some(path) = &options.svg
        && report.plain().next().is_some()
    {
        write(path, &plot::draw(report)?)?;
    }
    // The files are written all the same.
    printed?;
    if stopped {
        bench.say("stopped: not all was measured");
        return Ok(());
    }
    result
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// A run.
struct Bench<'a> {
    options: &'a Options,
    stop: Stop,
    broker: Broker,
    report: Report,
}

impl Bench<'_> {
    fn say(&self, line: &str) {
        if !self.options.quiet {
            log::say(line);
        }
    }

    /// Says what will be written, and where, before it is.
    fn announce(&self) {
        let Options { workload, records, rates, time, .. } = self.options;
        let place = match &self.options.cluster {
            Some(settings) => format!("the cluster at {}", settings.brokers),
            None => "an in-process broker (--brokers names a cluster)".to_owned(),
        };
        let bytes = HumanBytes((*records as f64 * workload.bytes()) as u64);
        let offered = match rates {
            Rates::None => String::new(),
            Rates::These(rates) => {
                let records: f64 = rates.iter().map(|rate| rate * time.as_secs_f64()).sum();
                format!(
                    "; then {} at {}, each to a topic of its own, and the counts",
                    count(records as u64, "record"),
                    count(rates.len() as u64, "rate")
                )
            }
            Rates::Auto => format!(
                "; then records at rising rates, {} s each to a topic of its own, and the counts",
                time.as_secs()
            ),
        };
        self.say(&format!(
            "on {place}: {} (about {bytes}) to a new topic {}-0-lines of {}{offered}. All topics {}-* are deleted at the end",
            count(*records, "record"),
            self.broker.prefix(),
            count(workload.partitions.unsigned_abs().into(), "partition"),
            self.broker.prefix(),
        ));
    }

    /// Fills a topic and has each contestant read it to its end, in turn.
    fn until_end(&mut self) -> Result<()> {
        let Options { workload, records, rounds, .. } = self.options;
        let topic = self.broker.topic("lines", workload.partitions)?;
        let mut text = Text::new(workload, Placing::InTurn);
        let start = Instant::now();
        Load::open(self.broker.settings(), &topic, false, &self.stop)?.fill(&mut text, *records)?;
        let written = count(*records, "record");
        self.say(&format!("{written} written in {:.1} s", start.elapsed().as_secs_f64()));
        let contestants = [
            (Contestant::Ceiling, self.workers()),
            (Contestant::Single, self.workers()),
            (Contestant::Program, 1),
            (Contestant::WordCount, self.workers()),
        ];
        let mut told: Vec<Vec<Told>> = contestants.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds.get() {
            for (&(contestant, workers), told) in contestants.iter().zip(&mut told) {
                let one = self.one(contestant, workers, &topic, &text)?;
                let rate = one.records as f64 / one.seconds;
                self.say(&format!(
                    "round {round} of {rounds}: {}: {rate:.0} records/s",
                    name(contestant, workers)
                ));
                told.push(one);
            }
        }
        let medians: Vec<(Contestant, usize, Vec<Told>)> = contestants
            .into_iter()
            .zip(told)
            .map(|((contestant, workers), mut told)| {
                told.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
                (contestant, workers, told)
            })
            .collect();
        self.report.until_end = rows(&medians, &text);
        if self.options.processes.get() > 1 {
            self.report.processes = Some(self.processes(&topic, &text)?);
        }
        Ok(())
    }

    /// Workers over all processes.
    fn workers(&self) -> usize {
        self.options.workers.get() * self.options.processes.get()
    }

    fn one(&self, contestant: Contestant, workers: usize, topic: &Topic, text: &Text) -> Result<Told> {
        let order = Order {
            contestant,
            settings: self.broker.settings().clone(),
            group: self.broker.prefix().to_owned(),
            topic: topic.name.clone(),
            partitions: topic.partitions,
            workers,
        };
        let mut told = contestant::run(&order, &self.stop)?;
        let name = name(contestant, workers);
        ensure!(
            told.records == text.records(),
            "{name} has read {} of {} records",
            told.records,
            text.records()
        );
        if let Some(counts) = told.counts.take()
            && let Some(wrong) = text.differs_from(&counts)
        {
            bail!("{name}: {wrong}");
        }
        Ok(told)
    }

    /// Several processes beside one, in turn, as commands.
    fn processes(&self, topic: &Topic, text: &Text) -> Result<Processes> {
        let (workers, processes) = (self.options.workers.get(), self.options.processes.get());
        let count = |shape: (usize, usize)| -> Result<f64> {
            let prefix = self.broker.prefix();
            let command = Run::word_count(self.broker.settings(), prefix, &topic.name, shape)?;
            let Counted { rate, counts } = command.count(&self.stop)?;
            if let Some(wrong) = text.differs_from(&counts) {
                bail!("cutwater run -w {} -n {}: {wrong}", shape.0, shape.1);
            }
            self.say(&format!("cutwater run -w {} -n {}: {rate:.0} records/s", shape.0, shape.1));
            Ok(rate)
        };
        let (mut several, mut one) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds.get() {
            several.push(count((workers, processes))?);
            one.push(count((workers * processes, 1))?);
        }
        let (several, one) = (median(several), median(one));
        Ok(Processes {
            workers,
            processes,
            records_per_second: several,
            one_process_records_per_second: one,
            of_one_process: several / one,
        })
    }

    /// Offers records at rates.
    fn offered(&mut self) -> Result<()> {
        match &self.options.rates {
            Rates::None => return Ok(()),
            Rates::These(rates) => {
                for &rate in rates {
                    self.offer(rate, None)?;
                }
            }
            Rates::Auto => {
                let first = if self.report.in_process { FIRST_RATE.1 } else { FIRST_RATE.0 };
                let mut search = Search::from(first);
                while let Some(rate) = search.next() {
                    let sustained = self.offer(rate, None)?;
                    search.went(sustained);
                }
                let Some(highest) = search.highest() else { return Ok(()) };
                if !self.report.offered.iter().any(|offered| offered.rate == highest / 2.0) {
                    self.offer(highest / 2.0, None)?;
                }
            }
        }
        if let (Some(state), Some(highest)) = (&self.options.state, self.report.highest()) {
            self.offer(highest.rate / 2.0, Some(state.clone()))?;
        }
        Ok(())
    }

    /// True iff the rate was sustained.
    fn offer(&mut self, rate: f64, state: Option<PathBuf>) -> Result<bool> {
        let Options { epoch, workers, processes, time, workload, .. } = self.options;
        let (workers, processes) = (workers.get(), processes.get());
        let delivery = self.options.delivery;
        let offer = Offer { rate, time: *time, epoch: *epoch, workers, processes, state, delivery };
        let offered = offered::offer(&self.broker, workload, &offer, &self.stop)
            .with_context(|| format!("offering {rate} records/s"))?;
        self.say(&format!(
            "{rate:.0} records/s offered: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms{}",
            offered.latency_ms.p50,
            offered.latency_ms.p95,
            offered.latency_ms.p99,
            if offered.sustained { "" } else { ": not sustained" }
        ));
        let sustained = offered.sustained;
        self.report.offered.push(offered);
        Ok(sustained)
    }
}

fn name(contestant: Contestant, workers: usize) -> String {
    match contestant {
        Contestant::Ceiling if workers == 1 => "bare consumer".to_owned(),
        Contestant::Ceiling => format!("{workers} bare consumers"),
        Contestant::Single => format!("{}, one a call", name(Contestant::Ceiling, workers)),
        Contestant::Program => "hand-written, one thread".to_owned(),
        Contestant::WordCount => {
            format!("word-count, {workers} worker{}", if workers == 1 { "" } else { "s" })
        }
    }
}

/// The rows of the report: of each contestant, with its rounds in order of their time, the median.
fn rows(contestants: &[(Contestant, usize, Vec<Told>)], text: &Text) -> Vec<UntilEnd> {
    let median = |told: &[Told]| told[told.len() / 2].seconds;
    let of = |wanted| contestants.iter().find(|(contestant, ..)| *contestant == wanted);
    let seconds_of = |wanted| of(wanted).map_or(f64::NAN, |(.., told)| median(told));
    let (ceiling, program) = (seconds_of(Contestant::Ceiling), seconds_of(Contestant::Program));
    contestants
        .iter()
        .map(|(contestant, workers, told)| {
            let one = &told[told.len() / 2];
            let seconds = one.seconds;
            UntilEnd {
                name: name(*contestant, *workers),
                workers: *workers,
                records: one.records,
                rounds: told.len(),
                seconds,
                seconds_range: (told[0].seconds, told[told.len() - 1].seconds),
                records_per_second: one.records as f64 / seconds,
                words_per_second: text.total() as f64 / seconds,
                mb_per_second: text.bytes() as f64 / 1e6 / seconds,
                cpu_seconds_per_million: one.cpu_seconds / one.records as f64 * 1e6,
                peak_bytes: one.peak_bytes,
                of_ceiling: ceiling / seconds,
                of_program: contestant.counts().then(|| program / seconds),
            }
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_medians() {
        let told = |seconds: &[f64]| -> Vec<Told> {
            let one = |&seconds| Told { records: 10, seconds, cpu_seconds: 1.0, peak_bytes: 1, counts: None };
            seconds.iter().map(one).collect()
        };
        let spec = Spec { law: Law::Uniform, words: 2, vocabulary: 10, partitions: 1, seed: 1 };
        let mut text = Text::new(&spec, Placing::InTurn);
        (0..10).for_each(|_| {
            text.record(&mut String::new());
        });
        let rows = rows(
            &[
                (Contestant::Ceiling, 2, told(&[1.0, 2.0, 9.0])),
                (Contestant::Single, 2, told(&[8.0])),
                (Contestant::Program, 1, told(&[5.0])),
                (Contestant::WordCount, 2, told(&[4.0])),
            ],
            &text,
        );
        assert_eq!(rows.iter().map(|row| row.of_ceiling).collect::<Vec<_>>(), [1.0, 0.25, 0.4, 0.5]);
        assert_eq!(
            rows.iter().map(|row| row.of_program).collect::<Vec<_>>(),
            [None, None, Some(1.0), Some(1.25)]
        );
        assert_eq!((rows[0].records_per_second, rows[0].words_per_second), (5.0, 10.0));
        assert_eq!(rows[0].seconds_range, (1.0, 9.0));
    }
}
