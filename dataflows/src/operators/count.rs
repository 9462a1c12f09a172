//! Counts how often each row occurs.

use differential_dataflow::operators::CountTotal;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::{KeyBatcher, KeySpine};
use timely::dataflow::channels::pact::Pipeline;

use crate::flow::Collection;
use crate::operators::exchange::exchange;
use crate::operators::flatten::unflatten_with;
use crate::row::Row;
use crate::{Diff, Epoch};

impl<'s, R: Row> Collection<'s, R> {
    /// The distinct rows, each with the number of its occurrences.
    ///
    /// Equal rows are summed on each worker before they are exchanged, and the sums are kept in an
    /// arrangement: an epoch costs what changed in it. The trace is compacted to the last complete epoch.
    pub fn count(self) -> Collection<'s, (R, i64)> {
        let flow = self.flow().clone();
        self.remembered_by("count");
        let keyed = unflatten_with(exchange(self), |row: R, epoch, diff: Diff| ((row, ()), epoch, diff));
        let arranged = arrange_core::<_, _, KeyBatcher<R, Epoch, Diff>, KeySpine<R, Epoch, Diff>>(
            keyed,
            Pipeline,
            "Arrange: count",
            KeyBatcher::new,
        );
        flow.collection(arranged.count_total_core::<Diff>())
    }
}
