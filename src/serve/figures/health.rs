//! Is it able to go on, and are its answers current?

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::no_parameters;
use crate::serve::answer::Failed;
use crate::serve::{Phase, Service};

/// What is answered where all is well.
#[derive(Serialize)]
pub(super) struct Well {
    phase: &'static str,
}

/// `GET /healthz`: 503 once the run has failed.
pub(super) async fn healthz(State(service): State<Service>, query: RawQuery) -> Result<Json<Well>, Failed> {
    no_parameters(&query)?;
    let phase = service.phase();
    if phase == Phase::Failed {
        return Err(failed(&service));
    }
    Ok(Json(Well { phase: phase.name() }))
}

/// `GET /readyz`: 503 while answers are not those of what is read now.
pub(super) async fn readyz(State(service): State<Service>, query: RawQuery) -> Result<Json<Well>, Failed> {
    no_parameters(&query)?;
    let phase = service.phase();
    let why = match phase {
        Phase::Running => return Ok(Json(Well { phase: phase.name() })),
        Phase::Failed => return Err(failed(&service)),
        Phase::Starting => match &service.fault().waits()[..] {
            [] => "starting: the workers don't run yet".to_owned(),
            waits => format!("starting: the workers don't run yet (it waits: {})", waits.join("; ")),
        },
        Phase::Replaying => match service.replay() {
            Some(replay) => {
                format!("replaying: {} of {} epochs are published again", replay.epochs, replay.of)
            }
            None => "replaying: the last epoch is published again".to_owned(),
        },
        Phase::Stopping => "stopping: the open epoch is finished, and nothing is read any more".to_owned(),
    };
    Err(Failed::later(1, why))
}

fn failed(service: &Service) -> Failed {
    let reason = service.fault().reason();
    let reason = reason.unwrap_or_else(|| "the process ends with the reason on standard error".to_owned());
    Failed::new(StatusCode::SERVICE_UNAVAILABLE, format!("failed: {reason}"))
}
