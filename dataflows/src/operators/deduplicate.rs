//! Leaves out what has come before.

use crate::collection::Collection;
use crate::operators::stateful::Stateful;
use crate::rows::Row;

/// Leaves out what has come before.
pub trait Deduplicate<'s, K: Row, V: Row> {
    /// For each key the row that came first, whatever comes after it; of those of one epoch, the least. A key is held for
    /// good.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// Orders by their ids: one that is sent twice counts once.
    /// fn once<'s>(orders: Collection<'s, (Text, i64)>) -> Collection<'s, (Text, i64)> {
    ///     orders.deduplicate("orders")
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn deduplicate(self, name: &str) -> Collection<'s, (K, V)>;
}

impl<'s, K: Row, V: Row> Deduplicate<'s, K, V> for Collection<'s, (K, V)> {
    #[track_caller]
    fn deduplicate(self, name: &str) -> Collection<'s, (K, V)> {
        let columns = crate::rows::Schema::of::<K>().columns.len();
        self.stateful::<V>(name, |_key, state, updates, out| {
            let came = updates.iter().filter(|(_, diff)| *diff > 0);
            out.extend(state.iter().chain(came).next().map(|(first, _)| first));
        })
        .unique_by(columns)
    }
}
