//! How the state of a key follows from what comes, and from time.

use crate::flat::FlatBuilder;
use crate::group::{Encoded, Group};
use crate::operators::map::{ENCODED, Emit};
use crate::rows::{Place, Row, Timestamp};
use crate::watermark::Now;

/// How the state of a key follows from the state it had, from what comes, and from time.
///
/// The contract, which holds for all operators that survive: the state is a function of the records up to an epoch and of
/// the times of the epochs. It must not depend on other keys, on how often or in what order keys are updated, on what the
/// implementation remembers (it is not restored), or on a clock other than `now`. Restored rows are given as the state, in
/// order, as if the run had never ended. A dataflow that breaks this is told so at its next restart: the digest of an epoch
/// that is replayed is not that of the ledger.
pub trait KeyedState: 'static {
    /// The key.
    type Key: Row;
    /// What comes.
    type Update: Row;
    /// A row of the state.
    type State: Row;

    /// Emits the state of a key from now on, all of it. Called in each epoch in which rows of the key change, and in those
    /// that reach what it waits for.
    ///
    /// `state` is what it was: in order, each row with how often it is there. `updates` is what changes in the epoch: in
    /// order, net; empty where it is called for a time.
    fn update(
        &mut self,
        key: <Self::Key as Row>::Ref<'_>,
        state: Group<'_, Self::State>,
        updates: Group<'_, Self::Update>,
        now: Now,
        out: &mut Emit<'_, Self::State>,
    );

    /// For what times a key with this state waits. It must depend on these alone. A time that has come when the state is
    /// made is none to wait for: `update` was given it.
    fn due(&self, key: <Self::Key as Row>::Ref<'_>, state: Group<'_, Self::State>) -> Due;

    /// True iff [`KeyedState::until`] is to be asked. A restart does not give back what was dropped then, so a dataflow with a
    /// lateness that remembers the result is refused by a run that keeps state, unless it is persisted.
    const RETIRES: bool = false;

    /// The event time from which on records do not change this key: the end of a window. `None`: there is none.
    ///
    /// With a [lateness](crate::Flow::lateness), the key's state is dropped once the watermark is so far beyond, and what was
    /// handed on stays. Changes that come to the key after that are left out: what is withdrawn too late stays as well.
    fn until(&self, _key: <Self::Key as Row>::Ref<'_>) -> Option<Timestamp> {
        None
    }
}

/// What a key waits for: it is updated in the first epoch that reaches either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// A watermark. An epoch is closed for it when partitions become idle that hold the watermark back.
    pub watermark: Option<Timestamp>,
    /// A wall-clock time. An epoch is closed for it when it comes.
    pub closed: Option<Timestamp>,
}

impl Due {
    /// Nothing.
    pub fn never() -> Self {
        Due::default()
    }

    /// When the watermark reaches `time`.
    pub fn at_watermark(time: Timestamp) -> Self {
        Due { watermark: Some(time), closed: None }
    }

    /// When the wall-clock time is `time`.
    pub fn at(time: Timestamp) -> Self {
        Due { watermark: None, closed: Some(time) }
    }
}

/// [`KeyedState`] on encoded rows.
pub(super) trait Step: 'static {
    /// True iff the state is the rows that have come, summed: it is not made by [`Step::update`], and what is handed on is
    /// made by [`Step::derive`].
    const IS_ROWS: bool = false;

    /// Emits whole rows, keys included.
    fn update(
        &mut self,
        _key: &[u8],
        _state: &[Encoded<'_>],
        _updates: &[Encoded<'_>],
        _now: Option<Now>,
        _out: &mut FlatBuilder,
    ) {
    }

    /// For what times a key with this state waits.
    fn due(&self, _key: &[u8], _state: &[Encoded<'_>]) -> Due {
        Due::never()
    }

    /// Hands on what it means that the state was `before` and is `after` these updates: whole rows, keys included.
    fn derive(
        &mut self,
        _key: &[u8],
        _before: &[Encoded<'_>],
        _after: &[Encoded<'_>],
        _updates: &[Encoded<'_>],
        _out: &mut FlatBuilder,
    ) {
    }

    /// The first horizon, watermark less lateness, at which something of a key's state can be dropped.
    fn until(&self, _key: &[u8], _state: &[Encoded<'_>]) -> Option<Timestamp> {
        None
    }

    /// What is left of a key's state at a horizon that has come to [`Step::until`].
    fn left<'a>(&self, _key: &[u8], _state: &[Encoded<'a>], _horizon: Timestamp) -> Vec<Encoded<'a>> {
        Vec::new()
    }

    /// True iff a change to this row of the key comes too late: what it would change may be dropped.
    fn is_closed(&self, key: &[u8], _row: &[u8], horizon: Timestamp) -> bool {
        self.until(key, &[]).is_some_and(|until| until <= horizon)
    }
}

/// Decodes rows in place.
pub(super) struct OfLogic<L>(pub(super) L);

impl<L: KeyedState> Step for OfLogic<L> {
    fn update(
        &mut self,
        key: &[u8],
        state: &[Encoded<'_>],
        updates: &[Encoded<'_>],
        now: Option<Now>,
        out: &mut FlatBuilder,
    ) {
        let now = now.expect("an epoch with rows has a time");
        let (state, updates) = (Group::new(state), Group::new(updates));
        self.0.update(read::<L::Key>(key), state, updates, now, &mut Emit::after(out, key, 1));
    }

    fn due(&self, key: &[u8], state: &[Encoded<'_>]) -> Due {
        self.0.due(read::<L::Key>(key), Group::new(state))
    }

    fn until(&self, key: &[u8], _: &[Encoded<'_>]) -> Option<Timestamp> {
        self.0.until(read::<L::Key>(key))
    }
}

/// Of which types a closure is.
type Types<K, V, S> = std::marker::PhantomData<fn() -> (K, V, S)>;

/// A closure that knows no time; `until` says until when a key's state is needed.
pub(super) struct OfClosure<L, U, K, V, S> {
    pub(super) logic: L,
    pub(super) until: U,
    pub(super) types: Types<K, V, S>,
}

impl<L, U, K: Row, V: Row, S: Row> Step for OfClosure<L, U, K, V, S>
where
    L: for<'a> FnMut(K::Ref<'a>, Group<'a, S>, Group<'a, V>, &mut Emit<'_, S>) + 'static,
    U: for<'a> Fn(K::Ref<'a>) -> Option<Timestamp> + 'static,
{
    fn update(
        &mut self,
        key: &[u8],
        state: &[Encoded<'_>],
        updates: &[Encoded<'_>],
        _: Option<Now>,
        out: &mut FlatBuilder,
    ) {
        let (state, updates) = (Group::new(state), Group::new(updates));
        (self.logic)(read::<K>(key), state, updates, &mut Emit::after(out, key, 1));
    }

    fn until(&self, key: &[u8], _: &[Encoded<'_>]) -> Option<Timestamp> {
        (self.until)(read::<K>(key))
    }
}

fn read<K: Row>(mut key: &[u8]) -> K::Ref<'_> {
    K::read(&mut key, Place::Inner).expect(ENCODED)
}
