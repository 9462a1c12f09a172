//! Operators with a state for each key that survives a restart.
//!
//! The state of a key is the operator's own net output: what it has emitted and not withdrawn. So a checkpoint holds what
//! the operator needs, not what it saw, and a restart gives it back by the way on which it came, at any number of workers.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};

use crate::arrange::sort;
use crate::collection::{About, Collection, Placed, Snapshot};
use crate::flat::{FlatBatch, FlatBuilder};
use crate::flow::{Barriers, Flow};
use crate::key::{First, KeyOf};
use crate::operators::exchange::exchange_by_key;
use crate::operators::map::{ENCODED, Emit};
use crate::operators::reduce::{Groups, give_net, rows_of};
use crate::operators::state_store::StateStore;
use crate::operators::survive::{Survivor, reports};
use crate::persist::{Sharding, StateWriter};
use crate::rows::{Place, Row};
use crate::{Diff, Epoch};

/// Operators with a state for each key that survives a restart.
pub trait Stateful<'s, K: Row, V: Row> {
    /// For each key, rows that follow from those it had before and what has come since: its state, which is the result.
    ///
    /// In each epoch in which rows of a key change, `logic` is given the key, its state (its rows in the result, in order,
    /// each with how often it is there), and the changes of the epoch (in order, net); it emits what the state is from now
    /// on, all of it. What it is given is all that it may depend on: not on another key, nor on what it was called with
    /// before, nor on a clock. A restart gives the state back, under `name`.
    ///
    /// The changes themselves are not held. Without `--state`, the state is in memory alone. A key costs its state and its
    /// changes in each epoch in which it has some.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The most that anybody has ever bid.
    /// fn highest<'s>(bids: Collection<'s, (Text, i64)>) -> Collection<'s, (Text, i64)> {
    ///     bids.stateful::<i64>("highest", |_item, state, bids, out| {
    ///         let highest = state.iter().chain(bids).map(|&(bid, _)| bid).max();
    ///         highest.into_iter().for_each(|bid| out.push(bid));
    ///     })
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn stateful<S: Row>(
        self,
        name: &str,
        logic: impl for<'a> FnMut(K::Ref<'a>, &[(S::Ref<'a>, Diff)], &[(V::Ref<'a>, Diff)], &mut Emit<'_, S>)
        + 'static,
    ) -> Collection<'s, (K, S)>;
}

impl<'s, K: Row, V: Row> Stateful<'s, K, V> for Collection<'s, (K, V)> {
    #[track_caller]
    fn stateful<S: Row>(
        self,
        name: &str,
        mut logic: impl for<'a> FnMut(K::Ref<'a>, &[(S::Ref<'a>, Diff)], &[(V::Ref<'a>, Diff)], &mut Emit<'_, S>)
        + 'static,
    ) -> Collection<'s, (K, S)> {
        let flow = self.flow().clone();
        let survival = flow.state_writer::<(K, S)>(name, Sharding::by_key::<K>());
        let rows = exchange_by_key(self).changes_after_snapshot();
        let next = move |encoded: &[u8],
                         state: &[(&[u8], Diff)],
                         updates: &[(&[u8], Diff)],
                         out: &mut FlatBuilder| {
            let mut key = encoded;
            let key = K::read(&mut key, Place::Inner).expect(ENCODED);
            logic(key, &rows_of::<S>(state), &rows_of::<V>(updates), &mut Emit::after(out, encoded, 1));
        };
        let changes = build::<First<K>>(&flow, rows, name, survival, next);
        let about = About { placed: Placed::by::<First<K>>(), net: true, restorable: true, unique: None };
        Collection::new(flow, changes, about, Snapshot::default())
    }
}

/// Builds the operator. `next` emits the rows of a key, given the key, its rows so far and what has come in the epoch.
fn build<'s, H: KeyOf>(
    flow: &Flow<'s>,
    rows: Stream<'s, Epoch, FlatBatch>,
    name: &str,
    survival: Option<(Box<dyn StateWriter>, Barriers<'s>)>,
    mut next: impl FnMut(&[u8], &[(&[u8], Diff)], &[(&[u8], Diff)], &mut FlatBuilder) + 'static,
) -> Stream<'s, Epoch, FlatBatch> {
    let mut builder = OperatorBuilder::new(format!("Stateful: {name}"), rows.scope());
    let (output, changes) = builder.new_output::<FlatBatch>();
    let survival = survival.map(|survival| (survival, reports(&mut builder)));
    let mut rows = builder.new_input(rows, Pipeline);
    let mut survivor = survival.map(|((writer, barriers), (reports, parts))| {
        flow.take_checkpoint_parts(parts);
        Survivor::new(&mut builder, reports, barriers, writer)
    });
    let mut store = StateStore::<H>::new(builder.operator_info());

    builder.build(move |mut capabilities| {
        let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
        survivor.iter_mut().for_each(|survivor| survivor.start(&mut capabilities));
        // For restored rows: time 0, until all are there.
        let mut before = capabilities.pop().filter(|_| survivor.is_some());
        let mut restored = Vec::new();
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Vec<FlatBatch>)> = BTreeMap::new();

        move |frontiers| {
            rows.for_each(|capability, batch| {
                let Some(held) = capability.retain_least(0) else { return };
                pending
                    .entry(*held.time())
                    .or_insert_with(|| (held, Vec::new()))
                    .1
                    .push(std::mem::take(batch));
            });
            if let (Some(held), Some(survivor)) = (&before, &mut survivor) {
                let mut output = output.activate();
                let mut session = output.session(held);
                let more = survivor.restore(&mut |mut batch| {
                    restored.push(batch.clone());
                    session.give_container(&mut batch);
                });
                drop(session);
                if more {
                    return survivor.seal(frontiers);
                }
                store.insert(Epoch::MIN, std::mem::take(&mut restored));
                before = None;
            }
            while let Some(first) =
                pending.first_entry().filter(|first| !frontiers[0].less_equal(first.key()))
            {
                let (epoch, (held, updates)) = first.remove_entry();
                let mut output = output.activate();
                let mut session = output.session(&held);
                let mut changes = Vec::new();
                step::<H>(epoch, updates, &mut store, &mut next).finish(|batch| {
                    survivor.iter_mut().for_each(|survivor| survivor.note(epoch, batch));
                    changes.push(batch.clone());
                    session.give_container(batch);
                });
                store.insert(epoch, changes);
            }
            survivor.iter_mut().for_each(|survivor| survivor.seal(frontiers));
        }
    });
    changes
}

/// What the updates of an epoch change.
fn step<H: KeyOf>(
    epoch: Epoch,
    updates: Vec<FlatBatch>,
    store: &mut StateStore<H>,
    next: &mut impl FnMut(&[u8], &[(&[u8], Diff)], &[(&[u8], Diff)], &mut FlatBuilder),
) -> FlatBuilder {
    let (mut changes, mut made) = (FlatBuilder::default(), FlatBuilder::default());
    let Some(batch) = sort::<H>(BTreeMap::from([(epoch, updates)])) else { return changes };
    Groups::<H>::new(&batch, store.batches()).for_each(|group| {
        let updates: Vec<_> = group.updates.iter().map(|&(_, row, diff)| (row, diff)).collect();
        for &(row, diff) in &group.before {
            made.push_with(-diff, |bytes| {
                bytes.extend_from_slice(group.key);
                bytes.extend_from_slice(row);
            });
        }
        next(group.key, &group.before, &updates, &mut made);
        give_net(&mut made, &mut changes);
    });
    changes
}
