//! What a run has done so far, for progress, the summary and the demo's table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::{Moved, Report};
use hdrhistogram::Histogram;
use indicatif::{HumanBytes, HumanCount};

use crate::time::micros_since_epoch;

/// Figures of a run, over all processes, as of the last published epoch. Clones share them.
#[derive(Clone, Default)]
pub struct Status(Arc<Mutex<Figures>>);

/// The figures.
#[derive(Clone)]
pub struct Figures {
    /// When the run began to read.
    pub started: Instant,
    /// The last published epoch; 0 before the first.
    pub epoch: Epoch,
    /// Published epochs, without those that were read again.
    pub epochs: u64,
    /// Records read, without those that were read again; the figures below likewise.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Rows they decoded to, equal ones counted each time.
    pub rows: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Changes handed to sinks, those included that are made of records that were read again.
    pub changes: u64,
    /// Records that a run before had read, and that were read again.
    pub reread: u64,
    /// The epochs of which they are.
    pub reread_epochs: u64,
    /// The latency of the last epoch: from its first record being read to its publication.
    pub latency: Duration,
    /// The latencies of all epochs, in microseconds.
    pub latencies: Histogram<u64>,
    /// Records behind the end, by topic and partition.
    pub lag: BTreeMap<(String, i32), i64>,
}

impl Default for Figures {
    fn default() -> Self {
        Figures {
            started: Instant::now(),
            epoch: 0,
            epochs: 0,
            records: 0,
            bytes: 0,
            rows: 0,
            dead_letters: 0,
            changes: 0,
            reread: 0,
            reread_epochs: 0,
            latency: Duration::ZERO,
            // Two digits of an hour in microseconds; longer ones count as an hour.
            latencies: Histogram::new_with_max(3_600_000_000, 2).expect("the bounds are valid"),
            lag: BTreeMap::new(),
        }
    }
}

impl Status {
    /// A copy of the figures.
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// The run begins to read.
    pub fn start(&self) {
        self.lock().started = Instant::now();
    }

    /// An epoch is published.
    pub fn published(&self, epoch: Epoch, reports: &[Report], changes: u64) {
        let mut figures = self.lock();
        figures.epoch = epoch;
        figures.changes += changes;
        for Moved { topic, partition, next, end, .. } in reports.iter().flat_map(|report| &report.moved) {
            figures.lag.insert((topic.clone(), *partition), end - next);
        }
        // An epoch is read again by all workers, or by none.
        if reports.iter().any(|report| report.again) {
            figures.reread_epochs += 1;
            figures.reread += reports.iter().map(|report| report.records).sum::<u64>();
            return;
        }
        figures.epochs += 1;
        for report in reports {
            figures.records += report.records;
            figures.bytes += report.bytes;
            figures.rows += report.rows;
            figures.dead_letters += report.dead_letters;
        }
        if let Some(first) = reports.iter().filter(|r| r.records > 0).map(|r| r.first_read).min() {
            figures.latency = Duration::from_micros(micros_since_epoch().saturating_sub(first));
            let micros = figures.latency.as_micros() as u64;
            figures.latencies.saturating_record(micros);
        }
    }

    /// What was accumulated until the end is published.
    pub fn ended(&self, changes: u64) {
        self.lock().changes += changes;
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Records behind the end, of all partitions.
    pub fn total_lag(&self) -> i64 {
        self.lag.values().sum()
    }

    /// One line for people: what was read, how fast, and how far behind.
    pub fn line(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-6);
        let rate = |count: u64| HumanCount((count as f64 / seconds) as u64);
        let mut line = format!(
            "{} records ({}/s), {}, {} rows ({}/s), {} epoch{}, lag {}",
            HumanCount(self.records),
            rate(self.records),
            HumanBytes(self.bytes),
            HumanCount(self.rows),
            rate(self.rows),
            HumanCount(self.epochs),
            if self.epochs == 1 { "" } else { "s" },
            HumanCount(self.total_lag().max(0) as u64),
        );
        if self.reread_epochs > 0 {
            line += &format!(
                ", re-read {} record{} of {} epoch{}",
                HumanCount(self.reread),
                if self.reread == 1 { "" } else { "s" },
                HumanCount(self.reread_epochs),
                if self.reread_epochs == 1 { "" } else { "s" },
            );
        }
        if !self.latencies.is_empty() {
            let at = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
            line += &format!(", epoch latency p50 {:.1} ms p99 {:.1} ms", at(0.5), at(0.99));
        }
        if self.dead_letters > 0 {
            line += &format!(
                ", {} dead letter{}",
                HumanCount(self.dead_letters),
                if self.dead_letters == 1 { "" } else { "s" }
            );
        }
        line
    }
}
