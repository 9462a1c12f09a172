//! The operator that holds a state for each key, on encoded rows.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::progress::frontier::MutableAntichain;

use crate::Epoch;
use crate::arrange::{self, sort};
use crate::flat::{FlatBatch, FlatBuilder};
use crate::flow::{Barriers, Flow};
use crate::group::{Encoded, add, net};
use crate::key::KeyOf;
use crate::operators::keyed_state::Step;
use crate::operators::reduce::Groups;
use crate::operators::retirement::Retirement;
use crate::operators::state_store::StateStore;
use crate::operators::survive::{Survivor, reports};
use crate::operators::timers::Timers;
use crate::persist::StateWriter;
use crate::rows::Timestamp;
use crate::watermark::Now;

/// What makes a state survive: its writer, and the barriers of checkpoints.
pub(super) type Survival<'s> = Option<(Box<dyn StateWriter>, Barriers<'s>)>;

/// What an operator asks for.
#[derive(Clone, Copy, Default)]
pub(super) struct Asks {
    /// Its logic waits for times.
    pub(super) timed: bool,
    /// Its state can be dropped, where there is a lateness.
    pub(super) retires: bool,
}

/// What is to be done in an epoch.
struct Pending {
    held: Capability<Epoch>,
    updates: Vec<FlatBatch>,
    now: Option<Now>,
}

/// Builds the operator.
pub(super) fn build<'s, H: KeyOf>(
    flow: &Flow<'s>,
    rows: Stream<'s, Epoch, FlatBatch>,
    name: &str,
    survival: Survival<'s>,
    logic: impl Step,
    asks: Asks,
) -> Stream<'s, Epoch, FlatBatch> {
    let mut builder = OperatorBuilder::new(format!("Stateful: {name}"), rows.scope());
    let logger = arrange::logger(rows.scope());
    let (output, changes) = builder.new_output::<FlatBatch>();
    let survival = survival.map(|survival| (survival, reports(&mut builder)));
    let mut rows = builder.new_input(rows, Pipeline);
    let retirement = flow.lateness().filter(|_| asks.retires).map(Retirement::new);
    let timed = asks.timed || retirement.is_some();
    let mut times = timed.then(|| builder.new_input(flow.now(), Pipeline));
    let mut operator = Operator::<H, _> {
        inputs: 1 + usize::from(timed),
        output: OutputBuilder::from(output),
        survivor: survival.map(|((writer, barriers), (reports, parts))| {
            flow.take_checkpoint_parts(parts);
            Survivor::new(&mut builder, reports, barriers, writer)
        }),
        states: States {
            store: StateStore::new(builder.operator_info(), logger),
            timers: asks.timed.then(|| Timers::new(flow.waker())),
            retirement,
            logic,
        },
        resumed: timed.then(|| flow.resumed_at()).flatten(),
        before: None,
        restored: Vec::new(),
        pending: BTreeMap::new(),
    };
    builder.build(move |capabilities| {
        operator.start(capabilities);
        move |frontiers| {
            rows.for_each(|capability, batch| {
                if let Some(held) = capability.retain_least(0) {
                    operator.of_epoch(held).updates.push(std::mem::take(batch));
                }
            });
            times.iter_mut().for_each(|times| {
                times.for_each(|capability, now| {
                    if let Some(held) = capability.retain_least(0) {
                        operator.of_epoch(held).now = now.last().copied();
                    }
                });
            });
            operator.run(frontiers);
        }
    });
    changes
}

/// The operator, when it runs.
struct Operator<H, L> {
    /// How many inputs have to be past an epoch before it is computed.
    inputs: usize,
    output: OutputBuilder<Epoch, CapacityContainerBuilder<FlatBatch>>,
    survivor: Option<Survivor>,
    states: States<H, L>,
    /// The time of the epoch that restored rows are of.
    resumed: Option<Now>,
    /// For restored rows: time 0, until all are there.
    before: Option<Capability<Epoch>>,
    restored: Vec<FlatBatch>,
    pending: BTreeMap<Epoch, Pending>,
}

impl<H: KeyOf, L: Step> Operator<H, L> {
    fn start(&mut self, mut capabilities: Vec<Capability<Epoch>>) {
        self.survivor.iter_mut().for_each(|survivor| survivor.start(&mut capabilities));
        self.before = capabilities.pop().filter(|_| self.survivor.is_some());
    }

    /// What is to be done in the epoch of a capability.
    fn of_epoch(&mut self, held: Capability<Epoch>) -> &mut Pending {
        let new = |held| Pending { held, updates: Vec::new(), now: None };
        self.pending.entry(*held.time()).or_insert_with(|| new(held))
    }

    fn run(&mut self, frontiers: &[MutableAntichain<Epoch>]) {
        if self.restore() {
            self.compute(frontiers);
        }
        self.survivor.iter_mut().for_each(|survivor| survivor.seal(frontiers));
    }

    /// Restores some more rows. True once all are there.
    fn restore(&mut self) -> bool {
        let (Some(held), Some(survivor)) = (&self.before, &mut self.survivor) else { return true };
        let mut output = self.output.activate();
        let mut session = output.session(held);
        let more = survivor.restore(&mut |mut batch| {
            self.restored.push(batch.clone());
            if !L::IS_ROWS {
                session.give_container(&mut batch);
            }
        });
        if !more {
            let mut derived = self.states.restore(std::mem::take(&mut self.restored), self.resumed);
            derived.finish(|batch| session.give_container(batch));
            drop(session);
            self.before = None;
        }
        !more
    }

    /// Computes the epochs that are complete.
    fn compute(&mut self, frontiers: &[MutableAntichain<Epoch>]) {
        let open = |epoch: &Epoch| frontiers[..self.inputs].iter().any(|frontier| frontier.less_equal(epoch));
        while let Some(first) = self.pending.first_entry().filter(|first| !open(first.key())) {
            let (epoch, Pending { held, updates, now }) = first.remove_entry();
            let mut output = self.output.activate();
            let mut session = output.session(&held);
            let mut changes = Vec::new();
            let Changes { mut state, out } = self.states.step(epoch, updates, now);
            let same = out.is_none();
            state.finish(|batch| {
                self.survivor.iter_mut().for_each(|survivor| survivor.note(epoch, batch));
                changes.push(batch.clone());
                if same {
                    session.give_container(batch);
                }
            });
            if let Some(mut out) = out {
                out.finish(|batch| session.give_container(batch));
            }
            self.states.store.insert(epoch, changes);
        }
        self.states.timers.iter_mut().for_each(Timers::ask);
    }
}

/// The states of all keys of a worker.
struct States<H, L> {
    store: StateStore<H>,
    timers: Option<Timers>,
    retirement: Option<Retirement>,
    logic: L,
}

/// What an epoch changes.
#[derive(Default)]
struct Changes {
    /// The state.
    state: FlatBuilder,
    /// What is handed on; `None` where that is the same.
    out: Option<FlatBuilder>,
}

impl<H: KeyOf, L: Step> States<H, L> {
    /// Takes in restored rows, as of an epoch with this time. Returns what is derived of them.
    fn restore(&mut self, rows: Vec<FlatBatch>, now: Option<Now>) -> FlatBuilder {
        let mut derived = FlatBuilder::default();
        self.store.insert(Epoch::MIN, rows);
        for batch in self.store.batches() {
            // All rows are in one batch: a key's are side by side.
            Groups::<H>::new(&batch, Vec::new()).for_each(|group| {
                let state: Vec<_> = group.updates.iter().map(|&(_, row, diff)| (row, diff)).collect();
                self.wait(group.key, &[], &state, now);
                if L::IS_ROWS {
                    self.logic.derive(group.key, &[], &state, &state, &mut derived);
                }
            });
        }
        self.retirement.iter_mut().for_each(|retirement| retirement.passed(now));
        self.timers.iter_mut().for_each(Timers::ask);
        derived
    }

    /// What the updates of an epoch change, and what has come that keys wait for.
    fn step(&mut self, epoch: Epoch, updates: Vec<FlatBatch>, now: Option<Now>) -> Changes {
        let mut woken = match (&mut self.timers, now) {
            (Some(timers), Some(now)) => timers.take(now),
            _ => BTreeSet::new(),
        };
        let mut retired = self.retirement.as_mut().map_or_else(BTreeSet::new, |all| all.take(now));
        let closed = self.retirement.as_ref().and_then(Retirement::before);
        let separate = L::IS_ROWS || self.retirement.is_some();
        let mut changes = Changes { out: separate.then(FlatBuilder::default), ..Changes::default() };
        let stored = self.store.batches();
        if let Some(batch) = sort::<H>(BTreeMap::from([(epoch, updates)])) {
            Groups::<H>::new(&batch, stored).for_each(|group| {
                let updates = group.updates.iter().map(|&(_, row, diff)| (row, diff));
                let too_late =
                    |row| closed.is_some_and(|closed| self.logic.is_closed(group.key, row, closed));
                let updates: Vec<_> = updates.filter(|&(row, _)| !too_late(row)).collect();
                if !updates.is_empty() {
                    woken.remove(group.key);
                    retired.remove(group.key);
                    self.of_key(group.key, &group.before, &updates, now, &mut changes);
                }
            });
        }
        let stored = self.store.batches();
        for key in woken {
            retired.remove(&key);
            let state = StateStore::<H>::rows_of(&stored, &key);
            self.of_key(&key, &state, &[], now, &mut changes);
        }
        for key in retired {
            let state = StateStore::<H>::rows_of(&stored, &key);
            self.settle(&key, &state, state.clone(), now, &mut changes);
        }
        self.retirement.iter_mut().for_each(|retirement| retirement.passed(now));
        changes
    }

    fn of_key(
        &mut self,
        key: &[u8],
        before: &[Encoded<'_>],
        updates: &[Encoded<'_>],
        now: Option<Now>,
        changes: &mut Changes,
    ) {
        if L::IS_ROWS {
            let mut after = before.to_vec();
            add(&mut after, updates.iter().copied());
            self.logic.derive(key, before, &after, updates, changes.out.get_or_insert_default());
            return self.settle(key, before, after, now, changes);
        }
        let mut made = FlatBuilder::default();
        self.logic.update(key, before, updates, now, &mut made);
        let mut batches = Vec::new();
        made.finish(|batch| batches.push(std::mem::take(batch)));
        let rows = batches.iter().flat_map(FlatBatch::iter);
        let mut after: Vec<_> = rows.map(|(row, diff)| (&row[key.len()..], diff)).collect();
        net(&mut after);
        if let Some(out) = &mut changes.out {
            give_difference(key, before, &after, out);
        }
        self.settle(key, before, after, now, changes);
    }

    /// A key's state is `after` from now on, less what can be dropped.
    fn settle<'a>(
        &mut self,
        key: &[u8],
        before: &[Encoded<'a>],
        mut after: Vec<Encoded<'a>>,
        now: Option<Now>,
        changes: &mut Changes,
    ) {
        let horizon = self.retirement.as_ref().and_then(|retirement| retirement.horizon(now));
        if let Some(horizon) = horizon
            && self.until(key, &after).is_some_and(|until| until <= horizon)
        {
            after = self.logic.left(key, &after, horizon);
        }
        self.wait(key, before, &after, now);
        give_difference(key, before, &after, &mut changes.state);
    }

    /// When something of a key's state can be dropped.
    fn until(&self, key: &[u8], state: &[Encoded<'_>]) -> Option<Timestamp> {
        if state.is_empty() { None } else { self.logic.until(key, state) }
    }

    /// A key waits for what its state says, and for what it said before no more.
    fn wait(&mut self, key: &[u8], before: &[Encoded<'_>], after: &[Encoded<'_>], now: Option<Now>) {
        if let Some(timers) = &mut self.timers {
            timers.remove(key, self.logic.due(key, before));
            timers.insert(key, self.logic.due(key, after), now);
        }
        if self.retirement.is_some() {
            let (old, new) = (self.until(key, before), self.until(key, after));
            self.retirement.iter_mut().for_each(|retirement| retirement.change(key, old, new));
        }
    }
}

/// Gives what turns one state of a key into another. Both are net.
fn give_difference(key: &[u8], before: &[Encoded<'_>], after: &[Encoded<'_>], out: &mut FlatBuilder) {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.0.cmp(new.0),
        };
        let old = before.next_if(|_| order.is_le());
        let new = after.next_if(|_| order.is_ge());
        let diff = new.map_or(0, |(_, diff)| *diff) - old.map_or(0, |(_, diff)| *diff);
        if let Some((row, _)) = old.or(new).filter(|_| diff != 0) {
            out.push_with(diff, |bytes| {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(row);
            });
        }
    }
}
