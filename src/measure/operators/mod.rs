//! What each operator has done on each worker: how long it ran, the rows that came and went, and what it holds.
//!
//! # How it is done
//! A worker that is measured registers for timely's log and for differential's log of arrangements while it builds its
//! dataflow ([`tally`]). About once a second it gives what its operators have done so far to a dataflow of one operator beside
//! that of the run, which carries it to worker 0 ([`carry`]). The logs are taken off the register once the dataflow is built: so
//! what carries the figures is not in them, and a worker's step does not flush them.
//!
//! Nothing waits for any of it. The input of that dataflow is closed as soon as the run's dataflow has ended on a worker.

pub mod carry;
pub mod tally;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// An operator, or a scope of operators, as it was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Its number: the same on all workers.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// The places in each scope that lead to it, from the outermost: the first is that of the dataflow.
    pub address: Vec<usize>,
}

/// What joins two operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its number: the same on all workers.
    pub id: usize,
    /// The operator that sends.
    pub from: usize,
    /// The operator that receives.
    pub to: usize,
    /// True iff it carries rows. Others carry cuts, times and the like.
    pub rows: bool,
}

/// The names of operators that others are made of: they say nothing of what they are for.
const PLUMBING: [&str; 14] = [
    "AtEpoch",
    "Combine",
    "Concatenate",
    "Enter",
    "Exchange",
    "Filter",
    "FlatMap",
    "Flatten",
    "Map",
    "Negate",
    "Presum",
    "SkipSnapshot",
    "Timed",
    "Unflatten",
];

/// The operators of a dataflow, and what joins them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// In the order in which they were built; a scope comes before what is in it.
    pub operators: Vec<Operator>,
    /// In the order in which they were built.
    pub channels: Vec<Channel>,
}

impl Graph {
    /// Adds to the names of operators that many others are made with what they lead to, where that is one thing: an
    /// `Exchange` before `Arrange: orders` is `Exchange, for Arrange: orders`.
    fn name_plumbing(&mut self) {
        let names: BTreeMap<usize, &str> =
            self.operators.iter().map(|operator| (operator.id, operator.name.as_str())).collect();
        let mut next: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        for channel in &self.channels {
            let to = next.entry(channel.from).or_insert(Some(channel.to));
            *to = to.filter(|&to| to == channel.to);
        }
        let leads_to = |operator: usize| {
            let mut at = operator;
            // In a loop, plumbing may lead to itself.
            for _ in 0..self.operators.len() {
                at = next.get(&at).copied().flatten()?;
                let name = names.get(&at)?;
                if !PLUMBING.contains(name) {
                    return Some((*name).to_owned());
                }
            }
            None
        };
        let plumbing = self.operators.iter().filter(|operator| PLUMBING.contains(&operator.name.as_str()));
        let named: Vec<(usize, String)> =
            plumbing.filter_map(|operator| Some((operator.id, leads_to(operator.id)?))).collect();
        for (id, purpose) in named {
            if let Some(operator) = self.operators.iter_mut().find(|operator| operator.id == id) {
                operator.name += &format!(", for {purpose}");
            }
        }
    }

    /// The scope that an operator is in; none of the dataflow itself.
    pub fn parent(&self, operator: &Operator) -> Option<&Operator> {
        let (_, above) = operator.address.split_last()?;
        self.operators.iter().find(|other| other.address == above)
    }

    /// The names that lead to an operator, from the dataflow's to its own.
    pub fn path(&self, operator: &Operator) -> Vec<&str> {
        let above = |length| self.operators.iter().find(|other| other.address == operator.address[..length]);
        (1..=operator.address.len()).filter_map(above).map(|operator| operator.name.as_str()).collect()
    }
}

/// What an operator has done on a worker since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Nanoseconds that it ran, without those of the operators in it.
    pub busy: u64,
    /// How often it ran.
    pub runs: u64,
    /// Rows that came in, by all its inputs.
    pub rows_in: u64,
    /// Rows that it gave out; those that several operators read count once.
    pub rows_out: u64,
    /// Rows that its arrangement holds now, those of several batches counted each.
    pub arranged_rows: u64,
    /// Bytes that they take.
    pub arranged_bytes: u64,
}

/// What a worker tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFigures {
    /// The worker.
    pub worker: usize,
    /// Nanoseconds since it began to build its dataflow.
    pub at: u64,
    /// The graph, in the first message of worker 0.
    pub graph: Option<Graph>,
    /// Of each operator that ever ran, by its number.
    pub operators: BTreeMap<usize, Done>,
    /// Rows that have gone through each channel that carries rows.
    pub channels: BTreeMap<usize, u64>,
    /// Nanoseconds in which it did not read since its open epochs were full.
    pub blocked: u64,
    /// Rows and bytes that its process has restored, told by one worker of each process.
    pub restored: Option<(u64, u64)>,
}

/// The figures of all workers, as they last told them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Operators(Arc<Mutex<Told>>);

/// What was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The graph.
    pub graph: Graph,
    /// What each worker told last, and when.
    pub workers: BTreeMap<usize, (Instant, WorkerFigures)>,
}

impl Operators {
    /// What was told so far.
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    fn take(&self, mut figures: WorkerFigures) {
        let mut told = self.lock();
        if let Some(graph) = figures.graph.take() {
            told.graph = graph;
        }
        told.workers.insert(figures.worker, (Instant::now(), figures));
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What an operator has done, on each worker.
    pub fn of(&self, operator: usize) -> impl Iterator<Item = (usize, Done)> {
        self.workers
            .iter()
            .filter_map(move |(&worker, (_, figures))| Some((worker, *figures.operators.get(&operator)?)))
    }

    /// How unevenly the workers are busy with an operator: the busiest one's time by that of the mean. 1 is even; none
    /// where no worker was.
    pub fn skew(&self, operator: usize) -> Option<f64> {
        let busy: Vec<u64> = self.of(operator).map(|(_, done)| done.busy).collect();
        let (most, all) = (*busy.iter().max()?, busy.iter().sum::<u64>());
        (all > 0).then(|| most as f64 * self.workers.len() as f64 / all as f64)
    }

    /// Rows that have gone through a channel, on all workers.
    pub fn through(&self, channel: usize) -> u64 {
        self.workers.values().filter_map(|(_, figures)| figures.channels.get(&channel)).sum()
    }

    /// Seconds in which workers did not read since their open epochs were full, all workers together.
    pub fn blocked(&self) -> f64 {
        self.workers.values().map(|(_, figures)| figures.blocked).sum::<u64>() as f64 / 1e9
    }

    /// Rows and bytes that were restored, by all processes.
    pub fn restored(&self) -> (u64, u64) {
        let told = self.workers.values().filter_map(|(_, figures)| figures.restored);
        told.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_the_busiest_by_the_mean() {
        let operators = Operators::default();
        let tell = |worker, busy| {
            let done = BTreeMap::from([(7, Done { busy, ..Done::default() })]);
            operators.take(WorkerFigures { worker, operators: done, ..WorkerFigures::default() });
        };
        assert_eq!(operators.told().skew(7), None);
        tell(0, 0);
        tell(1, 0);
        assert_eq!(operators.told().skew(7), None, "nobody was busy");
        tell(0, 30);
        tell(1, 10);
        assert_eq!(operators.told().skew(7), Some(1.5));
        // A worker on which it never ran counts.
        operators.take(WorkerFigures { worker: 2, ..WorkerFigures::default() });
        assert_eq!(operators.told().skew(7), Some(2.25));
    }
}
