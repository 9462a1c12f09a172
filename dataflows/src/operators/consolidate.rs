//! Sums equal rows of an epoch.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

use crate::Epoch;
use crate::collection::{About, Collection};
use crate::combine::Combiner;
use crate::flat::FlatBatch;
use crate::operators::exchange::Exchange;
use crate::rows::Row;

/// Sums equal rows of an epoch.
pub trait Consolidate {
    /// The same rows: in each epoch a row changes once at most, over all workers. What changed back and forth within an epoch
    /// is gone. Costs an exchange, and holds the rows of an epoch until it is complete.
    fn consolidate(self) -> Self;
}

impl<R: Row> Consolidate for Collection<'_, R> {
    fn consolidate(self) -> Self {
        let flow = self.flow().clone();
        let exchanged = self.exchange();
        let about = About { net: true, ..exchanged.about().clone() };
        let snapshot = exchanged.snapshot().clone();
        Collection::new(flow, combine(exchanged.into_changes()), about, snapshot)
    }
}

/// Sums equal rows of an epoch on the worker where they are, and sends them as one batch when the epoch is complete.
pub(crate) fn combine<'s>(changes: Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Combine", |_, _| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Combiner)> = BTreeMap::new();
        let mut spare = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|capability, batch| {
                let Some(held) = capability.retain_least(0) else { return };
                let (_, combiner) =
                    pending.entry(*held.time()).or_insert_with(|| (held, spare.pop().unwrap_or_default()));
                batch.iter().for_each(|(row, diff)| combiner.add(row, diff));
            });
            while let Some(first) = pending.first_entry() {
                if frontier.less_equal(first.key()) {
                    break;
                }
                let (capability, mut combiner) = first.remove();
                let mut batch = combiner.take();
                spare.push(combiner);
                if !batch.is_empty() {
                    output.session(&capability).give_container(&mut batch);
                }
            }
        }
    })
}
