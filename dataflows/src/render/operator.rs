//! The operator that renders an output's changes, each worker those that it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::communication::Push;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::{Capability, Operator};
use timely::progress::Stamp;

use super::Renderer;
use super::batch::{Builder, Parts, for_each_net};
use crate::Epoch;
use crate::flat::FlatBatch;

/// Bytes after which a rendered batch is sent.
const FULL: usize = 1 << 20;

/// What of an output is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The first epoch whose rows are wanted; `None`: those of none are.
    pub from: Option<Epoch>,
    /// Of epochs before that one, the keys are wanted, and nothing is otherwise.
    pub keys: bool,
}

impl Wanted {
    fn of(self, epoch: Epoch) -> Option<Parts> {
        if self.from.is_some_and(|from| from <= epoch) {
            Some(Parts::All)
        } else {
            self.keys.then_some(Parts::Key)
        }
    }
}

/// Nets, sorts and renders the changes of each epoch once it is complete, on the worker where they are. What precedes
/// the first epoch may be large and has no order to come in: it is rendered batch by batch, as it comes.
///
/// `name`: that of the output.
pub fn render<'s>(
    name: &str,
    changes: Stream<'s, Epoch, FlatBatch>,
    renderer: Arc<dyn Renderer>,
    wanted: Wanted,
) -> Stream<'s, Epoch, FlatBatch> {
    let name = format!("Render: {name}");
    changes.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, &name, move |_, _| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Vec<FlatBatch>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, batch| {
                let Some(epoch) = capability.least().copied() else { return };
                let Some(parts) = wanted.of(epoch) else { return };
                if epoch == 0 {
                    let mut session = output.session(&capability);
                    let mut builder = Builder::new(&*renderer, parts);
                    for (row, diff) in batch.iter() {
                        builder.push(row, diff);
                    }
                    session.give_container(&mut builder.take());
                    return;
                }
                let (_, batches) =
                    pending.entry(epoch).or_insert_with(|| (capability.delayed(&epoch, 0), Vec::new()));
                batches.push(std::mem::take(batch));
            });
            while let Some(first) = pending.first_entry() {
                if frontier.less_equal(first.key()) {
                    break;
                }
                let (epoch, (capability, batches)) = first.remove_entry();
                let Some(parts) = wanted.of(epoch) else { continue };
                let mut session = output.session(&capability);
                let mut builder = Builder::new(&*renderer, parts);
                for_each_net(&batches, |row, diff| {
                    builder.push(row, diff);
                    if builder.size() >= FULL {
                        session.give_container(&mut builder.take());
                    }
                });
                let mut last = builder.take();
                if !last.is_empty() {
                    session.give_container(&mut last);
                }
            }
        }
    })
}

/// Brings whole batches to worker 0, each in one piece.
pub fn to_worker_0() -> DistributorPact<impl FnOnce(usize) -> ToWorker0> {
    DistributorPact(|_peers| ToWorker0)
}

/// See [`to_worker_0`].
pub struct ToWorker0;

impl<C: Default> Distributor<C> for ToWorker0 {
    fn partition<T: Clone, P: Push<Message<T, C>>>(
        &mut self,
        container: &mut C,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        Message::push_at(container, stamp.clone(), &mut pushers[0]);
    }

    fn flush<T: Clone, P: Push<Message<T, C>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}
