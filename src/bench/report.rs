//! What was measured: as data, and as a table for people.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use super::cores::Cores;
use super::workload::{Law, Spec};
use crate::shown::count;

/// All that a run has measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// The version of librdkafka.
    pub librdkafka: String,
    /// Processors that this machine offers.
    pub cores: usize,
    /// True iff the broker was librdkafka's in-process one: then the figures are those of that broker.
    pub in_process: bool,
    /// The workload.
    pub workload: Spec,
    /// Until the end of a topic, each the median of its rounds.
    pub until_end: Vec<UntilEnd>,
    /// Several processes beside one with as many workers.
    pub processes: Option<Processes>,
    /// `--epoch` at the offered rates, in milliseconds.
    pub epoch_ms: f64,
    /// At offered rates, in the order in which they were tried.
    pub offered: Vec<Offered>,
}

/// A contestant that has read a topic to its end.
#[derive(Clone, Debug, Serialize)]
pub struct UntilEnd {
    /// Its name.
    pub name: String,
    /// Threads that read.
    pub workers: usize,
    /// Records in the topic.
    pub records: u64,
    /// Rounds of which this is the median.
    pub rounds: usize,
    /// How long it took.
    pub seconds: f64,
    /// How long the fastest and the slowest round took.
    pub seconds_range: (f64, f64),
    /// Records a second.
    pub records_per_second: f64,
    /// Words a second.
    pub words_per_second: f64,
    /// Million bytes of values a second.
    pub mb_per_second: f64,
    /// Processor time a million records.
    pub cpu_seconds_per_million: f64,
    /// The most memory resident.
    pub peak_bytes: u64,
    /// Its speed as a multiple of that of the bare consumers.
    pub of_ceiling: f64,
    /// Its speed as a multiple of that of the hand-written program, where both count.
    pub of_program: Option<f64>,
}

/// `-w W -n N` beside `-w W·N -n 1`, both as commands.
#[derive(Clone, Debug, Serialize)]
pub struct Processes {
    /// Workers a process.
    pub workers: usize,
    /// Processes.
    pub processes: usize,
    /// Records a second, by the summary of the command.
    pub records_per_second: f64,
    /// Those of one process with as many workers.
    pub one_process_records_per_second: f64,
    /// The one as a multiple of the other.
    pub of_one_process: f64,
}

/// Word-count at an offered rate.
#[derive(Clone, Debug, Serialize)]
pub struct Offered {
    /// Records a second that were to be offered.
    pub rate: f64,
    /// True iff it kept ledger and checkpoints.
    pub with_state: bool,
    /// True iff it wrote without transactions.
    pub at_least_once: bool,
    /// Records sent in all.
    pub records: u64,
    /// Records a second that were offered in fact.
    pub records_per_second: f64,
    /// Words a second.
    pub words_per_second: f64,
    /// Million bytes of values a second.
    pub mb_per_second: f64,
    /// From the last record's acknowledgement until all counts were there.
    pub behind_seconds: f64,
    /// True iff the rate was offered in fact and word-count was not behind at the end.
    pub sustained: bool,
    /// From a record's append time to its count being visible to a committed reader.
    pub latency_ms: Quantiles,
    /// Processor time a million records, of word-count's processes alone.
    pub cpu_seconds_per_million: f64,
    /// Who took the processors meanwhile.
    pub cores: Cores,
    /// The most memory resident, of word-count's processes.
    pub peak_bytes: u64,
}

/// Latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// Of 95 %.
    pub p95: f64,
    /// Of 99 %.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// What part of a rate has to be offered in fact.
const OFFERED: f64 = 0.98;

impl Offered {
    /// True iff the rate was offered in fact: if not, producer or broker could not keep up.
    pub fn is_offered(&self) -> bool {
        self.records_per_second >= OFFERED * self.rate
    }

    fn name(&self) -> String {
        let state = if self.with_state { ", --state" } else { "" };
        let how = match () {
            () if self.sustained => "",
            () if self.is_offered() => ", behind",
            () => ", not offered",
        };
        format!("{}/s{state}{how}", whole(self.rate))
    }
}

impl Quantiles {
    /// Those of latencies in microseconds.
    pub(super) fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
        Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: micros.max() as f64 / 1e3 }
    }
}

impl Report {
    /// The offer, without state, that was sustained at the highest rate.
    pub fn highest(&self) -> Option<&Offered> {
        self.plain().filter(|offered| offered.sustained).max_by(|a, b| a.rate.total_cmp(&b.rate))
    }

    /// Offers without state.
    pub(super) fn plain(&self) -> impl Iterator<Item = &Offered> {
        self.offered.iter().filter(|offered| !offered.with_state)
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut out = self.heading();
        self.until_end_rows(&mut out);
        self.offered_rows(&mut out);
        out
    }

    fn heading(&self) -> String {
        let Spec { law, words, vocabulary, partitions, .. } = &self.workload;
        let law = match law {
            Law::Uniform => "uniform",
            Law::Zipf => "Zipf",
        };
        let broker = match self.in_process {
            true => "librdkafka's in-process broker: a quick look only",
            false => "a real broker",
        };
        format!(
            "{law} words of {}, {words} a record; {}; {broker}; {}; librdkafka {}\n",
            HumanCount(*vocabulary as u64),
            count(partitions.unsigned_abs().into(), "partition"),
            count(self.cores as u64, "core"),
            self.librdkafka,
        )
    }

    fn until_end_rows(&self, out: &mut String) {
        if let Some(first) = self.until_end.first() {
            let _ = writeln!(
                out,
                "\n{:<30} {:>12} {:>12} {:>8} {:>9} {:>8} {:>10} {:>10}",
                format!("until the end of {}", HumanCount(first.records)),
                "records/s",
                "words/s",
                "MB/s",
                "CPU s/M",
                "peak MB",
                "of ceiling",
                "of program"
            );
        }
        for row in &self.until_end {
            let _ = writeln!(
                out,
                "{:<30} {:>12} {:>12} {:>8.1} {:>9.2} {:>8.0} {:>10.2} {:>10}",
                row.name,
                whole(row.records_per_second),
                whole(row.words_per_second),
                row.mb_per_second,
                row.cpu_seconds_per_million,
                row.peak_bytes as f64 / 1e6,
                row.of_ceiling,
                row.of_program.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            );
        }
        if let Some(row) = &self.processes {
            let _ = writeln!(
                out,
                "cutwater run -w {} -n {}: {} records/s, {:.2} of -w {} -n 1 ({} records/s)",
                row.workers,
                row.processes,
                whole(row.records_per_second),
                row.of_one_process,
                row.workers * row.processes,
                whole(row.one_process_records_per_second)
            );
        }
    }

    fn offered_rows(&self, out: &mut String) {
        let Some(first) = self.offered.first() else { return };
        let delivery = if first.at_least_once { ", at least once" } else { "" };
        let _ = writeln!(
            out,
            "\n{:<34} {:>12} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9}   cores: word-count, load, reader, rest",
            format!("offered, --epoch {} ms{delivery}", self.epoch_ms),
            "records/s",
            "CPU s/M",
            "peak MB",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms"
        );
        for row in &self.offered {
            let Quantiles { p50, p95, p99, max } = row.latency_ms;
            let Cores { product, load, reader, rest, full } = row.cores;
            let _ = writeln!(
                out,
                "{:<34} {:>12} {:>9.2} {:>8.0} {p50:>9.1} {p95:>9.1} {p99:>9.1} {max:>9.1}   \
                 {product:.2} {load:.2} {reader:.2} {rest:.2}{}",
                row.name(),
                whole(row.records_per_second),
                row.cpu_seconds_per_million,
                row.peak_bytes as f64 / 1e6,
                if full { ", the machine was full" } else { "" },
            );
        }
    }
}

fn whole(number: f64) -> String {
    HumanCount(number.round() as u64).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn offered(rate: f64, sustained: bool) -> Offered {
        Offered {
            rate,
            with_state: false,
            at_least_once: false,
            records: 1000,
            records_per_second: rate,
            words_per_second: rate,
            mb_per_second: rate * 7e-6,
            behind_seconds: 0.0,
            sustained,
            latency_ms: Quantiles { p50: 5.0, p95: 12.0, p99: 20.0, max: 33.0 },
            cpu_seconds_per_million: 0.5,
            cores: Cores { product: 0.25, load: 0.125, reader: 0.0, rest: 1.5, full: rate > 3e3 },
            peak_bytes: 50_000_000,
        }
    }

    pub(in super::super) fn report(offered: Vec<Offered>) -> Report {
        let row = |name: &str, seconds: f64| UntilEnd {
            name: name.into(),
            workers: 2,
            records: 1_000_000,
            rounds: 3,
            seconds,
            seconds_range: (seconds, seconds),
            records_per_second: 1e6 / seconds,
            words_per_second: 1e6 / seconds,
            mb_per_second: 7.0 / seconds,
            cpu_seconds_per_million: seconds,
            peak_bytes: 50_000_000,
            of_ceiling: 0.5 / seconds,
            of_program: None,
        };
        Report {
            version: "0",
            librdkafka: "2".into(),
            cores: 2,
            in_process: false,
            workload: Spec { law: Law::Uniform, words: 1, vocabulary: 5000, partitions: 4, seed: 1 },
            until_end: vec![row("bare consumer", 0.5), row("word-count", 1.0)],
            processes: None,
            epoch_ms: 10.0,
            offered,
        }
    }

    #[test]
    fn the_highest_rate_is_one_that_was_sustained() {
        let report = report(vec![offered(1e3, true), offered(4e3, false), offered(2e3, true)]);
        assert_eq!(report.highest().unwrap().rate, 2e3);
    }

    #[test]
    fn the_table_has_a_line_of_each() {
        let table = report(vec![offered(1e3, true), offered(2e3, false)]).table();
        for text in [
            "bare consumer",
            "word-count",
            "2,000,000",
            "1,000/s ",
            "2,000/s, behind",
            "33.0",
            "0.25 0.12 0.00 1.50",
        ] {
            assert!(table.contains(text), "{text}: {table}");
        }
        assert_eq!(table.lines().count(), 9, "{table}");
    }

    #[test]
    fn quantiles_are_milliseconds() {
        let mut micros = Histogram::new(3).unwrap();
        (1..=100).for_each(|ms| micros.record(ms * 1000).unwrap());
        let Quantiles { p50, p95, max, .. } = Quantiles::of(&micros);
        assert!((p50 - 50.0).abs() < 0.1 && (p95 - 95.0).abs() < 0.1 && (max - 100.0).abs() < 0.1);
    }
}
