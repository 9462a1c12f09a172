//! What two readers hold over all lives of a job: one of committed epochs, one of all that was ever written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use cutwater::feed::seeded::{Cut, World};
use cutwater::sink::Sink;
use cutwater::state::resume::Resume;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Rows, add, advance, recount};
use crate::timed::Watch;

/// What the readers hold. Clones share it.
#[derive(Clone)]
pub(super) struct Held(Arc<Mutex<State>>);

struct State {
    world: World,
    rng: StdRng,
    /// Commits may fail, before or after they have taken place.
    unsure: bool,
    committed: Epoch,
    cut: Cut,
    sums: BTreeMap<String, Rows>,
    open: BTreeMap<String, Vec<Change>>,
    /// By epoch and output, what was written, at least once.
    written: BTreeMap<(Epoch, String), Vec<Change>>,
    again: usize,
    /// Epochs in which nothing was read.
    empty: u64,
    /// The rows of the outputs that depend on time: these can't be recounted.
    timed: BTreeMap<String, Rows>,
}

impl Held {
    pub(super) fn new(seed: u64, world: World) -> Self {
        let sums = recount(&world, &Cut::new()).into_keys().map(|output| (output, Rows::new())).collect();
        let rng = StdRng::seed_from_u64(seed ^ 0x5148);
        Held(Arc::new(Mutex::new(State {
            world,
            rng,
            unsure: true,
            committed: 0,
            cut: Cut::new(),
            sums,
            open: BTreeMap::new(),
            written: BTreeMap::new(),
            again: 0,
            empty: 0,
            timed: no_rows(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits may fail, or may not any more.
    pub(super) fn set_unsure(&self, unsure: bool) {
        self.lock().unsure = unsure;
    }

    /// A sink that commits whole epochs, and knows which it holds. All outputs share its transactions.
    pub(super) fn transactional(&self) -> Box<dyn Sink> {
        Box::new(Transactional(self.clone()))
    }

    /// A sink that does not know what it holds.
    pub(super) fn forgetful(&self, output: &str) -> Box<dyn Sink> {
        Box::new(Forgetful { held: self.clone(), output: output.to_owned() })
    }

    /// The job has come to its end: all was read, both readers have all, and the second one has nothing else.
    pub(super) fn check_end(&self) {
        let state = self.lock();
        let ends: Cut = state.world.logs.iter().map(|log| (log.key.clone(), log.end)).collect();
        assert_eq!(state.cut, ends, "all was read");
        assert_eq!(state.sums, recount(&state.world, &ends), "the last answer is that of all records");
        let mut sums: BTreeMap<String, Rows> =
            state.sums.keys().map(|output| (output.clone(), Rows::new())).collect();
        let mut timed = no_rows();
        for ((_, output), changes) in &state.written {
            let sum = sums.get_mut(output).or_else(|| timed.get_mut(output)).expect("an output");
            add(sum, output, changes);
        }
        assert_eq!(timed, state.timed);
        assert_eq!(sums, state.sums, "each epoch's rows taken once, whoever reads lines has the same");
    }

    /// The epochs that are committed, those of them without records, and how often one was written again to the second
    /// reader.
    pub(super) fn figures(&self) -> (Epoch, u64, usize) {
        let state = self.lock();
        (state.committed, state.empty, state.again)
    }
}

fn no_rows() -> BTreeMap<String, Rows> {
    Watch::TIMED.map(|output| (output.to_owned(), Rows::new())).into()
}

struct Transactional(Held);

impl Sink for Transactional {
    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        let mut state = self.0.lock();
        state.open.clear();
        assert!(state.committed <= from.last(), "nothing leaves before it is in the ledger");
        assert!(state.committed >= from.checkpoint, "no checkpoint is of an epoch that is not out");
        Ok(state.committed)
    }

    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        let mut state = self.0.lock();
        assert_eq!(epoch, state.committed + 1, "epochs come in order, each once");
        let before = state.open.insert(output.to_owned(), changes.to_vec());
        assert!(before.is_none(), "an epoch's rows come together");
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()> {
        let mut state = self.0.lock();
        let State { rng, world, committed, cut, sums, open, unsure, timed, empty, .. } = &mut *state;
        if epoch == *committed {
            // Another output's sink has committed for all.
            return Ok(());
        }
        assert_eq!(epoch, *committed + 1, "epochs come in order, each once");
        if *unsure && rng.random_bool(0.03) {
            bail!("the transaction is lost, as was asked for");
        }
        *committed = epoch;
        advance(cut, reports);
        for (output, changes) in std::mem::take(open) {
            let sum = sums.get_mut(&output).or_else(|| timed.get_mut(&output)).expect("an output");
            add(sum, &output, &changes);
        }
        assert_eq!(timed["clock"].len(), 1, "one time an epoch");
        assert!(timed.values().all(|rows| rows.values().all(|&count| count == 1)), "{timed:?}");
        *empty += u64::from(reports.iter().all(|report| report.records == 0));
        assert_eq!(*sums, recount(world, cut), "after epoch {epoch}");
        if *unsure && rng.random_bool(0.03) {
            bail!("the answer to the commit is lost, as was asked for");
        }
        Ok(())
    }
}

struct Forgetful {
    held: Held,
    output: String,
}

impl Sink for Forgetful {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        let mut state = self.held.lock();
        assert_eq!(output, self.output);
        match state.written.insert((epoch, output.to_owned()), changes.to_vec()) {
            None => {}
            Some(before) => {
                assert_eq!(before, changes, "an epoch that is written again is the same");
                state.again += 1;
            }
        }
        Ok(())
    }

    fn commit(&mut self, _epoch: Epoch, _reports: &[Report]) -> Result<()> {
        Ok(())
    }
}
