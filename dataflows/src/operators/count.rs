//! Counts how often each row occurs.

use crate::collection::{Collection, Snapshot};
use crate::key::Whole;
use crate::operators::exchange::Exchange;
use crate::operators::threshold::accumulated;
use crate::rows::{Row, Schema, order};

/// Counts how often each row occurs.
pub trait Count<'s, R: Row> {
    /// The distinct rows, each with the number of its occurrences. One that has been withdrawn more often than it appeared
    /// has a negative number; one that is there no more is in no row.
    ///
    /// Equal rows are summed on each worker before they are exchanged, and the sums are kept in an
    /// arrangement: an epoch costs what changed in it. The trace is compacted to the last complete epoch.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn counted<'s>(words: Collection<'s, Text>) -> Collection<'s, (Text, i64)> {
    ///     words.persist("words").count()
    /// }
    /// ```
    fn count(self) -> Collection<'s, (R, i64)>;
}

impl<'s, R: Row> Count<'s, R> for Collection<'s, R> {
    fn count(self) -> Collection<'s, (R, i64)> {
        let flow = self.flow().clone();
        self.remembered_by("count");
        let snapshot = Snapshot::made();
        let counts = accumulated::<Whole>(
            self.exchange().changes(),
            "Count",
            snapshot.clone(),
            |row, old, new, epoch, out| {
                for (count, diff) in [(old, -1), (new, 1)] {
                    if count != 0 {
                        out.push_with(epoch, diff, |bytes| {
                            R::inner(row, bytes).expect("rows of a collection are encoded rows");
                            order::write_i64(count, bytes);
                        });
                    }
                }
            },
        );
        flow.made(counts, snapshot).unique_by(Schema::of::<R>().columns.len())
    }
}
