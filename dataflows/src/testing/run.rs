//! Runs a test: one cluster of worker threads after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use timely::dataflow::operators::Inspect as _;
use timely::dataflow::operators::vec::ToStream as _;

use super::driver::{Clock, Feed};
use super::outcome::Outcome;
use super::state::State;
use super::{Sample, Step, Test};
use crate::Epoch;
use crate::clock::FlowTime;
use crate::dataflow::{Build, Shape, Unique};
use crate::dead_letter;
use crate::flat::FlatBatch;
use crate::flow::{Flow, Persistence};
use crate::panics;
use crate::render::{Change, Renderer, json, merge, rendered};
use crate::source::Driver;
use crate::waker::Wakers;
use crate::watermark::Times;

/// Changes as they leave the workers: by output and epoch. Dead letters are those of no output.
type Captured = Arc<Mutex<BTreeMap<(Option<String>, Epoch), Vec<FlatBatch>>>>;

/// The records of an input by epoch, each with its number.
type Records = BTreeMap<String, Vec<Vec<(usize, Sample)>>>;

pub(super) fn run(test: &Test) -> Outcome {
    let shape = test.shape();
    let captured = Captured::default();
    let (mut restored, mut first) = (BTreeMap::new(), 1);
    let mut numbers = BTreeMap::new();
    let times = Arc::<Mutex<Times>>::default();
    for (number, steps) in test.epochs.chunk_by(|_, next| !next.restart).enumerate() {
        let workers = test.workers + if test.same_workers { 0 } else { number % 3 };
        let state = State::default();
        let records = records(&shape, steps, &mut numbers);
        let closed = closed(steps, first, times.lock().unwrap_or_else(PoisonError::into_inner).closed);
        let read = Read { first, records, closed, times: Arc::clone(&times), by_input: test.topics_by_input };
        life(&test.dataflow, workers, read, &restored, &state, &captured);
        restored = state.rows();
        first += steps.len() as Epoch;
    }
    let captured = std::mem::take(&mut *captured.lock().unwrap_or_else(PoisonError::into_inner));
    let states = restored.iter().map(|(name, rows)| (name.clone(), rows.len())).collect();
    Outcome { states, ..outcome(&shape, captured) }
}

fn records(shape: &Shape, steps: &[Step], numbers: &mut BTreeMap<String, usize>) -> Records {
    let mut records: Records = shape.inputs.iter().map(|input| (input.clone(), Vec::new())).collect();
    for step in steps {
        records.values_mut().for_each(|epochs| epochs.push(Vec::new()));
        for (input, sample) in &step.records {
            let epochs = records.get_mut(input);
            let epochs =
                epochs.unwrap_or_else(|| panic!("there is no input {input:?}: there are {:?}", shape.inputs));
            let number = numbers.entry(input.clone()).or_insert(0);
            epochs.last_mut().expect("one was pushed").push((*number, sample.clone()));
            *number += 1;
        }
    }
    records
}

/// When each epoch closes: as was asked for, else a second after the one before.
fn closed(steps: &[Step], first: Epoch, before: i64) -> Vec<i64> {
    let last = &mut (if first == 1 { 0 } else { before });
    let next = |step: &Step| {
        *last = step.closed.map_or(*last + 1_000_000, |closed| closed.micros().max(*last));
        *last
    };
    steps.iter().map(next).collect()
}

/// What is read from one start to the next.
#[derive(Clone)]
struct Read {
    first: Epoch,
    records: Records,
    closed: Vec<i64>,
    times: Arc<Mutex<Times>>,
    /// Whether topics have the inputs' names.
    by_input: bool,
}

/// One start of the dataflow, until its inputs end.
fn life(
    dataflow: &Arc<dyn Build>,
    workers: usize,
    read: Read,
    restored: &BTreeMap<String, FlatBatch>,
    state: &State,
    captured: &Captured,
) {
    let (dataflow, state, captured) = (Arc::clone(dataflow), state.clone(), Arc::clone(captured));
    let restored = restored.clone();
    // What it was when the dataflow started: each worker begins with that, whoever is faster.
    let before = (read.first > 1).then(|| read.times.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let place = (worker.index(), worker.peers());
        let (state, restored, captured) = (state.clone(), restored.clone(), Arc::clone(&captured));
        let Read { first, records, closed, times, by_input } = read.clone();
        panics::runs(dataflow.name());
        let time = FlowTime { before: before.clone(), wakers: Wakers::default() };
        worker.dataflow::<Epoch, _, _>(|scope| {
            let drivers = Box::new(move |input: &str| -> Box<dyn Driver> {
                let mine = |(number, _): &(usize, Sample)| number % place.1 == place.0;
                let epochs = records[input].iter();
                let epochs = epochs.map(|all| all.iter().filter(|r| mine(r)).cloned().collect()).collect();
                let (closed, times) = (closed.clone().into(), Arc::clone(&times));
                let clock = Clock { input: input.to_owned(), closed, high: None, times };
                let topic = if by_input { input.to_owned() } else { "test".to_owned() };
                Box::new(Feed { topic, epochs, first, here: None, slow: true, clock })
            });
            let writers = Box::new(move |collection: &str, sharding| {
                state.writer(collection, restored.get(collection), &sharding, place)
            });
            let barriers = Vec::<Epoch>::new().to_stream(scope);
            let persistence = Persistence { writers, barriers };
            let parts = Flow::build(scope, &*dataflow, drivers, Some(persistence), time);
            let mut streams: Vec<_> = parts
                .outputs
                .into_iter()
                .map(|output| (Some(output.shape.name), (output.changes)(false)))
                .collect();
            streams.extend(parts.dead_letters.into_iter().map(|letters| (None, letters)));
            for (name, changes) in streams {
                let captured = Arc::clone(&captured);
                changes.inspect_core(move |event| {
                    if let Ok((stamp, batch)) = event {
                        let epoch = *stamp.least().expect("changes have an epoch");
                        let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
                        captured.entry((name.clone(), epoch)).or_default().push(batch.clone());
                    }
                });
            }
        });
    });
    // Joining them gives their panics on.
    for result in guards.expect("worker threads start").join() {
        result.unwrap_or_else(|panic| panic!("a worker panicked: {panic}"));
    }
}

fn outcome(shape: &Shape, captured: BTreeMap<(Option<String>, Epoch), Vec<FlatBatch>>) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let renderers: BTreeMap<&str, Arc<dyn Renderer>> =
        shape.outputs.iter().map(|output| (&*output.name, json()(&output.schema))).collect();
    let mut outcome = Outcome {
        changes: renderers.keys().map(|&name| (name.to_owned(), BTreeMap::new())).collect(),
        dead_letters: BTreeSet::new(),
        states: BTreeMap::new(),
        not_unique: None,
    };
    let unique = shape.outputs.iter().filter(|output| output.unique == Unique::ByKey);
    let mut unique: BTreeMap<_, _> =
        unique.map(|output| (output.name.clone(), Standing::default())).collect();
    for ((output, epoch), batches) in captured {
        let Some(output) = output else {
            let letters = merge(vec![rendered(&*dead_letter::renderer(), &batches)]);
            outcome.dead_letters.extend(letters.iter().map(|letter| text(&letter.row)));
            continue;
        };
        let changes = merge(vec![rendered(&*renderers[&*output], &batches)]);
        if let Some(standing) = unique.get_mut(&output) {
            let wrong = standing.follow(&output, epoch, &changes);
            outcome.not_unique = outcome.not_unique.or(wrong);
        }
        let changes: Vec<_> = changes.iter().map(|change| (text(&change.row), change.diff)).collect();
        if !changes.is_empty() {
            outcome.changes.entry(output).or_default().insert(epoch, changes);
        }
    }
    outcome
}

/// The rows of an output that is said to have one a key at most, by key.
#[derive(Default)]
struct Standing(BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, i64>>);

impl Standing {
    /// Follows the changes of an epoch. Says so where a key has several rows then, or one more than once.
    fn follow(&mut self, output: &str, epoch: Epoch, changes: &[Change]) -> Option<String> {
        for change in changes {
            let rows = self.0.entry(change.key.to_vec()).or_default();
            let times = rows.entry(change.row.to_vec()).or_default();
            *times += change.diff;
            if *times == 0 {
                rows.remove(&*change.row);
            }
        }
        changes.iter().find_map(|change| {
            let rows = &self.0[&*change.key];
            let one = rows.len() < 2 && rows.values().all(|times| *times == 1);
            let rows = || rows.iter().map(|(row, times)| (String::from_utf8_lossy(row), times)).collect::<Vec<_>>();
            (!one).then(|| {
                format!(
                    "output {output}, epoch {epoch}: its key is said to tell its rows apart, but {} does not: {:?}",
                    String::from_utf8_lossy(&change.key),
                    rows()
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Given, Test, given};

    fn said_to_be_unique() -> Test {
        Test::building("pairs", |flow| {
            let pairs = flow.input("pairs").decode(Given::<(i64, i64)>::new());
            pairs.unique_by(1).output("pairs", &["key"], &["value"]);
        })
    }

    #[test]
    #[should_panic(
        expected = "output pairs, epoch 2: its key is said to tell its rows apart, but {\"key\":1} does not"
    )]
    fn a_key_of_several_rows_is_found_where_it_is_said_to_tell_them_apart() {
        let pair = |value: i64, diff| ("pairs", given(&(1i64, value), diff));
        said_to_be_unique().epoch([pair(1, 1)]).epoch([pair(2, 1)]).run();
    }

    #[test]
    fn a_row_of_a_key_may_replace_another() {
        let pair = |value: i64, diff| ("pairs", given(&(1i64, value), diff));
        let outcome = said_to_be_unique().epoch([pair(1, 1)]).epoch([pair(1, -1), pair(2, 1)]).check();
        assert_eq!(outcome.rows("pairs"), [r#"{"key":1,"value":2}"#]);
    }
}
