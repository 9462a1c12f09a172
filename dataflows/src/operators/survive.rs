//! What operators that survive a restart have in common: they restore, note what changes, seal epochs, and report the parts
//! of checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use crate::flat::FlatBatch;
use crate::flow::Barriers;
use crate::persist::{CheckpointPart, StateWriter};
use crate::{Activator, Epoch};

/// The output for the parts of checkpoints. It is the operator's last one, built before its inputs.
pub(super) type Reports = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<CheckpointPart>>>;

/// Adds the output for parts.
pub(super) fn reports<'s>(
    builder: &mut OperatorBuilder<'s, Epoch>,
) -> (Reports, Stream<'s, Epoch, Vec<CheckpointPart>>) {
    let (reports, parts) = builder.new_output::<Vec<CheckpointPart>>();
    (Reports::from(reports), parts)
}

/// Adds the barriers that have come.
type TakeBarriers = Box<dyn FnMut(&mut BTreeSet<Epoch>)>;

/// The part of an operator that makes its rows survive.
pub(super) struct Survivor {
    writer: Box<dyn StateWriter>,
    here: Activator,
    barriers: TakeBarriers,
    reports: Reports,
    /// Changes of epochs that are not sealed.
    noted: BTreeMap<Epoch, FlatBatch>,
    /// Barriers that have come, of epochs that are not sealed.
    reached: BTreeSet<Epoch>,
    restored: bool,
    last: bool,
    /// For reports: follows the frontier of the first input and outlives it until the last part is out.
    report: Option<Capability<Epoch>>,
}

impl Survivor {
    /// Adds the input of the barriers, after all others.
    pub(super) fn new<'s>(
        builder: &mut OperatorBuilder<'s, Epoch>,
        reports: Reports,
        barriers: Barriers<'s>,
        mut writer: Box<dyn StateWriter>,
    ) -> Self {
        let scope = barriers.scope();
        // A barrier delays nothing but the sealing of its epoch.
        let none: [(usize, Antichain<Epoch>); 0] = [];
        let mut barriers = builder.new_input_connection(barriers, Pipeline, none);
        let address = builder.operator_info().address;
        writer.attach(scope.worker().sync_activator_for(address.to_vec()));
        Survivor {
            writer,
            here: scope.activator_for(address),
            barriers: Box::new(move |reached| {
                barriers.for_each(|_, epochs| reached.extend(epochs.drain(..)));
            }),
            reports,
            noted: BTreeMap::new(),
            reached: BTreeSet::new(),
            restored: false,
            last: false,
            report: None,
        }
    }

    /// Takes the capability for reports, which is the last one.
    pub(super) fn start(&mut self, capabilities: &mut Vec<Capability<Epoch>>) {
        self.report = capabilities.pop();
    }

    /// Gives some more of the restored rows, which are of time 0. Returns true as long as there are more: the operator then
    /// runs again, so that what is handed on is taken in before there is more of it.
    pub(super) fn restore(&mut self, each: &mut dyn FnMut(FlatBatch)) -> bool {
        if self.writer.restore(each) {
            self.here.activate();
        } else {
            self.restored = true;
        }
        !self.restored
    }

    /// Notes changes of an epoch.
    pub(super) fn note(&mut self, epoch: Epoch, batch: &FlatBatch) {
        let noted = self.noted.entry(epoch).or_default();
        batch.iter().for_each(|(row, count)| noted.push(row, count));
    }

    /// Seals the epochs that are complete, makes the checkpoints that are due, and reports the parts that are finished.
    pub(super) fn seal(&mut self, frontiers: &[MutableAntichain<Epoch>]) {
        (self.barriers)(&mut self.reached);
        if !self.restored {
            return;
        }
        let open = |epoch: &Epoch| frontiers.iter().any(|frontier| frontier.less_equal(epoch));
        loop {
            let next =
                self.noted.keys().next().copied().into_iter().chain(self.reached.first().copied()).min();
            let Some(epoch) = next.filter(|epoch| !open(epoch)) else { break };
            if let Some(changes) = self.noted.remove(&epoch) {
                self.writer.seal(epoch, changes);
            }
            if self.reached.remove(&epoch) {
                self.writer.checkpoint(Some(epoch));
            }
        }
        if !self.last && frontiers.iter().all(|frontier| frontier.is_empty()) {
            self.last = true;
            self.writer.checkpoint(None);
        }
        self.report(frontiers);
    }

    fn report(&mut self, frontiers: &[MutableAntichain<Epoch>]) {
        let Some(held) = &mut self.report else { return };
        for part in self.writer.finished() {
            let ends = part.epoch.is_none();
            self.reports.activate().session(&*held).give(part);
            if ends {
                self.report = None;
                return;
            }
        }
        if let Some(&epoch) = frontiers[0].frontier().first().filter(|&epoch| epoch > held.time()) {
            held.downgrade(&epoch);
        }
    }
}
