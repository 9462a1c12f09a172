//! The figures in Prometheus' text. What each means to those who run it: `docs/operations.md`.

use std::fmt::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cutwater_dataflows::Epoch;
use cutwater_dataflows::reasons::OTHER;
use nix::sys::resource::{UsageWho, getrusage};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::buckets::Buckets;
use super::operators::{Done, Told};
use super::transactions::Transacted;
use crate::state::checkpoint::Made;
use crate::status::Figures;
use crate::time::micros_since_epoch;

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The phases of a run.
pub const PHASES: [&str; 5] = ["starting", "replaying", "running", "stopping", "failed"];

/// All that is shown of a run.
#[derive(Clone)]
pub struct Shown {
    /// The dataflow's name.
    pub dataflow: String,
    /// Workers of all processes.
    pub workers: usize,
    /// Processes.
    pub processes: usize,
    /// One of [`PHASES`].
    pub phase: &'static str,
    /// When the process began.
    pub started_at: SystemTime,
    /// Epochs that are to be published again, and have not been.
    pub to_replay: Epoch,
    /// What was published.
    pub figures: Figures,
    /// What operators have done.
    pub told: Told,
    /// The checkpoints that were made, and for how long something has been in none.
    pub checkpoints: Option<(Made, Duration)>,
    /// Transactions of Kafka sinks.
    pub transactions: Option<Arc<Transacted>>,
    /// Bytes that the view of each output takes.
    pub views: Vec<(String, usize)>,
    /// Connections of those who ask that were dropped, or not taken.
    pub dropped: u64,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").field("dataflow", &self.dataflow).finish_non_exhaustive()
    }
}

/// The text.
pub fn text(shown: Shown) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(shown));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// Bytes of memory that this process takes, where the system tells it.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

type Result = std::result::Result<(), Error>;

/// Writes metrics, one family at a time.
struct Writer<'a>(DescriptorEncoder<'a>);

/// The labels of one of a family.
type Labels<'a, const N: usize> = [(&'static str, String); N];

impl Writer<'_> {
    fn family<const N: usize>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        each: impl IntoIterator<Item = (Labels<'static, N>, f64)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in each {
            if N == 0 {
                put(&mut family, kind, value)?;
            } else {
                put(&mut family.encode_family(&labels)?, kind, value)?;
            }
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result {
        self.family::<0>(MetricType::Gauge, name, help, [([], value)])
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        each: impl IntoIterator<Item = (Labels<'static, N>, f64)>,
    ) -> Result {
        self.family(MetricType::Gauge, name, help, each)
    }

    /// Its name gets `_total`.
    fn counter(&mut self, name: &str, help: &str, value: f64) -> Result {
        self.family::<0>(MetricType::Counter, name, help, [([], value)])
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        each: impl IntoIterator<Item = (Labels<'static, N>, f64)>,
    ) -> Result {
        self.family(MetricType::Counter, name, help, each)
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &Buckets) -> Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(buckets.sum(), buckets.count(), &buckets.each(), None)
    }
}

fn put(family: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> Result {
    match kind {
        MetricType::Counter => family.encode_counter::<NoLabelSet, f64, u64>(&value, None),
        _ => family.encode_gauge(&value),
    }
}

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let mut to = Writer(encoder);
        self.run(&mut to)?;
        self.totals(&mut to)?;
        self.times(&mut to)?;
        self.partitions(&mut to)?;
        self.state(&mut to)?;
        self.asking(&mut to)?;
        self.operators(&mut to)?;
        self.workers(&mut to)
    }
}

impl Shown {
    fn run(&self, to: &mut Writer<'_>) -> Result {
        let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("dataflow", self.dataflow.clone())];
        to.gauges(
            "cutwater_build_info",
            "The program's version and the dataflow that it runs; always 1",
            [(build, 1.0)],
        )?;
        let phases = PHASES.map(|phase| ([("phase", phase.to_owned())], f64::from(phase == self.phase)));
        to.gauges("cutwater_phase", "What the run does now: 1 for that phase, 0 for the others", phases)?;
        to.gauge("cutwater_workers", "Workers of all processes", self.workers as f64)?;
        to.gauge("cutwater_processes", "Processes of the cluster", self.processes as f64)?;
        to.gauge(
            "cutwater_replay_remaining_epochs",
            "Epochs that a run before had read and that are still to be read again",
            self.to_replay as f64,
        )?;
        to.counter(
            "cutwater_restarts",
            "How often --restart has started this run again",
            crate::supervised::restarts() as f64,
        )?;
        to.gauge("cutwater_published_epoch", "The last published epoch", self.figures.epoch as f64)?;
        self.process(to)
    }

    /// What every program tells of itself: here, process 0.
    fn process(&self, to: &mut Writer<'_>) -> Result {
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.gauge(
            "process_start_time_seconds",
            "When process 0 began, since the Unix epoch",
            started.as_secs_f64(),
        )?;
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let times = [usage.user_time(), usage.system_time()];
            let seconds = times.map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
            to.counter("process_cpu_seconds", "Time that process 0 has computed", seconds.iter().sum())?;
        }
        if let Some(bytes) = resident() {
            to.gauge("process_resident_memory_bytes", "Memory that process 0 takes", bytes)?;
        }
        Ok(())
    }

    fn totals(&self, to: &mut Writer<'_>) -> Result {
        let figures = &self.figures;
        to.counter("cutwater_records", "Records that were read and published", figures.records as f64)?;
        to.counter("cutwater_record_bytes", "Bytes of their keys and values", figures.bytes as f64)?;
        to.counter("cutwater_rows", "Rows that they decoded to", figures.rows as f64)?;
        // The last kind is there from the start: so the first dead letter is an increase.
        let other = (OTHER, 0);
        let other = Some(other).filter(|_| figures.reasons.iter().all(|(kind, _)| kind != OTHER));
        let reasons = figures.reasons.iter().chain(other);
        let reasons = reasons.map(|(kind, n)| ([("reason", kind.to_owned())], n as f64));
        to.counters(
            "cutwater_dead_letters",
            "Records that became dead letters, by the kind of reason",
            reasons,
        )?;
        to.counter(
            "cutwater_rows_too_large",
            "Rows that were too large for their sinks",
            figures.too_large as f64,
        )?;
        let changes = figures.changes_of.iter().map(|(name, &n)| ([("output", name.clone())], n as f64));
        to.counters("cutwater_changes", "Changes that were handed to sinks, by output", changes)?;
        to.counter(
            "cutwater_epochs",
            "Epochs that were published, without those read again",
            figures.epochs as f64,
        )?;
        to.counter(
            "cutwater_reread_records",
            "Records that were read again after a restart",
            figures.reread as f64,
        )?;
        to.counter("cutwater_reread_epochs", "Epochs of which they are", figures.reread_epochs as f64)?;
        to.histogram(
            "cutwater_epoch_latency_seconds",
            "From reading an epoch's first record to its publication",
            &figures.epoch_latency,
        )?;
        to.histogram("cutwater_epoch_records", "Records of an epoch", &figures.epoch_records)?;
        to.histogram(
            "cutwater_end_to_end_latency_seconds",
            "From the timestamp of an epoch's oldest record to its publication",
            &figures.end_to_end,
        )
    }

    fn times(&self, to: &mut Writer<'_>) -> Result {
        let now = micros_since_epoch() as i64;
        let lag = |watermark: i64| now.saturating_sub(watermark) as f64 / 1e6;
        let watermarks = &self.figures.watermarks.times().watermarks;
        let watermarks = watermarks.iter().map(|(input, &at)| ([("input", input.clone())], lag(at)));
        to.gauges(
            "cutwater_watermark_lag_seconds",
            "How far an input's watermark, in event time, is behind the clock",
            watermarks,
        )?;
        let at = std::time::Instant::now();
        let blocked = [
            ("sink", self.figures.in_sinks.total(at).as_secs_f64()),
            ("ledger", self.figures.in_ledger.total(at).as_secs_f64()),
            ("bounds", self.told.blocked()),
        ];
        to.counters(
            "cutwater_blocked_seconds",
            "Time that epochs waited for sinks or the ledger, or that workers did not read since their epochs were full",
            blocked.map(|(cause, seconds)| ([("cause", cause.to_owned())], seconds)),
        )
    }

    fn partitions(&self, to: &mut Writer<'_>) -> Result {
        let labels = |(topic, partition): &(String, i32)| {
            [("topic", topic.clone()), ("partition", partition.to_string())]
        };
        let figures = &self.figures;
        to.gauges(
            "cutwater_consumer_lag_records",
            "Records between what was published of a partition and its end when the broker last said where that is",
            figures.lag.iter().map(|(key, &lag)| (labels(key), lag as f64)),
        )?;
        to.gauges(
            "cutwater_consumer_offset",
            "The offset up to which a partition is published",
            figures.offsets.iter().map(|(key, &(offset, _))| (labels(key), offset as f64)),
        )?;
        to.gauges(
            "cutwater_partition_end_offset",
            "The offset at which a partition ends, as the broker says",
            figures.offsets.iter().map(|(key, &(_, end))| (labels(key), end as f64)),
        )
    }

    fn state(&self, to: &mut Writer<'_>) -> Result {
        if let Some((made, age)) = &self.checkpoints {
            to.gauge(
                "cutwater_checkpoint_age_seconds",
                "For how long something that is published has been in no checkpoint",
                age.as_secs_f64(),
            )?;
            to.gauge("cutwater_checkpoint_epoch", "The epoch of the newest checkpoint", made.epoch as f64)?;
            to.gauge(
                "cutwater_checkpoint_size_rows",
                "Rows in the files of the newest checkpoint",
                made.rows as f64,
            )?;
            to.gauge("cutwater_checkpoint_size_bytes", "Bytes of these files", made.bytes as f64)?;
            to.histogram(
                "cutwater_checkpoint_duration_seconds",
                "From beginning a checkpoint to its being complete",
                &made.took,
            )?;
            let (rows, bytes) = self.told.restored();
            to.counter("cutwater_restored_rows", "Rows that were restored from a checkpoint", rows as f64)?;
            to.counter("cutwater_restored_bytes", "Bytes of files that were read for it", bytes as f64)?;
        }
        if let Some(transactions) = &self.transactions {
            to.histogram(
                "cutwater_transaction_duration_seconds",
                "From beginning to deliver an epoch to Kafka topics, in a transaction unless --delivery at-least-once, to its being \
                 committed, all tries included",
                &transactions.took(),
            )?;
            to.counter(
                "cutwater_transaction_retries",
                "Deliveries to Kafka topics that failed and were tried again",
                transactions.retries() as f64,
            )?;
        }
        Ok(())
    }

    /// What answering takes.
    fn asking(&self, to: &mut Writer<'_>) -> Result {
        let views = self.views.iter().map(|(name, bytes)| ([("output", name.clone())], *bytes as f64));
        to.gauges(
            "cutwater_view_bytes",
            "Memory of an output's view: its rows, and what the epochs that can be asked for changed",
            views,
        )?;
        to.counter(
            "cutwater_http_dropped_connections",
            "Connections that were dropped for others, or not taken, as all places were",
            self.dropped as f64,
        )
    }

    /// Each operator's figures, by worker: those that ran.
    fn operators(&self, to: &mut Writer<'_>) -> Result {
        type Value = fn(&Done) -> u64;
        let told = &self.told;
        let each = |value: Value| {
            told.graph.operators.iter().flat_map(move |operator| {
                told.of(operator.id).map(move |(worker, done)| {
                    let name = [
                        ("operator", operator.name.clone()),
                        ("id", operator.id.to_string()),
                        ("worker", worker.to_string()),
                    ];
                    (name, value(&done))
                })
            })
        };
        to.counters(
            "cutwater_operator_busy_seconds",
            "Time that an operator ran on a worker, without that of the operators in it",
            each(|done| done.busy).map(|(name, nanos)| (name, nanos as f64 / 1e9)),
        )?;
        // Most have no rows of their own to tell of.
        let rows = |value: Value| each(value).filter(|(_, n)| *n > 0).map(|(name, n)| (name, n as f64));
        to.counters(
            "cutwater_operator_rows_in",
            "Rows that came into an operator",
            rows(|done| done.rows_in),
        )?;
        to.counters(
            "cutwater_operator_rows_out",
            "Rows that an operator gave out",
            rows(|done| done.rows_out),
        )?;
        to.gauges(
            "cutwater_operator_arranged_rows",
            "Rows that an operator's arrangement holds",
            rows(|done| done.arranged_rows),
        )?;
        to.gauges(
            "cutwater_operator_arranged_bytes",
            "Bytes that they take",
            rows(|done| done.arranged_bytes),
        )?;
        let skew = told.graph.operators.iter().filter_map(|operator| {
            let name = [("operator", operator.name.clone()), ("id", operator.id.to_string())];
            Some((name, told.skew(operator.id)?))
        });
        to.gauges(
            "cutwater_operator_skew_ratio",
            "Time of the worker that is the busiest with an operator, by that of the mean: 1 is even",
            skew,
        )
    }

    fn workers(&self, to: &mut Writer<'_>) -> Result {
        let name = |worker: &usize| [("worker", worker.to_string())];
        let workers = &self.told.workers;
        let busy = |figures: &super::operators::WorkerFigures| {
            figures.operators.values().map(|done| done.busy).sum::<u64>()
        };
        to.counters(
            "cutwater_worker_busy_seconds",
            "Time that a worker's operators ran",
            workers.iter().map(|(worker, (_, figures))| (name(worker), busy(figures) as f64 / 1e9)),
        )?;
        to.gauges(
            "cutwater_worker_silence_seconds",
            "Time since a worker last told its figures: more than some seconds where an operator keeps it busy",
            workers.iter().map(|(worker, (at, _))| (name(worker), at.elapsed().as_secs_f64())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown_with_help_and_labels() {
        let mut figures = Figures { records: 7, ..Figures::default() };
        figures.reasons.add("not \"this\"", 2);
        figures.epoch_latency.observe(0.003);
        figures.lag.insert(("a\"b\\c".into(), 3), 5);
        let shown = Shown {
            dataflow: "word-count".into(),
            workers: 2,
            processes: 1,
            phase: "running",
            started_at: SystemTime::now(),
            to_replay: 0,
            figures,
            told: Told::default(),
            checkpoints: None,
            transactions: None,
            views: vec![("counts".into(), 81)],
            dropped: 3,
        };
        let text = text(shown);
        for line in [
            "# HELP cutwater_records_total Records that were read and published",
            "# TYPE cutwater_records_total counter",
            "cutwater_records_total 7.0",
            r#"cutwater_dead_letters_total{reason="not \"…\""} 2.0"#,
            r#"cutwater_phase{phase="running"} 1.0"#,
            r#"cutwater_phase{phase="failed"} 0.0"#,
            r#"cutwater_view_bytes{output="counts"} 81.0"#,
            "cutwater_http_dropped_connections_total 3.0",
            r#"cutwater_epoch_latency_seconds_bucket{le="0.0025"} 0"#,
            r#"cutwater_epoch_latency_seconds_bucket{le="0.005"} 1"#,
            r#"cutwater_epoch_latency_seconds_bucket{le="+Inf"} 1"#,
            r#"cutwater_consumer_lag_records{topic="a\"b\\c",partition="3"} 5.0"#,
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in {text}");
        }
        assert!(!text.contains("checkpoint"), "none are made");
    }
}
