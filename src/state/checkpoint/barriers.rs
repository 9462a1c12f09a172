//! Barriers: as of which epochs checkpoints are made, told to all workers within the dataflow.
//!
//! Worker 0 decides when it has closed an epoch. The barrier travels at the epoch's own time, so every worker has it by
//! the time at which the epoch is complete, and a checkpoint is as of the same epoch everywhere. The parts come back
//! to worker 0 in the same way.

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
            if closed >= clock.first() && closed >= *capability.time() {
                if checkpoints.begin(closed) {
                    output.activate().session(&capability.delayed(&closed)).give(closed);
                }
                capability.downgrade(&(closed + 1));
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
