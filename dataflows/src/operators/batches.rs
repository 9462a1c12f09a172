//! Looks at the batches of an arrangement as they come, each with those before it.

use std::rc::Rc;

use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::trace::TraceReader;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::progress::Antichain;

use crate::Epoch;
use crate::arrange::{Batch, RowTrace};
use crate::collection::Snapshot;
use crate::flat::FlatBatch;
use crate::operators::timed::Timed;

/// A batch that has come.
pub(crate) struct Came<'a> {
    pub(crate) batch: &'a Batch,
    /// What was there before: the trace is compacted to it.
    pub(crate) before: Vec<Rc<Batch>>,
    /// Changes of epochs before it are not wanted.
    pub(crate) first: Epoch,
}

impl Came<'_> {
    /// True iff some of its changes are wanted. The snapshot's are not, as a rule: it is there for what is remembered.
    pub(crate) fn is_wanted(&self) -> bool {
        self.batch.last() >= self.first
    }
}

/// Sends full batches.
pub(crate) type Give<'a> = &'a mut dyn FnMut(Epoch, &mut FlatBatch);

/// The changes that `look` makes of each batch, the snapshot's included, whether it is wanted or not. It may leave what is not
/// full in the rows by epoch.
pub(crate) fn each_batch<'s>(
    arranged: Arranged<'s, RowTrace>,
    name: &str,
    snapshot: Snapshot,
    mut look: impl FnMut(Came<'_>, &mut Timed, Give<'_>) + 'static,
) -> Stream<'s, Epoch, FlatBatch> {
    let mut trace = arranged.trace;
    arranged.stream.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, name, move |_, _| {
        // All batches below it have been looked at.
        let mut seen = Antichain::from_elem(Epoch::MIN);
        let mut changes = Timed::default();
        move |input, output| {
            input.for_each(|capability, spans| {
                for span in spans.drain(..) {
                    let first = Epoch::from(!snapshot.is_wanted());
                    if let Some(batch) = span.inner.as_ref() {
                        let before = trace.batches_through(seen.borrow());
                        let before = before.expect("the trace is compacted to what was seen");
                        let mut give = |epoch: Epoch, batch: &mut FlatBatch| {
                            output.session(&capability.delayed(&epoch, 0)).give_container(batch);
                        };
                        look(Came { batch, before, first }, &mut changes, &mut give);
                        changes.finish(give);
                    }
                    seen.clone_from(span.upper());
                }
            });
            trace.advance_upper(&mut seen);
            trace.set_logical_compaction(seen.borrow());
            trace.set_physical_compaction(seen.borrow());
        }
    })
}
