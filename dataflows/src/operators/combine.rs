//! Sums equal rows of an epoch on the worker where they are.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};
use timely::progress::frontier::MutableAntichain;

use crate::Epoch;
use crate::combine::Combiner;
use crate::flat::FlatBatch;

/// Sums equal rows of an epoch on the worker where they are, and sends them as one batch when the epoch is complete.
pub(crate) fn combine<'s>(changes: Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Combine", |_, _| {
        let mut pending = Pending::default();
        move |(input, frontier), output| {
            input.for_each(|capability, batch| {
                let Some(&epoch) = capability.least() else { return };
                let combiner = pending.of(epoch, || capability.delayed(&epoch, 0));
                batch.iter().for_each(|(row, diff)| combiner.add(row, diff));
            });
            pending.complete(frontier, |held, batch| output.session(held).give_container(batch));
        }
    })
}

/// Rows of epochs that are not complete, summed. Combiners keep their memory from one epoch to the next.
#[derive(Default)]
pub(crate) struct Pending {
    epochs: BTreeMap<Epoch, (Capability<Epoch>, Combiner)>,
    spare: Vec<Combiner>,
}

impl Pending {
    /// Sums the rows of an epoch; `hold` gives the capability for them.
    pub(crate) fn of(&mut self, epoch: Epoch, hold: impl FnOnce() -> Capability<Epoch>) -> &mut Combiner {
        let Pending { epochs, spare } = self;
        &mut epochs.entry(epoch).or_insert_with(|| (hold(), spare.pop().unwrap_or_default())).1
    }

    /// Gives the sums of the epochs that are complete, where there are some.
    pub(crate) fn complete(
        &mut self,
        frontier: &MutableAntichain<Epoch>,
        mut give: impl FnMut(&Capability<Epoch>, &mut FlatBatch),
    ) {
        while let Some(first) = self.epochs.first_entry().filter(|first| !frontier.less_equal(first.key())) {
            let (held, mut combiner) = first.remove();
            let mut batch = combiner.take();
            self.spare.push(combiner);
            if !batch.is_empty() {
                give(&held, &mut batch);
            }
        }
    }
}
