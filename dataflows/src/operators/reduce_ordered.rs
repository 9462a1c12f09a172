//! Makes rows of those rows of a key that are looked at.
//!
//! As [`reduce`](mod@super::reduce), with one difference: rows are read as they are asked for, from either end or from a place in
//! the middle. What the logic has looked at of a key before a change tells, besides, whether the change can matter to it.

use differential_dataflow::operators::arrange::Arranged;

use crate::Epoch;
use crate::arrange::RowTrace;
use crate::arrangement::Arrangement;
use crate::collection::{Collection, Snapshot};
use crate::flat::FlatBuilder;
use crate::flow::Flow;
use crate::group::net;
use crate::key::First;
use crate::operators::batches::{Came, each_batch};
use crate::operators::hints::{Hint, Hints};
use crate::operators::map::{ENCODED, Emit};
use crate::operators::reduce::{Groups, Spread};
use crate::operators::timed::Timed;
use crate::ordered::Ordered;
pub(crate) use crate::ordered::View;
use crate::rows::{Place, Row};

/// Makes rows of those rows of a key that are looked at.
pub trait ReduceOrdered<'s, K: Row, V: Row> {
    /// The rows that `logic` emits for each key that has rows, of which it may look at some: all epochs up to one, summed. It
    /// must depend on these alone.
    ///
    /// A key costs what is looked at, before and after, in each epoch in which one of its rows changes: a logarithm of the
    /// number of its rows for each. A change beyond all that was looked at, where that was from one end, costs half.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The cheapest and the dearest offer of each product, of however many.
    /// fn range<'s>(offers: Arrangement<'s, Text, i64>) -> Collection<'s, (Text, (i64, i64))> {
    ///     offers.reduce_ordered("range", |_product, offers, out| out.extend(offers.first().zip(offers.last())))
    /// }
    /// ```
    fn reduce_ordered<W: Row>(
        self,
        name: &str,
        logic: impl for<'a> FnMut(K::Ref<'a>, Ordered<'a, V>, &mut Emit<'_, W>) + 'static,
    ) -> Collection<'s, (K, W)>;
}

impl<'s, K: Row, V: Row> ReduceOrdered<'s, K, V> for Arrangement<'s, K, V> {
    fn reduce_ordered<W: Row>(
        self,
        name: &str,
        mut logic: impl for<'a> FnMut(K::Ref<'a>, Ordered<'a, V>, &mut Emit<'_, W>) + 'static,
    ) -> Collection<'s, (K, W)> {
        let flow = self.flow().clone();
        reduce_views::<K, W>(&flow, self.arranged, &format!("Reduce: {name}"), move |encoded, rows, out| {
            let mut key = encoded;
            let key = K::read(&mut key, Place::Inner).expect(ENCODED);
            logic(key, Ordered::new(rows), &mut Emit::after(out, encoded, 1));
        })
    }
}

/// As [`ReduceOrdered::reduce_ordered`], on encoded rows: `logic` is given the key, and writes it before each row.
pub(crate) fn reduce_views<'s, K: Row, W: Row>(
    flow: &Flow<'s>,
    arranged: Arranged<'s, RowTrace>,
    name: &str,
    mut logic: impl for<'a> FnMut(&'a [u8], View<'a>, &mut FlatBuilder) + 'static,
) -> Collection<'s, (K, W)> {
    let snapshot = Snapshot::made();
    let mut made = Made::default();
    let changes = each_batch(arranged, name, snapshot.clone(), move |came, changes, give| {
        if !came.is_wanted() {
            return;
        }
        let Came { batch, before, first } = came;
        Groups::<First<K>>::new(batch, before).for_each_spread(|spread| {
            made.of_key(spread, first, &mut logic, changes);
            changes.give_full(&mut *give);
        });
    });
    flow.made(changes, snapshot)
}

/// What the logic makes of a key's rows before and after a change. Its memory is used from one to the next.
#[derive(Default)]
struct Made {
    old: FlatBuilder,
    new: FlatBuilder,
    hints: Hints,
}

impl Made {
    /// The changes of a key in each epoch from `first` on.
    fn of_key(
        &mut self,
        spread: &Spread<'_>,
        first: Epoch,
        logic: &mut impl for<'a> FnMut(&'a [u8], View<'a>, &mut FlatBuilder),
        changes: &mut Timed,
    ) {
        let mut hint = self.hints.take(spread);
        let mut last = Hint::default();
        for epoch in spread.epochs() {
            if epoch < first {
                continue;
            }
            let (untouched, mut found) = make(spread, epoch, &hint, logic, &mut self.old);
            if !untouched {
                (_, found) = make(spread, epoch + 1, &hint, logic, &mut self.new);
                give_difference(&self.old, &self.new, changes.of(epoch));
            }
            last = found;
            self.old.clear();
            self.new.clear();
        }
        // Not before: a later epoch of the batch may bring rows where an earlier one has none.
        hint.learn(last);
        self.hints.put(spread, hint);
    }
}

/// What the logic makes of the rows of epochs before one. True iff it did so without a look at where rows change.
fn make(
    spread: &Spread<'_>,
    before: Epoch,
    hint: &Hint,
    logic: &mut impl for<'a> FnMut(&'a [u8], View<'a>, &mut FlatBuilder),
    out: &mut FlatBuilder,
) -> (bool, Hint) {
    let (first, last) = spread.ends();
    hint.view(spread, before, |key, view, reach| {
        logic(key, view, out);
        // Of a key without rows nothing may be made: after a restart, nobody knows of it.
        if !out.is_empty() && !reach.get().has_seen() && view.is_empty() {
            out.clear();
        }
        reach.get().is_short_of(first, last)
    })
}

/// Gives what is new, and takes back what is not there any more.
pub(crate) fn give_difference(old: &FlatBuilder, new: &FlatBuilder, changes: &mut FlatBuilder) {
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    // They were made in the same order: often the first ones are the same.
    while let (Some(one), Some(other)) = (olds.peek(), news.peek())
        && one == other
    {
        olds.next();
        news.next();
    }
    let mut rows: Vec<_> = olds.map(|(row, diff)| (row, -diff)).chain(news).collect();
    net(&mut rows);
    rows.into_iter().for_each(|(row, diff)| changes.push_encoded(row, diff));
}
