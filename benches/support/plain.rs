//! Joins and top tens in plain differential dataflow, on owned rows.

use std::cell::Cell;
use std::rc::Rc;

use cutwater_dataflows::Epoch;
use differential_dataflow::input::InputSession;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use super::{Left, Ranked, Right, Subject, TOP};

/// As a program would hold them.
type Owned = (i64, String);

pub(super) struct Plain<'w> {
    worker: &'w mut Worker,
    left: InputSession<Epoch, Owned, i64>,
    right: InputSession<Epoch, Right, i64>,
    ranked: InputSession<Epoch, (i64, Owned), i64>,
    probe: Handle<Epoch>,
    changes: Rc<Cell<usize>>,
    epoch: Epoch,
}

impl<'w> Plain<'w> {
    pub(super) fn join(worker: &'w mut Worker) -> Self {
        Plain::of(worker, true)
    }

    pub(super) fn top(worker: &'w mut Worker) -> Self {
        Plain::of(worker, false)
    }

    fn of(worker: &'w mut Worker, joins: bool) -> Self {
        let (mut left, mut right, mut ranked) =
            (InputSession::new(), InputSession::new(), InputSession::new());
        let probe = Handle::new();
        let changes = Rc::new(Cell::new(0));
        let counted = Rc::clone(&changes);
        worker.dataflow(|scope| {
            let (left, right) = (left.to_collection(scope), right.to_collection(scope));
            let ranked = ranked.to_collection(scope);
            let count = move || counted.set(counted.get() + 1);
            if joins {
                left.join(right).inspect(move |_| count()).probe_with(&probe);
            } else {
                ranked
                    .reduce(|_, rows: &[(&Owned, i64)], top| {
                        let best = rows.iter().rev().take(TOP).enumerate();
                        top.extend(best.map(|(rank, (row, _))| ((rank as i64, (*row).clone()), 1)));
                    })
                    .inspect(move |_| count())
                    .probe_with(&probe);
            }
        });
        Plain { worker, left, right, ranked, probe, changes, epoch: 0 }
    }
}

impl Subject for Plain<'_> {
    fn left(&mut self, (key, text): Left, diff: i64) {
        self.left.update((key, text.to_string()), diff);
    }

    fn right(&mut self, row: Right, diff: i64) {
        self.right.update(row, diff);
    }

    fn ranked(&mut self, (group, (score, text)): Ranked, diff: i64) {
        self.ranked.update((group, (score, text.to_string())), diff);
    }

    fn epoch(&mut self) -> usize {
        self.epoch += 1;
        let before = self.changes.get();
        advance(self.epoch, &mut self.left);
        advance(self.epoch, &mut self.right);
        advance(self.epoch, &mut self.ranked);
        while self.probe.less_than(&self.epoch) {
            self.worker.step();
        }
        self.changes.get() - before
    }
}

fn advance<D: differential_dataflow::Data>(epoch: Epoch, input: &mut InputSession<Epoch, D, i64>) {
    input.advance_to(epoch);
    input.flush();
}
