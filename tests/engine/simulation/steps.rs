//! Workers that make a step when they are told to. Timely's workers can't change threads, so each has its own; but only
//! one thread runs at a time, and which is up to the seed.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};
use cutwater::job::{Setup, Workers};
use timely::WorkerConfig;
use timely::execute::execute_from;
use timely::worker::Worker;

/// The workers of a life.
pub(super) struct Stepped {
    workers: Vec<Stepping>,
    /// Joins their threads when it is dropped.
    _threads: Box<dyn std::any::Any>,
}

struct Stepping {
    go: Sender<()>,
    /// True as long as the worker has a dataflow.
    done: Receiver<Result<bool>>,
    alive: bool,
}

impl Stepped {
    /// Workers that build from `setup` and wait.
    pub(super) fn start(count: usize, setup: Setup) -> Result<Self> {
        let (mut workers, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (go, gone) = channel();
            let (tell, done) = channel();
            workers.push(Stepping { go, done, alive: true });
            ends.push(Some((gone, tell)));
        }
        let (setup, ends) = (Arc::new(setup), Mutex::new(ends));
        let Workers { builders, connections, .. } = Workers::threads(count)?;
        let threads = execute_from(builders, connections, WorkerConfig::default(), move |worker| {
            let (gone, tell) = ends.lock().expect("no worker panics")[worker.index()].take().expect("once");
            live(worker, &setup, &gone, &tell);
            // A crash: whatever is left does nothing any more.
            worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        });
        let threads = threads.map_err(|error| anyhow!("starting workers: {error}"))?;
        let mut stepped = Stepped { workers, _threads: Box::new(threads) };
        for worker in &mut stepped.workers {
            worker.alive = worker.done.recv().expect("the worker says so")?;
        }
        Ok(stepped)
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// True as long as one of them has a dataflow.
    pub(super) fn alive(&self) -> bool {
        self.workers.iter().any(|worker| worker.alive)
    }

    /// Has one of them make a step.
    pub(super) fn step(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        if worker.alive {
            worker.go.send(()).expect("the worker waits for it");
            worker.alive = worker.done.recv().expect("it does not panic").expect("a step is no error");
        }
    }
}

fn live(worker: &mut Worker, setup: &Setup, gone: &Receiver<()>, tell: &Sender<Result<bool>>) {
    let mut life = match setup.begin(worker) {
        Ok(life) => Some(life),
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    let _ = tell.send(Ok(true));
    while gone.recv().is_ok() {
        worker.step();
        if let Some(living) = &mut life {
            living.after_step();
        }
        let alive = worker.has_dataflows();
        if !alive && let Some(life) = life.take() {
            life.end();
        }
        if tell.send(Ok(alive)).is_err() {
            return;
        }
    }
}
