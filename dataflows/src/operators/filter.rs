//! Leaves rows out.

use crate::collection::{About, Collection};
use crate::operators::map::ENCODED;
use crate::rows::{Row, decode};

/// Leaves rows out.
pub trait Filter<'s, R: Row> {
    /// The rows for which `keep` says so. It must depend on the row alone. Costs a decoding a row.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn refunds<'s>(orders: Collection<'s, (Text, i64)>) -> Collection<'s, (Text, i64)> {
    ///     orders.filter(|&(_product, quantity)| quantity < 0)
    /// }
    /// ```
    fn filter(self, keep: impl for<'a> FnMut(&R::Ref<'a>) -> bool + 'static) -> Self;
}

impl<'s, R: Row> Filter<'s, R> for Collection<'s, R> {
    fn filter(self, mut keep: impl for<'a> FnMut(&R::Ref<'a>) -> bool + 'static) -> Self {
        // Rows stay where they are, and what they are.
        let about: About = self.about().clone();
        let filtered: Self = self.linear("Filter", move |batch, out| {
            for (row, diff) in batch.iter() {
                if keep(&decode::<R>(row).expect(ENCODED)) {
                    out.push_encoded(row, diff);
                }
            }
        });
        filtered.with(about)
    }
}
