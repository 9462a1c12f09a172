//! Keeps a collection across restarts.

use std::collections::{BTreeMap, BTreeSet};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::progress::Antichain;

use crate::Epoch;
use crate::flat::FlatBatch;
use crate::flow::{Collection, Marks};
use crate::operators::exchange::exchange;
use crate::persist::{Keeper, Piece};
use crate::rows::Row;

impl<'s, R: Row> Collection<'s, R> {
    /// Has the collection survive restarts, at any number of workers, under `name`. All that is made of it is computed
    /// anew from it, so call this before the first operator that remembers rows: on little, since this is what
    /// checkpoints hold, and on rows that tell all that is needed of the records, since those are not read again.
    ///
    /// The rows are exchanged by their hash. Without `--state` nothing is kept, and that is all.
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    pub fn persist(self, name: &str) -> Self {
        let flow = self.flow().clone();
        let determined = self.determined();
        let rows = exchange(self);
        let rows = match flow.keeping::<R>(name) {
            Some((keeper, marks)) => {
                let (rows, pieces) = keep(rows, marks, name, keeper);
                flow.take_pieces(pieces);
                rows
            }
            None => rows,
        };
        flow.persisted(rows).determined_by(determined)
    }
}

/// Builds the operator. It hands rows on as they come and notes them; when an epoch is complete on all workers, the
/// keeper gets what was noted. What precedes the first epoch comes from the keeper alone: rows that a collection
/// persisted further up sends at time 0 are the same ones again.
fn keep<'s>(
    rows: Stream<'s, Epoch, FlatBatch>,
    marks: Marks<'s>,
    name: &str,
    mut keeper: Box<dyn Keeper>,
) -> (Stream<'s, Epoch, FlatBatch>, Stream<'s, Epoch, Vec<Piece>>) {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new(format!("Persist: {name}"), scope);
    let (output, kept) = builder.new_output::<FlatBatch>();
    let (reports, pieces) = builder.new_output::<Vec<Piece>>();
    let mut rows = builder.new_input(rows, Pipeline);
    // A mark delays nothing but the sealing of its epoch.
    let none: [(usize, Antichain<Epoch>); 0] = [];
    let mut marks = builder.new_input_connection(marks, Pipeline, none);
    let address = builder.operator_info().address;
    keeper.attach(scope.worker().sync_activator_for(address.to_vec()));
    let here = scope.activator_for(address);

    builder.build(move |mut capabilities| {
        // For reports: follows the frontier and outlives it until the last piece is out.
        let mut report = capabilities.pop();
        // For restored rows: time 0, until all are there.
        let mut before = capabilities.pop();
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
        let mut reports = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(reports);
        let mut noted: BTreeMap<Epoch, FlatBatch> = BTreeMap::new();
        let mut marked: BTreeSet<Epoch> = BTreeSet::new();
        let mut last = false;

        move |frontiers| {
            // A little at a time: what is handed on is taken in before there is more of it.
            if let Some(held) = &before {
                let mut output = output.activate();
                let mut session = output.session(held);
                if keeper.restore(&mut |mut batch| session.give_container(&mut batch)) {
                    here.activate();
                } else {
                    drop(session);
                    before = None;
                }
            }
            rows.for_each(|capability, batch| {
                let Some(&epoch) = capability.least().filter(|&&epoch| epoch > 0) else { return };
                let noted = noted.entry(epoch).or_default();
                batch.iter().for_each(|(row, count)| noted.push(row, count));
                output.activate().session(&capability).give_container(batch);
            });
            marks.for_each(|_, epochs| marked.extend(epochs.drain(..)));
            if before.is_some() {
                return;
            }
            let open = |epoch: &Epoch| frontiers.iter().any(|frontier| frontier.less_equal(epoch));
            loop {
                let next = noted.keys().next().copied().into_iter().chain(marked.first().copied()).min();
                let Some(epoch) = next.filter(|epoch| !open(epoch)) else { break };
                if let Some(changes) = noted.remove(&epoch) {
                    keeper.seal(epoch, changes);
                }
                if marked.remove(&epoch) {
                    keeper.checkpoint(Some(epoch));
                }
            }
            if !last && frontiers.iter().all(|frontier| frontier.is_empty()) {
                last = true;
                keeper.checkpoint(None);
            }
            let Some(held) = &mut report else { return };
            for piece in keeper.finished() {
                let ends = piece.epoch.is_none();
                reports.activate().session(&*held).give(piece);
                if ends {
                    report = None;
                    return;
                }
            }
            if let Some(&epoch) = frontiers[0].frontier().first().filter(|&epoch| epoch > held.time()) {
                held.downgrade(&epoch);
            }
        }
    });
    (kept, pieces)
}
