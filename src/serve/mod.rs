//! `--http ADDR`: answers about a run while it runs. `docs/http.md` is the contract.
//!
//! # Layout
//! - [`listen`]: the server: its thread, its connections and their limits
//! - [`access`]: who may ask; [`tls`]: certificate and key; `places`: clients that hold connections; `stalled`: those that
//!   don't read
//! - [`answer`]: errors and parameters, the same for every path
//! - [`views`]: the rows of each output, as of the epochs held
//! - `outputs`: `/v1/outputs`; `figures`: `/metrics`, health, status, graph and profile; `page`: the page; [`letters`]: dead
//!   letters; `state`: the state
//! - `openapi.json`: the description that is served; a path that is added is added there
//!
//! A handler takes the [`Service`] as axum's state. It never waits for the dataflow, and the dataflow never for it.

pub mod access;
pub mod answer;
mod figures;
pub mod letters;
pub mod listen;
mod outputs;
mod page;
mod places;
mod stalled;
mod state;
pub mod tls;
pub mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, Once, OnceLock};
use std::time::SystemTime;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use cutwater_dataflows::{Epoch, Shape};
use letters::Letters;

use crate::fault::Fault;
use crate::kafka::topics::Pattern;
use crate::state::known::Known;
use crate::status::Status;
use crate::stopping::Stop;
use access::Access;
use views::Views;

/// What a run is, whatever it does.
pub struct About {
    /// The dataflow's name.
    pub dataflow: String,
    /// What it reads and writes.
    pub shape: Shape,
    /// Workers of all processes.
    pub workers: usize,
    /// Processes.
    pub processes: usize,
    /// Where its state is kept, as typed.
    pub state: Option<String>,
    /// The topics of each input, as typed.
    pub topics: BTreeMap<String, Vec<Pattern>>,
    /// Its options by their long names, without secrets.
    pub options: BTreeMap<String, Vec<String>>,
}

/// What handlers know of the run. Clones share it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    about: About,
    started_at: SystemTime,
    status: Status,
    stop: Stop,
    fault: Fault,
    letters: Letters,
    /// Once the run has resumed from it.
    state: OnceLock<Known>,
    views: Views,
}

/// What a run does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its workers don't run yet.
    Starting,
    /// It reads what a run before has read.
    Replaying,
    /// What it reads is new.
    Running,
    /// It was told to stop.
    Stopping,
    /// An error has ended it.
    Failed,
}

impl Phase {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Replaying => "replaying",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Failed => "failed",
        }
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Epochs that are published again.
    pub epochs: Epoch,
    /// Of so many.
    pub of: Epoch,
}

impl Service {
    /// Of a run with these figures, which `stop` ends well and `fault` badly.
    pub fn new(about: About, status: Status, stop: Stop, fault: Fault) -> Self {
        let letters = Letters::of(about.topics.clone());
        let views = Views::new(about.shape.outputs.clone());
        let started_at = SystemTime::now();
        let state = OnceLock::new();
        Service(Arc::new(Inner { about, started_at, status, stop, fault, letters, state, views }))
    }

    /// What the run is.
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// When the process began to run the dataflow.
    pub fn started_at(&self) -> SystemTime {
        self.0.started_at
    }

    /// The run's figures.
    pub fn status(&self) -> &Status {
        &self.0.status
    }

    /// The run's first error, and what it waits for.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// The dead letters that are held.
    pub fn letters(&self) -> &Letters {
        &self.0.letters
    }

    /// The run keeps a state, of which this is known.
    pub fn keeps(&self, state: Known) {
        // A run keeps one.
        let _ = self.0.state.set(state);
    }

    /// What is known of the run's state; `None` where it keeps none, or has not gone on from it yet.
    pub fn state(&self) -> Option<&Known> {
        self.0.state.get()
    }

    /// The rows of its outputs.
    pub fn views(&self) -> &Views {
        &self.0.views
    }

    /// What the run does now.
    pub fn phase(&self) -> Phase {
        if self.0.fault.is_raised() {
            Phase::Failed
        } else if self.0.stop.is_requested() {
            Phase::Stopping
        } else if !self.0.stop.has_begun() {
            Phase::Starting
        } else if self.replay().is_some() {
            Phase::Replaying
        } else {
            Phase::Running
        }
    }

    /// How far the replay is; `None` where there is none, or it is done.
    pub fn replay(&self) -> Option<Replayed> {
        let (from, through, epoch) = self.0.status.with(|f| (f.resumed_from, f.replays_through, f.epoch));
        let epochs = epoch.saturating_sub(from);
        (epoch.max(from) < through).then(|| Replayed { epochs, of: through - from })
    }
}

/// Has this thread, and no other, get the processor after those that do the run's work.
pub(crate) fn yields_to_the_run() {
    static SAID: Once = Once::new();
    if let Err(error) = rustix::process::nice(10) {
        SAID.call_once(|| {
            tracing::warn!(
                "--http: its threads take turns with the run's, as the system lets no thread give way: {error} (does a \
                 filter of system calls forbid setpriority?)"
            );
        });
    }
}

/// All paths, for those who may ask.
pub fn router(service: Service, access: Access) -> Router {
    let router = Router::new()
        .route("/v1/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
        .merge(outputs::routes())
        .merge(figures::routes())
        .merge(page::routes())
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .with_state(service);
    access.guard(router)
}

/// The paths of a process on a host of its own that is not process 0: whether it is well.
pub fn router_of_peer(service: Service, access: Access) -> Router {
    let router = Router::new()
        .merge(figures::health_routes())
        .fallback(answer::at_process_0)
        .method_not_allowed_fallback(answer::no_such_method)
        .with_state(service);
    access.guard(router)
}

/// The description of all paths.
const OPENAPI: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_json_of_this_version_and_names_an_answer_for_each_path() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
        for (path, methods) in described["paths"].as_object().unwrap() {
            assert!(methods["get"]["responses"]["200"].is_object(), "{path}");
        }
    }
}
