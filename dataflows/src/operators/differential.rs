//! The ways to differential's own operators and back: rows as owned values, and as flat batches.

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::{Stream, StreamVec};

use crate::collection::{About, Collection, Snapshot};
use crate::flat::FlatBatch;
use crate::flow::Flow;
use crate::operators::combine::Pending;
use crate::rows::{Row, to_row};
use crate::{Diff, Epoch};

/// Sums equal rows of an epoch on the worker where they are, and sends them as one batch when the epoch is
/// complete. What changed back and forth within the epoch is gone.
fn flatten<'s, R: Row>(rows: StreamVec<'s, Epoch, (R, Epoch, Diff)>) -> Stream<'s, Epoch, FlatBatch> {
    rows.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Flatten", |_, _| {
        let mut pending = Pending::default();
        move |(input, frontier), output| {
            input.for_each(|capability, rows| {
                for (row, epoch, diff) in rows.drain(..) {
                    pending.of(epoch, || capability.delayed(&epoch, 0)).add_row::<R>(row.borrow(), diff);
                }
            });
            pending.complete(frontier, |held, batch| output.session(held).give_container(batch));
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

impl<'s> Flow<'s> {
    /// Brings a collection back that differential operators have made. Equal rows of an epoch are summed on the worker where
    /// they are, when the epoch is complete.
    pub fn collection<R: Row>(&self, rows: VecCollection<'s, Epoch, R, Diff>) -> Collection<'s, R> {
        let about = About { net: true, restorable: true, ..About::default() };
        // The caller of `differential` that had rows which are not persisted has been noted for it there.
        Collection::new(self.clone(), flatten(rows.inner), about, Snapshot::default())
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
