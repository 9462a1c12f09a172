//! Persistence collections: from sealed epochs to parts of checkpoints, off the workers' threads.
//!
//! Workers hand over what they seal and go on. [`Persistence`] sums it, writes runs and reports parts, on a thread of its
//! own; [`Merging`] merges runs meanwhile, on another. Both do their work in steps, so that a test can do without
//! threads.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail};
use crossbeam_channel::{Receiver, Sender, select, unbounded};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{CheckpointPart, HashRange, Sharding, SortedRun, StateWriter};
use cutwater_dataflows::{Epoch, SyncActivator};

use super::StateWriters;
use super::merge::{Merged, Merging, Sums, Work};
use super::run::{Reader, RunFiles};
use super::run_set::{Held, RunSet};
use crate::fault::Fault;
use crate::feed::Place;

/// What workers tell the thread, each for the run set with a number.
enum Order {
    Keep(Box<RunSet>, Sender<CheckpointPart>),
    Wake(SyncActivator),
    Seal(Epoch, FlatBatch),
    Checkpoint(Option<Epoch>),
}

/// Makes the writers of a process.
pub struct RunStateWriters {
    files: Arc<RunFiles>,
    collections: BTreeMap<String, Vec<SortedRun>>,
    orders: Orders,
    run_sets: AtomicUsize,
    restored: Arc<Restored>,
    fault: Fault,
}

/// What was restored, of all collections, by the workers of this process.
#[derive(Debug, Default)]
pub struct Restored {
    /// Rows, those of several runs summed.
    pub rows: AtomicU64,
    /// Bytes that were read.
    pub bytes: AtomicU64,
}

/// The threads behind the writers.
pub struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Waits for their end: when all writers have gone.
    pub fn join(self) {
        // A panic there has been raised as a fault.
        self.0.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl RunStateWriters {
    /// StateWriters that resume from these runs of collections, and what works for them.
    pub fn new(
        files: RunFiles,
        collections: BTreeMap<String, Vec<SortedRun>>,
        fault: &Fault,
    ) -> (RunStateWriters, Persistence, Merging) {
        let files = Arc::new(files);
        let (orders, inbox) = unbounded();
        let (work, merging) = unbounded();
        let (outbox, merged) = unbounded();
        let waiting = Arc::new(Waiting { most: files.sizes().waiting, ..Waiting::default() });
        let orders = Orders { sender: orders, waiting };
        let persistence = Persistence {
            files: Arc::clone(&files),
            waiting: Arc::clone(&orders.waiting),
            inbox,
            merged,
            work,
            slots: BTreeMap::new(),
            next: None,
        };
        let merging = Merging::new(Arc::clone(&files), merging, outbox);
        let fault = fault.clone();
        let kept = RunStateWriters {
            files,
            collections,
            orders,
            run_sets: AtomicUsize::new(0),
            restored: Arc::default(),
            fault,
        };
        (kept, persistence, merging)
    }

    /// As [`RunStateWriters::new`], with threads that do the work.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        files: RunFiles,
        collections: BTreeMap<String, Vec<SortedRun>>,
        fault: &Fault,
    ) -> Result<(RunStateWriters, Threads)> {
        let (kept, mut persistence, mut merging) = RunStateWriters::new(files, collections, fault);
        let persistence = thread("checkpoint", fault, move || {
            while persistence.wait() {
                while persistence.step()? {}
            }
            Ok(())
        })?;
        let merging = thread("merge", fault, move || {
            while merging.wait() {
                while merging.step()? {}
            }
            Ok(())
        })?;
        Ok((kept, Threads(vec![persistence, merging])))
    }

    /// What was restored so far.
    pub fn restored(&self) -> &Arc<Restored> {
        &self.restored
    }
}

/// Starts a thread of the runtime.
pub(super) fn thread(
    part: &'static str,
    fault: &Fault,
    run: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<()>> {
    let fault = fault.clone();
    std::thread::Builder::new()
        .name(format!("cutwater:{part}"))
        .spawn(move || fault.guard(part, || run().unwrap_or_else(|error| fault.raise(error))))
        .with_context(|| format!("starting the {part} thread"))
}

impl StateWriters for RunStateWriters {
    fn writer(&self, collection: &str, place: Place, sharding: Sharding) -> Box<dyn StateWriter> {
        let range = HashRange::of(place.worker, place.workers);
        let all = self.collections.get(collection).map(Vec::as_slice).unwrap_or_default();
        let runs =
            all.iter().filter_map(|run| Some(SortedRun { range: run.range.both(range)?, ..run.clone() }));
        let (parts, finished) = unbounded();
        Box::new(Handle {
            run_set: self.run_sets.fetch_add(1, Ordering::Relaxed),
            collection: collection.to_owned(),
            worker: place.worker,
            range,
            sharding,
            runs: runs.collect(),
            restoring: None,
            files: Arc::clone(&self.files),
            orders: self.orders.clone(),
            parts,
            finished,
            restored: Arc::clone(&self.restored),
            fault: self.fault.clone(),
        })
    }

    fn restored(&self) -> (u64, u64) {
        let Restored { rows, bytes } = &*self.restored;
        (rows.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}

/// The worker's end.
struct Handle {
    run_set: usize,
    collection: String,
    worker: usize,
    range: HashRange,
    sharding: Sharding,
    /// The runs that are to be restored.
    runs: Vec<SortedRun>,
    restoring: Option<Restoring>,
    files: Arc<RunFiles>,
    orders: Orders,
    parts: Sender<CheckpointPart>,
    finished: Receiver<CheckpointPart>,
    restored: Arc<Restored>,
    fault: Fault,
}

/// A restore under way.
struct Restoring {
    sums: Sums,
    runs: Vec<Held>,
    rows: u64,
    bytes: u64,
}

/// Bytes of rows that are handed over at a time.
const STEP: usize = 1 << 20;
/// In batches of so many, about.
const BATCH: usize = 256 << 10;

impl Handle {
    /// Reads on; the runs when all has been read.
    fn read(&mut self, each: &mut dyn FnMut(FlatBatch)) -> Result<Option<Vec<Held>>> {
        let mut restoring = match self.restoring.take() {
            Some(restoring) => restoring,
            None => self.open()?,
        };
        let mut batch = FlatBatch::default();
        let more = restoring.sums.step(STEP, &mut |_, row, count| {
            batch.push(row, count);
            restoring.rows += 1;
            if batch.size() >= BATCH {
                each(std::mem::take(&mut batch));
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            each(batch);
        }
        if more {
            self.restoring = Some(restoring);
            return Ok(None);
        }
        let Restoring { runs, rows, bytes, .. } = restoring;
        self.restored.rows.fetch_add(rows, Ordering::Relaxed);
        self.restored.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (collection, worker, count) = (&self.collection, self.worker, runs.len());
        tracing::debug!(
            "worker {worker} has restored {collection}: {rows} rows, {bytes} bytes of {count} runs"
        );
        Ok(Some(runs))
    }

    fn open(&mut self) -> Result<Restoring> {
        let (mut readers, mut runs, mut bytes) = (Vec::new(), Vec::new(), 0);
        for run in std::mem::take(&mut self.runs) {
            let reader = Reader::open(self.files.storage(), &run)?;
            // What other workers read alone is none of this one's.
            if reader.bytes() > 0 {
                bytes += reader.bytes();
                runs.push(Held::restored(run, &reader));
                readers.push(reader);
            }
        }
        Ok(Restoring { sums: Sums::new(readers)?, runs, rows: 0, bytes })
    }
}

impl StateWriter for Handle {
    fn attach(&mut self, anywhere: SyncActivator) {
        self.orders.send(self.run_set, Order::Wake(anywhere), 0);
    }

    fn restore(&mut self, each: &mut dyn FnMut(FlatBatch)) -> bool {
        match self.read(each).with_context(|| format!("restoring collection {:?}", self.collection)) {
            Ok(None) => true,
            Ok(Some(runs)) => {
                let run_set =
                    RunSet::new(&self.collection, self.worker, self.range, self.sharding.clone(), runs);
                self.orders.send(self.run_set, Order::Keep(Box::new(run_set), self.parts.clone()), 0);
                false
            }
            Err(error) => {
                self.fault.raise(error);
                // Rows are missing: the worker must not go on to make answers of the rest. The fault's guard around
                // the worker catches this, and no hook takes it for a fault in the program.
                resume_unwind(Box::new("a collection could not be restored"));
            }
        }
    }

    fn seal(&mut self, epoch: Epoch, changes: FlatBatch) {
        let size = changes.size();
        self.orders.send(self.run_set, Order::Seal(epoch, changes), size);
    }

    fn checkpoint(&mut self, epoch: Option<Epoch>) {
        self.orders.send(self.run_set, Order::Checkpoint(epoch), 0);
    }

    fn finished(&mut self) -> Vec<CheckpointPart> {
        self.finished.try_iter().collect()
    }
}

/// Carries orders to the thread. Bounded by the bytes that wait.
#[derive(Clone)]
struct Orders {
    sender: Sender<(usize, Order)>,
    waiting: Arc<Waiting>,
}

impl Orders {
    /// Sends, and returns when no more waits than may.
    fn send(&self, run_set: usize, order: Order, bytes: usize) {
        self.waiting.add(bytes);
        // Fails when the thread has failed: then the run is about to end, and there will be no room.
        if self.sender.send((run_set, order)).is_ok() {
            self.waiting.wait();
        }
    }
}

/// How many bytes of changes wait for the thread.
#[derive(Default)]
struct Waiting {
    /// How many may.
    most: usize,
    room: Mutex<Room>,
    fewer: Condvar,
}

#[derive(Default)]
struct Room {
    bytes: usize,
    /// True once the thread has ended: nothing that is handed over by then is taken any more.
    over: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, more: usize) {
        let mut room = self.lock();
        room.bytes = room.bytes.saturating_add(more);
    }

    /// Returns when no more wait than may, or nobody takes them.
    fn wait(&self) {
        drop(self.fewer.wait_while(self.lock(), |room| room.bytes > self.most && !room.over));
    }

    fn remove(&self, some: usize) {
        let mut room = self.lock();
        room.bytes = room.bytes.saturating_sub(some);
        self.fewer.notify_all();
    }

    /// The thread ends.
    fn close(&self) {
        self.lock().over = true;
        self.fewer.notify_all();
    }
}

/// Sums what workers seal, writes runs and reports parts.
pub struct Persistence {
    files: Arc<RunFiles>,
    waiting: Arc<Waiting>,
    inbox: Receiver<(usize, Order)>,
    merged: Receiver<Merged>,
    work: Sender<Work>,
    slots: BTreeMap<usize, Slot>,
    /// What a wait has received.
    next: Option<Event>,
}

/// What the keeping hears, from workers and from the merging.
enum Event {
    Ordered(usize, Order),
    Merged(Merged),
}

/// A run set, and who hears of its parts.
#[derive(Default)]
struct Slot {
    run_set: Option<(Box<RunSet>, Sender<CheckpointPart>)>,
    wake: Option<SyncActivator>,
}

impl Persistence {
    /// Does what is next; false if there is nothing to do.
    ///
    /// # Errors
    /// If a run can't be written.
    pub fn step(&mut self) -> Result<bool> {
        let merged = || self.merged.try_recv().ok().map(Event::Merged);
        let ordered = || self.inbox.try_recv().ok().map(|(number, order)| Event::Ordered(number, order));
        let Some(event) = self.next.take().or_else(merged).or_else(ordered) else { return Ok(false) };
        let (number, slot) = match event {
            Event::Merged(Merged(number, output)) => {
                let slot = self.slots.entry(number).or_default();
                let gone =
                    slot.run_set.as_mut().map(|(run_set, _)| run_set.merged(output)).unwrap_or_default();
                if !gone.is_empty() {
                    let _ = self.work.send(Work::Remove(gone));
                }
                (number, slot)
            }
            Event::Ordered(number, order) => {
                let slot = self.slots.entry(number).or_default();
                match (order, &mut slot.run_set) {
                    (Order::Keep(run_set, parts), kept) => *kept = Some((run_set, parts)),
                    (Order::Wake(wake), _) => slot.wake = Some(wake),
                    (Order::Seal(epoch, changes), Some((run_set, _))) => {
                        self.waiting.remove(changes.size());
                        run_set.seal(epoch, &changes, &self.files)?;
                    }
                    (Order::Checkpoint(epoch), Some((run_set, parts))) => {
                        // Fails when the worker has gone.
                        let _ = parts.send(run_set.checkpoint(epoch, &self.files)?);
                        if let Some(wake) = &slot.wake {
                            let _ = wake.activate();
                        }
                    }
                    (Order::Seal(..) | Order::Checkpoint(_), None) => {
                        bail!("a collection is to be kept before it is restored")
                    }
                }
                (number, slot)
            }
        };
        if let Some((run_set, _)) = &mut slot.run_set
            && let Some(runs) = run_set.next_merge()
        {
            let _ = self.work.send(Work::Merge(number, run_set.range(), runs));
        }
        Ok(true)
    }

    /// Waits for something to do; false if there will be nothing any more: all writers have gone.
    pub fn wait(&mut self) -> bool {
        self.next = select! {
            recv(self.inbox) -> order => order.ok().map(|(number, order)| Event::Ordered(number, order)),
            recv(self.merged) -> merged => merged.ok().map(Event::Merged),
        };
        self.next.is_some()
    }
}

impl Drop for Persistence {
    fn drop(&mut self) {
        // Who waits for room waits no more, and nobody will: nothing takes what is handed over, the run is about to end. The
        // inbox is still open for a moment, so that it may yet take something.
        self.waiting.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_thread_that_has_ended() {
        let waiting = Waiting { most: 1, ..Waiting::default() };
        waiting.close();
        waiting.add(2);
        waiting.wait();
    }
}
