//! What a run does now, and what it did in its last ten minutes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::Json;
use axum::extract::{RawQuery, State};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::rows::Timestamp;
use serde::Serialize;

use super::no_parameters;
use crate::measure::history::Point;
use crate::serve::Service;
use crate::serve::answer::Failed;
use crate::status::Figures;

#[derive(Serialize)]
pub(super) struct Status {
    dataflow: String,
    version: &'static str,
    started_at: String,
    phase: &'static str,
    replay: Option<Replay>,
    workers: usize,
    processes: usize,
    epoch: Epoch,
    /// When the last epoch closed; none before the first.
    closed_at: Option<String>,
    cut: BTreeMap<String, BTreeMap<i32, i64>>,
    watermarks: BTreeMap<String, String>,
    totals: Totals,
    latency: Latency,
    partitions: Vec<Partition>,
    blocked: Blocked,
    options: BTreeMap<String, Vec<String>>,
    history: Vec<Point>,
}

#[derive(Serialize)]
struct Replay {
    epochs: Epoch,
    of: Epoch,
}

#[derive(Serialize)]
struct Totals {
    records: u64,
    bytes: u64,
    rows: u64,
    epochs: u64,
    dead_letters: u64,
    changes: u64,
    reread_records: u64,
    reread_epochs: u64,
}

/// Seconds; none before the first epoch.
#[derive(Serialize)]
struct Latency {
    last: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    offset: i64,
    end: i64,
    lag: i64,
    lag_at: Option<String>,
}

/// Seconds.
#[derive(Serialize)]
struct Blocked {
    sink: f64,
    ledger: f64,
    bounds: f64,
}

/// `GET /v1/status`.
pub(super) async fn status(State(service): State<Service>, query: RawQuery) -> Result<Json<Status>, Failed> {
    no_parameters(&query)?;
    let (about, figures) = (service.about(), service.status().figures());
    let started = service.started_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    let times = figures.watermarks.times();
    let watermarks = times.watermarks.iter().map(|(input, &at)| (input.clone(), shown(at))).collect();
    Ok(Json(Status {
        dataflow: about.dataflow.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: shown(started.as_micros() as i64),
        phase: service.phase().name(),
        replay: service.replay().map(|replay| Replay { epochs: replay.epochs, of: replay.of }),
        workers: about.workers,
        processes: about.processes,
        epoch: figures.epoch,
        closed_at: (times.closed > 0).then(|| shown(times.closed)),
        cut: cut(&figures),
        watermarks,
        totals: totals(&figures),
        latency: latency(&figures),
        partitions: partitions(&figures),
        blocked: blocked(&service, &figures),
        options: about.options.clone(),
        history: service.status().history().points(),
    }))
}

/// A time, in microseconds since the Unix epoch, as RFC 3339.
fn shown(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

fn cut(figures: &Figures) -> BTreeMap<String, BTreeMap<i32, i64>> {
    let mut cut: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for ((topic, partition), &next) in &figures.next {
        cut.entry(topic.clone()).or_default().insert(*partition, next);
    }
    cut
}

fn totals(figures: &Figures) -> Totals {
    Totals {
        records: figures.records,
        bytes: figures.bytes,
        rows: figures.rows,
        epochs: figures.epochs,
        dead_letters: figures.dead_letters,
        changes: figures.changes,
        reread_records: figures.reread,
        reread_epochs: figures.reread_epochs,
    }
}

fn latency(figures: &Figures) -> Latency {
    let known = !figures.latencies.is_empty();
    let quantile = |of| known.then(|| figures.latencies.value_at_quantile(of) as f64 / 1e6);
    Latency {
        last: known.then_some(figures.latency).as_ref().map(Duration::as_secs_f64),
        p50: quantile(0.5),
        p95: quantile(0.95),
        p99: quantile(0.99),
    }
}

fn partitions(figures: &Figures) -> Vec<Partition> {
    let each = figures.offsets.iter().map(|(key, &(offset, end))| Partition {
        topic: key.0.clone(),
        partition: key.1,
        offset,
        end,
        lag: figures.lag.get(key).copied().unwrap_or(0),
        lag_at: figures.lag_at.get(key).map(|&at| shown(at)),
    });
    each.collect()
}

fn blocked(service: &Service, figures: &Figures) -> Blocked {
    let now = Instant::now();
    Blocked {
        sink: figures.in_sinks.total(now).as_secs_f64(),
        ledger: figures.in_ledger.total(now).as_secs_f64(),
        bounds: service.status().operators().told().blocked(),
    }
}
