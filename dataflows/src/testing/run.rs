//! Runs a test: one cluster of worker threads after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use timely::dataflow::operators::Inspect as _;
use timely::dataflow::operators::vec::ToStream as _;

use super::driver::Feed;
use super::outcome::Outcome;
use super::state::State;
use super::{Sample, Step, Test};
use crate::Epoch;
use crate::dataflow::{Build, Shape, renders};
use crate::dead_letter;
use crate::flat::FlatBatch;
use crate::flow::{Flow, Persistence};
use crate::source::Driver;

/// Changes as they leave the workers: by output and epoch. Dead letters are those of no output.
type Captured = Arc<Mutex<BTreeMap<(Option<String>, Epoch), Vec<FlatBatch>>>>;

/// The records of an input by epoch, each with its number.
type Records = BTreeMap<String, Vec<Vec<(usize, Sample)>>>;

pub(super) fn run(test: &Test) -> Outcome {
    let shape = Shape::of(&*test.dataflow).unwrap_or_else(|error| panic!("{error}"));
    let captured = Captured::default();
    let (mut restored, mut first, mut workers) = (BTreeMap::new(), 1, test.workers);
    let mut numbers = BTreeMap::new();
    for (number, steps) in test.epochs.chunk_by(|_, next| !next.restart).enumerate() {
        workers = test.workers + number % 3;
        let state = State::default();
        let records = records(&shape, steps, &mut numbers);
        life(&test.dataflow, workers, first, records, &restored, &state, &captured);
        restored = state.rows();
        first += steps.len() as Epoch;
    }
    let _ = workers;
    let captured = std::mem::take(&mut *captured.lock().unwrap_or_else(PoisonError::into_inner));
    outcome(&*test.dataflow, captured)
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

/// One start of the dataflow, until its inputs end.
fn life(
    dataflow: &Arc<dyn Build>,
    workers: usize,
    first: Epoch,
    records: Records,
    restored: &BTreeMap<String, FlatBatch>,
    state: &State,
    captured: &Captured,
) {
    let (dataflow, state, captured) = (Arc::clone(dataflow), state.clone(), Arc::clone(captured));
    let restored = restored.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let place = (worker.index(), worker.peers());
        let (state, restored, captured) = (state.clone(), restored.clone(), Arc::clone(&captured));
        let records = records.clone();
        worker.dataflow::<Epoch, _, _>(|scope| {
            let drivers = Box::new(move |input: &str| -> Box<dyn Driver> {
                let mine = |(number, _): &(usize, Sample)| number % place.1 == place.0;
                let epochs = records[input].iter();
                let epochs = epochs.map(|all| all.iter().filter(|r| mine(r)).cloned().collect()).collect();
                Box::new(Feed { epochs, first, here: None, slow: true })
            });
            let writers = Box::new(move |collection: &str, sharding| {
                state.writer(collection, restored.get(collection), &sharding, place)
            });
            let barriers = Vec::<Epoch>::new().to_stream(scope);
            let persistence = Persistence { writers, barriers };
            let parts = Flow::build(scope, &*dataflow, drivers, Some(persistence));
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

fn outcome(dataflow: &dyn Build, captured: BTreeMap<(Option<String>, Epoch), Vec<FlatBatch>>) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let renders: BTreeMap<_, _> =
        renders(dataflow).unwrap_or_else(|error| panic!("{error}")).into_iter().collect();
    let mut outcome = Outcome {
        changes: renders.keys().map(|name| (name.clone(), BTreeMap::new())).collect(),
        dead_letters: BTreeSet::new(),
    };
    for ((output, epoch), batches) in captured {
        let Some(output) = output else {
            let letters = dead_letter::render()(&batches);
            outcome.dead_letters.extend(letters.iter().map(|letter| text(&letter.row)));
            continue;
        };
        let changes: Vec<_> =
            renders[&output](&batches).iter().map(|change| (text(&change.row), change.diff)).collect();
        if !changes.is_empty() {
            outcome.changes.entry(output).or_default().insert(epoch, changes);
        }
    }
    outcome
}
