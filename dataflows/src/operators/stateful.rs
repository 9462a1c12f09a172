//! Operators with a state for each key that survives a restart.
//!
//! The state of a key is the operator's own net output: what it has emitted and not withdrawn. So a checkpoint holds what
//! the operator needs, not what it saw, and a restart gives it back by the way on which it came, at any number of workers.

use std::marker::PhantomData;

use crate::collection::{About, Collection, Placed, Snapshot};
use crate::group::Group;
use crate::key::First;
use crate::operators::exchange::exchange_by_key;
pub use crate::operators::keyed_state::{Due, KeyedState};
use crate::operators::keyed_state::{OfClosure, OfLogic, Step};
use crate::operators::map::Emit;
use crate::operators::state_operator::{Asks, build};
use crate::persist::Sharding;
use crate::rows::{Row, Timestamp};

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
    ///         out.extend(state.last().max(bids.last()));
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
        logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, S>, Group<'a, V>, &mut Emit<'_, S>) + 'static,
    ) -> Collection<'s, (K, S)>;

    /// As [`Stateful::stateful`], where the state follows from time, too: see [`KeyedState`].
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// Who was there in the last minute of event time.
    /// struct Present;
    ///
    /// const MINUTE: i64 = 60_000_000;
    ///
    /// impl KeyedState for Present {
    ///     type Key = Text;
    ///     type Update = Timestamp;
    ///     type State = Timestamp;
    ///
    ///     fn update(
    ///         &mut self,
    ///         _user: &str,
    ///         state: Group<'_, Timestamp>,
    ///         seen: Group<'_, Timestamp>,
    ///         now: Now,
    ///         out: &mut Emit<'_, Timestamp>,
    ///     ) {
    ///         let last = state.last().max(seen.last());
    ///         let gone = |at: &Timestamp| now.watermark.is_some_and(|now| at.micros() + MINUTE <= now.micros());
    ///         out.extend(last.filter(|at| !gone(at)));
    ///     }
    ///
    ///     fn due(&self, _user: &str, state: Group<'_, Timestamp>) -> Due {
    ///         let Some(at) = state.first() else { return Due::never() };
    ///         Due::at_watermark(Timestamp::from_micros(at.micros() + MINUTE))
    ///     }
    /// }
    ///
    /// fn present<'s>(views: Collection<'s, (Text, Timestamp)>) -> Collection<'s, (Text, Timestamp)> {
    ///     views.stateful_with("present", Present)
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn stateful_with<L: KeyedState<Key = K, Update = V>>(
        self,
        name: &str,
        logic: L,
    ) -> Collection<'s, (K, L::State)>;
}

impl<'s, K: Row, V: Row> Stateful<'s, K, V> for Collection<'s, (K, V)> {
    #[track_caller]
    fn stateful<S: Row>(
        self,
        name: &str,
        logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, S>, Group<'a, V>, &mut Emit<'_, S>) + 'static,
    ) -> Collection<'s, (K, S)> {
        let logic = OfClosure { logic, until: |_: K::Ref<'_>| None, types: PhantomData };
        stateful::<K, V, S, S>(self, name, logic, Asks::default())
    }

    #[track_caller]
    fn stateful_with<L: KeyedState<Key = K, Update = V>>(
        self,
        name: &str,
        logic: L,
    ) -> Collection<'s, (K, L::State)> {
        stateful::<K, V, L::State, L::State>(
            self,
            name,
            OfLogic(logic),
            Asks { timed: true, retires: L::RETIRES },
        )
    }
}

/// As [`Stateful::stateful`], where `until` says of a key what [`KeyedState::until`] does.
#[track_caller]
pub(super) fn stateful_until<'s, K: Row, V: Row, S: Row>(
    rows: Collection<'s, (K, V)>,
    name: &str,
    until: impl for<'a> Fn(K::Ref<'a>) -> Option<Timestamp> + 'static,
    logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, S>, Group<'a, V>, &mut Emit<'_, S>) + 'static,
) -> Collection<'s, (K, S)> {
    stateful::<K, V, S, S>(
        rows,
        name,
        OfClosure { logic, until, types: PhantomData },
        Asks { timed: false, retires: true },
    )
}

/// An operator with a state of `(K, S)` that hands on `(K, W)`.
#[track_caller]
pub(super) fn stateful<'s, K: Row, V: Row, S: Row, W: Row>(
    rows: Collection<'s, (K, V)>,
    name: &str,
    logic: impl Step,
    asks: Asks,
) -> Collection<'s, (K, W)> {
    let flow = rows.flow().clone();
    let survival = flow.state_writer::<(K, S)>(name, Sharding::by_key::<K>());
    let rows = exchange_by_key(rows).changes_after_snapshot();
    // What was dropped, a restart does not give back.
    let restorable = !asks.retires || flow.lateness().is_none();
    let changes = build::<First<K>>(&flow, rows, name, survival, logic, asks);
    let about = About { placed: Placed::by::<First<K>>(), net: true, restorable, ..About::default() };
    Collection::new(flow, changes, about, Snapshot::default())
}
