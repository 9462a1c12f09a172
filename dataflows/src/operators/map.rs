//! Makes rows of rows.

use crate::Diff;
use crate::collection::Collection;
use crate::flat::FlatBuilder;
use crate::rows::{Row, decode};

/// Makes rows of rows, one by one.
pub trait Map<'s, R: Row> {
    /// Each row as `logic` makes it of a row, which it reads in place. What it gives may borrow of the row: nothing is
    /// allocated. For rows that own what is computed, and for none or several of one, there is [`Map::flat_map`].
    ///
    /// The type of the new rows has to be named, as what they borrow does not tell it. Costs a decoding and an encoding a row.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// Who has bought how much.
    /// fn bought<'s>(orders: Collection<'s, (Text, Text, i64)>) -> Collection<'s, (Text, i64)> {
    ///     orders.map::<(Text, i64)>(|&(user, _product, quantity)| (user, quantity))
    /// }
    /// ```
    fn map<R2: Row>(
        self,
        logic: impl for<'a> FnMut(&'a R::Ref<'a>) -> R2::Ref<'a> + 'static,
    ) -> Collection<'s, R2>;

    /// The rows that `logic` emits for each row. It must depend on the row alone.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn words<'s>(lines: Collection<'s, Text>) -> Collection<'s, Text> {
    ///     lines.flat_map(|line, out| line.split_whitespace().for_each(|word| out.push(word.to_lowercase().as_str())))
    /// }
    /// ```
    fn flat_map<R2: Row>(
        self,
        logic: impl for<'a> FnMut(R::Ref<'a>, &mut Emit<'_, R2>) + 'static,
    ) -> Collection<'s, R2>;
}

impl<'s, R: Row> Map<'s, R> for Collection<'s, R> {
    fn map<R2: Row>(
        self,
        mut logic: impl for<'a> FnMut(&'a R::Ref<'a>) -> R2::Ref<'a> + 'static,
    ) -> Collection<'s, R2> {
        self.linear("Map", move |batch, out| {
            for (row, diff) in batch.iter() {
                let row = decode::<R>(row).expect(ENCODED);
                out.push::<R2>(logic(&row), diff);
            }
        })
    }

    fn flat_map<R2: Row>(
        self,
        mut logic: impl for<'a> FnMut(R::Ref<'a>, &mut Emit<'_, R2>) + 'static,
    ) -> Collection<'s, R2> {
        self.linear("FlatMap", move |batch, out| {
            for (row, diff) in batch.iter() {
                logic(decode::<R>(row).expect(ENCODED), &mut Emit::new(out, diff));
            }
        })
    }
}

/// Why decoding a row of a collection does not fail.
pub(crate) const ENCODED: &str = "rows of a collection are encoded rows";

/// Takes the rows that are made of a row: each as often as that.
pub struct Emit<'a, R: Row> {
    out: &'a mut FlatBuilder,
    /// What comes before each row, encoded.
    prefix: &'a [u8],
    diff: Diff,
    row: std::marker::PhantomData<fn(R)>,
}

impl<'a, R: Row> Emit<'a, R> {
    /// Takes rows to `out`, each `diff` times.
    pub fn new(out: &'a mut FlatBuilder, diff: Diff) -> Self {
        Emit::after(out, &[], diff)
    }

    /// As [`Emit::new`]: what goes to `out` are rows that begin with the encoded `prefix`.
    pub(crate) fn after(out: &'a mut FlatBuilder, prefix: &'a [u8], diff: Diff) -> Self {
        Emit { out, prefix, diff, row: std::marker::PhantomData }
    }

    /// Adds a row once.
    #[inline]
    pub fn push(&mut self, row: R::Ref<'_>) {
        self.push_diff(row, 1);
    }

    /// Adds each of these rows once: an `Option` of one, say.
    pub fn extend<'b>(&mut self, rows: impl IntoIterator<Item = R::Ref<'b>>) {
        rows.into_iter().for_each(|row| self.push(row));
    }

    /// Adds a row so many times; withdraws it where that is negative.
    #[inline]
    pub fn push_diff(&mut self, row: R::Ref<'_>, times: Diff) {
        self.out.push_with(self.diff * times, |bytes| {
            bytes.extend_from_slice(self.prefix);
            R::write(row, crate::rows::Place::Last, bytes);
        });
    }
}
