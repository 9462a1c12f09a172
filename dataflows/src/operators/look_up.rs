//! Rows beside what a table says of their key.

use crate::collection::Collection;
use crate::operators::concat::Concat;
use crate::operators::map::Map;
use crate::operators::reduce::Reduce;
use crate::rows::{Row, Schema};

/// Rows beside what a table says of their key.
pub trait LookUp<'s, K: Row, V: Row> {
    /// Each row with the value that its key has in `table`, or `None` where it has none: a row is in the result as often as it
    /// is there, whatever the table says. When the table changes, the rows of the key change with it, in that epoch.
    ///
    /// The table should have a row a key, as [`Upsert`](crate::operators::Upsert) makes it. Where that is not known, the
    /// least value of a key is taken, at the cost of an arrangement.
    ///
    /// An epoch costs a probe for each row that changes, and the rows of each key that changes in the table.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// Orders with the name of their customer, if there is one.
    /// fn named<'s>(
    ///     orders: Collection<'s, (i64, Text)>,
    ///     customers: Collection<'s, (i64, (i64, Option<Text>))>,
    /// ) -> Collection<'s, (i64, (Text, Option<Text>))> {
    ///     orders.persist("orders").look_up(customers.upsert("customers"))
    /// }
    /// ```
    fn look_up<W: Row>(self, table: Collection<'s, (K, W)>) -> Collection<'s, (K, (V, Option<W>))>;
}

impl<'s, K: Row, V: Row> LookUp<'s, K, V> for Collection<'s, (K, V)> {
    fn look_up<W: Row>(self, table: Collection<'s, (K, W)>) -> Collection<'s, (K, (V, Option<W>))> {
        let columns = Schema::of::<K>().columns.len();
        let unique = table.about().unique.is_some_and(|unique| unique <= columns);
        let mut table = table.arrange("table");
        if !unique {
            let least = table.reduce::<W>("least of the table", |_key, values, out| {
                out.extend(values.iter().find(|(_, times)| *times > 0).map(|(value, _)| value));
            });
            table = least.arrange("table");
        }
        let without = self.clone().map::<(K, (V, Option<W>))>(|&(key, value)| (key, (value, None)));
        let with = self.arrange("look-up").join_core(table, |key, value, found, out| {
            out.push((key, (value, Some(found))));
            out.push_diff((key, (value, None)), -1);
        });
        without.concat(with)
    }
}
