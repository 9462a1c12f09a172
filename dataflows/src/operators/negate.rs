//! Withdraws what appears.

use crate::collection::{About, Collection};
use crate::rows::Row;

/// Withdraws what appears.
pub trait Negate {
    /// Each row withdrawn as often as it appears, and the other way round. Costs a copy of the rows.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The rows that are more often in one than in the other, so many times more.
    /// fn minus<'s>(one: Collection<'s, Text>, other: Collection<'s, Text>) -> Collection<'s, Text> {
    ///     one.concat(other.negate())
    /// }
    /// ```
    fn negate(self) -> Self;
}

impl<R: Row> Negate for Collection<'_, R> {
    fn negate(self) -> Self {
        let about = About { unique: None, ..self.about().clone() };
        let negated: Self = self.linear("Negate", |batch, out| {
            batch.iter().for_each(|(row, diff)| out.push_encoded(row, -diff));
        });
        negated.with(about)
    }
}
