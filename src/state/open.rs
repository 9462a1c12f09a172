//! Opening a job's state: what a run goes on from, and what keeps it while it lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cutwater_dataflows::Epoch;

use super::checkpoint::coordinator::{Completing, Coordinator, History, Plan};
use super::checkpoint::keeper::{RunKeepers, Threads};
use super::checkpoint::load::newest;
use super::checkpoint::run::{Files, Sizes};
use super::checkpoint::{Checkpoints, Keepers};
use super::cut::Cut;
use super::identity::{Identity, new_id};
use super::ledger::{Ledger, LedgerCuts, Retirer};
use super::lock::Lock;
use super::resume::Resume;
use super::storage::{self, Storage};
use super::trail::Trail;
use crate::fault::Fault;
use crate::job;
use crate::publish::Cuts;
use crate::time::micros_since_epoch;

/// How state is kept.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Where: a folder or a URL, as typed.
    pub place: String,
    /// The time between checkpoints.
    pub every: Duration,
    /// How long the ledger of epochs is kept that no restart needs.
    pub retention: Duration,
}

/// A job's state in the process with worker 0, which alone writes ledger and manifests.
pub struct Books {
    storage: Arc<dyn Storage>,
    lock: Option<Lock>,
    ledger: Ledger,
    trail: Trail,
    coordinator: Coordinator,
}

/// What is alive while a run keeps state. To be ended after the run.
pub struct Kept {
    _lock: Option<Lock>,
    completing: Option<Completing>,
    threads: Threads,
}

impl Kept {
    /// The run has ended, well or not: ends what worked for it.
    pub fn end(self) {
        drop(self.completing);
        self.threads.join();
    }
}

impl Books {
    /// Claims the state of the job for this run and finds out what to go on from. `workers`: of all processes.
    ///
    /// # Errors
    /// If another run has it, it is another job's, it is damaged beyond what a checkpoint before can heal, or it can't be
    /// read or written.
    pub fn open(keeping: &Keeping, identity: Identity, workers: usize) -> Result<(Books, Resume)> {
        let (storage, lock) =
            storage::claim(&keeping.place).with_context(|| format!("--state {}", keeping.place))?;
        let identity = identity.adopt(&*storage)?;
        let resume = resume(&storage, &identity.job)?;
        let ledger = Ledger::open(Arc::clone(&storage), &identity.job)?;
        let (ledger, resume) = after(ledger, resume)?;
        let trail = Trail::new(&resume);
        let plan = Plan {
            job: resume.job.clone(),
            collections: identity.collections,
            workers,
            every: keeping.every,
            from: resume.checkpoint,
        };
        let history = Past { trail: trail.clone(), retirer: ledger.retirer(), retention: keeping.retention };
        let start = Instant::now();
        let elapsed = Box::new(move || start.elapsed());
        let coordinator = Coordinator::new(Arc::clone(&storage), plan, elapsed, Box::new(history))?;
        Ok((Books { storage, lock, ledger, trail, coordinator }, resume))
    }

    /// Starts what works for the run.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start(self, resume: Resume, fault: &Fault) -> Result<(job::State, Box<dyn Cuts>, Kept)> {
        let Books { storage, lock, ledger, trail, coordinator } = self;
        let cuts = LedgerCuts::new(ledger, resume.replay.clone(), Box::new(micros_since_epoch));
        let cuts = Box::new(trail.beside(cuts));
        let completing = coordinator.start(fault)?;
        let (mut state, mut kept) = start(storage, resume, fault)?;
        state.checkpoints = Some(Arc::new(coordinator) as Arc<dyn Checkpoints>);
        kept._lock = lock;
        kept.completing = Some(completing);
        Ok((state, cuts, kept))
    }
}

/// Joins a run whose state is kept by another process, which told what to go on from.
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
    start(storage, resume, fault)
}

fn start(storage: Arc<dyn Storage>, resume: Resume, fault: &Fault) -> Result<(job::State, Kept)> {
    let files = Files::new(storage, &new_id()[..16], Sizes::default());
    let (keepers, threads) = RunKeepers::start(files, resume.collections.clone(), fault)?;
    let keepers: Arc<dyn Keepers> = Arc::new(keepers);
    let state = job::State { resume: Arc::new(resume), keepers, checkpoints: None };
    Ok((state, Kept { _lock: None, completing: None, threads }))
}

/// The newest checkpoint.
fn resume(storage: &Arc<dyn Storage>, job: &str) -> Result<Resume> {
    let (manifest, warnings) = newest(storage, job, true)?;
    for warning in warnings {
        tracing::warn!("{warning}; going on from the one before");
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
fn after(ledger: Ledger, mut resume: Resume) -> Result<(Ledger, Resume)> {
    let checkpoint = resume.checkpoint;
    let (cut, replay) = ledger.since(checkpoint)?;
    ensure!(
        checkpoint == 0 || cut == resume.cut,
        "the ledger's cut of epoch {checkpoint} is not that of the checkpoint: they are not of one run. Bring the files \
         back as they were, or begin anew with another --state"
    );
    resume.published = ledger.published().max(checkpoint);
    resume.replay = replay;
    Ok((ledger, resume))
}

/// What checkpoints need of the ledger.
struct Past {
    trail: Trail,
    retirer: Retirer,
    retention: Duration,
}

impl History for Past {
    fn cut(&mut self, epoch: Epoch) -> Result<Cut> {
        self.trail.cut(epoch)
    }

    fn retire(&mut self, oldest: Epoch) -> Result<()> {
        let before = micros_since_epoch().saturating_sub(self.retention.as_micros() as u64);
        self.retirer.retire(oldest + 1, before).map(drop)
    }
}
