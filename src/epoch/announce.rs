//! What workers tell each other of their epochs, and the operator that carries it.

use std::cell::RefCell;
use std::rc::Rc;

use cutwater_dataflows::Epoch;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::operators::vec::Broadcast;
use timely::progress::Antichain;

use super::Clock;

/// What a worker tells all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Announcement {
    /// Epochs up to this one are to be closed.
    Close(Epoch),
    /// The same, and the last of them is an epoch whether or not anything was read in it: a timer waits for this
    /// wall-clock time.
    CloseForTimer(Epoch, i64),
    /// This epoch, once it is closed, may move the watermark although nothing was read.
    Moves(Epoch),
    /// All of an input was read, on one worker.
    Ended,
    /// All inputs end.
    Stop,
}

/// Builds the operator that carries announcements between workers. Call it before the sources are built.
///
/// Its output feeds its own input on all workers. The input is connected to no output, so the loop delays no
/// frontier, and its capability follows the announcements only so that it can send them.
pub fn announce(scope: Scope<'_, Epoch>, clock: &Rc<RefCell<Clock>>) {
    let mut builder = OperatorBuilder::new("Announce".to_owned(), scope);
    let (output, stream) = builder.new_output::<Vec<Announcement>>();
    let none: [(usize, Antichain<u64>); 0] = [];
    let mut input = builder.new_input_connection(stream.broadcast(), Pipeline, none);
    let address = builder.operator_info().address;
    let here = scope.activator_for(address);
    clock.borrow_mut().attach(here.clone(), scope.peers());
    let clock = Rc::clone(clock);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
        move |_| {
            let mut clock = clock.borrow_mut();
            input.for_each(|_, told| told.drain(..).for_each(|announcement| clock.heard(announcement)));
            if let Some(delay) = clock.close_left_open() {
                here.activate_after(delay);
            }
            if let Some(delay) = clock.close_for_timer() {
                here.activate_after(delay);
            }
            let announcements = std::mem::take(&mut clock.announce);
            if let Some(held) = &mut capability {
                output.activate().session(&*held).give_iterator(announcements.into_iter());
                // Until the sources of all workers have ended: this one may be asked to stop the others.
                if clock.frontier == Epoch::MAX {
                    capability = None;
                }
            }
        }
    });
}
