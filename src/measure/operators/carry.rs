//! Carries the figures of each worker to worker 0.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cutwater_dataflows::Epoch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input as _;
use timely::dataflow::operators::generic::Operator as _;
use timely::worker::Worker;

use super::tally::Tally;
use super::{Graph, Operators, WorkerFigures};
use crate::state::checkpoint::StateWriters;

/// How often a worker tells what it has done.
const EVERY: Duration = Duration::from_secs(1);

/// A worker's end.
pub struct Carry {
    tally: Tally,
    worker: usize,
    /// Closed once the run's dataflow has ended.
    input: Option<InputHandle<Epoch, CapacityContainerBuilder<Vec<WorkerFigures>>>>,
    told: Option<Instant>,
    /// Who knows what this process has restored, on one of its workers.
    writers: Option<Arc<dyn StateWriters>>,
}

impl Carry {
    /// Builds the dataflow that carries the figures: on every worker, after that of the run. `operators` takes those that
    /// come to worker 0.
    pub fn build(
        worker: &mut Worker,
        tally: Tally,
        operators: Operators,
        writers: Option<Arc<dyn StateWriters>>,
    ) -> Self {
        tally.built(worker);
        let input = worker.dataflow_named("Figures", |scope| {
            let (input, figures) = scope.new_input();
            figures.sink(Exchange::new(|_: &WorkerFigures| 0), "Figures", move |(input, _)| {
                input.for_each(|_, figures| figures.drain(..).for_each(|figures| operators.take(figures)));
            });
            input
        });
        Carry { tally, worker: worker.index(), input: Some(input), told: None, writers }
    }

    /// The graph that was built.
    pub fn graph(&self) -> Graph {
        self.tally.graph()
    }

    /// True iff it is time to tell.
    pub fn is_due(&self) -> bool {
        self.input.is_some() && self.told.is_none_or(|told| told.elapsed() >= EVERY)
    }

    /// Tells what this worker has done by now; `blocked`: for how long it has not read.
    pub fn tell(&mut self, blocked: Duration) {
        let Some(input) = &mut self.input else { return };
        let mut figures = self.tally.figures(self.worker);
        figures.graph = (self.worker == 0 && self.told.is_none()).then(|| self.tally.graph());
        figures.blocked = blocked.as_nanos() as u64;
        figures.restored = self.writers.as_ref().map(|writers| writers.restored());
        input.send(figures);
        // An exchange keeps what it has for a worker until its container is full, or its time is over.
        let next = input.time() + 1;
        input.advance_to(next);
        self.told = Some(Instant::now());
    }

    /// Tells for the last time: the run's dataflow has ended.
    pub fn end(&mut self, blocked: Duration) {
        self.tell(blocked);
        self.input = None;
    }

    /// True iff the dataflow is to end: its input is closed.
    pub fn has_ended(&self) -> bool {
        self.input.is_none()
    }
}
