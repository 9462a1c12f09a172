//! How the state of a key follows from what comes, and from time.

use crate::clock::Now;
use crate::flat::FlatBuilder;
use crate::group::{Encoded, Group};
use crate::operators::map::{ENCODED, Emit};
use crate::rows::{Place, Row, Timestamp};

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
    /// Emits whole rows, keys included.
    fn update(
        &mut self,
        key: &[u8],
        state: &[Encoded<'_>],
        updates: &[Encoded<'_>],
        now: Option<Now>,
        out: &mut FlatBuilder,
    );
    fn due(&self, key: &[u8], state: &[Encoded<'_>]) -> Due;
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
}

/// Of which types a closure is.
type Types<K, V, S> = std::marker::PhantomData<fn() -> (K, V, S)>;

/// A closure that knows no time.
pub(super) struct OfClosure<L, K, V, S> {
    pub(super) logic: L,
    pub(super) types: Types<K, V, S>,
}

impl<L, K: Row, V: Row, S: Row> Step for OfClosure<L, K, V, S>
where
    L: for<'a> FnMut(K::Ref<'a>, Group<'a, S>, Group<'a, V>, &mut Emit<'_, S>) + 'static,
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

    fn due(&self, _: &[u8], _: &[Encoded<'_>]) -> Due {
        Due::never()
    }
}

fn read<K: Row>(mut key: &[u8]) -> K::Ref<'_> {
    K::read(&mut key, Place::Inner).expect(ENCODED)
}
