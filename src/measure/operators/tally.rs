//! A worker's logs, added up as they come.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cutwater_dataflows::prelude::differential_dataflow::logging::{
    DifferentialEvent, DifferentialEventBuilder,
};
use timely::logging::{ChannelsEvent, StartStop, TimelyEvent, TimelyEventBuilder};
use timely::logging_core::Logger;
use timely::worker::Worker;

use super::{Channel, Done, Graph, Operator, WorkerFigures};

/// The names by which the logs are registered.
const TIMELY: &str = "timely";
const ARRANGE: &str = "differential/arrange";

/// Adds up what a worker logs.
pub struct Tally {
    began: Instant,
    timely: Logger<TimelyEventBuilder>,
    arrange: Logger<DifferentialEventBuilder>,
    sums: Rc<RefCell<Sums>>,
}

impl Tally {
    /// Listens to all that is built on the worker from now on, until [`Tally::built`].
    pub fn start(worker: &Worker) -> Option<Self> {
        let mut register = worker.log_register()?;
        let (began, sums) = (Instant::now(), Rc::new(RefCell::new(Sums::default())));
        let to = Rc::clone(&sums);
        let timely = Logger::new(began, Duration::ZERO, move |_: &Duration, events: &mut Option<Vec<_>>| {
            let mut sums = to.borrow_mut();
            events
                .iter_mut()
                .flat_map(|events| events.drain(..))
                .for_each(|(at, event)| sums.timely(at, event));
        });
        let to = Rc::clone(&sums);
        let arrange = Logger::new(began, Duration::ZERO, move |_: &Duration, events: &mut Option<Vec<_>>| {
            let mut sums = to.borrow_mut();
            events
                .iter_mut()
                .flat_map(|events| events.drain(..))
                .for_each(|(_, event)| sums.arranged(&event));
        });
        register.insert_logger(TIMELY, timely.clone());
        register.insert_logger(ARRANGE, arrange.clone());
        Some(Tally { began, timely, arrange, sums })
    }

    /// All is built: who builds something from now on does not log, and steps of the worker flush nothing.
    pub fn built(&self, worker: &Worker) {
        if let Some(mut register) = worker.log_register() {
            register.remove(TIMELY);
            register.remove(ARRANGE);
        }
        self.flush();
        self.sums.borrow_mut().resolve();
    }

    /// The graph that was built.
    pub fn graph(&self) -> Graph {
        self.sums.borrow().graph.clone()
    }

    /// What was done by now.
    pub fn figures(&self, worker: usize) -> WorkerFigures {
        self.flush();
        let at = self.began.elapsed().as_nanos() as u64;
        let sums = self.sums.borrow();
        let (operators, channels) = sums.done();
        WorkerFigures { worker, at, operators, channels, ..WorkerFigures::default() }
    }

    fn flush(&self) {
        self.timely.flush();
        self.arrange.flush();
    }
}

/// Sums by number. Operators and channels of a worker are numbered together, from 0.
#[derive(Default)]
struct Sums {
    operators: Vec<OfOperator>,
    channels: Vec<OfChannel>,
    /// The operators that run now, each in the one before: since when, and what those in it have taken.
    running: Vec<(usize, Duration, Duration)>,
    /// As they were built, until [`Sums::resolve`].
    built: Vec<ChannelsEvent>,
    graph: Graph,
    /// For each channel of the graph, its output: who sends, by which port, and whether these are batches of an arrangement.
    outputs: Vec<(usize, usize, bool)>,
}

#[derive(Clone, Copy, Default)]
struct OfOperator {
    busy: Duration,
    runs: u64,
    /// Rows of the batches that its arrangement was given.
    batched: u64,
    arranged_rows: i64,
    arranged_bytes: i64,
}

#[derive(Clone, Copy, Default)]
struct OfChannel {
    sent: u64,
    received: u64,
}

impl Sums {
    fn timely(&mut self, at: Duration, event: TimelyEvent) {
        match event {
            TimelyEvent::Schedule(event) => match event.start_stop {
                StartStop::Start => self.running.push((event.id, at, Duration::ZERO)),
                StartStop::Stop => self.stopped(event.id, at),
            },
            TimelyEvent::Messages(event) => {
                let of = at_number(&mut self.channels, event.channel);
                let sum = if event.is_send { &mut of.sent } else { &mut of.received };
                *sum += u64::try_from(event.record_count).unwrap_or(0);
            }
            TimelyEvent::Operates(event) => {
                let (id, name, address) = (event.id, event.name, event.addr);
                self.graph.operators.push(Operator { id, name, address });
            }
            TimelyEvent::Channels(event) => self.built.push(event),
            _ => {}
        }
    }

    fn stopped(&mut self, id: usize, at: Duration) {
        let Some((_, since, within)) = self.running.pop().filter(|(running, ..)| *running == id) else {
            return;
        };
        let took = at.saturating_sub(since);
        let of = at_number(&mut self.operators, id);
        of.busy += took.saturating_sub(within);
        of.runs += 1;
        if let Some((.., within)) = self.running.last_mut() {
            *within += took;
        }
    }

    fn arranged(&mut self, event: &DifferentialEvent) {
        let (operator, rows, bytes) = match event {
            DifferentialEvent::Batch(event) => {
                at_number(&mut self.operators, event.operator).batched += event.length as u64;
                (event.operator, event.length as i64, 0)
            }
            DifferentialEvent::Merge(event) => {
                let Some(merged) = event.complete else { return };
                (event.operator, merged as i64 - (event.length1 + event.length2) as i64, 0)
            }
            DifferentialEvent::Drop(event) => (event.operator, -(event.length as i64), 0),
            DifferentialEvent::Batcher(event) => (event.operator, 0, event.size_diff as i64),
            _ => return,
        };
        let of = at_number(&mut self.operators, operator);
        of.arranged_rows += rows;
        of.arranged_bytes += bytes;
    }

    /// Finds the operators that channels join: all are built.
    fn resolve(&mut self) {
        self.graph.operators.sort_by(|a, b| a.address.cmp(&b.address));
        let ids: HashMap<&[usize], usize> =
            self.graph.operators.iter().map(|operator| (&operator.address[..], operator.id)).collect();
        // Place 0 of a scope is what comes into it, or leaves it.
        let id = |scope: &[usize], place: usize| {
            let address = if place == 0 { scope.to_vec() } else { [scope, &[place]].concat() };
            ids.get(&address[..]).copied()
        };
        for ChannelsEvent { id: number, scope_addr, source, target, typ } in &self.built {
            let (Some(from), Some(to)) = (id(scope_addr, source.0), id(scope_addr, target.0)) else {
                continue;
            };
            let batches = typ.contains("Span<");
            self.graph.channels.push(Channel { id: *number, from, to, rows: batches || carries_rows(typ) });
            self.outputs.push((from, source.1, batches));
        }
        self.built.clear();
        self.graph.name_plumbing();
    }

    /// Of each operator that ran, and of each channel that carries rows.
    fn done(&self) -> (BTreeMap<usize, Done>, BTreeMap<usize, u64>) {
        let sums = self.operators.iter().enumerate().filter(|(_, of)| of.runs > 0);
        let mut operators: BTreeMap<usize, Done> = sums.map(|(id, of)| (id, of.done())).collect();
        let (mut channels, mut outputs) = (BTreeMap::new(), HashMap::new());
        for (channel, &(from, port, batches)) in self.graph.channels.iter().zip(&self.outputs) {
            if !channel.rows {
                continue;
            }
            let OfChannel { sent, received } = self.channels.get(channel.id).copied().unwrap_or_default();
            let batched = || self.operators.get(from).map_or(0, |of| of.batched);
            let (sent, received) = if batches { (batched(), batched()) } else { (sent, received) };
            // What goes into a scope, or out of it, is not logged at its other end.
            let received = if received == 0 { sent } else { received };
            channels.insert(channel.id, received);
            if let Some(done) = operators.get_mut(&channel.to) {
                done.rows_in += received;
            }
            // What several operators read is the same.
            let most: &mut u64 = outputs.entry((from, port)).or_default();
            *most = sent.max(*most);
        }
        for ((from, _), rows) in outputs {
            if let Some(done) = operators.get_mut(&from) {
                done.rows_out += rows;
            }
        }
        (operators, channels)
    }
}

impl OfOperator {
    fn done(&self) -> Done {
        Done {
            busy: self.busy.as_nanos() as u64,
            runs: self.runs,
            arranged_rows: self.arranged_rows.max(0) as u64,
            arranged_bytes: self.arranged_bytes.max(0) as u64,
            ..Done::default()
        }
    }
}

/// True iff containers of this type hold rows: encoded ones, or updates of differential's own collections.
fn carries_rows(container: &str) -> bool {
    ["FlatBatch", "arrange::Timed", "join::Rows"].iter().any(|name| container.contains(name))
        || container.ends_with(", i64)>")
}

/// The element at a place, made where it is missing.
fn at_number<T: Default + Clone>(all: &mut Vec<T>, number: usize) -> &mut T {
    if number >= all.len() {
        all.resize(number + 1, T::default());
    }
    &mut all[number]
}

#[cfg(test)]
mod tests {
    use timely::logging::ScheduleEvent;

    use super::*;

    #[test]
    fn an_operators_time_is_without_that_of_those_in_it() {
        let mut sums = Sums::default();
        let mut at = |millis, event| sums.timely(Duration::from_millis(millis), TimelyEvent::Schedule(event));
        at(0, ScheduleEvent::start(1));
        at(10, ScheduleEvent::start(2));
        at(15, ScheduleEvent::start(3));
        at(16, ScheduleEvent::stop(3));
        at(30, ScheduleEvent::stop(2));
        at(40, ScheduleEvent::start(3));
        at(41, ScheduleEvent::stop(3));
        at(50, ScheduleEvent::stop(1));
        let busy: Vec<u128> = sums.operators.iter().map(|of| of.busy.as_millis()).collect();
        assert_eq!(busy, [0, 29, 19, 2]);
        assert_eq!(sums.operators[3].runs, 2);
    }
}
