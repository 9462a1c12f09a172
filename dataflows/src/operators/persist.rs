//! Has a collection survive restarts.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};

use crate::Epoch;
use crate::collection::{About, Collection, Snapshot};
use crate::flat::FlatBatch;
use crate::flow::Barriers;
use crate::operators::exchange::Exchange;
use crate::operators::survive::{Survivor, reports};
use crate::persist::{CheckpointPart, Sharding, StateWriter};
use crate::rows::Row;

/// Has a collection survive restarts.
pub trait Persist {
    /// Has the collection survive restarts, at any number of workers, under `name`. All that is made of it is computed from
    /// it after a restart, so call this before the first operator that remembers rows: on little, since this is what
    /// checkpoints hold, and on rows that tell all that is needed of the records, since those are not read again.
    ///
    /// The rows are exchanged by their hash. Without `--state` nothing is written, and that is all.
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn persist(self, name: &str) -> Self;
}

impl<R: Row> Persist for Collection<'_, R> {
    #[track_caller]
    fn persist(self, name: &str) -> Self {
        let flow = self.flow().clone();
        let state = flow.state_writer::<R>(name, Sharding::by_row());
        let rows = self.exchange();
        let about = About { restorable: true, ..rows.about().clone() };
        let changes = rows.into_changes();
        let changes = match state {
            Some((writer, barriers)) => {
                let (changes, parts) = survive(changes, barriers, name, writer);
                flow.take_checkpoint_parts(parts);
                changes
            }
            None => changes,
        };
        Collection::new(flow, changes, about, Snapshot::default())
    }
}

/// Builds the operator. It hands rows on as they come and notes them; when an epoch is complete on all workers, the
/// writer gets what was noted. What precedes the first epoch comes from the writer alone: rows that a collection
/// persisted further up sends at time 0 are the same ones again.
fn survive<'s>(
    rows: Stream<'s, Epoch, FlatBatch>,
    barriers: Barriers<'s>,
    name: &str,
    writer: Box<dyn StateWriter>,
) -> (Stream<'s, Epoch, FlatBatch>, Stream<'s, Epoch, Vec<CheckpointPart>>) {
    let mut builder = OperatorBuilder::new(format!("Persist: {name}"), rows.scope());
    let (output, survived) = builder.new_output::<FlatBatch>();
    let (reports, parts) = reports(&mut builder);
    let mut rows = builder.new_input(rows, Pipeline);
    let mut survivor = Survivor::new(&mut builder, reports, barriers, writer);

    builder.build(move |mut capabilities| {
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
        survivor.start(&mut capabilities);
        // For restored rows: time 0, until all are there.
        let mut before = capabilities.pop();

        move |frontiers| {
            if let Some(held) = &before {
                let mut output = output.activate();
                let mut session = output.session(held);
                if !survivor.restore(&mut |mut batch| session.give_container(&mut batch)) {
                    drop(session);
                    before = None;
                }
            }
            rows.for_each(|capability, batch| {
                let Some(&epoch) = capability.least().filter(|&&epoch| epoch > 0) else { return };
                survivor.note(epoch, batch);
                output.activate().session(&capability).give_container(batch);
            });
            survivor.seal(frontiers);
        }
    });
    (survived, parts)
}
