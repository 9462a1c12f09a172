//! Opening a job's state: what a run resumes from, and what keeps it while it lives.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cutwater_dataflows::Epoch;

use super::checkpoint::coordinator::{Completing, Coordinator, History, Plan};
use super::checkpoint::load::newest;
use super::checkpoint::run::{RunFiles, Sizes};
use super::checkpoint::state_writer::{RunStateWriters, Threads};
use super::checkpoint::{Checkpoints, StateWriters};
use super::cut::Cut;
use super::identity::{Identity, new_id};
use super::joining::Joining;
use super::known::Known;
use super::ledger::{Ledger, LedgerCuts, Lookup, Retirer, Since};
use super::resume::Resume;
use super::storage::{self, Storage};
use crate::fault::Fault;
use crate::job;
use crate::kafka::identity::Pinned;
use crate::publish::Cuts;
use crate::time::Time;

/// How state is kept.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// The time between checkpoints.
    pub every: Duration,
    /// How long the ledger of epochs is kept that no restart needs.
    pub retention: Duration,
}

/// A job's state in the process with worker 0, which alone writes ledger and manifests.
pub struct OwnedState {
    /// Where it is kept.
    pub storage: Arc<dyn Storage>,
    /// Hears of every cut: the ledger.
    pub cuts: Box<dyn Cuts>,
    /// Puts checkpoints together.
    pub coordinator: Coordinator,
    /// What is known of it.
    pub known: Known,
}

impl OwnedState {
    /// Finds out what to resume from, of a state that nobody else writes. `workers`: of all processes. `ids`: of the run's
    /// topics.
    ///
    /// # Errors
    /// If it is another job's, it is damaged beyond what a checkpoint before can heal, or it can't be read or written.
    pub fn open(
        storage: Arc<dyn Storage>,
        identity: Identity,
        workers: usize,
        options: StateOptions,
        ids: &Pinned,
        time: &Arc<dyn Time>,
    ) -> Result<(OwnedState, Resume)> {
        let identity = identity.adopt(&*storage)?;
        let resume = newest_checkpoint(&storage, &identity.job)?;
        let ledger = Ledger::open(Arc::clone(&storage), &identity.job)?;
        let resume = with_ledger(&ledger, resume)?;
        let plan = Plan {
            job: resume.job.clone(),
            collections: identity.collections.clone(),
            workers,
            every: options.every,
            from: resume.checkpoint,
        };
        let past = Past {
            lookup: ledger.lookup(),
            retirer: ledger.retirer(),
            retention: options.retention,
            time: Arc::clone(time),
        };
        let coordinator = Coordinator::new(Arc::clone(&storage), plan, Arc::clone(time), Box::new(past))?;
        let calendar = Arc::clone(time);
        let cuts = LedgerCuts::new(ledger, &resume, Box::new(move || calendar.calendar()));
        let known = coordinator.known();
        let cuts = Box::new(cuts.telling(known.clone()));
        let cuts = Joining::kept(ids.clone(), Arc::clone(&storage), identity, cuts)?;
        Ok((OwnedState { storage, cuts: Box::new(cuts), coordinator, known }, resume))
    }
}

/// What works for a run that keeps state, in its threads.
pub struct Kept {
    threads: Threads,
    completing: Option<Completing>,
    known: Known,
}

impl Kept {
    /// What is known of the state; nothing in a process that does not write it.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The run has ended well: ends what worked for it.
    pub fn end(self) {
        drop(self.completing);
        self.threads.join();
    }
}

/// Starts what works for a run, in the process with worker 0.
///
/// # Errors
/// If the system gives no threads.
pub fn start(owned: OwnedState, resume: Resume, fault: &Fault) -> Result<(job::State, Box<dyn Cuts>, Kept)> {
    let OwnedState { storage, cuts, coordinator, known } = owned;
    let completing = coordinator.start(fault)?;
    let (mut state, mut kept) = start_keepers(storage, resume, fault)?;
    state.checkpoints = Some(Arc::new(coordinator) as Arc<dyn Checkpoints>);
    (kept.completing, kept.known) = (Some(completing), known);
    Ok((state, cuts, kept))
}

/// Joins a run whose state is kept by another process, which told what to resume from.
///
/// # Errors
/// If that state is not seen here, or the system gives no threads.
pub fn join(place: &str, resume: Resume, fault: &Fault) -> Result<(job::State, Kept)> {
    let storage = storage::open(place).with_context(|| format!("--state {place}"))?;
    let here = Identity::load(&*storage)?.map(|identity| identity.job);
    ensure!(
        here.as_ref() == Some(&resume.job),
        "--state {place} is not the same here and in process 0: all processes need to see the same storage, by a \
         shared folder or a URL"
    );
    start_keepers(storage, resume, fault)
}

fn start_keepers(storage: Arc<dyn Storage>, resume: Resume, fault: &Fault) -> Result<(job::State, Kept)> {
    let files = RunFiles::new(storage, &new_id()[..16], Sizes::default());
    let (writers, threads) = RunStateWriters::start(files, resume.collections.clone(), fault)?;
    let writers: Arc<dyn StateWriters> = Arc::new(writers);
    let state = job::State { resume: Arc::new(resume), writers, checkpoints: None };
    Ok((state, Kept { completing: None, threads, known: Known::default() }))
}

/// The newest checkpoint.
fn newest_checkpoint(storage: &Arc<dyn Storage>, job: &str) -> Result<Resume> {
    let (manifest, warnings) = newest(storage, job, true)?;
    for warning in warnings {
        tracing::warn!("{warning}; resuming from the one before");
    }
    let mut resume = Resume { job: job.to_owned(), ..Resume::default() };
    if let Some(manifest) = manifest {
        resume.checkpoint = manifest.epoch;
        resume.cut = manifest.cut;
        resume.collections = manifest.collections.into_iter().map(|(name, rows)| (name, rows.runs)).collect();
    }
    Ok(resume)
}

/// Adds what the ledger says of the epochs after the checkpoint.
fn with_ledger(ledger: &Ledger, mut resume: Resume) -> Result<Resume> {
    let checkpoint = resume.checkpoint;
    let Since { cut, times, entries } = ledger.since(checkpoint)?;
    ensure!(
        checkpoint == 0 || cut == resume.cut,
        "the ledger's cut of epoch {checkpoint} is not that of the checkpoint: they are not of one run. Bring the files \
         back as they were, or start again with another --state"
    );
    resume.published = ledger.published().max(checkpoint);
    (resume.times, resume.replay) = (times, entries);
    Ok(resume)
}

/// What checkpoints need of the ledger.
struct Past {
    lookup: Lookup,
    retirer: Retirer,
    retention: Duration,
    time: Arc<dyn Time>,
}

impl History for Past {
    fn cut(&mut self, epoch: Epoch) -> Result<Cut> {
        self.lookup.cut(epoch)
    }

    fn retire(&mut self, oldest: Epoch) -> Result<()> {
        let before = self.time.calendar().saturating_sub(self.retention.as_micros() as u64);
        self.retirer.retire(oldest + 1, before).map(drop)
    }
}
