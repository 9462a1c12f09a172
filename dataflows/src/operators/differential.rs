//! The ways to differential's own operators and back: rows as owned values, and as flat batches.

use std::collections::BTreeMap;

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};
use timely::dataflow::{Stream, StreamVec};

use crate::collection::Collection;
use crate::combine::Combiner;
use crate::flat::FlatBatch;
use crate::rows::{Row, to_row};
use crate::{Diff, Epoch};

/// Sums equal rows of an epoch on the worker where they are, and sends them as one batch when the epoch is
/// complete. What changed back and forth within the epoch is gone.
pub(crate) fn flatten<'s, R: Row>(
    rows: StreamVec<'s, Epoch, (R, Epoch, Diff)>,
) -> Stream<'s, Epoch, FlatBatch> {
    rows.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Flatten", |_, _| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Combiner)> = BTreeMap::new();
        let mut spare = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|capability, rows| {
                for (row, epoch, diff) in rows.drain(..) {
                    let (_, combiner) = pending
                        .entry(epoch)
                        .or_insert_with(|| (capability.delayed(&epoch, 0), spare.pop().unwrap_or_default()));
                    combiner.add_row::<R>(row.borrow(), diff);
                }
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

/// The way to differential's operators.
pub trait Differential<'s, R: Row> {
    /// The collection as differential's operators take it, loops among them; [`Flow::collection`](crate::Flow::collection)
    /// is the way back. Those that remember rows need them to be persisted before: a run that keeps state refuses to start
    /// otherwise.
    ///
    /// Costs an allocation or several a row. What differential arranges of it, it holds as owned rows.
    fn differential(self) -> VecCollection<'s, Epoch, R, Diff>;
}

impl<'s, R: Row> Differential<'s, R> for Collection<'s, R> {
    fn differential(self) -> VecCollection<'s, Epoch, R, Diff> {
        self.remembered_by("differential");
        unflatten(self.changes()).as_collection()
    }
}

/// Decodes rows, on the worker where they are.
fn unflatten<'s, R: Row>(stream: Stream<'s, Epoch, FlatBatch>) -> StreamVec<'s, Epoch, (R, Epoch, Diff)> {
    stream.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Unflatten", move |_, _| {
        move |input, output| {
            input.for_each(|capability, batch| {
                let Some(&epoch) = capability.least() else { return };
                let mut session = output.session(&capability);
                for (row, diff) in batch.iter() {
                    session.give((to_row(row), epoch, diff));
                }
            });
        }
    })
}
