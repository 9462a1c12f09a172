//! Paths of metrics, health, status, graph, profile and messages.

mod graph;
mod health;
mod profile;
mod status;

use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::Service;
use super::answer::{Failed, Params};
use super::places;
use crate::measure::messages;
use crate::measure::prometheus::{self, Shown};

/// The paths.
pub(super) fn routes() -> Router<Service> {
    Router::new()
        .merge(health_routes())
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/graph", get(graph::graph))
        .route("/v1/profile", get(profile::profile))
        .route("/v1/messages", get(said))
}

/// The paths that tell whether a process is well.
pub(super) fn health_routes() -> Router<Service> {
    Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz))
}

/// Takes no parameters.
fn no_parameters(RawQuery(query): &RawQuery) -> Result<(), Failed> {
    Params::read(query.as_deref(), &[]).map(drop)
}

/// `GET /metrics`.
async fn metrics(State(service): State<Service>, query: RawQuery) -> Result<Response, Failed> {
    no_parameters(&query)?;
    let (about, status) = (service.about(), service.status());
    let age = status.checkpoint_age(Instant::now());
    let views = service.views();
    let names = views.outputs().iter().map(|output| output.name.clone());
    let shown = Shown {
        dataflow: about.dataflow.clone(),
        workers: about.workers,
        processes: about.processes,
        phase: service.phase().name(),
        started_at: service.started_at(),
        to_replay: service.replay().map_or(0, |replay| replay.of - replay.epochs),
        figures: status.figures(),
        told: status.operators().told(),
        checkpoints: status.checkpoints().zip(age),
        transactions: status.transactions(),
        views: names.zip(views.bytes()).collect(),
        dropped: places::dropped(),
    };
    Ok(([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], prometheus::text(shown)).into_response())
}

/// The answer to `GET /v1/messages`.
#[derive(Serialize)]
struct Messages {
    messages: Vec<messages::Message>,
}

/// `GET /v1/messages`.
async fn said(query: RawQuery) -> Result<Json<Messages>, Failed> {
    no_parameters(&query)?;
    Ok(Json(Messages { messages: messages::last() }))
}
