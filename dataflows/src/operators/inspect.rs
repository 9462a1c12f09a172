//! Looks at rows as they pass.

use crate::Diff;
use crate::collection::Collection;
use crate::operators::map::ENCODED;
use crate::rows::{Row, decode};

/// Looks at rows as they pass.
pub trait Inspect<'s, R: Row> {
    /// The same rows. `look` is shown each change on the worker where it is, in no particular order: restored rows, and
    /// those that are replayed, too. Costs a decoding and a copy a row.
    fn inspect(self, look: impl for<'a> FnMut(R::Ref<'a>, Diff) + 'static) -> Self;
}

impl<'s, R: Row> Inspect<'s, R> for Collection<'s, R> {
    fn inspect(self, mut look: impl for<'a> FnMut(R::Ref<'a>, Diff) + 'static) -> Self {
        let about = self.about().clone();
        let inspected: Self = self.linear("Inspect", move |batch, out| {
            for (row, diff) in batch.iter() {
                look(decode::<R>(row).expect(ENCODED), diff);
                out.push_encoded(row, diff);
            }
        });
        inspected.with(about)
    }
}
