//! Keeps a collection across restarts.

use std::collections::{BTreeMap, BTreeSet};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::progress::Antichain;

use crate::Epoch;
use crate::flat::FlatBatch;
use crate::flow::{Barriers, Collection};
use crate::operators::exchange::exchange;
use crate::persist::{CheckpointPart, StateWriter};
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
        let rows = match flow.persistence::<R>(name) {
            Some((writer, barriers)) => {
                let (rows, parts) = keep(rows, barriers, name, writer);
                flow.take_parts(parts);
                rows
            }
            None => rows,
        };
        flow.persisted(rows).determined_by(determined)
    }
}

/// Builds the operator. It hands rows on as they come and notes them; when an epoch is complete on all workers, the
/// writer gets what was noted. What precedes the first epoch comes from the writer alone: rows that a collection
/// persisted further up sends at time 0 are the same ones again.
fn keep<'s>(
    rows: Stream<'s, Epoch, FlatBatch>,
    barriers: Barriers<'s>,
    name: &str,
    mut writer: Box<dyn StateWriter>,
) -> (Stream<'s, Epoch, FlatBatch>, Stream<'s, Epoch, Vec<CheckpointPart>>) {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new(format!("Persist: {name}"), scope);
    let (output, kept) = builder.new_output::<FlatBatch>();
    let (reports, parts) = builder.new_output::<Vec<CheckpointPart>>();
    let mut rows = builder.new_input(rows, Pipeline);
    // A barrier delays nothing but the sealing of its epoch.
    let none: [(usize, Antichain<Epoch>); 0] = [];
    let mut barriers = builder.new_input_connection(barriers, Pipeline, none);
    let address = builder.operator_info().address;
    writer.attach(scope.worker().sync_activator_for(address.to_vec()));
    let here = scope.activator_for(address);

    builder.build(move |mut capabilities| {
        // For reports: follows the frontier and outlives it until the last part is out.
        let mut report = capabilities.pop();
        // For restored rows: time 0, until all are there.
        let mut before = capabilities.pop();
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
        let mut reports = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(reports);
        let mut noted: BTreeMap<Epoch, FlatBatch> = BTreeMap::new();
        let mut reached: BTreeSet<Epoch> = BTreeSet::new();
        let mut last = false;

        move |frontiers| {
            // A little at a time: what is handed on is taken in before there is more of it.
            if let Some(held) = &before {
                let mut output = output.activate();
                let mut session = output.session(held);
                if writer.restore(&mut |mut batch| session.give_container(&mut batch)) {
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
            barriers.for_each(|_, epochs| reached.extend(epochs.drain(..)));
            if before.is_some() {
                return;
            }
            let open = |epoch: &Epoch| frontiers.iter().any(|frontier| frontier.less_equal(epoch));
            loop {
                let next = noted.keys().next().copied().into_iter().chain(reached.first().copied()).min();
                let Some(epoch) = next.filter(|epoch| !open(epoch)) else { break };
                if let Some(changes) = noted.remove(&epoch) {
                    writer.seal(epoch, changes);
                }
                if reached.remove(&epoch) {
                    writer.checkpoint(Some(epoch));
                }
            }
            if !last && frontiers.iter().all(|frontier| frontier.is_empty()) {
                last = true;
                writer.checkpoint(None);
            }
            let Some(held) = &mut report else { return };
            for part in writer.finished() {
                let ends = part.epoch.is_none();
                reports.activate().session(&*held).give(part);
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
    (kept, parts)
}
