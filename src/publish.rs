//! Publishing: the rows of all workers leave through one place, in epoch order, each epoch's rows together.
//!
//! An operator on worker 0 collects what belongs to an epoch. When the frontier says that it is complete, the
//! epoch goes to a thread that renders the rows and hands them to the sinks, so that no worker waits for a
//! sink. The operator holds the epoch's capability until the thread is done with it: the probe behind it
//! shows what is *published*, and a slow sink is felt as back-pressure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::flow::Render;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::source::Report;
use cutwater_dataflows::{Epoch, SyncActivator};
use timely::dataflow::channels::pact::{Exchange, ExchangeCore};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate};
use timely::dataflow::{Scope, Stream};

use crate::fault::Fault;
use crate::sink::Sink;
use crate::status::Status;

/// A named output and the sinks it goes to.
pub struct Outlet {
    /// The output's name, as rows show it.
    pub name: String,
    /// Shows its rows.
    pub render: Render,
    /// Where they go.
    pub sinks: Vec<Box<dyn Sink>>,
}

/// Hears of cuts: what each epoch adds to them, before anything of the epoch leaves the program.
pub trait Cuts: Send {
    /// The cut of `epoch` is that of the epoch before, moved as the reports say: one for each worker and input
    /// that has something to report, in no particular order. Called for each epoch in turn, without gaps. All epochs
    /// up to `published` are published by now.
    ///
    /// # Errors
    /// What ends the run, before the epoch's rows go anywhere.
    fn append(&mut self, epoch: Epoch, reports: &[Report], published: Epoch) -> Result<()>;

    /// Returns when all that was appended survives a crash. Rows of those epochs go to the sinks after that.
    ///
    /// # Errors
    /// As [`Cuts::append`].
    fn sync(&mut self) -> Result<()>;
}

/// What belongs to one epoch.
#[derive(Default)]
struct Content {
    /// By output, in the order of their declaration.
    changes: BTreeMap<usize, Vec<FlatBatch>>,
    reports: Vec<Report>,
}

/// Tells the operator up to where the thread has come.
#[derive(Clone, Default)]
struct Done {
    through: Arc<AtomicU64>,
}

enum Order {
    /// Whom to wake when an epoch is done.
    Wake(SyncActivator),
    Publish(Epoch, Content),
}

/// The operator's end of the publishing thread. For worker 0.
pub struct Publisher {
    orders: Sender<Order>,
    done: Done,
}

/// The publishing thread.
pub struct Publishing(JoinHandle<()>);

impl Publishing {
    /// Starts the thread. It ends when the [`Publisher`] is dropped, and raises `fault` where a sink fails.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        outlets: Vec<Outlet>,
        cuts: Option<Box<dyn Cuts>>,
        status: Status,
        fault: Fault,
    ) -> Result<(Publisher, Publishing)> {
        let (orders, inbox) = unbounded();
        let done = Done::default();
        let publisher = Publisher { orders, done: done.clone() };
        let thread = std::thread::Builder::new()
            .name("cutwater:publish".into())
            .spawn(move || {
                fault.guard("publishing", || {
                    if let Err(error) = publish_all(outlets, cuts, &inbox, &done, &status) {
                        fault.raise(error);
                    }
                });
            })
            .context("starting the publishing thread")?;
        Ok((publisher, Publishing(thread)))
    }

    /// Waits until all that was ordered is published.
    pub fn join(self) {
        // A panic there has been raised as a fault.
        let _ = self.0.join();
    }
}

fn publish_all(
    mut outlets: Vec<Outlet>,
    mut cuts: Option<Box<dyn Cuts>>,
    inbox: &Receiver<Order>,
    done: &Done,
    status: &Status,
) -> Result<()> {
    let mut wake = None;
    for order in inbox {
        let (epoch, content) = match order {
            Order::Wake(activator) => {
                wake = Some(activator);
                continue;
            }
            Order::Publish(epoch, content) => (epoch, content),
        };
        // What was accumulated to the end has no cut of its own.
        if epoch != END
            && let Some(cuts) = &mut cuts
        {
            cuts.append(epoch, &content.reports, done.through.load(Ordering::Relaxed))?;
            cuts.sync()?;
        }
        let mut changes = 0;
        for (index, batches) in &content.changes {
            let outlet = &mut outlets[*index];
            if outlet.sinks.is_empty() {
                continue;
            }
            let rows = (outlet.render)(batches);
            changes += rows.len() as u64;
            for sink in &mut outlet.sinks {
                sink.write(epoch, &outlet.name, &rows)?;
            }
        }
        // Every sink hears of every epoch, also of one in which its output did not change.
        for outlet in &mut outlets {
            for sink in &mut outlet.sinks {
                sink.commit(epoch, &content.reports)?;
            }
        }
        if epoch == END {
            status.ended(changes);
        } else {
            status.published(epoch, &content.reports, changes);
        }
        done.through.store(epoch, Ordering::Release);
        if let Some(wake) = &wake {
            // Fails only when the worker has gone.
            let _ = wake.activate();
        }
    }
    Ok(())
}

/// Builds the publishing operator. Only worker 0 has a `publisher`; all rows come to it. The returned stream
/// carries nothing; its frontier is that of what is published.
pub fn publish<'s>(
    scope: Scope<'s, Epoch>,
    outputs: Vec<Stream<'s, Epoch, FlatBatch>>,
    reports: Vec<Stream<'s, Epoch, Vec<Report>>>,
    publisher: Option<Publisher>,
) -> Stream<'s, Epoch, Vec<()>> {
    let mut builder = OperatorBuilder::new("Publish".to_owned(), scope);
    let (_output, stream) = builder.new_output::<Vec<()>>();
    let mut rows: Vec<_> = outputs
        .into_iter()
        .map(|output| builder.new_input(output, ExchangeCore::new(|_: &(&[u8], i64)| 0)))
        .collect();
    let mut reports = builder.new_input(scope.concatenate(reports), Exchange::new(|_: &Report| 0));
    if let Some(publisher) = &publisher {
        let address = builder.operator_info().address.to_vec();
        let activator = scope.worker().sync_activator_for(address);
        // The thread lives as long as the publisher.
        let _ = publisher.orders.send(Order::Wake(activator));
    }
    builder.build(move |_capabilities| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Content)> = BTreeMap::new();
        let mut ordered: BTreeMap<Epoch, Capability<Epoch>> = BTreeMap::new();
        move |frontiers| {
            for (index, input) in rows.iter_mut().enumerate() {
                input.for_each(|capability, batch| {
                    let Some(epoch) = capability.least().copied() else { return };
                    let (_, content) = pending
                        .entry(epoch)
                        .or_insert_with(|| (capability.delayed(&epoch, 0), Content::default()));
                    content.changes.entry(index).or_default().push(std::mem::take(batch));
                });
            }
            reports.for_each(|capability, batch| {
                let Some(epoch) = capability.least().copied() else { return };
                let (_, content) = pending
                    .entry(epoch)
                    .or_insert_with(|| (capability.delayed(&epoch, 0), Content::default()));
                content.reports.append(batch);
            });
            let Some(publisher) = &publisher else { return };
            while let Some(first) = pending.first_entry() {
                let epoch = *first.key();
                if frontiers.iter().any(|frontier| frontier.less_equal(&epoch)) {
                    break;
                }
                let (capability, content) = first.remove();
                // Fails when a sink has failed: then the run is about to end.
                let _ = publisher.orders.send(Order::Publish(epoch, content));
                ordered.insert(epoch, capability);
            }
            let through = publisher.done.through.load(Ordering::Acquire);
            while ordered.first_key_value().is_some_and(|(&epoch, _)| epoch <= through) {
                ordered.pop_first();
            }
        }
    });
    stream
}
