//! A table that changes: the newest value of each key stands.

use crate::collection::Collection;
use crate::operators::stateful::Stateful;
use crate::rows::Row;

/// A table that changes: the newest value of each key stands.
pub trait Upsert<'s, K: Row, O: Row, V: Row> {
    /// The newest value of each key; none where that is `None`, which deletes it. Of the values of an epoch, the newest is
    /// that with the greatest order, such as partition and offset; values of later epochs are newer.
    ///
    /// The order is not part of the state: a checkpoint holds a row a key, and at most about as many changes again that are not
    /// merged yet, whatever the number of updates.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The category of each product, by updates with their offsets.
    /// fn products<'s>(updates: Collection<'s, (Text, (i64, Option<Text>))>) -> Collection<'s, (Text, Text)> {
    ///     updates.upsert("products")
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn upsert(self, name: &str) -> Collection<'s, (K, V)>;
}

impl<'s, K: Row, O: Row, V: Row> Upsert<'s, K, O, V> for Collection<'s, (K, (O, Option<V>))> {
    #[track_caller]
    fn upsert(self, name: &str) -> Collection<'s, (K, V)> {
        let columns = crate::rows::Schema::of::<K>().columns.len();
        self.stateful::<V>(name, |_key, state, updates, out| {
            // They are in order, and that is first in a row.
            match updates.iter().rev().find(|(_, diff)| *diff > 0) {
                Some(((_, newest), _)) => out.extend(newest),
                None => out.extend(state.first()),
            }
        })
        .unique_by(columns)
    }
}
