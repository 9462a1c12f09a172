//! The latest value of each key, by an order of the values.

use crate::collection::Collection;
use crate::operators::combine_by_key::greatest_added;
use crate::operators::stateful::Stateful;
use crate::rows::Row;

/// The latest value of each key, by an order of the values.
pub trait Latest<'s, K: Row, O: Row, V: Row> {
    /// For each key, the greatest order that has come and its value; the greatest value, where several have that order.
    /// Withdrawals are left out: what was the latest once is not known to be so no more.
    ///
    /// A key costs its changes in each epoch in which it has some. Where the rows are persisted, or said to be
    /// [appended](Collection::appended), each worker sends no more than one row of a key and epoch to the key's worker.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// When and where each user was last seen, whatever the order in which that is reported.
    /// fn seen<'s>(views: Collection<'s, (Text, (Timestamp, Text))>) -> Collection<'s, (Text, (Timestamp, Text))> {
    ///     views.latest("seen")
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn latest(self, name: &str) -> Collection<'s, (K, (O, V))>;
}

impl<'s, K: Row, O: Row, V: Row> Latest<'s, K, O, V> for Collection<'s, (K, (O, V))> {
    #[track_caller]
    fn latest(self, name: &str) -> Collection<'s, (K, (O, V))> {
        let columns = crate::rows::Schema::of::<K>().columns.len();
        greatest_added(self)
            .stateful::<(O, V)>(name, |_key, state, updates, out| {
                // Both are in order, so the last of each is the greatest; encodings compare as rows do.
                let newest = updates.iter().rev().find(|(_, diff)| *diff > 0).map(|(row, _)| row);
                let latest = state.last().into_iter().chain(newest);
                out.extend(latest.max_by_key(|&row| <(O, V) as Row>::to_owned(row)));
            })
            .unique_by(columns)
    }
}
