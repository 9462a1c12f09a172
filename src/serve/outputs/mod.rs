//! `/v1/outputs`: what the outputs are, their rows as of an epoch, and their changes as they come.
//!
//! - [`rows`]: rows that are asked for; [`select`]: which they are; [`column`]: their columns; [`shown`]: as JSON and CSV;
//!   [`cursor`]: where an answer ended
//! - [`changes`]: server-sent events

mod changes;
mod column;
mod cursor;
mod rows;
mod select;
mod shown;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cutwater_dataflows::OutputShape;
use cutwater_dataflows::rows::Kind;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Service;
use super::answer::{Failed, Params};
use super::views::{NotHeld, Published, Size};

/// The epoch of an answer.
const EPOCH: HeaderName = HeaderName::from_static("cutwater-epoch");
/// Its cut.
const CUT: HeaderName = HeaderName::from_static("cutwater-cut");
/// Bytes of a cut that is a header at most.
const LONGEST_CUT: usize = 4 << 10;

/// The paths.
pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/v1/outputs", get(list))
        .route("/v1/outputs/{names}", get(rows::rows))
        .route("/v1/outputs/{names}/changes", get(changes::changes))
}

/// What a path says that can't be read is said as all errors are.
type Named = Result<Path<String>, PathRejection>;

/// The numbers of the outputs that are named, each once.
fn named(service: &Service, names: Named) -> Result<Vec<usize>, Failed> {
    let Path(names) = names.map_err(|error| Failed::wrong(error.body_text()))?;
    let outputs = service.views().outputs();
    let mut found = Vec::new();
    for name in names.split(',') {
        let index = outputs.iter().position(|output| output.name == name).ok_or_else(|| {
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            Failed::unknown(format!("there is no output {name:?}, but {}", names.join(", ")))
        })?;
        if found.contains(&index) {
            return Err(Failed::wrong(format!("output {name:?} is named twice: once is enough")));
        }
        found.push(index);
    }
    Ok(found)
}

/// Why rows can't be had, as an answer.
fn not_held(service: &Service, why: NotHeld) -> Failed {
    match (why, service.replay()) {
        (NotHeld::NotYet, Some(replay)) => Failed::later(
            1,
            format!(
                "the run reads again what a run before had read: {} of {} epochs are done. Ask once more later",
                replay.epochs, replay.of
            ),
        ),
        (NotHeld::NotYet, None) => {
            let phase = service.phase().name();
            Failed::later(
                1,
                format!("the run is {phase}, and no epoch is published yet. Ask once more later"),
            )
        }
        (NotHeld::Gone { oldest }, _) => Failed::new(
            StatusCode::GONE,
            format!(
                "that epoch is no longer held: the oldest that is held is {oldest} (--view-history, --view-history-bytes)"
            ),
        ),
        (NotHeld::Coming { newest }, _) => {
            Failed::unknown(format!("that epoch is not published yet: the newest is {newest}"))
        }
    }
}

/// The headers of an answer as of an epoch.
fn headers_of(published: &Published) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(EPOCH, published.epoch.into());
    if published.cut.len() <= LONGEST_CUT
        && let Ok(cut) = HeaderValue::from_str(&published.cut)
    {
        headers.insert(CUT, cut);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// A cut, to stand in an answer.
fn cut_of(published: &Published) -> Box<RawValue> {
    RawValue::from_string(published.cut.clone()).unwrap_or_default()
}

/// `GET /v1/outputs`.
async fn list(State(service): State<Service>, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    Params::read(query.as_deref(), &[])?;
    let extent = service.views().extent().map_err(|why| not_held(&service, why))?;
    let outputs = service.views().outputs().iter().zip(&extent.sizes).map(described);
    let body = json!({
        "epoch": extent.newest.epoch,
        "cut": cut_of(&extent.newest),
        "oldest": extent.oldest.epoch,
        "newest": extent.newest.epoch,
        "outputs": outputs.collect::<Vec<_>>(),
    });
    let mut headers = headers_of(&extent.newest);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((headers, body.to_string()).into_response())
}

/// An output as it is listed.
fn described((output, size): (&OutputShape, &Size)) -> Value {
    let schema = &output.schema;
    let column = |column: &cutwater_dataflows::rows::Column| {
        let (kind, nullable) = match &column.kind {
            Kind::Option(kind) => (&**kind, true),
            kind => (kind, *kind == Kind::Any),
        };
        json!({ "name": column.name, "type": kind.to_string(), "nullable": nullable })
    };
    json!({
        "name": output.name,
        "key": schema.columns[..schema.key].iter().map(|column| &column.name).collect::<Vec<_>>(),
        "columns": schema.columns.iter().map(column).collect::<Vec<_>>(),
        "rows": size.rows,
        "bytes": size.bytes,
        "since": size.since,
    })
}
