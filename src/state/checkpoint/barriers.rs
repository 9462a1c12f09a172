//! Barriers: as of which epochs checkpoints are made, told to all workers within the dataflow.
//!
//! Worker 0 decides: when it has closed an epoch, and from time to time while it closes none, so that the last epochs
//! before a silence are in a checkpoint as soon as others would be. The barrier travels at the epoch's own time, or, once
//! that has passed, at the time of the next epoch, which worker 0 has not closed. So every worker has it before it can
//! seal anything later than the epoch, and a checkpoint is as of the same epoch everywhere. The parts come back to worker 0
//! in the same way.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::CheckpointPart;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::{Scope, Stream};

use super::Checkpoints;
use crate::epoch::Clock;

/// Builds the operator that barriers epochs. Only worker 0 has `checkpoints` to ask.
pub fn barriers<'s>(
    scope: Scope<'s, Epoch>,
    clock: &Rc<RefCell<Clock>>,
    checkpoints: Option<Arc<dyn Checkpoints>>,
) -> Stream<'s, Epoch, Vec<Epoch>> {
    let mut builder = OperatorBuilder::new("Barriers".to_owned(), scope);
    let (output, stream) = builder.new_output::<Vec<Epoch>>();
    let address = builder.operator_info().address;
    clock.borrow_mut().on_closed(scope.activator_for(address));
    let clock = Rc::clone(clock);
    builder.build(move |mut capabilities| {
        let mut held = checkpoints.and_then(|checkpoints| Some((capabilities.pop()?, checkpoints)));
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
        move |_| {
            let Some((capability, checkpoints)) = &mut held else { return };
            let clock = clock.borrow();
            let closed = clock.closed();
            if closed >= clock.first() {
                // As long as it is held, nobody seals an epoch after the closed one.
                let time = closed.max(*capability.time());
                if checkpoints.begin(closed) {
                    output.activate().session(&capability.delayed(&time)).give(closed);
                }
                capability.downgrade(&time.max(closed + 1));
            }
            if clock.frontier() == Epoch::MAX {
                held = None;
            }
        }
    });
    stream.broadcast()
}

/// Builds the operator that gives the parts of all workers to `checkpoints`, on worker 0.
pub fn collect_parts<'s>(
    scope: Scope<'s, Epoch>,
    parts: Vec<Stream<'s, Epoch, Vec<CheckpointPart>>>,
    checkpoints: Option<Arc<dyn Checkpoints>>,
) {
    let mut builder = OperatorBuilder::new("Gather".to_owned(), scope);
    let mut parts = builder.new_input(scope.concatenate(parts), Exchange::new(|_: &CheckpointPart| 0));
    builder.build(move |_| {
        move |_| {
            parts.for_each(|_, parts| {
                parts.drain(..).for_each(|part| checkpoints.iter().for_each(|c| c.part(part.clone())));
            });
        }
    });
}
