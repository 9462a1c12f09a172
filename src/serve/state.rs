//! `GET /v1/state`: what is known of the state of a run that keeps one. Nothing of it is read for an answer.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::{RawQuery, State};
use cutwater_dataflows::Epoch;
use serde::Serialize;

use super::Service;
use super::answer::{Failed, Params};
use crate::state::cut::Topics;
use crate::state::known::Checkpoint;

/// What is answered.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    state: Option<Kept>,
}

#[derive(Debug, Serialize)]
struct Kept {
    place: String,
    checkpoints: Vec<Complete>,
    ledger: Option<Entries>,
    cut: Topics,
}

#[derive(Debug, Serialize)]
struct Complete {
    epoch: Epoch,
    at: String,
    rows: u64,
    bytes: u64,
    runs: u64,
    collections: BTreeMap<String, Stored>,
}

#[derive(Debug, Serialize)]
struct Stored {
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Entries {
    first: Epoch,
    last: Epoch,
    entries: u64,
}

/// `GET /v1/state`.
pub(super) async fn answer(
    State(service): State<Service>,
    RawQuery(query): RawQuery,
) -> Result<Json<Answer>, Failed> {
    Params::read(query.as_deref(), &[])?;
    let Some(typed) = &service.about().state else { return Ok(Json(Answer { state: None })) };
    let known = service.state().map(|known| known.now()).unwrap_or_default();
    let entries = |(first, last): (Epoch, Epoch)| Entries { first, last, entries: last + 1 - first };
    let place = if known.place.is_empty() { typed.clone() } else { known.place };
    Ok(Json(Answer {
        state: Some(Kept {
            place,
            checkpoints: known.checkpoints.iter().rev().map(complete).collect(),
            ledger: known.ledger.map(entries),
            cut: known.cut.by_topic(),
        }),
    }))
}

fn complete(checkpoint: &Checkpoint) -> Complete {
    let sum = |of: fn(&(u64, u64, u64)) -> u64| checkpoint.collections.values().map(of).sum();
    let stored =
        |(name, &(rows, bytes, _)): (&String, &(u64, u64, u64))| (name.clone(), Stored { rows, bytes });
    Complete {
        epoch: checkpoint.epoch,
        at: at(checkpoint.time),
        rows: sum(|&(rows, ..)| rows),
        bytes: sum(|&(_, bytes, _)| bytes),
        runs: sum(|&(.., runs)| runs),
        collections: checkpoint.collections.iter().map(stored).collect(),
    }
}

/// A moment in microseconds since the Unix epoch, as RFC 3339.
fn at(micros: u64) -> String {
    // Beyond the year 9999 there is no such text.
    let moment = UNIX_EPOCH + Duration::from_micros(micros.min(253_402_300_799_000_000));
    humantime::format_rfc3339_millis(moment).to_string()
}
