//! Joins and top tens on Cutwater's flat rows.

use std::cell::Cell;
use std::rc::Rc;

use cutwater_dataflows::Epoch;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::prelude::*;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Input as _, Inspect as _, Probe as _, core::input};
use timely::worker::Worker;

use super::{Left, Ranked, Right, Subject, TOP};

/// Takes batches.
type Given = input::Handle<Epoch, CapacityContainerBuilder<FlatBatch>>;

pub(super) struct Cutwater<'w> {
    worker: &'w mut Worker,
    inputs: [(Given, FlatBatch); 2],
    probe: Handle<Epoch>,
    changes: Rc<Cell<usize>>,
    epoch: Epoch,
}

impl<'w> Cutwater<'w> {
    pub(super) fn join(worker: &'w mut Worker) -> Self {
        Cutwater::of(worker, true)
    }

    pub(super) fn top(worker: &'w mut Worker) -> Self {
        Cutwater::of(worker, false)
    }

    fn of(worker: &'w mut Worker, joins: bool) -> Self {
        let probe = Handle::new();
        let changes = Rc::new(Cell::new(0));
        let counted = Rc::clone(&changes);
        let inputs = worker.dataflow(|scope| {
            let flow = Flow::new(scope);
            let (one, left) = scope.new_input();
            let (two, right) = scope.new_input();
            let changes = if joins {
                let left = flow.collection_of::<Left>(left);
                left.join(flow.collection_of::<Right>(right)).changes()
            } else {
                flow.collection_of::<Ranked>(left).greatest("top", TOP as u32).changes()
            };
            changes
                .inspect_core(move |event| {
                    if let Ok((_, batch)) = event {
                        counted.set(counted.get() + batch.len());
                    }
                })
                .probe_with(&probe);
            [(one, FlatBatch::default()), (two, FlatBatch::default())]
        });
        Cutwater { worker, inputs, probe, changes, epoch: 0 }
    }
}

impl Subject for Cutwater<'_> {
    fn left(&mut self, row: Left, diff: i64) {
        self.inputs[0].1.push_row::<Left>(row.borrow(), diff);
    }

    fn right(&mut self, row: Right, diff: i64) {
        self.inputs[1].1.push_row::<Right>(row, diff);
    }

    fn ranked(&mut self, row: Ranked, diff: i64) {
        self.inputs[0].1.push_row::<Ranked>(row.borrow(), diff);
    }

    fn epoch(&mut self) -> usize {
        self.epoch += 1;
        let before = self.changes.get();
        for (input, batch) in &mut self.inputs {
            if !batch.is_empty() {
                input.send_batch(batch);
                *batch = FlatBatch::default();
            }
            input.advance_to(self.epoch);
        }
        while self.probe.less_than(&self.epoch) {
            self.worker.step();
        }
        self.changes.get() - before
    }
}
