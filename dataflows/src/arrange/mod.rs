//! The traces of arrangements: encoded rows in the order of the hashes of their keys.
//!
//! The trace is differential's [`Spine`]; what it holds are batches of our own. Rows are ordered by a hash of 64 bits
//! first, so comparing two of them hardly ever looks at their bytes, and where a row is can be told from its hash: a
//! probe of a batch is a look into its directory, at the few entries that are named there, and at the one
//! row whose hash is the same, whatever the number of rows.

mod batch;
mod directory;
mod entries;
mod held;
mod merge;
mod sort;

use std::rc::Rc;

use differential_dataflow::operators::arrange::{Arranged, TraceAgent, arrangement::arrange_core};
use differential_dataflow::trace::implementations::spine_fueled::Spine;
use timely::Accountable;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::flat::FlatBatch;
use crate::key::KeyOf;

pub use batch::{Batch, Update};
pub(crate) use batch::{Probe, TOGETHER};
pub(crate) use held::{Holder, logger};
use sort::Sorter;
pub(crate) use sort::sort;

/// A trace of encoded rows.
pub type RowTrace = TraceAgent<Spine<Rc<Batch>>>;

/// Arranges rows where they are.
pub(crate) fn arrange<'s, H: KeyOf>(
    rows: Stream<'s, Epoch, FlatBatch>,
    name: &str,
) -> Arranged<'s, RowTrace> {
    // An arrangement takes updates that carry their times themselves.
    let timed = rows.unary::<CapacityContainerBuilder<Timed>, _, _, _>(Pipeline, "Timed", |_, _| {
        |input, output| {
            input.for_each(|capability, batch| {
                let Some(&epoch) = capability.least() else { return };
                let rows = std::mem::take(batch);
                output.session(&capability).give_container(&mut Timed { epoch, rows });
            });
        }
    });
    arrange_core(timed, Pipeline, name, |logger, operator| Sorter::<H>::new(Holder::new(logger, operator)))
}

/// Rows with the epoch that they are of.
#[derive(Clone, Default)]
struct Timed {
    epoch: Epoch,
    rows: FlatBatch,
}

/// Logs count its rows.
impl Accountable for Timed {
    fn record_count(&self) -> i64 {
        self.rows.record_count()
    }
}
