//! Holds a collection until its input ends, for outputs that are wanted once.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::combine::Combiner;
use crate::flat::FlatBatch;

/// The time at which what was accumulated is sent: after all epochs.
pub const END: Epoch = Epoch::MAX;

/// How many rows, at the least, are summed before those that cancelled out are dropped.
const SLACK: usize = 1 << 16;

/// Sums all changes on the worker where they are, and sends what is left at [`END`], once the input has
/// ended. Holds at most about twice the rows that are left.
pub fn accumulate<'s>(changes: Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(
        Pipeline,
        "Accumulate",
        |mut capability, _| {
            capability.downgrade(&END);
            let mut held = Some((capability, Combiner::default()));
            let mut limit = SLACK;
            move |(input, frontier), output| {
                let Some((capability, combiner)) = &mut held else { return };
                input.for_each(|_, batch| {
                    for (row, diff) in batch.iter() {
                        combiner.add(row, diff);
                    }
                });
                if combiner.len() > limit {
                    let left = combiner.take();
                    for (row, diff) in left.iter() {
                        combiner.add(row, diff);
                    }
                    limit = SLACK.max(2 * combiner.len());
                }
                if frontier.is_empty() {
                    let mut left = combiner.take();
                    if !left.is_empty() {
                        output.session(&*capability).give_container(&mut left);
                    }
                    held = None;
                }
            }
        },
    )
}
