//! The operator that holds a state for each key, on encoded rows.

use std::collections::{BTreeMap, BTreeSet};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::progress::frontier::MutableAntichain;

use crate::Epoch;
use crate::arrange::sort;
use crate::clock::Now;
use crate::flat::{FlatBatch, FlatBuilder};
use crate::flow::{Barriers, Flow};
use crate::group::{Encoded, net};
use crate::key::KeyOf;
use crate::operators::keyed_state::Step;
use crate::operators::reduce::{Groups, give_net};
use crate::operators::state_store::StateStore;
use crate::operators::survive::{Survivor, reports};
use crate::operators::timers::Timers;
use crate::persist::StateWriter;

/// What makes a state survive: its writer, and the barriers of checkpoints.
pub(super) type Survival<'s> = Option<(Box<dyn StateWriter>, Barriers<'s>)>;

/// What is to be done in an epoch.
struct Pending {
    held: Capability<Epoch>,
    updates: Vec<FlatBatch>,
    now: Option<Now>,
}

/// Builds the operator. `timed` says whether its logic asks for times.
pub(super) fn build<'s, H: KeyOf>(
    flow: &Flow<'s>,
    rows: Stream<'s, Epoch, FlatBatch>,
    name: &str,
    survival: Survival<'s>,
    logic: impl Step,
    timed: bool,
) -> Stream<'s, Epoch, FlatBatch> {
    let mut builder = OperatorBuilder::new(format!("Stateful: {name}"), rows.scope());
    let (output, changes) = builder.new_output::<FlatBatch>();
    let survival = survival.map(|survival| (survival, reports(&mut builder)));
    let mut rows = builder.new_input(rows, Pipeline);
    let mut times = timed.then(|| builder.new_input(flow.now(), Pipeline));
    let mut operator = Operator::<H, _> {
        inputs: 1 + usize::from(timed),
        output: OutputBuilder::from(output),
        survivor: survival.map(|((writer, barriers), (reports, parts))| {
            flow.take_checkpoint_parts(parts);
            Survivor::new(&mut builder, reports, barriers, writer)
        }),
        states: States {
            store: StateStore::new(builder.operator_info()),
            timers: timed.then(|| Timers::new(flow.waker())),
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
            session.give_container(&mut batch);
        });
        drop(session);
        if !more {
            self.states.restore(std::mem::take(&mut self.restored), self.resumed);
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
            self.states.step(epoch, updates, now).finish(|batch| {
                self.survivor.iter_mut().for_each(|survivor| survivor.note(epoch, batch));
                changes.push(batch.clone());
                session.give_container(batch);
            });
            self.states.store.insert(epoch, changes);
        }
        self.states.timers.iter_mut().for_each(Timers::ask);
    }
}

/// The states of all keys of a worker.
struct States<H, L> {
    store: StateStore<H>,
    timers: Option<Timers>,
    logic: L,
}

impl<H: KeyOf, L: Step> States<H, L> {
    /// Takes in restored rows, as of an epoch with this time.
    fn restore(&mut self, rows: Vec<FlatBatch>, now: Option<Now>) {
        self.store.insert(Epoch::MIN, rows);
        let Some(timers) = &mut self.timers else { return };
        for batch in self.store.batches() {
            // All rows are in one batch: a key's are side by side.
            Groups::<H>::new(&batch, Vec::new()).for_each(|group| {
                let state: Vec<_> = group.updates.iter().map(|&(_, row, diff)| (row, diff)).collect();
                timers.insert(group.key, self.logic.due(group.key, &state), now);
            });
        }
        timers.ask();
    }

    /// What the updates of an epoch change, and what has come that keys wait for.
    fn step(&mut self, epoch: Epoch, updates: Vec<FlatBatch>, now: Option<Now>) -> FlatBuilder {
        let mut woken = match (&mut self.timers, now) {
            (Some(timers), Some(now)) => timers.take(now),
            _ => BTreeSet::new(),
        };
        let (mut changes, stored) = (FlatBuilder::default(), self.store.batches());
        if let Some(batch) = sort::<H>(BTreeMap::from([(epoch, updates)])) {
            Groups::<H>::new(&batch, stored).for_each(|group| {
                woken.remove(group.key);
                let updates: Vec<_> = group.updates.iter().map(|&(_, row, diff)| (row, diff)).collect();
                self.of_key(group.key, &group.before, &updates, now, &mut changes);
            });
        }
        for key in woken {
            let stored = self.store.batches();
            let state = StateStore::<H>::rows_of(&stored, &key);
            self.of_key(&key, &state, &[], now, &mut changes);
        }
        changes
    }

    fn of_key(
        &mut self,
        key: &[u8],
        before: &[Encoded<'_>],
        updates: &[Encoded<'_>],
        now: Option<Now>,
        changes: &mut FlatBuilder,
    ) {
        let mut made = FlatBuilder::default();
        self.logic.update(key, before, updates, now, &mut made);
        if let Some(timers) = &mut self.timers {
            timers.remove(key, self.logic.due(key, before));
            let mut after = Vec::new();
            made.finish(|batch| after.push(std::mem::take(batch)));
            let rows = || after.iter().flat_map(FlatBatch::iter);
            let mut state: Vec<_> = rows().map(|(row, diff)| (&row[key.len()..], diff)).collect();
            net(&mut state);
            timers.insert(key, self.logic.due(key, &state), now);
            rows().for_each(|(row, diff)| made.push_encoded(row, diff));
        }
        for &(row, diff) in before {
            made.push_with(-diff, |bytes| {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(row);
            });
        }
        give_net(&mut made, changes);
    }
}
