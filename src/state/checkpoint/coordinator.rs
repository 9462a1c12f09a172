//! Putting checkpoints together: when one is due, of which parts it consists, and what is not needed any more.
//!
//! # What is removed, and when
//! The newest two checkpoints are kept. Once a third is complete, the manifests of older ones go, then every run file
//! that was named by a manifest and is no longer. A file that no manifest has named yet is being written, or on its way
//! here in a part, and is left alone: if it is merged away before it is ever named, the process that wrote it removes
//! it. A worker's runs are those of its last part and newer ones, so whatever a run of the program still needs is
//! named by the newest complete checkpoint, or has never been named.
//!
//! A run that was killed leaves files that it never came to name. So the files that are there before any process of
//! this run has begun to write count as named once: those that no manifest names are removed at the start. A manifest
//! that can't be read names nothing: it can't be gone on from, and its files neither.
//!
//! Where no lock keeps two runs apart (on an object store), the ledger ends the older of them with its next epoch. Until
//! then it harms nothing that the newer one resumes from: manifests are *created*, so it can't replace one of the newer
//! run's; it removes no manifest of a later epoch than its own; and files of the newer run are none that it knows. What
//! it completes after the newer run has begun may have lost files; then it is passed over as any damaged one is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::{CheckpointPart, SortedRun};
use indicatif::HumanBytes;

use super::manifest::{Manifest, Rows};
use super::state_writer::thread;
use super::{Checkpoints, Made, load, run};
use crate::crash;
use crate::fault::Fault;
use crate::fold::Folded;
use crate::measure::buckets::{Buckets, DURATIONS};
use crate::shown::count;
use crate::state::cut::Cut;
use crate::state::known::Known;
use crate::state::storage::Storage;
use crate::time::Time;

/// What checkpoints need of the ledger.
pub trait History: Send {
    /// The cut of an epoch: all partitions.
    ///
    /// # Errors
    /// If the epoch is not known.
    fn cut(&mut self, epoch: Epoch) -> Result<Cut>;

    /// No epoch before this one will be asked for, nor gone on from.
    ///
    /// # Errors
    /// If what is not needed any more can't be removed.
    fn retire(&mut self, oldest: Epoch) -> Result<()>;
}

/// Epochs after which the next checkpoint is due, however short the time: a restart holds in memory what the ledger says
/// of each epoch since the last one, about a kilobyte where few partitions move.
pub(crate) const EPOCHS: Epoch = 10_000;

/// What checkpoints are made of, and when.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The job's identifier.
    pub job: String,
    /// The persisted collections.
    pub collections: Vec<String>,
    /// The workers, over all processes.
    pub workers: usize,
    /// The time from the beginning of one checkpoint to that of the next, at least, unless 10,000 epochs have passed.
    pub every: Duration,
    /// The epoch of the checkpoint that the run resumes from; 0 if there is none.
    pub from: Epoch,
}

/// Puts checkpoints together. Clones share it.
#[derive(Clone)]
pub struct Coordinator(Arc<Shared>);

struct Shared {
    plan: Plan,
    time: Arc<dyn Time>,
    state: Mutex<State>,
    changed: Condvar,
    /// Locked while a step is under way, so that there is one at a time.
    store: Mutex<Store>,
    known: Known,
}

#[derive(Default)]
struct State {
    /// When the last checkpoint was begun.
    begun: Duration,
    /// The epoch of which a checkpoint is being made.
    making: Option<Epoch>,
    parts: Pieces,
    /// Those of the end.
    last: Pieces,
    published: Epoch,
    /// The epoch of the newest complete checkpoint.
    complete: Epoch,
    /// How long each took that this run has made, for those who watch.
    took: Option<Buckets>,
    finishing: bool,
    /// The thread is to end.
    ending: bool,
}

/// The runs of each collection and worker.
type Pieces = BTreeMap<(String, usize), Vec<SortedRun>>;

/// The thread of a coordinator, which ends with it.
pub struct Completing(Coordinator, Option<JoinHandle<()>>);

impl Drop for Completing {
    fn drop(&mut self) {
        self.0.0.change(|state| state.ending = true);
        // A panic there has been raised as a fault.
        self.1.take().map(JoinHandle::join);
    }
}

impl Coordinator {
    /// Looks at what is there. Call it before any process of the run begins to write: what no checkpoint names by then
    /// is not needed.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn new(
        storage: Arc<dyn Storage>,
        plan: Plan,
        time: Arc<dyn Time>,
        history: Box<dyn History>,
    ) -> Result<Coordinator> {
        let known = Known::of(storage.place().to_string());
        let store = Mutex::new(Store::new(storage, plan.from, history, known.clone())?);
        let state = Mutex::new(State { begun: time.now(), complete: plan.from, ..State::default() });
        Ok(Coordinator(Arc::new(Shared { plan, time, state, changed: Condvar::new(), store, known })))
    }

    /// What is known of the state while it works.
    pub fn known(&self) -> Known {
        self.0.known.clone()
    }

    /// Starts a thread that does what there is to do, for as long as the result lives.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(&self, fault: &Fault) -> Result<Completing> {
        let here = self.clone();
        let thread = thread("complete", fault, move || {
            let Shared { plan, changed, .. } = &*here.0;
            loop {
                while here.step()? {}
                let idle = |state: &mut State| !state.ending && state.ready(plan).is_none();
                let state = changed.wait_while(here.0.lock(), idle).unwrap_or_else(PoisonError::into_inner);
                if state.ending {
                    return Ok(());
                }
            }
        })?;
        Ok(Completing(self.clone(), Some(thread)))
    }

    /// Does what is next: completes a checkpoint, or removes what is not needed; false if there is nothing to do.
    ///
    /// # Errors
    /// If the checkpoint can't be written.
    pub fn step(&self) -> Result<bool> {
        let Shared { plan, store, time, .. } = &*self.0;
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.clean() {
            return Ok(true);
        }
        let Some((epoch, parts)) = self.0.lock().take(plan) else { return Ok(false) };
        store
            .complete(plan, epoch, parts, time.calendar())
            .with_context(|| format!("the checkpoint of epoch {epoch}"))?;
        let now = time.now();
        self.0.change(|state| {
            state.complete = epoch;
            state.making = None;
            let took = now.saturating_sub(state.begun);
            state.took.get_or_insert_with(|| Buckets::new(DURATIONS)).took(took);
        });
        Ok(true)
    }
}

impl Checkpoints for Coordinator {
    fn begin(&self, epoch: Epoch) -> bool {
        let Shared { plan, time, .. } = &*self.0;
        let now = time.now();
        // Nobody waits for that: there is nothing to do before parts come.
        let mut state = self.0.lock();
        let due =
            now.saturating_sub(state.begun) >= plan.every || epoch >= state.complete.saturating_add(EPOCHS);
        let due = due && state.making.is_none() && epoch > state.complete;
        if due {
            state.begun = now;
            state.making = Some(epoch);
        }
        due
    }

    fn part(&self, part: CheckpointPart) {
        let CheckpointPart { collection, worker, epoch, runs } = part;
        self.0.change(|state| {
            assert!(
                epoch.is_none() || epoch == state.making,
                "a part of epoch {epoch:?}, not {:?}",
                state.making
            );
            let parts = if epoch.is_some() { &mut state.parts } else { &mut state.last };
            parts.insert((collection, worker), runs);
        });
    }

    fn made(&self) -> Made {
        let took = self.0.lock().took.clone();
        let made = Made { took: took.unwrap_or_else(|| Buckets::new(DURATIONS)), ..Made::default() };
        match self.0.known.now().checkpoints.last() {
            None => made,
            Some(newest) => {
                let sizes = newest.collections.values();
                let (rows, bytes) = sizes.fold((0, 0), |sum, (rows, bytes, _)| (sum.0 + rows, sum.1 + bytes));
                Made { epoch: newest.epoch, at: newest.time, rows, bytes, ..made }
            }
        }
    }

    fn published(&self, epoch: Epoch) {
        self.0.change(|state| state.published = state.published.max(epoch));
    }

    fn finish(&self) -> Result<()> {
        let now = self.0.time.now();
        self.0.change(|state| {
            state.finishing = true;
            if state.making.is_none() {
                state.begun = now;
            }
        });
        while self.step()? {}
        let state = self.0.lock();
        if let Some(epoch) = state.making {
            bail!("the checkpoint of epoch {epoch} can't be completed: not all of its parts have come");
        }
        let (complete, published) = (state.complete, state.published);
        ensure!(complete >= published, "the last checkpoint is of epoch {complete} instead of {published}");
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }
}

impl State {
    /// The epoch of the checkpoint that can be completed now.
    fn ready(&self, plan: &Plan) -> Option<Epoch> {
        let all = plan.collections.len() * plan.workers;
        match self.making {
            Some(epoch) => (self.published >= epoch && self.parts.len() == all).then_some(epoch),
            // Where no epoch came after the newest one, nothing has changed.
            None => {
                let last = self.finishing && self.published > self.complete && self.last.len() == all;
                last.then_some(self.published)
            }
        }
    }

    /// As [`State::ready`], with its parts.
    fn take(&mut self, plan: &Plan) -> Option<(Epoch, Pieces)> {
        let epoch = self.ready(plan)?;
        let parts = if self.making.is_some() { &mut self.parts } else { &mut self.last };
        Some((epoch, std::mem::take(parts)))
    }
}

/// The manifests and files that are there.
struct Store {
    storage: Arc<dyn Storage>,
    history: Box<dyn History>,
    /// The manifests that are kept: epochs and files, the newest last.
    kept: Vec<(Epoch, BTreeSet<String>)>,
    /// RunFiles that a manifest has named, or that were there at the start.
    known: BTreeSet<String>,
    /// At the start: those of them that a manifest names.
    start: Option<BTreeSet<String>>,
    /// Manifests that were there at the start, and that the run does not resume from: they may be replaced.
    passed_over: BTreeSet<String>,
    /// Who is told of complete checkpoints.
    told: Known,
}

/// Checkpoints that are kept.
const KEPT: usize = 2;

impl Store {
    fn new(storage: Arc<dyn Storage>, from: Epoch, history: Box<dyn History>, told: Known) -> Result<Self> {
        let known = storage.list(run::FOLDER)?.into_iter().map(|(name, _)| name).collect();
        let (mut kept, mut named, mut passed_over) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (epoch, name) in load::manifests(&*storage)? {
            if epoch > from {
                passed_over.insert(name.clone());
            }
            let files = match load::read(&*storage, &name, None) {
                Ok(manifest) => {
                    if epoch == from {
                        told.complete(&manifest, KEPT);
                    }
                    manifest.files()
                }
                Err(error) if epoch == from => return Err(error.context(name)),
                Err(_) => continue,
            };
            named.extend(files.iter().cloned());
            if epoch == from {
                kept.push((epoch, files));
            }
        }
        Ok(Store { storage, history, kept, known, start: Some(named), passed_over, told })
    }

    /// Removes what an earlier run has left; false if that was done.
    fn clean(&mut self) -> bool {
        let Some(named) = self.start.take() else { return false };
        self.remove(named).unwrap_or_else(left);
        true
    }

    /// Writes the manifest; then the checkpoint is there. Removes what is not needed any more.
    fn complete(&mut self, plan: &Plan, epoch: Epoch, parts: Pieces, time: u64) -> Result<()> {
        let mut runs: BTreeMap<String, Vec<SortedRun>> =
            plan.collections.iter().map(|collection| (collection.clone(), Vec::new())).collect();
        for ((collection, _), mut part) in parts {
            runs.entry(collection).or_default().append(&mut part);
        }
        let collections = runs.into_iter().map(|(collection, runs)| (collection, Rows::new(runs))).collect();
        let cut = self.history.cut(epoch)?;
        let manifest = Manifest::new(&plan.job, epoch, cut, time, collections);
        crash::point("manifest-begun");
        self.write(&Manifest::name(epoch), &manifest.encode())?;
        crash::point("manifest-written");
        self.told.complete(&manifest, KEPT);
        told(&manifest);
        let files = manifest.files();
        self.known.extend(files.iter().cloned());
        self.kept.push((epoch, files));
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        self.sweep().unwrap_or_else(left);
        self.history.retire(self.kept[0].0)
    }

    /// Writes a manifest, in place of none but one that was passed over.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.passed_over.contains(name) {
            return self.storage.put(name, bytes);
        }
        // Where an answer was lost, it may be there because of us.
        let ours = || Ok::<_, anyhow::Error>(self.storage.read(name, None)?.as_deref() == Some(bytes));
        ensure!(
            self.storage.create(name, bytes)? || ours()?,
            "another run has taken over: {name} is there already; one run at a time can write a state"
        );
        Ok(())
    }

    /// Removes the manifests before those that are kept, and the files that these don't name.
    fn sweep(&mut self) -> Result<()> {
        let oldest = self.kept.first().map_or(0, |(epoch, _)| *epoch);
        for (epoch, name) in load::manifests(&*self.storage)? {
            if epoch < oldest {
                self.storage.remove(&name)?;
            }
        }
        crash::point("manifests-removed");
        self.remove(self.kept.iter().flat_map(|(_, files)| files).cloned().collect())
    }

    /// Removes the known files that are not named.
    fn remove(&mut self, named: BTreeSet<String>) -> Result<()> {
        for file in self.known.difference(&named) {
            self.storage.remove(file)?;
        }
        self.known = named;
        Ok(())
    }
}

/// Says that a checkpoint is complete.
fn told(manifest: &Manifest) {
    let of = |each: fn(&Rows) -> u64| manifest.collections.values().map(each).sum::<u64>();
    let (epoch, rows, bytes) = (manifest.epoch, of(|rows| rows.rows), of(|rows| rows.bytes));
    tracing::info!(
        epoch,
        rows,
        bytes,
        "checkpoint of epoch {epoch}: {}, {}",
        count(rows, "row"),
        HumanBytes(bytes)
    );
}

/// What can't be removed now is tried again when the next checkpoint is complete.
fn left(error: anyhow::Error) {
    static LEFT: Folded = Folded::new("checkpoints that are left");
    LEFT.warn_always(|| format!("checkpoints that are not needed any more are left: {error:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::storage::fake::FakeDisk;
    use crate::state::storage::files::Files;
    use crate::time::MachineTime;

    struct Past;

    impl History for Past {
        fn cut(&mut self, _: Epoch) -> Result<Cut> {
            Ok(Cut::default())
        }
        fn retire(&mut self, _: Epoch) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_checkpoint_is_due_after_many_epochs_however_short_the_time() {
        let hour = Duration::from_secs(3600);
        let plan = Plan { job: "j".into(), collections: Vec::new(), workers: 1, every: hour, from: 0 };
        let storage: Arc<dyn Storage> = Arc::new(Files::new(Arc::new(FakeDisk::new(0))));
        let time: Arc<dyn Time> = Arc::new(MachineTime::default());
        let coordinator = Coordinator::new(storage, plan, time, Box::new(Past)).unwrap();
        assert!(!coordinator.begin(1) && !coordinator.begin(EPOCHS - 1));
        assert!(coordinator.begin(EPOCHS), "so many epochs are replayed at most");
        assert!(!coordinator.begin(EPOCHS + 1), "one is being made");
        coordinator.published(EPOCHS);
        while coordinator.step().unwrap() {}
        assert!(!coordinator.begin(2 * EPOCHS - 1) && coordinator.begin(2 * EPOCHS));
    }
}
