//! Arranges rows by a key.

use crate::arrangement::Arrangement;
use crate::collection::Collection;
use crate::operators::map::Map;
use crate::rows::Row;

/// Arranges rows by a key.
pub trait ArrangeBy<'s, R: Row> {
    /// Each row with its key before it, as `key` reads it in the row. The key's type has to be named.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn by_user<'s>(orders: Collection<'s, (i64, Text)>) -> Collection<'s, (Text, (i64, Text))> {
    ///     orders.key_by::<Text>(|&(_id, user)| user)
    /// }
    /// ```
    fn key_by<K: Row>(
        self,
        key: impl for<'a> FnMut(&'a R::Ref<'a>) -> K::Ref<'a> + 'static,
    ) -> Collection<'s, (K, R)>;

    /// An arrangement of the rows by what `key` reads in them: see [`Arrangement`] for its cost. `name` is its name in logs
    /// and figures.
    fn arrange_by<K: Row>(
        self,
        name: &str,
        key: impl for<'a> FnMut(&'a R::Ref<'a>) -> K::Ref<'a> + 'static,
    ) -> Arrangement<'s, K, R>;
}

impl<'s, R: Row> ArrangeBy<'s, R> for Collection<'s, R> {
    fn key_by<K: Row>(
        self,
        mut key: impl for<'a> FnMut(&'a R::Ref<'a>) -> K::Ref<'a> + 'static,
    ) -> Collection<'s, (K, R)> {
        self.map::<(K, R)>(move |row| (key(row), *row))
    }

    fn arrange_by<K: Row>(
        self,
        name: &str,
        key: impl for<'a> FnMut(&'a R::Ref<'a>) -> K::Ref<'a> + 'static,
    ) -> Arrangement<'s, K, R> {
        self.key_by(key).arrange(name)
    }
}

impl<'s, K: Row, V: Row> Collection<'s, (K, V)> {
    /// An arrangement of the pairs by their first part.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn prices<'s>(prices: Collection<'s, (Text, i64)>) -> Arrangement<'s, Text, i64> {
    ///     prices.arrange("prices")
    /// }
    /// ```
    pub fn arrange(self, name: &str) -> Arrangement<'s, K, V> {
        Arrangement::of(self, name)
    }
}
