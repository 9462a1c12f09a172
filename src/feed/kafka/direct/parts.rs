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
            (part.next, part.read_epoch) = (after.max(part.next), epoch);
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
