//! A feed made from a seed, for tests: it delays, mixes its partitions, finds new ones and fails as the seed
//! says, and holds its caller to the contract of [`Feed`].

mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use crossbeam_channel::{Receiver, Sender};
use cutwater_dataflows::record::{NoHeaders, Record};
use cutwater_dataflows::source::Moved;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Budget, Each, Feed, Feeds, Place, Polled, Took, Waker};
use crate::state::cut::Topics;
pub use world::{Cut, Key, Log, Stored, World};

/// The feeds of a world. Clones share it, and what was handed over.
#[derive(Clone)]
pub struct Seeded(Arc<Shared>);

/// How the feeds of a world behave beyond what its seed says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Never say that all was read: wait for more that never comes.
    pub endless: bool,
    /// Fail in place of the record after this many, over all inputs and workers.
    pub fails_after: Option<usize>,
    /// Call wakers at once only, never from another thread: what happens next is up to the caller alone.
    pub stepped: bool,
}

struct Shared {
    world: World,
    manner: Manner,
    handed: Mutex<Handed>,
    changed: Condvar,
    /// Takes wakers that are to be called a little later, from another thread.
    later: Sender<Waker>,
}

/// What was handed over so far.
#[derive(Clone, Default)]
pub struct Handed {
    /// Up to where, in each partition that a worker has taken on.
    pub cut: Cut,
    /// Records, over all inputs and workers.
    pub records: usize,
    /// By input and worker.
    pub workers: BTreeMap<(String, usize), Worker>,
    /// Records, those included that a run before was handed.
    by_input: BTreeMap<String, usize>,
    /// In a script, the records of each batch, without the one that closes it.
    by_batch: Vec<usize>,
    wakers: BTreeMap<String, Vec<Waker>>,
}

/// What one worker was handed for one input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worker {
    /// Records.
    pub records: usize,
    /// Epochs that it has closed.
    pub closed: usize,
    /// Polls that had the feed hold its partitions.
    pub held: usize,
}

impl Seeded {
    /// The feeds of `world`.
    pub fn new(world: World, manner: Manner) -> Self {
        let (later, wakers) = crossbeam_channel::unbounded();
        let seed = world.seed;
        // Ends when the last clone and the last feed have gone.
        std::thread::spawn(move || wake_later(seed, &wakers));
        let handed = Handed { by_batch: vec![0; world.closers.len()], ..Handed::default() };
        Seeded(Arc::new(Shared { world, manner, handed: Mutex::new(handed), changed: Condvar::new(), later }))
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// What was handed over so far.
    pub fn handed(&self) -> Handed {
        self.0.lock().clone()
    }

    /// Waits until `enough` says so of what was handed over.
    ///
    /// # Panics
    /// If that takes longer than `deadline`.
    pub fn wait_until(&self, deadline: Duration, mut enough: impl FnMut(&Handed) -> bool) {
        let handed = self.0.lock();
        let (_handed, waited) = self
            .0
            .changed
            .wait_timeout_while(handed, deadline, |handed| !enough(handed))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "the feeds did not come so far within {deadline:?}");
    }
}

/// Calls wakers after a delay of up to half a millisecond.
fn wake_later(seed: u64, wakers: &Receiver<Waker>) {
    let mut rng = StdRng::seed_from_u64(seed);
    for waker in wakers {
        std::thread::sleep(Duration::from_micros(rng.random_range(0..500)));
        waker();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeds for Seeded {
    fn open(&self, input: &str, place: Place, begin: Option<&Topics>) -> Result<Box<dyn Feed>> {
        let world = &self.0.world;
        assert!(begin.is_none() || world.closers.is_empty(), "a script is read from its start");
        let mut seed = world.seed;
        for part in [place.worker as u64, place.workers as u64, xxhash_rust::xxh3::xxh3_64(input.as_bytes())]
        {
            seed = xxhash_rust::xxh3::xxh3_64_with_seed(&part.to_le_bytes(), seed);
        }
        let owned = world
            .logs
            .iter()
            .enumerate()
            .filter(|(_, log)| log.key.0 == input && place.owns(&log.key.1, log.key.2))
            .map(|(log, _)| log)
            .collect();
        let mut feed = SeededFeed {
            shared: Arc::clone(&self.0),
            input: input.to_owned(),
            worker: place.worker,
            rng: StdRng::seed_from_u64(seed),
            waker: None,
            unjoined: owned,
            slots: Vec::new(),
            fresh: 0,
            closed: 0,
            told: Cut::new(),
            published: Cut::new(),
            bounded: false,
            over: None,
        };
        match begin {
            Some(begin) => feed.resume(place, begin)?,
            None => feed.boundary()?,
        }
        Ok(Box::new(feed))
    }
}

/// One worker's partitions of one input.
struct SeededFeed {
    shared: Arc<Shared>,
    input: String,
    worker: usize,
    rng: StdRng,
    waker: Option<Waker>,
    /// Logs that are this worker's and not yet read.
    unjoined: Vec<usize>,
    slots: Vec<Slot>,
    /// Records handed over since the last epoch was closed.
    fresh: usize,
    /// Epochs closed.
    closed: usize,
    /// What was said to have moved, and of that, what was said to be published.
    told: Cut,
    published: Cut,
    /// True iff slots are bounded by their limits.
    bounded: bool,
    /// Why it must not be polled any more.
    over: Option<&'static str>,
}

/// A partition that is read.
struct Slot {
    log: usize,
    /// The index of the next record.
    index: usize,
    next: i64,
    /// What it is read up to, while the feed is bounded.
    limit: i64,
    /// Where reading of it began, until that was said.
    start: Option<i64>,
    moved: bool,
}

impl SeededFeed {
    /// Takes on the partitions that are this worker's and were read before, and leaves the others for a boundary.
    fn resume(&mut self, place: Place, begin: &Topics) -> Result<()> {
        let SeededFeed { shared, input, unjoined, slots, .. } = self;
        let mut handed = shared.lock();
        for (topic, partitions) in begin {
            for (&partition, &next) in
                partitions.iter().filter(|(partition, _)| place.owns(topic, **partition))
            {
                let key = (input.clone(), topic.clone(), partition);
                let position = unjoined.iter().position(|&log| shared.world.logs[log].key == key);
                let log =
                    unjoined.swap_remove(position.with_context(|| format!("there is no partition {key:?}"))?);
                let Log { start, records, end, .. } = &shared.world.logs[log];
                ensure!(*start <= next && next <= *end, "{key:?}: {next} is not within {start} and {end}");
                let index = records.partition_point(|record| record.offset < next);
                handed.cut.insert(key, next);
                *handed.by_input.entry(input.clone()).or_default() += index;
                slots.push(Slot { log, index, next, limit: next, start: None, moved: false });
            }
        }
        // Another worker's partitions may appear at what was read before.
        handed.wakers.get(input).into_iter().flatten().for_each(|waker| waker());
        Ok(())
    }

    /// Up to where a slot is read for now.
    fn limit(&self, slot: &Slot) -> i64 {
        if self.bounded { slot.limit } else { self.shared.world.logs[slot.log].end }
    }

    /// Hands over the next record of a slot, or takes note of the gap at its end. Returns the bytes.
    fn step(&mut self, slot: usize, each: &mut Each<'_>) -> Result<usize> {
        let limit = self.limit(&self.slots[slot]);
        let SeededFeed { shared, slots, rng, .. } = self;
        let slot = &mut slots[slot];
        let log = &shared.world.logs[slot.log];
        let (_, topic, partition) = &log.key;
        let mut handed = shared.lock();
        let Some(record) = log.records.get(slot.index).filter(|record| record.offset < limit) else {
            slot.next = limit;
            slot.moved = true;
            handed.cut.insert(log.key.clone(), slot.next);
            return Ok(0);
        };
        if shared.manner.fails_after.is_some_and(|records| handed.records >= records) {
            self.over = Some("it has failed");
            bail!("{topic} partition {partition}: failed at offset {}, as was asked for", record.offset);
        }
        let record = Record {
            topic,
            partition: *partition,
            offset: record.offset,
            timestamp: Some(record.offset),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &NoHeaders,
        };
        if each(&record) == Took::NotYet {
            return Ok(0);
        }
        slot.index += 1;
        // Whether a gap that follows is known at once is up to the broker.
        let gap = log.records.get(slot.index).map_or(log.end, |next| next.offset).min(limit);
        slot.next = if rng.random_bool(0.5) { gap } else { record.offset + 1 };
        slot.moved = true;
        self.fresh += 1;
        handed.cut.insert(log.key.clone(), slot.next);
        handed.records += 1;
        handed.workers.entry((self.input.clone(), self.worker)).or_default().records += 1;
        let of_input = handed.by_input.entry(self.input.clone()).or_default();
        *of_input += 1;
        let of_input = *of_input;
        let appeared =
            shared.world.logs.iter().any(|log| log.key.0 == self.input && log.appears_after == of_input);
        let mut complete = false;
        if let Some(&closer) = shared.world.closers.get(self.closed)
            && !(closer == slot.log && slot.index == log.batches[self.closed])
        {
            handed.by_batch[self.closed] += 1;
            complete = handed.by_batch[self.closed] == shared.world.batch(self.closed);
        }
        if appeared || complete {
            handed.wakers.get(&self.input).into_iter().flatten().for_each(|waker| waker());
        }
        shared.changed.notify_all();
        Ok(record.size())
    }

    /// May the slot be stepped now?
    fn ready(&self, slot: &Slot) -> bool {
        let world = &self.shared.world;
        let log = &world.logs[slot.log];
        if self.bounded || world.closers.is_empty() {
            return slot.next < self.limit(slot);
        }
        if slot.next == log.end && slot.index == log.records.len() {
            return false;
        }
        let Some(&closer) = world.closers.get(self.closed) else { return false };
        let last = log.batches[self.closed];
        let closes = closer == slot.log && slot.index + 1 == last;
        slot.index < last && (!closes || self.shared.lock().by_batch[self.closed] == world.batch(self.closed))
    }

    /// True once all that is this worker's was read.
    fn ended(&self) -> bool {
        if self.bounded {
            return !self.slots.iter().any(|slot| self.ready(slot));
        }
        let world = &self.shared.world;
        let read = |slot: &Slot| {
            let log = &world.logs[slot.log];
            slot.index == log.records.len() && (slot.next == log.end || !world.closers.is_empty())
        };
        !self.shared.manner.endless
            && self.unjoined.is_empty()
            && self.closed >= world.closers.len()
            && self.slots.iter().all(read)
    }

    /// Says that nothing is there although something is, and wakes the caller for it: at once or later.
    fn delay(&mut self) -> Polled {
        let waker = self.waker.as_ref().expect("checked by poll");
        if self.rng.random_bool(0.5) || self.shared.manner.stepped {
            waker();
        } else {
            // Fails only when the thread has gone, which it does not before us.
            let _ = self.shared.later.send(Arc::clone(waker));
        }
        Polled::Waiting
    }
}

impl Feed for SeededFeed {
    fn wake(&mut self, waker: Waker) {
        assert!(self.waker.is_none(), "the feed was told twice whom to wake");
        self.shared.lock().wakers.entry(self.input.clone()).or_default().push(Arc::clone(&waker));
        self.waker = Some(waker);
    }

    fn poll(&mut self, budget: Budget, each: &mut Each<'_>) -> Result<Polled> {
        assert!(self.waker.is_some(), "the feed was polled before it knew whom to wake");
        if let Some(reason) = self.over {
            panic!("the feed was polled although {reason}");
        }
        if self.ended() {
            self.over = Some("it has ended");
            return Ok(Polled::Ended);
        }
        if budget.records == 0 {
            self.shared.lock().workers.entry((self.input.clone(), self.worker)).or_default().held += 1;
            self.shared.changed.notify_all();
            return Ok(Polled::More);
        }
        match self.rng.random_range(0..20) {
            0 => return Ok(Polled::More),
            1 | 2 => return Ok(self.delay()),
            _ => {}
        }
        let mut left = budget;
        let most = if self.rng.random_bool(0.3) { usize::MAX } else { self.rng.random_range(0..40) };
        for _ in 0..most {
            let ready: Vec<usize> =
                (0..self.slots.len()).filter(|&slot| self.ready(&self.slots[slot])).collect();
            let Some(&slot) = ready.choose(&mut self.rng) else {
                if self.ended() {
                    self.over = Some("it has ended");
                    return Ok(Polled::Ended);
                }
                return Ok(Polled::Waiting);
            };
            for _ in 0..self.rng.random_range(1..8) {
                if left.records == 0 || left.bytes == 0 {
                    return Ok(Polled::More);
                }
                if !self.ready(&self.slots[slot]) {
                    break;
                }
                let bytes = self.step(slot, each)?;
                left.records -= 1;
                left.bytes = left.bytes.saturating_sub(bytes);
            }
        }
        Ok(self.delay())
    }

    fn bound(&mut self, stops: Option<Topics>) -> Result<()> {
        assert_eq!(self.fresh, 0, "the open epoch has records: this is no boundary");
        self.over = self.over.filter(|_| !self.bounded);
        self.bounded = stops.is_some();
        let SeededFeed { shared, input, slots, .. } = self;
        for slot in slots {
            let Log { key: (_, topic, partition), end, .. } = &shared.world.logs[slot.log];
            let stop = stops.as_ref().and_then(|stops| stops.get(topic)?.get(partition));
            slot.limit = *stop.unwrap_or(&slot.next);
            slot.moved |= stop.is_some();
            ensure!(
                slot.next <= slot.limit && slot.limit <= *end,
                "{input}: {topic} partition {partition} is bound by {}, which is not within {} and {end}",
                slot.limit,
                slot.next
            );
        }
        Ok(())
    }

    fn moved(&mut self) -> Vec<Moved> {
        let world = &self.shared.world;
        let mut moved: Vec<Moved> = self
            .slots
            .iter_mut()
            .filter(|slot| slot.moved)
            .map(|slot| {
                slot.moved = false;
                let Log { key: (_, topic, partition), end, .. } = &world.logs[slot.log];
                let (start, next) = (slot.start.take(), slot.next);
                Moved { topic: topic.clone(), partition: *partition, start, id: None, next, end: *end }
            })
            .collect();
        moved.sort();
        for Moved { topic, partition, next, .. } in &moved {
            let before = self.told.insert((self.input.clone(), topic.clone(), *partition), *next);
            assert!(before <= Some(*next), "offsets grow");
        }
        self.fresh = 0;
        self.closed += 1;
        self.shared.lock().workers.entry((self.input.clone(), self.worker)).or_default().closed += 1;
        self.shared.changed.notify_all();
        moved
    }

    fn behind(&self, each: &mut dyn FnMut(&str, i32)) {
        for slot in &self.slots {
            let Log { key: (_, topic, partition), records, .. } = &self.shared.world.logs[slot.log];
            if slot.index < records.len() {
                each(topic, *partition);
            }
        }
    }

    fn boundary(&mut self) -> Result<()> {
        assert_eq!(self.fresh, 0, "the open epoch has records: this is no boundary");
        assert_eq!(self.over, None, "nothing joins a feed that is over");
        if self.bounded {
            return Ok(());
        }
        let mut handed = self.shared.lock();
        let records = handed.by_input.get(&self.input).copied().unwrap_or_default();
        let world = &self.shared.world;
        let (found, unjoined) = std::mem::take(&mut self.unjoined)
            .into_iter()
            .partition(|&log| world.logs[log].appears_after <= records);
        self.unjoined = unjoined;
        let found: Vec<usize> = found;
        for log in found {
            let Log { key, start, .. } = &world.logs[log];
            handed.cut.insert(key.clone(), *start);
            let (next, start) = (*start, Some(*start));
            self.slots.push(Slot { log, index: 0, next, limit: next, start, moved: true });
        }
        Ok(())
    }

    fn published(&mut self, moved: &[Moved], last: bool) {
        for Moved { topic, partition, next, .. } in moved {
            let key = (self.input.clone(), topic.clone(), *partition);
            let told = self.told.get(&key).copied();
            assert!(Some(*next) <= told, "{key:?}: published {next}, but moved only to {told:?}");
            let before = self.published.insert(key, *next);
            assert!(before <= Some(*next), "what is published grows");
        }
        if last {
            assert_eq!(self.published, self.told, "at the end, all is published");
        }
    }
}
