//! Sums equal rows of an epoch.

use crate::collection::{About, Collection};
use crate::operators::combine::combine;
use crate::operators::exchange::Exchange;
use crate::rows::Row;

/// Sums equal rows of an epoch.
pub trait Consolidate {
    /// The same rows: in each epoch a row changes once at most, over all workers. What changed back and forth within an epoch
    /// is gone. Costs an exchange, and holds the rows of an epoch until it is complete.
    fn consolidate(self) -> Self;
}

impl<R: Row> Consolidate for Collection<'_, R> {
    fn consolidate(self) -> Self {
        let flow = self.flow().clone();
        let exchanged = self.exchange();
        if exchanged.about().net {
            return exchanged;
        }
        let about = About { net: true, ..exchanged.about().clone() };
        let snapshot = exchanged.snapshot().clone();
        Collection::new(flow, combine(exchanged.into_changes()), about, snapshot)
    }
}
