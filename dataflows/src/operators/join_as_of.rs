//! Each row beside the newest row of another collection as of its time.
//!
//! Both sides are in one arrangement, by key, those of the other side first, each in the order of their times. A row on the left
//! searches the newest one at or before its time. One that changes on the right concerns the rows on the left from its time
//! to that of the next one on the right, and no others: they are made as they were and as they are.

use crate::arrangement::Arrangement;
use crate::collection::{Collection, Snapshot};
use crate::flat::FlatBuilder;
use crate::key::First;
use crate::operators::batches::{Came, each_batch};
use crate::operators::concat::Concat;
use crate::operators::hints::Hint;
use crate::operators::map::ENCODED;
use crate::operators::reduce::{Groups, Spread};
use crate::operators::reduce_ordered::{View, give_difference};
use crate::rows::{Bytes, Place, Row};
use crate::{Diff, Epoch};

/// A row of a key with its order, and the newest one of the other side, if there is one.
pub type AsOf<K, O, V, W> = (K, ((O, V), Option<(O, W)>));

/// Each row beside the newest row of another collection as of its time.
pub trait JoinAsOf<'s, K: Row, O: Row, V: Row> {
    /// Each row with the newest row of `other` of the same key whose order (a time, say) is at most its own, or `None` where
    /// there is none. Of rows of the same order, the one with the greatest value is the newest. A row is in the result as
    /// often as it is there; one of `other` is there or is not.
    ///
    /// Late rows and withdrawals on either side correct what follows from them. A row that changes on this side costs a
    /// search; one on the other as much, and the rows of this side up to the next one of the other. An arrangement holds
    /// both sides.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// type At<V> = (Timestamp, V);
    ///
    /// /// Orders with the rate that their currency had at that time.
    /// fn priced<'s>(
    ///     orders: Collection<'s, (Text, At<i64>)>,
    ///     rates: Collection<'s, (Text, At<Decimal<4>>)>,
    /// ) -> Collection<'s, (Text, (At<i64>, Option<At<Decimal<4>>>))> {
    ///     orders.persist("orders").join_as_of("priced", rates.persist("rates"))
    /// }
    /// ```
    fn join_as_of<W: Row>(
        self,
        name: &str,
        other: Collection<'s, (K, (O, W))>,
    ) -> Collection<'s, AsOf<K, O, V, W>>;
}

impl<'s, K: Row, O: Row, V: Row> JoinAsOf<'s, K, O, V> for Collection<'s, (K, (O, V))> {
    fn join_as_of<W: Row>(
        self,
        name: &str,
        other: Collection<'s, (K, (O, W))>,
    ) -> Collection<'s, AsOf<K, O, V, W>> {
        let flow = self.flow().clone();
        let both: Arrangement<'s, K, Bytes> =
            marked::<K, (O, V)>(self, LEFT).concat(marked::<K, (O, W)>(other, RIGHT)).arrange(name);
        let snapshot = Snapshot::made();
        let (mut old, mut new) = (FlatBuilder::default(), FlatBuilder::default());
        let changes = each_batch(
            both.into_arranged(),
            &format!("JoinAsOf: {name}"),
            snapshot.clone(),
            move |came, changes, give| {
                if !came.is_wanted() {
                    return;
                }
                let Came { batch, before, first } = came;
                Groups::<First<K>>::new(batch, before).for_each_spread(|spread| {
                    for epoch in spread.epochs().into_iter().filter(|epoch| *epoch >= first) {
                        Change::<O, V>::new(spread, epoch).make(&mut old, &mut new);
                        give_difference(&old, &new, changes.of(epoch));
                        old.clear();
                        new.clear();
                    }
                    changes.give_full(&mut *give);
                });
            },
        );
        flow.made(changes, snapshot)
    }
}

/// The side of which a row is, before its value: those of the right come first.
const RIGHT: u8 = 0;
const LEFT: u8 = 1;

/// Rows with their side between key and value.
fn marked<'s, K: Row, V: Row>(rows: Collection<'s, (K, V)>, side: u8) -> Collection<'s, (K, Bytes)> {
    rows.linear("Marked", move |batch, out| {
        for (row, diff) in batch.iter() {
            let mut rest = row;
            K::read(&mut rest, Place::Inner).expect(ENCODED);
            out.push_with(diff, |bytes| {
                bytes.extend_from_slice(&row[..row.len() - rest.len()]);
                bytes.push(side);
                bytes.extend_from_slice(rest);
            });
        }
    })
}

/// The order of a row, encoded, after its side.
fn order<O: Row>(row: &[u8]) -> &[u8] {
    let mut rest = &row[1..];
    O::read(&mut rest, Place::Inner).expect(ENCODED);
    &row[1..row.len() - rest.len()]
}

/// What stands before all rows of a side from this order on.
fn at(side: u8, order: &[u8]) -> Vec<u8> {
    [&[side], order].concat()
}

/// From which order on, and before which one, or to the end.
type Stretch = (Vec<u8>, Option<Vec<u8>>);

/// A change of a key in an epoch.
struct Change<'g, O, V> {
    spread: &'g Spread<'g>,
    epoch: Epoch,
    /// Where rows on the left may have another one beside them than before: in order, apart from each other.
    stretches: Vec<Stretch>,
    row: std::marker::PhantomData<fn() -> (O, V)>,
}

impl<'g, O: Row, V: Row> Change<'g, O, V> {
    fn new(spread: &'g Spread<'g>, epoch: Epoch) -> Self {
        let mut change = Change { spread, epoch, stretches: Vec::new(), row: std::marker::PhantomData };
        let mut stretches: Vec<Stretch> = Vec::new();
        // They come in the order of their orders: where one begins before the last has ended, both are one.
        for (row, _) in change.updates(RIGHT) {
            let (start, end) = change.stretch(row);
            match stretches.last_mut().filter(|(_, last)| last.as_ref().is_none_or(|last| start <= *last)) {
                Some((_, last)) => *last = last.take().zip(end).map(|(one, other)| one.max(other)),
                None => stretches.push((start, end)),
            }
        }
        change.stretches = stretches;
        change
    }

    /// What a row that changes on the right concerns: what follows it, to the next one, as it was or as it is.
    fn stretch(&self, row: &[u8]) -> Stretch {
        let next = |before| view(self.spread, before, |rows| next_right::<O>(rows, row));
        let end = next(self.epoch).zip(next(self.epoch + 1)).map(|(one, other)| one.max(other));
        (order::<O>(row).to_vec(), end)
    }

    /// The rows of a side that change.
    fn updates(&self, side: u8) -> impl Iterator<Item = (&'g [u8], Diff)> + use<'g, O, V> {
        let epoch = self.epoch;
        let updates = self.spread.updates().filter(move |(time, row, _)| *time == epoch && row[0] == side);
        updates.map(|(_, row, diff)| (row, diff))
    }

    /// Makes the rows that change, as they were and as they are.
    fn make(&self, old: &mut FlatBuilder, new: &mut FlatBuilder) {
        let (key, epoch) = (self.spread.key, self.epoch);
        for (before, out) in [(epoch, &mut *old), (epoch + 1, &mut *new)] {
            view(self.spread, before, |rows| {
                for (start, end) in &self.stretches {
                    stretch::<O, V>(key, rows, start, end.as_deref(), out);
                }
            });
        }
        // Elsewhere nothing has changed on the right.
        view(self.spread, epoch + 1, |rows| {
            for (left, diff) in self.updates(LEFT) {
                let order = order::<O>(left);
                if !self.is_in_a_stretch(order) {
                    push::<O, V>(key, left, newest(rows, order), diff, new);
                }
            }
        });
    }

    fn is_in_a_stretch(&self, order: &[u8]) -> bool {
        let begun = self.stretches.partition_point(|(start, _)| &**start <= order);
        let last = begun.checked_sub(1).map(|last| &self.stretches[last]);
        last.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| order < &**end))
    }
}

/// Shows the rows of a key, of epochs before one. They are searched, so it does not matter where they begin.
fn view<T>(spread: &Spread<'_>, before: Epoch, look: impl FnOnce(View<'_>) -> T) -> T {
    Hint::default().view(spread, before, |_, view, _| look(view)).0
}

/// The order of the next row on the right after `row` that is there.
fn next_right<O: Row>(rows: View<'_>, row: &[u8]) -> Option<Vec<u8>> {
    let mut after = rows.up_from(row).take_while(|(other, _)| other[0] == RIGHT);
    let next = after.find(|(other, times)| *other != row && *times > 0);
    next.map(|(next, _)| order::<O>(next).to_vec())
}

/// The newest row on the right as of an order.
fn newest<'a>(rows: View<'a>, order: &[u8]) -> Option<&'a [u8]> {
    rows.down_from(&at(RIGHT, order)).find(|(_, times)| *times > 0).map(|(row, _)| row)
}

/// Makes the rows on the left from one order on and before another, or to the end.
fn stretch<O: Row, V: Row>(
    key: &[u8],
    rows: View<'_>,
    start: &[u8],
    end: Option<&[u8]>,
    out: &mut FlatBuilder,
) {
    let lefts = rows.up_from(&at(LEFT, start)).map(|(left, diff)| (left, order::<O>(left), diff));
    let mut beside = newest(rows, start);
    let rights = rows.up_from(&at(RIGHT, start)).take_while(|(row, _)| row[0] == RIGHT);
    let mut rights = rights.filter(|(_, times)| *times > 0).peekable();
    for (left, order_of_left, diff) in lefts {
        if end.is_some_and(|end| order_of_left >= end) {
            break;
        }
        while let Some((right, _)) = rights.next_if(|(right, _)| order::<O>(right) <= order_of_left) {
            beside = Some(right);
        }
        push::<O, V>(key, left, beside, diff, out);
    }
}

/// Writes a row of the result.
fn push<O: Row, V: Row>(key: &[u8], left: &[u8], beside: Option<&[u8]>, diff: Diff, out: &mut FlatBuilder) {
    out.push_with(diff, |bytes| {
        bytes.extend_from_slice(key);
        <(O, V)>::inner(&left[1..], bytes).expect(ENCODED);
        bytes.push(beside.is_some().into());
        bytes.extend_from_slice(beside.map_or(&[], |right| &right[1..]));
    });
}
