//! Between rows and flat batches.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};
use timely::dataflow::{Stream, StreamVec};

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

/// Decodes rows, on the worker where they are.
pub(crate) fn unflatten<'s, R: Row>(
    stream: Stream<'s, Epoch, FlatBatch>,
) -> StreamVec<'s, Epoch, (R, Epoch, Diff)> {
    unflatten_with(stream, |row, epoch, diff| (row, epoch, diff))
}

/// Decodes rows into updates of the shape that `shape` gives them.
pub(crate) fn unflatten_with<'s, R: Row, U: Clone + 'static>(
    stream: Stream<'s, Epoch, FlatBatch>,
    mut shape: impl FnMut(R, Epoch, Diff) -> U + 'static,
) -> StreamVec<'s, Epoch, U> {
    stream.unary::<CapacityContainerBuilder<Vec<U>>, _, _, _>(Pipeline, "Unflatten", move |_, _| {
        move |input, output| {
            input.for_each(|capability, batch| {
                let Some(&epoch) = capability.least() else { return };
                let mut session = output.session(&capability);
                for (row, diff) in batch.iter() {
                    session.give(shape(to_row(row), epoch, diff));
                }
            });
        }
    })
}
