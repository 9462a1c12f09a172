//! Publishing: the rows of all workers leave through one place, in epoch order, each epoch's rows together.
//!
//! An operator on worker 0 collects what belongs to an epoch. When the frontier says that it is complete, the epoch
//! goes through two stages, each a thread, so that no worker waits for a disk or a sink: the first has its cut noted, with
//! the digests of its outputs, the second merges the rows, which each worker has rendered, and hands them to the sinks.
//! The operator holds the epoch's capability until the last
//! is done with it: the probe behind it shows what is *published*, and a slow sink is felt as back-pressure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use cutwater_dataflows::digest::DigestPart;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::render::{as_they_come, merge, rendered, to_worker_0};
use cutwater_dataflows::source::Report;
use cutwater_dataflows::{Epoch, SyncActivator, dead_letter};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate, InputCapability};
use timely::dataflow::{Scope, Stream};

use crate::crash;
use crate::fault::{Fault, Waiting};
use crate::fold::Folded;
use crate::sink::check::Check;
use crate::sink::origin::Offsets;
use crate::sink::too_large::TooLarge;
use crate::sink::{Origin, Sink};
use crate::state::checkpoint::Checkpoints;
use crate::state::digest::{Digest, Digests};
use crate::state::resume::Resume;
use crate::status::Status;

/// A named output and the sinks it goes to.
pub struct Outlet {
    /// The output's name, as rows show it.
    pub name: String,
    /// What its sinks need of its rows.
    pub check: Option<Check>,
    /// Do the sinks get what precedes the first epoch, and every epoch after it?
    pub snapshot: bool,
    /// Do its rows leave with the offsets that they were read from?
    pub with_offsets: bool,
    /// Where they go.
    pub sinks: Vec<Box<dyn Sink>>,
}

/// Hears of cuts: what each epoch adds to them, before anything of the epoch leaves the program.
pub trait Cuts: Send {
    /// The cut of `epoch` is that of the epoch before, moved as the reports say: one for each worker and input
    /// that has something to report, in no particular order. Called for each epoch in turn, without gaps. `digests` are
    /// of what its outputs have changed by, in runs that keep state. All epochs up to `published` are published by now.
    ///
    /// # Errors
    /// What ends the run, before the epoch's rows go anywhere.
    fn append(&mut self, epoch: Epoch, reports: &[Report], digests: &Digests, published: Epoch)
    -> Result<()>;

    /// Returns when all that was appended survives a crash. Rows of those epochs go to the sinks after that.
    ///
    /// # Errors
    /// As [`Cuts::append`].
    fn sync(&mut self) -> Result<()>;
}

/// Hears of what outputs change by, epoch by epoch, once their sinks have it: encoded rows, in batches of which
/// [`encoded`](cutwater_dataflows::render::encoded) shows the rows. Publishing waits for it.
pub trait Views: Send {
    /// What precedes the first epoch, of an output, by its number: rows in any order, in several calls.
    fn restore(&mut self, output: usize, rows: Vec<FlatBatch>);

    /// All of what precedes the first epoch has come. Called once, before the first epoch.
    fn restored(&mut self);

    /// An epoch is published: what each output that changed has changed by. Called for each in turn.
    fn publish(&mut self, epoch: Epoch, changes: BTreeMap<usize, Vec<FlatBatch>>, reports: &[Report]);
}

/// The time of what precedes the first epoch.
const BEFORE: Epoch = 0;

/// What belongs to one epoch.
#[derive(Default)]
struct Content {
    /// Rendered, by output, in the order of their declaration.
    changes: BTreeMap<usize, Vec<FlatBatch>>,
    /// For views, likewise.
    viewed: BTreeMap<usize, Vec<FlatBatch>>,
    /// By output. Those that are missing are zero.
    digests: BTreeMap<usize, u64>,
    reports: Vec<Report>,
}

/// Tells the operator up to where publishing has come.
#[derive(Clone, Default)]
struct Done {
    through: Arc<AtomicU64>,
}

enum Order {
    /// Whom to wake when an epoch is done.
    Wake(SyncActivator),
    Publish(Epoch, Content),
}

/// The operator's end of publishing. For worker 0.
pub struct Publisher {
    orders: Sender<Order>,
    done: Done,
}

/// What a step of a stage came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It did something.
    Done,
    /// There is nothing to do now.
    Idle,
    /// There will never be anything to do again.
    Over,
}

/// The stages through which an epoch leaves: noting its cut, then giving its rows to the sinks.
pub fn stages(
    outlets: Vec<Outlet>,
    cuts: Option<Box<dyn Cuts>>,
    views: Option<Box<dyn Views>>,
    checkpoints: Option<Arc<dyn Checkpoints>>,
    resume: Option<&Resume>,
    status: Status,
    fault: &Fault,
) -> Result<(Publisher, Noting, Publishing)> {
    let (orders, inbox) = unbounded();
    let (noted, outbox) = unbounded();
    let done = Done::default();
    let outlets: Vec<Open> =
        outlets.into_iter().map(|outlet| Open::new(outlet, resume)).collect::<Result<_>>()?;
    if let Some(resume) = resume {
        done.through.store(resume.checkpoint, Ordering::Relaxed);
    }
    let publisher = Publisher { orders, done: done.clone() };
    let first = resume.map_or(0, |resume| resume.checkpoint) + 1;
    let names = outlets.iter().map(|outlet| outlet.name.clone()).collect();
    let transactions =
        outlets.iter().flat_map(|outlet| &outlet.sinks).find_map(|(_, sink)| sink.transactions());
    transactions.into_iter().for_each(|transactions| status.follow_transactions(transactions));
    let digested = resume.is_some();
    let noting =
        Noting { inbox, noted, cuts, done: done.clone(), first, names, digested, status: status.clone() };
    let waiting = fault.waiting();
    let said = Folded::new("epochs with rows too large for a sink");
    let publishing = Publishing {
        inbox: outbox,
        outlets,
        offsets: Offsets::new(resume),
        views,
        checkpoints,
        status,
        done,
        wake: None,
        waiting,
        said,
    };
    Ok((publisher, noting, publishing))
}

/// The stage that has every cut noted before its epoch goes on.
pub struct Noting {
    inbox: Receiver<Order>,
    noted: Sender<Order>,
    cuts: Option<Box<dyn Cuts>>,
    done: Done,
    /// The first epoch of the run.
    first: Epoch,
    /// Those of the outputs, and of dead letters, which are the last.
    names: Vec<String>,
    /// Are there digests?
    digested: bool,
    status: Status,
}

impl Noting {
    /// Notes the cuts of all epochs that wait, with one sync. `wait`: until there is one.
    ///
    /// # Errors
    /// If they can't be noted.
    pub fn step(&mut self, wait: bool) -> Result<Step> {
        let first = match take(&self.inbox, wait) {
            Ok(first) => first,
            Err(step) => return Ok(step),
        };
        let orders: Vec<Order> = std::iter::once(first).chain(self.inbox.try_iter()).collect();
        let published = self.done.through.load(Ordering::Acquire);
        self.status.in_ledger(self.cuts.is_some());
        for order in &orders {
            // What precedes the first epoch has its cut already, and what was accumulated to the end has none.
            if let Order::Publish(epoch, content) = order
                && ![BEFORE, END].contains(epoch)
            {
                self.check(*epoch, content)?;
                let digests = self.digests(content);
                if let Some(cuts) = &mut self.cuts {
                    cuts.append(*epoch, &content.reports, &digests, published)?;
                }
            }
        }
        self.cuts.iter_mut().try_for_each(|cuts| cuts.sync())?;
        self.status.in_ledger(false);
        for order in orders {
            // Fails when a sink has failed: then the run is about to end.
            let _ = self.noted.send(order);
        }
        Ok(Step::Done)
    }

    /// Refuses rows of an epoch that is not one of this run's: it has no cut that they could belong to.
    fn check(&self, epoch: Epoch, content: &Content) -> Result<()> {
        let changed = content.changes.keys().chain(content.viewed.keys()).chain(content.digests.keys()).min();
        let Some(&output) = changed else { return Ok(()) };
        ensure!(
            epoch >= self.first && content.reports.iter().any(Report::is_epoch),
            "output {:?} has rows of epoch {epoch}, in which no record was read: an operator of the dataflow gives rows \
             another time than that of the records that they are made of. Nothing of that epoch was published",
            self.names[output]
        );
        Ok(())
    }

    /// The digests of all outputs, where there are any. Dead letters have none.
    fn digests(&self, content: &Content) -> Digests {
        let outputs = if self.digested { self.names.len() - 1 } else { 0 };
        let digest = |output: &usize| Digest(content.digests.get(output).copied().unwrap_or_default());
        self.names[..outputs]
            .iter()
            .enumerate()
            .map(|(output, name)| (name.clone(), digest(&output)))
            .collect()
    }
}

/// The stage that gives an epoch's rows to the sinks.
pub struct Publishing {
    inbox: Receiver<Order>,
    outlets: Vec<Open>,
    /// What epochs are read from.
    offsets: Offsets,
    views: Option<Box<dyn Views>>,
    checkpoints: Option<Arc<dyn Checkpoints>>,
    status: Status,
    done: Done,
    wake: Option<SyncActivator>,
    /// What a sink is about to take: it may take long.
    waiting: Waiting,
    /// Rows too large for their sinks, as they were said.
    said: Folded,
}

/// An outlet with, for each sink, the epoch up to which it needs nothing.
struct Open {
    name: String,
    check: Option<Check>,
    snapshot: bool,
    with_offsets: bool,
    sinks: Vec<(Epoch, Box<dyn Sink>)>,
}

impl Open {
    fn new(outlet: Outlet, resume: Option<&Resume>) -> Result<Self> {
        let Outlet { name, check, snapshot, with_offsets, sinks } = outlet;
        let least = resume.filter(|_| !snapshot).map_or(0, |resume| resume.published);
        let open = |mut sink: Box<dyn Sink>| {
            let held = resume.map_or(Ok(0), |resume| sink.resume(resume))?;
            ensure!(held >= least, "a sink wants epoch {}, but all up to {least} are published", held + 1);
            Ok((held, sink))
        };
        let sinks =
            sinks.into_iter().map(open).collect::<Result<_>>().with_context(|| format!("output {name:?}"))?;
        Ok(Open { name, check, snapshot, with_offsets, sinks })
    }

    /// The sinks that want an epoch.
    fn wanting(&mut self, epoch: Epoch) -> impl Iterator<Item = &mut Box<dyn Sink>> {
        self.sinks.iter_mut().filter(move |(held, _)| *held < epoch).map(|(_, sink)| sink)
    }
}

impl Publishing {
    /// Publishes an epoch. `wait`: until there is one.
    ///
    /// # Errors
    /// If a sink fails.
    pub fn step(&mut self, wait: bool) -> Result<Step> {
        match take(&self.inbox, wait) {
            Ok(Order::Wake(activator)) => self.wake = Some(activator),
            Ok(Order::Publish(BEFORE, content)) => self.restore(content)?,
            Ok(Order::Publish(epoch, content)) => self.publish(epoch, content)?,
            Err(step) => return Ok(step),
        }
        Ok(Step::Done)
    }

    /// The run has ended well, and all epochs are published.
    ///
    /// # Errors
    /// If a sink fails.
    pub fn finish(&mut self) -> Result<()> {
        self.status.rests();
        self.outlets.iter_mut().flat_map(|outlet| &mut outlet.sinks).try_for_each(|(_, sink)| sink.finish())
    }

    /// Has the outputs that are checked, and the sinks and views that want it, know what precedes the first epoch.
    fn restore(&mut self, content: Content) -> Result<()> {
        if let Some(views) = &mut self.views {
            content.viewed.into_iter().for_each(|(output, batches)| views.restore(output, batches));
            views.restored();
        }
        for (index, batches) in content.changes {
            let outlet = &mut self.outlets[index];
            outlet.check.iter_mut().try_for_each(|check| check.restore(&batches))?;
            if outlet.snapshot {
                for rows in batches.into_iter().map(as_they_come) {
                    outlet
                        .sinks
                        .iter_mut()
                        .try_for_each(|(_, sink)| sink.write(BEFORE, &outlet.name, &rows))?;
                }
            }
        }
        Ok(())
    }

    /// Tells all sinks of an epoch that begins.
    fn begin(&mut self, epoch: Epoch, reports: &[Report]) {
        let offsets = self.offsets.of(epoch, reports);
        for outlet in &mut self.outlets {
            let origin = Origin { offsets: &offsets, with_rows: outlet.with_offsets };
            outlet.sinks.iter_mut().for_each(|(_, sink)| sink.begin(epoch, origin));
        }
    }

    fn publish(&mut self, epoch: Epoch, mut content: Content) -> Result<()> {
        self.status.in_sinks(true);
        self.begin(epoch, &content.reports);
        let changes = self.write(epoch, std::mem::take(&mut content.changes))?;
        // Every sink hears of every epoch, also of one in which its output did not change.
        for outlet in &mut self.outlets {
            self.waiting.is_for(&taking(&outlet.name, epoch));
            for sink in outlet.wanting(epoch) {
                sink.commit(epoch, &content.reports)?;
                crash::point("sink-committed");
            }
        }
        self.waiting.is_over();
        self.status.in_sinks(false);
        if epoch == END {
            self.status.ended(changes);
        } else {
            if let Some(views) = &mut self.views {
                views.publish(epoch, std::mem::take(&mut content.viewed), &content.reports);
            }
            self.status.published(epoch, &content.reports, changes);
            self.checkpoints.iter().for_each(|checkpoints| checkpoints.published(epoch));
        }
        crash::point("published");
        self.done.through.store(epoch, Ordering::Release);
        if let Some(wake) = &self.wake {
            // Fails only when the worker has gone.
            let _ = wake.activate();
        }
        Ok(())
    }
}

/// What is waited for while a sink takes an epoch.
fn taking(output: &str, epoch: Epoch) -> String {
    match epoch {
        END => format!("the sink of output {output:?} has not taken the rows after the end"),
        epoch => format!("the sink of output {output:?} has not taken epoch {epoch}"),
    }
}

impl Publishing {
    /// Gives the rows of an epoch to the sinks, dead letters last: rows that a sink does not take come among them.
    /// Returns how many changes there were.
    fn write(&mut self, epoch: Epoch, mut rendered: BTreeMap<usize, Vec<FlatBatch>>) -> Result<u64> {
        let mut changes = 0;
        let mut refused = Vec::new();
        let last = self.outlets.len().saturating_sub(1);
        // Also where the sink itself holds the epoch, as that of dead letters may not.
        let lettered =
            self.outlets.get_mut(last).is_some_and(|outlet| outlet.wanting(epoch).next().is_some());
        for (index, outlet) in self.outlets.iter_mut().enumerate() {
            let mut batches = rendered.remove(&index).unwrap_or_default();
            if index == last && !refused.is_empty() {
                batches.push(letters(&refused));
            }
            let wanted = outlet.wanting(epoch).next().is_some();
            if batches.is_empty() || (!wanted && !lettered && outlet.check.is_none()) {
                continue;
            }
            let rows = merge(batches);
            outlet.check.iter_mut().try_for_each(|check| check.check(epoch, &rows))?;
            if !wanted && !lettered {
                continue;
            }
            changes += rows.len() as u64;
            self.status.changed(&outlet.name, rows.len() as u64);
            self.waiting.is_for(&taking(&outlet.name, epoch));
            for (held, sink) in &mut outlet.sinks {
                let parted = sink.refuse(&outlet.name, &rows);
                if *held < epoch {
                    sink.write(epoch, &outlet.name, parted.as_ref().map_or(&rows, |(taken, _)| taken))?;
                }
                refused.extend(parted.into_iter().flat_map(|(_, refused)| refused));
            }
        }
        self.note_refused(&refused);
        Ok(changes)
    }

    fn note_refused(&mut self, refused: &[TooLarge]) {
        self.status.too_large(refused.len() as u64);
        if let Some(first) = refused.first() {
            self.said.warn(|| format!("dead letter: {}", first.reason));
        }
    }
}

/// The dead letters of rows that were not given to their sinks, rendered.
fn letters(refused: &[TooLarge]) -> FlatBatch {
    let letters = dead_letter::batch(refused.iter().map(TooLarge::letter));
    rendered(&*dead_letter::renderer(), &[letters])
}

fn take(inbox: &Receiver<Order>, wait: bool) -> std::result::Result<Order, Step> {
    if wait {
        return inbox.recv().map_err(|_| Step::Over);
    }
    inbox.try_recv().map_err(|error| match error {
        TryRecvError::Empty => Step::Idle,
        TryRecvError::Disconnected => Step::Over,
    })
}

/// Runs a stage in a thread of its own, until it is over or fails: that raises `fault`.
///
/// # Errors
/// If the system gives no thread.
pub fn spawn(
    name: &str,
    fault: &Fault,
    mut step: impl FnMut() -> Result<Step> + Send + 'static,
) -> Result<JoinHandle<()>> {
    let (fault, part) = (fault.clone(), name.to_owned());
    std::thread::Builder::new()
        .name(format!("cutwater:{name}"))
        .spawn(move || {
            fault.clone().guard(&part, move || {
                loop {
                    match step() {
                        Ok(Step::Over) => return,
                        Ok(Step::Done | Step::Idle) => {}
                        Err(error) => return fault.raise(error),
                    }
                }
            });
        })
        .with_context(|| format!("starting the thread {name}"))
}

/// Builds the publishing operator. Only worker 0 has a `publisher`; all rows, which are rendered, come to it, those of
/// `outputs` for sinks and those of `views` for views. The returned
/// stream carries nothing; its frontier is that of what is published.
pub fn publish<'s>(
    scope: Scope<'s, Epoch>,
    outputs: Vec<Stream<'s, Epoch, FlatBatch>>,
    views: Vec<Stream<'s, Epoch, FlatBatch>>,
    digests: Vec<Stream<'s, Epoch, Vec<DigestPart>>>,
    reports: Vec<Stream<'s, Epoch, Vec<Report>>>,
    publisher: Option<Publisher>,
) -> Stream<'s, Epoch, Vec<()>> {
    let mut builder = OperatorBuilder::new("Publish".to_owned(), scope);
    let (_output, stream) = builder.new_output::<Vec<()>>();
    let of_sinks = outputs.len();
    let mut rows: Vec<_> =
        outputs.into_iter().chain(views).map(|output| builder.new_input(output, to_worker_0())).collect();
    let mut digests = builder.new_input(scope.concatenate(digests), Exchange::new(|_: &DigestPart| 0));
    let mut reports = builder.new_input(scope.concatenate(reports), Exchange::new(|_: &Report| 0));
    if let Some(publisher) = &publisher {
        let address = builder.operator_info().address.to_vec();
        let activator = scope.worker().sync_activator_for(address);
        // The stages live as long as the publisher.
        let _ = publisher.orders.send(Order::Wake(activator));
    }
    builder.build(move |_capabilities| {
        let mut arriving = Arriving::default();
        move |frontiers| {
            for (index, input) in rows.iter_mut().enumerate() {
                input.for_each(|capability, batch| {
                    let Some(content) = arriving.of(&capability) else { return };
                    let (of, index) = match index.checked_sub(of_sinks) {
                        Some(view) => (&mut content.viewed, view),
                        None => (&mut content.changes, index),
                    };
                    of.entry(index).or_default().push(std::mem::take(batch));
                });
            }
            digests.for_each(|capability, parts| {
                let Some(content) = arriving.of(&capability) else { return };
                for (output, part) in parts.drain(..) {
                    let digest = content.digests.entry(output).or_default();
                    *digest = digest.wrapping_add(part);
                }
            });
            reports.for_each(|capability, batch| {
                let Some(content) = arriving.of(&capability) else { return };
                content.reports.append(batch);
            });
            let Some(publisher) = &publisher else { return };
            arriving.order(publisher, |epoch| frontiers.iter().any(|frontier| frontier.less_equal(epoch)));
            arriving.let_go(publisher.done.through.load(Ordering::Acquire));
        }
    });
    stream
}

/// What has come to the publishing operator.
#[derive(Default)]
struct Arriving {
    /// What has come of each epoch, and what keeps the frontier from passing it.
    pending: BTreeMap<Epoch, (Capability<Epoch>, Content)>,
    /// The epochs that are to be published, and are not yet.
    ordered: BTreeMap<Epoch, Capability<Epoch>>,
    /// True once what precedes the first epoch is on its way.
    restored: bool,
}

impl Arriving {
    /// What has come of the epoch of this message.
    fn of(&mut self, capability: &InputCapability<Epoch>) -> Option<&mut Content> {
        let epoch = capability.least().copied()?;
        let (_, content) =
            self.pending.entry(epoch).or_insert_with(|| (capability.delayed(&epoch, 0), Content::default()));
        Some(content)
    }

    /// Has all be published that is complete: of other epochs, something may come.
    fn order(&mut self, publisher: &Publisher, may_come: impl Fn(&Epoch) -> bool) {
        // Said also where nothing precedes.
        if !self.restored && !may_come(&BEFORE) {
            self.restored = true;
            let (capability, content) = self.pending.remove(&BEFORE).unzip();
            let _ = publisher.orders.send(Order::Publish(BEFORE, content.unwrap_or_default()));
            self.ordered.extend(capability.map(|capability| (BEFORE, capability)));
        }
        while let Some(first) = self.pending.first_entry() {
            let epoch = *first.key();
            if may_come(&epoch) {
                break;
            }
            let (capability, content) = first.remove();
            // Nothing but what a worker had to say of time.
            if content.changes.is_empty()
                && content.viewed.is_empty()
                && !content.reports.iter().any(Report::is_epoch)
            {
                continue;
            }
            // Fails when a stage has failed: then the run is about to end.
            let _ = publisher.orders.send(Order::Publish(epoch, content));
            self.ordered.insert(epoch, capability);
        }
    }

    /// All epochs up to this one are published.
    fn let_go(&mut self, through: Epoch) {
        while self.ordered.first_key_value().is_some_and(|(&epoch, _)| epoch <= through) {
            self.ordered.pop_first();
        }
    }
}
