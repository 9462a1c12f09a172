//! How many distinct values each key has.

use crate::collection::Collection;
use crate::operators::count::Count;
use crate::operators::map::Map;
use crate::operators::threshold::Threshold;
use crate::rows::Row;

/// How many distinct values each key has.
pub trait CountDistinct<'s, K: Row, V: Row> {
    /// For each key that has values, the number of distinct ones, exactly. A value that is there less than once does not
    /// count.
    ///
    /// A change costs a search for its row, wherever that is, and its key's count a change in each epoch in which that
    /// changes: pairs are spread over the workers by their own hash, and what appears of a key is summed on each before it
    /// goes to the key's. An arrangement holds the distinct pairs, another one the keys.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// How many users have seen each page.
    /// fn users<'s>(views: Collection<'s, (Text, Text)>) -> Collection<'s, (Text, i64)> {
    ///     views.persist("views").count_distinct()
    /// }
    /// ```
    fn count_distinct(self) -> Collection<'s, (K, i64)>;
}

impl<'s, K: Row, V: Row> CountDistinct<'s, K, V> for Collection<'s, (K, V)> {
    fn count_distinct(self) -> Collection<'s, (K, i64)> {
        self.distinct().map::<K>(|&(key, _value)| key).count()
    }
}
