//! The operators, what joins them, and what each costs on each worker.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;

use super::no_parameters;
use crate::measure::operators::{Graph, Told};
use crate::serve::Service;
use crate::serve::answer::Failed;

/// The answer to `GET /v1/graph`.
#[derive(Serialize)]
pub(super) struct Shown {
    operators: Vec<Operator>,
    channels: Vec<Channel>,
}

#[derive(Serialize)]
struct Operator {
    id: usize,
    name: String,
    path: String,
    /// The scope that it is in.
    parent: Option<usize>,
    /// The busiest worker's time by that of the mean; none where it never ran.
    skew: Option<f64>,
    workers: Vec<Done>,
}

#[derive(Serialize)]
struct Done {
    worker: usize,
    busy: f64,
    runs: u64,
    rows_in: u64,
    rows_out: u64,
    arranged_rows: u64,
    arranged_bytes: u64,
}

#[derive(Serialize)]
struct Channel {
    from: usize,
    to: usize,
    /// None where it carries no rows, but cuts, times and the like.
    rows: Option<u64>,
}

/// `GET /v1/graph`.
pub(super) async fn graph(State(service): State<Service>, query: RawQuery) -> Result<Json<Shown>, Failed> {
    no_parameters(&query)?;
    let told = service.status().operators().told();
    let operators = told.graph.operators.iter().map(|operator| Operator {
        id: operator.id,
        name: operator.name.clone(),
        path: path(&told.graph, operator),
        parent: told.graph.parent(operator).map(|parent| parent.id),
        skew: told.skew(operator.id),
        workers: done(&told, operator.id),
    });
    let channels = told.graph.channels.iter().map(|channel| Channel {
        from: channel.from,
        to: channel.to,
        rows: channel.rows.then(|| told.through(channel.id)),
    });
    Ok(Json(Shown { operators: operators.collect(), channels: channels.collect() }))
}

/// The names that lead to an operator.
pub(super) fn path(graph: &Graph, operator: &crate::measure::operators::Operator) -> String {
    graph.path(operator).join("/")
}

fn done(told: &Told, operator: usize) -> Vec<Done> {
    let each = told.of(operator).map(|(worker, done)| Done {
        worker,
        busy: done.busy as f64 / 1e9,
        runs: done.runs,
        rows_in: done.rows_in,
        rows_out: done.rows_out,
        arranged_rows: done.arranged_rows,
        arranged_bytes: done.arranged_bytes,
    });
    each.collect()
}
