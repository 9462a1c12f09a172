//! Leaves out rows of a key that don't matter, on the worker where they are.
//!
//! What a combiner of MapReduce does (Dean and Ghemawat, "MapReduce: Simplified Data Processing on Large Clusters", 2004): where the
//! result for a key is that of a few of its rows, the others need not travel.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

use crate::Epoch;
use crate::arrange::sort;
use crate::collection::{About, Collection, Placed};
use crate::flat::{FlatBatch, FlatBuilder};
use crate::group::{Encoded, Group};
use crate::key::{First, KeyOf};
use crate::operators::map::{ENCODED, Emit};
use crate::operators::reduce::Groups;
use crate::rows::{Place, Row};

/// Leaves out rows of a key that don't matter, on the worker where they are.
pub trait CombineByKey<'s, K: Row, V: Row> {
    /// In each epoch, the rows that `logic` leaves of those of a key which change on a worker. It is given the key and these
    /// changes, in order, net, and emits those that are to be handed on.
    ///
    /// It goes before an operator that brings a key's rows together, such as [`Stateful::stateful`](super::Stateful::stateful),
    /// so that fewer have to travel. Two things are its author's to know:
    /// - *A row that is left out is of no matter, whatever the rows are that other workers have.* The greatest one of all is the
    ///   greatest one of somewhere.
    /// - *No row is withdrawn.* A withdrawal may come on another worker, or in a later epoch: a row that was left out for the sake of
    ///   the one which is gone now would be missing. So this is for rows that are only ever added, events say.
    ///   Withdrawals of the epoch and the worker are among what `logic` is given.
    ///
    /// An epoch costs sorting its rows, which are held until it is complete; nothing else is remembered. One worker alone has
    /// nobody to send rows to: there it costs nothing, and `logic` is not called.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The most that anybody has ever bid. Bids are only ever added.
    /// fn highest<'s>(bids: Collection<'s, (Text, i64)>) -> Collection<'s, (Text, i64)> {
    ///     let bids = bids.combine_by_key(|_item, bids, out| out.extend(bids.last()));
    ///     bids.stateful::<i64>("highest", |_item, state, bids, out| {
    ///         out.extend(state.last().max(bids.last()));
    ///     })
    /// }
    /// # use cutwater_dataflows::testing::{Given, Test, given};
    /// # let test = Test::building("highest", |flow| {
    /// #     highest(flow.input("bids").decode(Given::new())).output("highest", &["item"], &["bid"]);
    /// # });
    /// # let bid = |bid| ("bids", given(&(Text::from("vase"), bid), 1));
    /// # let test = test.epoch([bid(3), bid(7), bid(5)]).restart().epoch([bid(6), bid(4)]);
    /// # assert_eq!(test.check().rows("highest"), [r#"{"item":"vase","bid":7}"#]);
    /// ```
    fn combine_by_key(
        self,
        logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, V>, &mut Emit<'_, V>) + 'static,
    ) -> Collection<'s, (K, V)>;
}

impl<'s, K: Row, V: Row> CombineByKey<'s, K, V> for Collection<'s, (K, V)> {
    fn combine_by_key(
        self,
        mut logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, V>, &mut Emit<'_, V>) + 'static,
    ) -> Collection<'s, (K, V)> {
        combined::<K, V>(self, move |encoded, rows, out| {
            let mut key = encoded;
            let key = K::read(&mut key, Place::Inner).expect(ENCODED);
            logic(key, Group::new(rows), &mut Emit::after(out, encoded, 1));
        })
    }
}

/// As [`CombineByKey::combine_by_key`], of the greatest row of each key, where that is exact with withdrawals, too: where equal rows
/// are on one worker, or none is withdrawn, as the author of the rows says.
///
/// What it is exact for is an operator that is given the changes of an epoch and goes by the greatest row that is added, net.
/// It does so, where equal rows meet: what is net on a worker is net of all.
pub(super) fn greatest_added<'s, K: Row, V: Row>(rows: Collection<'s, (K, V)>) -> Collection<'s, (K, V)> {
    let About { placed, appended, .. } = rows.about();
    if *placed == Placed::Anywhere && !appended && rows.flow().workers() > 1 {
        return rows;
    }
    combined::<K, V>(rows, |key, rows, out| {
        if let Some((row, diff)) = rows.iter().rev().find(|(_, diff)| *diff > 0) {
            out.push_with(*diff, |bytes| {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(row);
            });
        }
    })
}

/// The rows that `logic` leaves of each key on each worker. Rows that are where their key is stay as they are.
fn combined<'s, K: Row, V: Row>(
    rows: Collection<'s, (K, V)>,
    logic: impl FnMut(&[u8], &[Encoded<'_>], &mut FlatBuilder) + 'static,
) -> Collection<'s, (K, V)> {
    let here = Placed::by::<First<K>>();
    if rows.about().placed == here {
        return rows;
    }
    if rows.flow().workers() == 1 {
        // The operator that takes rows by key sums them: they need not be summed before.
        let about = About { placed: here, ..rows.about().clone() };
        return rows.with(about);
    }
    let (flow, snapshot) = (rows.flow().clone(), rows.snapshot().clone());
    let about = About { net: true, ..rows.about().clone() };
    Collection::new(flow, combine::<First<K>>(rows.into_changes(), logic), about, snapshot)
}

/// Holds the rows of an epoch until it is complete, and hands on what `logic` leaves of each key.
fn combine<'s, H: KeyOf>(
    changes: Stream<'s, Epoch, FlatBatch>,
    mut logic: impl FnMut(&[u8], &[Encoded<'_>], &mut FlatBuilder) + 'static,
) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(
        Pipeline,
        "CombineByKey",
        |_, _| {
            let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Vec<FlatBatch>)> = BTreeMap::new();
            let mut out = FlatBuilder::default();
            move |(input, frontier), output| {
                input.for_each(|capability, batch| {
                    let Some(held) = capability.retain_least(0) else { return };
                    let of_epoch = pending.entry(*held.time()).or_insert_with(|| (held, Vec::new()));
                    of_epoch.1.push(std::mem::take(batch));
                });
                while let Some(first) =
                    pending.first_entry().filter(|first| !frontier.less_equal(first.key()))
                {
                    let (epoch, (held, batches)) = first.remove_entry();
                    let Some(batch) = sort::<H>(BTreeMap::from([(epoch, batches)])) else { continue };
                    Groups::<H>::new(&batch, Vec::new()).for_each(|group| {
                        let rows: Vec<_> = group.updates.iter().map(|&(_, row, diff)| (row, diff)).collect();
                        logic(group.key, &rows, &mut out);
                    });
                    let mut session = output.session(&held);
                    out.finish(|batch| session.give_container(batch));
                }
            }
        },
    )
}
