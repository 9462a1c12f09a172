//! Puts collections together.

use timely::dataflow::operators::Concat as _;

use crate::collection::{About, Collection, Placed, Snapshot};
use crate::rows::Row;

/// Puts collections together.
pub trait Concat {
    /// The rows of both, those that are in both as often as in both together. Costs nothing.
    fn concat(self, other: Self) -> Self;
}

impl<R: Row> Concat for Collection<'_, R> {
    fn concat(self, other: Self) -> Self {
        let flow = self.flow().clone();
        let (one, two) = (self.about(), other.about());
        let about = About {
            placed: if one.placed == two.placed { one.placed } else { Placed::Anywhere },
            net: false,
            restorable: one.restorable && two.restorable,
            unique: None,
            appended: one.appended && two.appended,
            with_offsets: one.with_offsets || two.with_offsets,
        };
        let snapshot = Snapshot::of([self.snapshot(), other.snapshot()]);
        let changes = self.into_changes().concat(other.into_changes());
        Collection::new(flow, changes, about, snapshot)
    }
}
