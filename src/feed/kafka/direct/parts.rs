//! The partitions of one feed: what its worker wants of them, what the connections hand over, and what the thread of the
//! connections has to do about them. Both sides look at it under one lock, which is taken once a chunk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::watch;
use uuid::Uuid;

use super::super::super::Waker;
use super::batch::Wrong;
use super::chunk::{Chunk, Reach};

/// Chunks of a partition that are queued before no more are fetched: one is read while the other comes.
const AHEAD: usize = 2;

/// The partitions of a feed, for its worker and for the thread of the connections.
pub(super) struct Parts {
    state: Mutex<State>,
    /// Told where a connection or the search for leaders may have something new to do.
    changes: watch::Sender<()>,
    waker: Arc<OnceLock<Waker>>,
}

/// See [`Parts`].
pub(super) struct State {
    /// By slot, which never changes.
    pub(super) parts: Vec<Part>,
    /// Slots of which something is queued that the worker may have: each once.
    ready: VecDeque<usize>,
    /// Bytes that are queued, of all.
    queued: usize,
    /// Bytes that may be.
    room: usize,
    /// The brokers to which there is a connection, or is about to be.
    pub(super) connected: BTreeSet<i32>,
    /// What ends the run.
    pub(super) fault: Option<anyhow::Error>,
    /// The worker has gone.
    pub(super) closed: bool,
}

/// One partition.
pub(super) struct Part {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The topic's id; nil where its brokers tell none.
    pub(super) id: Uuid,
    /// The broker that leads it; `None` while that is to be found out.
    pub(super) leader: Option<i32>,
    /// The leader's epoch, -1 where it is not known.
    pub(super) epoch: i32,
    /// The offset to fetch from.
    pub(super) next: i64,
    /// The leader's epoch of the batch that was fetched last, -1 before the first.
    pub(super) read_epoch: i32,
    /// Grows when the worker moves it to another offset: what was asked for before is of no use.
    pub(super) round: u64,
    queue: VecDeque<Item>,
    chunks: usize,
    paused: bool,
    /// Nothing is fetched before the worker has moved it: it was told of an error.
    stopped: bool,
    /// The end of what is replicated, as last told; -1 before.
    high: i64,
    /// The end that the worker was told last; -1 before the first.
    told_end: i64,
}

/// What the worker gets.
pub(super) enum Item {
    /// Records, up to an offset.
    Chunk { chunk: Chunk, after: i64, broker: i32 },
    /// The end: there is nothing beyond for now.
    End(i64),
    /// Something is wrong at an offset, or with all of the partition.
    Error { code: RDKafkaErrorCode, text: String, offset: i64 },
}

/// What is to be fetched of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) slot: usize,
    pub(super) partition: i32,
    pub(super) id: Uuid,
    pub(super) next: i64,
    pub(super) epoch: i32,
    pub(super) read_epoch: i32,
    pub(super) round: u64,
}

/// What is to be fetched of a broker.
#[derive(Default)]
pub(super) struct Wants {
    pub(super) these: Vec<Want>,
    /// Are there others of that broker, which are left out for now?
    pub(super) others: bool,
    /// Does it lead none?
    pub(super) none: bool,
}

/// What came of a partition.
pub(super) struct Came {
    pub(super) chunk: Option<(Chunk, Reach)>,
    /// The end of what is replicated.
    pub(super) high: i64,
    /// The end of what may be read.
    pub(super) stable: i64,
    pub(super) broker: i32,
}

impl Parts {
    /// None yet. What is queued may have so many bytes.
    pub(super) fn new(room: usize, waker: Arc<OnceLock<Waker>>) -> Arc<Self> {
        let state = State {
            parts: Vec::new(),
            ready: VecDeque::new(),
            queued: 0,
            room,
            connected: BTreeSet::new(),
            fault: None,
            closed: false,
        };
        Arc::new(Parts { state: Mutex::new(state), changes: watch::Sender::new(()), waker })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Something has changed.
    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// There is something for the worker.
    pub(super) fn wake(&self) {
        if let Some(wake) = self.waker.get() {
            wake();
        }
    }

    /// Ends the run.
    pub(super) fn fail(&self, error: anyhow::Error) {
        self.lock().fault.get_or_insert(error);
        self.wake();
    }

    /// What came of a partition, for which was asked in that round. Wakes the worker.
    pub(super) fn came(&self, slot: usize, round: u64, came: Came) {
        let is_new = self.lock().came(slot, round, came);
        if is_new {
            self.wake();
        }
    }

    /// Tells the worker of an error of a partition, which then is fetched no more until the worker moves it.
    pub(super) fn stop(&self, slot: usize, round: u64, wrong: Wrong) {
        self.lock().stop(slot, round, wrong);
        self.wake();
    }

    /// The leader of partitions is not known any more.
    pub(super) fn lose_leader(&self, lost: impl Fn(&Part) -> bool) {
        self.lock().parts.iter_mut().filter(|part| lost(part)).for_each(|part| part.leader = None);
        self.changed();
    }
}

impl State {
    /// Takes a partition on, from an offset. Returns its slot.
    pub(super) fn add(&mut self, topic: Arc<str>, partition: i32, next: i64) -> usize {
        self.parts.push(Part {
            topic,
            partition,
            id: Uuid::nil(),
            leader: None,
            epoch: -1,
            next,
            read_epoch: -1,
            round: 0,
            queue: VecDeque::new(),
            chunks: 0,
            paused: false,
            stopped: false,
            high: -1,
            told_end: -1,
        });
        self.parts.len() - 1
    }

    /// Moves a partition: what is queued of it is dropped.
    pub(super) fn seek(&mut self, slot: usize, next: i64) {
        let part = &mut self.parts[slot];
        (part.next, part.read_epoch, part.told_end) = (next, -1, -1);
        part.round += 1;
        part.stopped = false;
        part.chunks = 0;
        self.queued -= part.queue.drain(..).map(|item| item.size()).sum::<usize>();
    }

    /// Has a partition rest, or go on.
    pub(super) fn pause(&mut self, slot: usize, pause: bool) {
        self.parts[slot].paused = pause;
        self.is_ready(slot);
    }

    fn is_ready(&mut self, slot: usize) {
        let part = &self.parts[slot];
        if !part.paused && !part.queue.is_empty() && !self.ready.contains(&slot) {
            self.ready.push_back(slot);
        }
    }

    /// What the worker may have next, and of which slot; and whether a connection has more to do after that.
    pub(super) fn take(&mut self) -> Option<(usize, Item, bool)> {
        loop {
            let slot = self.ready.pop_front()?;
            let full = self.queued >= self.room;
            let part = &mut self.parts[slot];
            if part.paused {
                continue;
            }
            let Some(item) = part.queue.pop_front() else { continue };
            self.queued -= item.size();
            let mut more = full && self.queued < self.room;
            if let Item::Chunk { .. } = item {
                more |= part.chunks == AHEAD;
                part.chunks -= 1;
            }
            self.is_ready(slot);
            return Some((slot, item, more));
        }
    }

    /// What is to be fetched of a broker now.
    pub(super) fn wants(&self, broker: i32) -> Wants {
        let mut wants = Wants { none: true, ..Wants::default() };
        let full = self.queued >= self.room;
        for (slot, part) in self.parts.iter().enumerate().filter(|(_, part)| part.leader == Some(broker)) {
            wants.none = false;
            if part.stopped {
                continue;
            }
            if full || part.paused || part.chunks >= AHEAD {
                wants.others = true;
                continue;
            }
            let &Part { partition, id, next, epoch, read_epoch, round, .. } = part;
            wants.these.push(Want { slot, partition, id, next, epoch, read_epoch, round });
        }
        wants
    }

    /// The end of what is replicated, as last heard.
    pub(super) fn high(&self, slot: usize) -> Option<i64> {
        let high = self.parts[slot].high;
        (high >= 0).then_some(high)
    }

    /// Returns whether there is something new for the worker.
    fn came(&mut self, slot: usize, round: u64, came: Came) -> bool {
        let Came { chunk, high, stable, broker } = came;
        let part = &mut self.parts[slot];
        if part.round != round {
            return false;
        }
        part.high = part.high.max(high);
        let mut is_new = false;
        if let Some((chunk, Reach { after, epoch })) = chunk {
            self.queued += chunk.records.len();
            part.queue.push_back(Item::Chunk { chunk, after, broker });
            part.chunks += 1;
            // The answer of one who led it before may come after that of its new leader: all of it is known then, and its epoch
            // says nothing of the place that is read by now.
            if after >= part.next {
                (part.next, part.read_epoch) = (after, epoch);
            }
            is_new = true;
        }
        if part.next >= stable && part.told_end != part.next {
            part.told_end = part.next;
            part.queue.push_back(Item::End(part.next));
            is_new = true;
        }
        self.is_ready(slot);
        is_new
    }

    fn stop(&mut self, slot: usize, round: u64, Wrong { code, text }: Wrong) {
        let part = &mut self.parts[slot];
        if part.round != round || part.stopped {
            return;
        }
        part.stopped = true;
        let offset = part.next;
        part.queue.push_back(Item::Error { code, text, offset });
        self.is_ready(slot);
    }
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Item::Chunk { chunk, .. } => chunk.records.len(),
            Item::End(_) | Item::Error { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parts(slots: i32) -> Arc<Parts> {
        let parts = Parts::new(1000, Arc::default());
        for partition in 0..slots {
            let mut state = parts.lock();
            let slot = state.add(Arc::from("t"), partition, 0);
            state.parts[slot].leader = Some(7);
        }
        parts
    }

    fn came(after: i64, epoch: i32, stable: i64, bytes: usize) -> Came {
        let chunk =
            Chunk { records: Bytes::from(vec![0; bytes]), aborted: Vec::new(), from: 0, checked: true };
        Came { chunk: Some((chunk, Reach { after, epoch })), high: stable, stable, broker: 7 }
    }

    /// What the worker may have: slots, with the offset of an end or after a chunk.
    fn taken(parts: &Parts) -> Vec<(usize, &'static str, i64)> {
        let mut state = parts.lock();
        std::iter::from_fn(|| state.take())
            .map(|(slot, item, _)| match item {
                Item::Chunk { after, .. } => (slot, "chunk", after),
                Item::End(offset) => (slot, "end", offset),
                Item::Error { offset, .. } => (slot, "error", offset),
            })
            .collect()
    }

    fn wanted(parts: &Parts) -> Vec<(usize, i64)> {
        parts.lock().wants(7).these.iter().map(|want| (want.slot, want.next)).collect()
    }

    #[test]
    fn an_end_comes_after_what_leads_to_it_and_once() {
        let parts = parts(1);
        parts.came(0, 0, came(5, 1, 9, 10));
        parts.came(0, 0, came(9, 1, 9, 10));
        parts.came(0, 0, Came { chunk: None, high: 9, stable: 9, broker: 7 });
        assert_eq!(taken(&parts), [(0, "chunk", 5), (0, "chunk", 9), (0, "end", 9)]);
        assert_eq!(parts.lock().high(0), Some(9));
        // More than what is stable is there, and may not be read.
        parts.came(0, 0, Came { chunk: None, high: 20, stable: 9, broker: 7 });
        assert_eq!(taken(&parts), []);
    }

    #[test]
    fn partitions_take_turns_and_are_fetched_two_chunks_ahead() {
        let parts = parts(2);
        for after in [1, 2] {
            parts.came(0, 0, came(after, 1, 9, 10));
        }
        assert_eq!(wanted(&parts), [(1, 0)]);
        assert!(parts.lock().wants(7).others);
        parts.came(1, 0, came(4, 1, 9, 10));
        let (slot, _, more) = parts.lock().take().expect("it is there");
        assert!(slot == 0 && more, "the connection has more to do now");
        assert_eq!(wanted(&parts), [(0, 2), (1, 4)]);
        assert_eq!(taken(&parts), [(1, "chunk", 4), (0, "chunk", 2)]);
        // All together have room for so much.
        parts.came(1, 0, came(5, 1, 9, 1000));
        assert_eq!(wanted(&parts), []);
        assert!(parts.lock().take().is_some_and(|(_, _, more)| more));
        assert_eq!(wanted(&parts).len(), 2);
        assert!(parts.lock().wants(8).none, "another broker leads nothing");
    }

    #[test]
    fn what_rests_is_neither_fetched_nor_read() {
        let parts = parts(2);
        parts.came(0, 0, came(1, 1, 9, 10));
        parts.lock().pause(0, true);
        assert_eq!((wanted(&parts), taken(&parts)), (vec![(1, 0)], vec![]));
        parts.lock().pause(0, false);
        assert_eq!((wanted(&parts).len(), taken(&parts)), (2, vec![(0, "chunk", 1)]));
    }

    #[test]
    fn what_was_asked_for_before_a_move_is_of_no_use() {
        let parts = parts(1);
        parts.came(0, 0, came(5, 1, 9, 10));
        let wrong = || Wrong { code: RDKafkaErrorCode::BadMessage, text: "damaged".into() };
        parts.stop(0, 0, wrong());
        parts.stop(0, 0, wrong());
        assert_eq!(wanted(&parts), [], "the worker has to say where to go on");
        parts.lock().seek(0, 3);
        assert_eq!((wanted(&parts), taken(&parts)), (vec![(0, 3)], vec![]));
        parts.came(0, 0, came(9, 1, 9, 10));
        parts.stop(0, 0, wrong());
        assert_eq!((wanted(&parts), taken(&parts)), (vec![(0, 3)], vec![]));
        parts.came(0, 1, came(9, 1, 9, 10));
        assert_eq!(taken(&parts), [(0, "chunk", 9), (0, "end", 9)]);
        parts.stop(0, 1, wrong());
        assert_eq!(taken(&parts), [(0, "error", 9)]);
    }

    #[test]
    fn an_old_leader_that_answers_late_changes_no_place() {
        let parts = parts(1);
        parts.came(0, 0, came(9, 2, 20, 10));
        parts.came(0, 0, came(5, 1, 20, 10));
        let want = parts.lock().wants(7).these.first().copied();
        assert!(want.is_none(), "two chunks are there");
        assert_eq!(taken(&parts), [(0, "chunk", 9), (0, "chunk", 5)]);
        let want = parts.lock().wants(7).these[0];
        assert_eq!((want.next, want.read_epoch), (9, 2));
    }
}
