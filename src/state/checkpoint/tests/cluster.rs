//! A cluster that keeps collections, without workers and without threads: each part takes a step when it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::key::hash as row_hash;
use cutwater_dataflows::persist::{HashRange, Sharding, StateWriter};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::memory::Memory;
use crate::fault::Fault;
use crate::feed::Place;
use crate::state::checkpoint::coordinator::{Coordinator, History, Plan};
use crate::state::checkpoint::merge::Merging;
use crate::state::checkpoint::run::{RunFiles, Sizes};
use crate::state::checkpoint::state_writer::{Persistence, RunStateWriters};
use crate::state::checkpoint::{Checkpoints, StateWriters, load};
use crate::state::cut::Cut;
use crate::state::storage::Storage;
use crate::time::MachineTime;

pub(super) const COLLECTIONS: [&str; 2] = ["words", "pairs"];
pub(super) const JOB: &str = "job";

/// The rows of each collection, by name.
pub(super) type Rows = BTreeMap<String, BTreeMap<Vec<u8>, i64>>;

/// A run of the program on a store, from its newest checkpoint.
pub(super) struct Cluster {
    pub(super) coordinator: Coordinator,
    pub(super) writers: Vec<Box<dyn StateWriter>>,
    processes: Vec<(Persistence, Merging)>,
    workers: usize,
    /// All epochs up to this one are sealed.
    pub(super) epoch: Epoch,
    /// What the ledger was told.
    pub(super) retired: Arc<AtomicU64>,
}

/// A ledger in which each epoch moves one partition by one.
pub(super) struct Ledger(Arc<AtomicU64>);

impl Ledger {
    pub(super) fn new() -> Box<Self> {
        Box::new(Ledger(Arc::default()))
    }
}

pub(super) fn cut(epoch: Epoch) -> Cut {
    let mut cut = Cut::default();
    cut.set("lines", "topic", 0, epoch as i64);
    cut
}

impl History for Ledger {
    fn cut(&mut self, epoch: Epoch) -> Result<Cut> {
        Ok(cut(epoch))
    }

    fn retire(&mut self, oldest: Epoch) -> Result<()> {
        assert!(oldest >= self.0.fetch_max(oldest, Ordering::Relaxed));
        Ok(())
    }
}

/// A name for each start.
static STARTS: AtomicU64 = AtomicU64::new(0);

impl Cluster {
    /// Starts one, at a number of workers over all processes. Returns what it has restored.
    pub(super) fn start(memory: &Memory, processes: usize, workers: usize, sizes: Sizes) -> (Self, Rows) {
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        let (_, warnings) = load::newest(&storage, JOB, true).unwrap();
        assert_eq!(warnings, [] as [String; 0]);
        Cluster::resume(memory, processes, workers, sizes)
    }

    /// As [`Cluster::start`], whatever is damaged.
    pub(super) fn resume(memory: &Memory, processes: usize, workers: usize, sizes: Sizes) -> (Self, Rows) {
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        let (manifest, _) = load::newest(&storage, JOB, true).unwrap();
        let from = manifest.as_ref().map_or(0, |manifest| manifest.epoch);
        if let Some(manifest) = &manifest {
            assert_eq!(manifest.cut, cut(from));
        }
        let collections: BTreeMap<_, _> =
            manifest.into_iter().flat_map(|m| m.collections).map(|(name, rows)| (name, rows.runs)).collect();
        let plan = Plan {
            job: JOB.into(),
            collections: COLLECTIONS.map(str::to_owned).to_vec(),
            workers,
            every: Duration::ZERO,
            from,
        };
        let retired = Arc::new(AtomicU64::new(0));
        let ledger = Box::new(Ledger(Arc::clone(&retired)));
        let coordinator =
            Coordinator::new(Arc::clone(&storage), plan, Arc::new(MachineTime::default()), ledger).unwrap();
        let (mut writers, mut parts) = (Vec::new(), Vec::new());
        let mut restored: Rows = COLLECTIONS.map(|name| (name.to_owned(), BTreeMap::new())).into();
        for process in 0..processes {
            let start = format!("{}", STARTS.fetch_add(1, Ordering::Relaxed));
            let files = RunFiles::new(Arc::clone(&storage), &start, sizes);
            let fault = Fault::default();
            let (makers, persistence, merging) = RunStateWriters::new(files, collections.clone(), &fault);
            parts.push((persistence, merging));
            let here = (0..workers).filter(|worker| worker % processes == process);
            for worker in here {
                for name in COLLECTIONS {
                    let mut writer = makers.writer(name, Place { worker, workers }, Sharding::by_row());
                    let rows = restored.get_mut(name).unwrap();
                    while writer.restore(&mut |batch| {
                        for (row, count) in batch.iter() {
                            assert_eq!(HashRange::worker(row_hash(row), workers), worker);
                            *rows.entry(row.to_vec()).or_default() += count;
                        }
                    }) {}
                    writers.push((worker, writer));
                }
            }
        }
        // In the order of workers, each with its collections.
        writers.sort_by_key(|(worker, _)| *worker);
        let writers = writers.into_iter().map(|(_, writer)| writer).collect();
        restored.values_mut().for_each(|rows| rows.retain(|_, count| *count != 0));
        (Cluster { coordinator, writers, processes: parts, workers, epoch: from, retired }, restored)
    }

    /// Seals the next epoch with these changes.
    pub(super) fn seal(&mut self, changes: &BTreeMap<String, FlatBatch>) {
        self.epoch += 1;
        for (index, writer) in self.writers.iter_mut().enumerate() {
            let (worker, name) = (index / COLLECTIONS.len(), COLLECTIONS[index % COLLECTIONS.len()]);
            let mut mine = FlatBatch::default();
            for (row, count) in changes.get(name).into_iter().flat_map(FlatBatch::iter) {
                if HashRange::worker(row_hash(row), self.workers) == worker {
                    mine.push(row, count);
                }
            }
            if !mine.is_empty() {
                writer.seal(self.epoch, mine);
            }
        }
    }

    /// Asks for a checkpoint of the last sealed epoch. True iff it is begun.
    pub(super) fn begin(&mut self) -> bool {
        let begun = self.coordinator.begin(self.epoch);
        if begun {
            self.writers.iter_mut().for_each(|writer| writer.checkpoint(Some(self.epoch)));
        }
        begun
    }

    /// One step of one part, or the parts of one worker; false if there was nothing for it to do.
    pub(super) fn step(&mut self, rng: &mut StdRng) -> bool {
        let process = rng.random_range(0..self.processes.len());
        let (persistence, merging) = &mut self.processes[process];
        match rng.random_range(0..4) {
            0 => persistence.step().unwrap(),
            1 => merging.step().unwrap(),
            2 => self.coordinator.step().unwrap(),
            _ => {
                let writer = rng.random_range(0..self.writers.len());
                let parts = self.writers[writer].finished();
                parts.iter().for_each(|part| self.coordinator.part(part.clone()));
                !parts.is_empty()
            }
        }
    }

    /// The keeping of the first process.
    pub(super) fn persistence(&mut self) -> &mut Persistence {
        &mut self.processes[0].0
    }

    /// All there is to do.
    pub(super) fn settle(&mut self) {
        self.try_settle().unwrap();
    }

    /// As [`Cluster::settle`], up to the first error.
    pub(super) fn try_settle(&mut self) -> Result<()> {
        let mut busy = true;
        while std::mem::take(&mut busy) {
            for (persistence, merging) in &mut self.processes {
                busy |= persistence.step()?;
                busy |= merging.step()?;
            }
            for part in self.writers.iter_mut().flat_map(|writer| writer.finished()) {
                self.coordinator.part(part);
                busy = true;
            }
            busy |= self.coordinator.step()?;
        }
        Ok(())
    }

    /// Ends it in order, with a last checkpoint.
    pub(super) fn finish(mut self) {
        self.coordinator.published(self.epoch);
        self.writers.iter_mut().for_each(|writer| writer.checkpoint(None));
        self.settle();
        self.coordinator.finish().unwrap();
    }
}

/// What chance makes of rows: changes, and their sum.
pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) rows: Rows,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let rows = COLLECTIONS.map(|name| (name.to_owned(), BTreeMap::new())).into();
        World { rng: StdRng::seed_from_u64(seed), rows }
    }

    /// The changes of an epoch: some rows more, some fewer, some gone.
    pub(super) fn change(&mut self, most: usize) -> BTreeMap<String, FlatBatch> {
        let mut changes: BTreeMap<String, FlatBatch> = BTreeMap::new();
        for (name, rows) in &mut self.rows {
            let batch = changes.entry(name.clone()).or_default();
            for _ in 0..self.rng.random_range(0..=most) {
                let row = self.rng.random_range(0..200u32).pow(2).to_string().into_bytes();
                let held = rows.entry(row.clone()).or_default();
                let count = match self.rng.random_range(0..3) {
                    0 if *held != 0 => -*held,
                    _ => self.rng.random_range(-2..5),
                };
                *held += count;
                batch.push(&row, count);
            }
            rows.retain(|_, count| *count != 0);
        }
        changes
    }
}
