//! Leaves out what precedes the first epoch.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::vec::Filter;
use timely::dataflow::{Stream, StreamVec};

use crate::flat::FlatBatch;
use crate::rows::Row;
use crate::{Diff, Epoch};

/// The changes of epochs, without the rows at time 0: those were there before, and have been published.
pub(crate) fn since_flat<'s>(changes: Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Since", |_, _| {
        |input, output| {
            input.for_each(|capability, batch| {
                if capability.least().is_some_and(|&epoch| epoch > 0) {
                    output.session(&capability).give_container(batch);
                }
            });
        }
    })
}

/// As [`since_flat`].
pub(crate) fn since<'s, R: Row>(
    changes: StreamVec<'s, Epoch, (R, Epoch, Diff)>,
) -> StreamVec<'s, Epoch, (R, Epoch, Diff)> {
    changes.filter(|(_, epoch, _)| *epoch > 0)
}
