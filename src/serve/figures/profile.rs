//! What each operator costs from now on, for some seconds.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use inferno::flamegraph::{self, Options};
use serde::Serialize;

use super::graph::path;
use crate::measure::operators::{Done, Told};
use crate::serve::Service;
use crate::serve::answer::{Failed, Params};

/// Seconds where nothing is said.
const USUAL: u64 = 10;
/// Seconds at most.
const LONGEST: u64 = 60;

/// The answer to `GET /v1/profile`.
#[derive(Debug, Serialize)]
struct Profile {
    seconds: u64,
    workers: Vec<Worker>,
    /// The costliest first.
    operators: Vec<Cost>,
}

#[derive(Debug, Serialize)]
struct Worker {
    worker: usize,
    /// Seconds between the first and the last of its figures: it tells them about once a second.
    seconds: f64,
    busy: f64,
}

#[derive(Debug, Serialize)]
struct Cost {
    id: usize,
    name: String,
    path: String,
    busy: f64,
    workers: Vec<OnWorker>,
}

#[derive(Debug, Serialize)]
struct OnWorker {
    worker: usize,
    busy: f64,
    runs: u64,
    rows_in: u64,
    rows_out: u64,
}

/// `GET /v1/profile?seconds=S`.
pub(super) async fn profile(
    State(service): State<Service>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let params = Params::read(query.as_deref(), &["seconds"])?;
    let seconds = params.number("seconds", 1, LONGEST)?.unwrap_or(USUAL);
    let operators = service.status().operators();
    let before = operators.told();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = operators.told();
    if !wants_picture(&headers) {
        return Ok(Json(cost(&before, &after, seconds)).into_response());
    }
    let title = format!("{}: {seconds} s", service.about().dataflow);
    let picture = picture(&before, &after, title).map_err(|error| {
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the flame graph can't be drawn: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"))], picture).into_response())
}

/// True iff a picture is asked for by name.
fn wants_picture(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "image/svg+xml"))
}

/// What an operator has done on a worker between the two.
fn between(before: &Told, worker: usize, operator: usize, after: Done) -> Done {
    let of = before.workers.get(&worker).and_then(|(_, figures)| figures.operators.get(&operator));
    let before = of.copied().unwrap_or_default();
    Done {
        busy: after.busy.saturating_sub(before.busy),
        runs: after.runs.saturating_sub(before.runs),
        rows_in: after.rows_in.saturating_sub(before.rows_in),
        rows_out: after.rows_out.saturating_sub(before.rows_out),
        ..after
    }
}

fn cost(before: &Told, after: &Told, seconds: u64) -> Profile {
    let in_seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut operators: Vec<Cost> = Vec::new();
    for operator in &after.graph.operators {
        let workers = after.of(operator.id).map(|(worker, done)| {
            let done = between(before, worker, operator.id, done);
            let (busy, runs) = (in_seconds(done.busy), done.runs);
            OnWorker { worker, busy, runs, rows_in: done.rows_in, rows_out: done.rows_out }
        });
        let workers: Vec<OnWorker> = workers.filter(|of| of.runs > 0).collect();
        if !workers.is_empty() {
            // A sum of nothing is -0.
            let busy = workers.iter().map(|of| of.busy).fold(0.0, |sum, busy| sum + busy);
            let (name, path) = (operator.name.clone(), path(&after.graph, operator));
            operators.push(Cost { id: operator.id, name, path, busy, workers });
        }
    }
    operators.sort_by(|a, b| b.busy.total_cmp(&a.busy));
    let workers = after.workers.iter().map(|(&worker, (_, figures))| {
        let began = before.workers.get(&worker).map_or(0, |(_, figures)| figures.at);
        let on = operators.iter().flat_map(|cost| &cost.workers).filter(|of| of.worker == worker);
        let busy = on.map(|of| of.busy).fold(0.0, |sum, busy| sum + busy);
        Worker { worker, seconds: in_seconds(figures.at.saturating_sub(began)), busy }
    });
    Profile { seconds, workers: workers.collect(), operators }
}

/// A flame graph: by worker, and by the path of each operator. What remains of a worker's time is idle.
fn picture(before: &Told, after: &Told, title: String) -> std::io::Result<Vec<u8>> {
    // In a line of inferno's, `;` parts frames, and what follows the last space is the number.
    let clean = |name: &str| name.replace(';', ",").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = Vec::new();
    for (&worker, (_, figures)) in &after.workers {
        let began = before.workers.get(&worker).map_or(0, |(_, figures)| figures.at);
        let mut left = figures.at.saturating_sub(began) / 1000;
        for operator in &after.graph.operators {
            let Some(&done) = figures.operators.get(&operator.id) else { continue };
            let busy = between(before, worker, operator.id, done).busy / 1000;
            left = left.saturating_sub(busy);
            if busy > 0 {
                let path: Vec<String> = after.graph.path(operator).into_iter().map(clean).collect();
                lines.push(format!("worker {worker};{} {busy}", path.join(";")));
            }
        }
        lines.push(format!("worker {worker};idle {left}"));
    }
    if lines.iter().all(|line| line.ends_with(" 0")) {
        lines = vec!["no figures yet 1".to_owned()];
    }
    let mut options = Options::default();
    (options.title, options.count_name) = (title, "µs".to_owned());
    options.name_type = "Operator:".to_owned();
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use super::*;
    use crate::measure::operators::{Graph, Operator, WorkerFigures};

    fn told(at: u64, busy: &[(usize, u64)]) -> Told {
        let operator = |id, name: &str, address: &[usize]| Operator {
            id,
            name: name.to_owned(),
            address: address.to_vec(),
        };
        let operators = vec![operator(0, "words", &[0]), operator(3, "Count; all", &[0, 1])];
        let done = busy.iter().map(|&(id, busy)| (id, Done { busy, runs: busy / 10, ..Done::default() }));
        let figures = WorkerFigures { worker: 1, at, operators: done.collect(), ..WorkerFigures::default() };
        let workers = BTreeMap::from([(1, (Instant::now(), figures))]);
        Told { graph: Graph { operators, channels: Vec::new() }, workers }
    }

    #[test]
    fn a_profile_is_of_what_happened_in_between() {
        let (before, after) = (
            told(1_000_000_000, &[(3, 100_000_000)]),
            told(3_000_000_000, &[(0, 20_000_000), (3, 600_000_000)]),
        );
        let profile = cost(&before, &after, 2);
        let shown: Vec<_> = profile.operators.iter().map(|cost| (cost.path.as_str(), cost.busy)).collect();
        assert_eq!(shown, [("words/Count; all", 0.5), ("words", 0.02)]);
        assert_eq!((profile.workers[0].seconds, profile.workers[0].busy), (2.0, 0.52));
        let svg = String::from_utf8(picture(&before, &after, "words: 2 s".into()).unwrap()).unwrap();
        assert!(svg.contains("Count, all (500,000 µs"), "{svg}");
        assert!(svg.contains("idle (1,480,000 µs"), "{svg}");
        // Nothing is told yet.
        assert!(picture(&Told::default(), &Told::default(), "words".into()).is_ok());
    }

    #[test]
    fn a_picture_is_drawn_for_who_names_it() {
        let accepting =
            |accept: &'static str| HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert!(wants_picture(&accepting("text/html, image/svg+xml;q=0.9")));
        assert!(!wants_picture(&accepting("*/*")) && !wants_picture(&HeaderMap::new()));
    }
}
