//! Drives the source operators: reads a feed within bounds, closes epochs, keeps the cut.
//!
//! A run that resumes from a ledger first reads the epochs again that the ledger knows. Each worker closes them by
//! itself, as soon as its part of their cut has been read and few enough are unfinished: neither time nor caps,
//! announcements or a stop matter before that is done.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cutwater_dataflows::record::{Malformed, Record};
use cutwater_dataflows::source::{DecodeRecord, Driver, Moved, Report, Turn};
use cutwater_dataflows::watermark::{EventTimes, Known, TimeReport};
use cutwater_dataflows::{Activator, Epoch, SyncActivator};

use crate::dead_letter_log::DeadLetterLog;
use crate::epoch::{Clock, Closing};
use crate::event_time::Partitions;
use crate::fault::Fault;
use crate::feed::{Budget, Feed, Polled, Took};
use crate::state::cut::Topics;
use crate::state::resume::Resume;
use crate::time::Time;

/// Records that one turn reads at most, so that the other operators run in between.
const TURN: usize = 1 << 14;
/// Records that are read before it is looked again whether the epoch is full: what they decode to is known after that.
const SLICE: usize = 1 << 10;
/// The same, as long as nothing is known of what records decode to.
const FIRST_SLICE: usize = 16;
/// For how long a full epoch may wait before the partitions are paused. Shorter waits are left to the
/// client's queue, whose bound is in bytes: pausing throws away what was fetched ahead.
const HOLD_AFTER: Duration = Duration::from_secs(1);
/// How often a held feed is polled.
const HOLD_POLL: Duration = Duration::from_millis(100);

/// The driver of one input on one worker.
pub struct Source {
    feed: Box<dyn Feed>,
    clock: Rc<RefCell<Clock>>,
    time: Arc<dyn Time>,
    fault: Fault,
    dead_letters: Arc<DeadLetterLog>,
    /// As long as epochs are read again.
    replay: Option<Replay>,
    here: Option<Activator>,
    /// The open epoch.
    epoch: Epoch,
    read: Report,
    /// Bytes of the rows that its records have come to.
    held: usize,
    /// Event times, of the epochs that are closed and of the open one.
    partitions: Partitions,
    /// What the others know of them.
    told: EventTimes,
    /// By how much records grow when they are decoded: in the last epoch, at least 1. `None` before the first.
    growth: Option<usize>,
    /// When the operator will run again by itself.
    timer: Option<Duration>,
    blocked_since: Option<Duration>,
    /// For how long the open epoch was full, all times before together.
    blocked: Duration,
    /// Closed epochs that are not published yet, with their part of the cut.
    unpublished: VecDeque<(Epoch, Vec<Moved>)>,
    /// All is read; and the others know.
    done: bool,
    said_done: bool,
}

/// Epochs that are read again.
struct Replay {
    resume: Arc<Resume>,
    input: String,
    /// True once all of the open epoch has been read.
    arrived: bool,
}

/// A source, shared by its operator and the worker's loop: the last word to the feed comes after the operator
/// has gone.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Source>>);

impl Shared {
    /// A source that reads `feed`, which was opened for `input` at `begin`: from the clock's first epoch on, those epochs
    /// again that `resume` knows. Its dead letters are told together with those of the other sources of `dead_letters`.
    ///
    /// # Errors
    /// If the feed can't be read as far as `resume` says.
    pub fn new(
        mut feed: Box<dyn Feed>,
        input: &str,
        begin: &Topics,
        resume: Option<&Arc<Resume>>,
        clock: &Rc<RefCell<Clock>>,
        fault: &Fault,
        dead_letters: &Arc<DeadLetterLog>,
    ) -> anyhow::Result<Self> {
        let (epoch, time) = (clock.borrow().first(), Arc::clone(clock.borrow().time()));
        let mut partitions = Partitions::new(clock.borrow().options().idle_after);
        for (topic, of) in begin {
            of.keys().for_each(|&partition| partitions.join(topic, partition, time.now()));
        }
        let mut replay = None;
        if let Some(resume) = resume
            && let Some(stops) = resume.bound(epoch, input)
        {
            feed.bound(Some(stops))?;
            replay = Some(Replay { resume: Arc::clone(resume), input: input.to_owned(), arrived: false });
        }
        Ok(Shared(Rc::new(RefCell::new(Source {
            feed,
            clock: Rc::clone(clock),
            time,
            fault: fault.clone(),
            dead_letters: Arc::clone(dead_letters),
            replay,
            here: None,
            epoch,
            read: Report::default(),
            held: 0,
            partitions,
            told: EventTimes::default(),
            growth: None,
            timer: None,
            blocked_since: None,
            blocked: Duration::ZERO,
            unpublished: VecDeque::new(),
            done: false,
            said_done: false,
        }))))
    }

    /// For how long it has not read since its open epoch was full, by now.
    pub fn blocked(&self) -> Duration {
        let source = self.0.borrow();
        let since = source.blocked_since.map(|since| source.time.now().saturating_sub(since));
        source.blocked + since.unwrap_or_default()
    }

    /// Tells the feed that all is published. Call it once, after the dataflow has ended well.
    pub fn finish(self) {
        let mut source = self.0.borrow_mut();
        let rest: Vec<Moved> = source.unpublished.drain(..).flat_map(|(_, moved)| moved).collect();
        source.feed.published(&rest, true);
    }
}

impl Driver for Shared {
    fn attach(&mut self, here: Activator, anywhere: SyncActivator) {
        let mut source = self.0.borrow_mut();
        source.feed.wake(Arc::new(move || {
            // Fails only when the worker has gone, and then there is nobody to wake.
            let _ = anywhere.activate();
        }));
        source.here = Some(here.clone());
        let clock = Rc::clone(&source.clock);
        clock.borrow_mut().join(here);
    }

    fn first(&self) -> Epoch {
        self.0.borrow().epoch
    }

    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> Turn {
        let mut source = self.0.borrow_mut();
        match source.turn(decode) {
            Ok(turn) => turn,
            Err(error) => {
                source.fault.raise(error);
                Turn::Yield
            }
        }
    }

    fn late(&mut self, record: &Record<'_>, reason: &Malformed) {
        self.0.borrow().dead_letters.warn(record, reason);
    }
}

impl Source {
    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> anyhow::Result<Turn> {
        self.forget_published();
        if self.replay.is_some() { self.replay_turn(decode) } else { self.live_turn(decode) }
    }

    /// A turn while epochs are read again.
    fn replay_turn(&mut self, decode: &mut DecodeRecord<'_>) -> anyhow::Result<Turn> {
        let mut left = TURN;
        while self.replay.as_ref().is_some_and(|replay| !replay.arrived) {
            if left == 0 {
                self.activate();
                return Ok(Turn::Yield);
            }
            let before = self.read.records;
            let polled = self.poll(Budget { records: left, bytes: usize::MAX }, decode)?;
            let read = (self.read.records - before) as usize;
            left = left.saturating_sub(read);
            match polled {
                Polled::Ended => self.replay.iter_mut().for_each(|replay| replay.arrived = true),
                Polled::More if read > 0 => {}
                // Gaps have used the budget up: the other operators run all the same.
                Polled::More => {
                    self.activate();
                    return Ok(Turn::Yield);
                }
                Polled::Waiting => return Ok(Turn::Yield),
            }
        }
        if self.clock.borrow().closing(self.epoch, true) != Closing::Now {
            // The clock has the source run when an epoch is published.
            return Ok(Turn::Yield);
        }
        let report = Report { again: true, ..self.close() };
        self.clock.borrow_mut().opened(self.epoch);
        self.bound()?;
        Ok(Turn::Close(report))
    }

    /// Bounds the feed by what the ledger says of the open epoch. After the last one that it knows, reading goes on
    /// without bounds.
    fn bound(&mut self) -> anyhow::Result<()> {
        let stops = self.replay.as_ref().and_then(|replay| replay.resume.bound(self.epoch, &replay.input));
        match &mut self.replay {
            Some(replay) if stops.is_some() => replay.arrived = false,
            replay => *replay = None,
        }
        self.feed.bound(stops)
    }

    /// What ends a turn before anything is read: the epoch closes, or there is nothing more to read.
    fn close_if_due(&mut self) -> anyhow::Result<Option<Turn>> {
        let (stopping, timed) = (self.clock.borrow().is_stopping(), self.clock.borrow().is_timed());
        if stopping || self.done && !timed {
            return Ok(Some(Turn::Done(self.close())));
        }
        if self.clock.borrow().is_due(self.epoch) {
            let report = self.close();
            self.clock.borrow_mut().opened(self.epoch);
            if !self.done {
                self.feed.boundary()?;
            }
            return Ok(Some(Turn::Close(report)));
        }
        Ok(self.done.then(|| self.end_together()))
    }

    /// A turn when there is nothing to be read again.
    fn live_turn(&mut self, decode: &mut DecodeRecord<'_>) -> anyhow::Result<Turn> {
        let mut left = TURN;
        loop {
            if let Some(turn) = self.close_if_due()? {
                return Ok(turn);
            }
            let mut room = self.room();
            if self.read.records == 0 {
                // Nothing of this epoch has been read: this is still its boundary.
                self.feed.boundary()?;
                self.look_for_idle();
            } else {
                let closing = self.clock.borrow().closing(self.epoch, room.records == 0);
                match closing {
                    Closing::Now => {
                        self.clock.borrow_mut().close(self.epoch);
                        continue;
                    }
                    Closing::In(delay) => self.run_again_in(delay),
                    Closing::Blocked => {}
                }
            }
            if left == 0 {
                self.activate();
                return Ok(Turn::Yield);
            }
            if room.records == 0 {
                self.run_again_in(HOLD_POLL);
                let now = self.time.now();
                if now - *self.blocked_since.get_or_insert(now) < HOLD_AFTER {
                    return Ok(Turn::Yield);
                }
            } else {
                self.unblock();
            }
            let slice = if self.growth().is_some() { SLICE } else { FIRST_SLICE };
            room.records = room.records.min(left).min(slice);
            let before = self.read.records;
            let polled = self.poll(room, decode)?;
            left = left.saturating_sub((self.read.records - before) as usize);
            match polled {
                Polled::Ended => {
                    self.done = true;
                    self.partitions.end();
                    if self.read.records > 0 {
                        self.clock.borrow_mut().left(self.epoch);
                    }
                }
                // Gaps may use the budget up: the other operators run all the same.
                Polled::More if room.records > 0 && self.read.records == before => {
                    self.activate();
                    return Ok(Turn::Yield);
                }
                Polled::More if room.records > 0 => {}
                // Come back once more for what was read in this turn: its epoch may be closed.
                Polled::Waiting if self.read.records > before => {}
                Polled::More | Polled::Waiting => return Ok(Turn::Yield),
            }
        }
    }

    /// Has an epoch close, where somebody waits for that, when partitions have become idle that the others still wait for.
    fn look_for_idle(&mut self) {
        let Some(told) = self.told.low.filter(|_| self.clock.borrow().is_timed()) else { return };
        let now = self.time.now();
        let has_risen = |partitions: &Partitions| partitions.times(now).low.is_none_or(|low| low > told);
        if has_risen(&self.partitions) {
            self.wait_for_those_behind(now);
            if has_risen(&self.partitions) {
                self.clock.borrow_mut().moves(self.epoch);
            }
        }
    }

    /// A partition that was not read since the workers were busy, or paused it, is not idle.
    fn wait_for_those_behind(&mut self, now: Duration) {
        let Source { feed, partitions, .. } = self;
        feed.behind(&mut |topic, partition| partitions.wait(topic, partition, now));
    }

    /// All is read, and something depends on time: the inputs of all workers end in the same epoch. So the last watermark
    /// does not depend on who was done first.
    fn end_together(&mut self) -> Turn {
        // What was read last is closed first.
        if self.read.records == 0 && !self.said_done {
            self.said_done = true;
            self.clock.borrow_mut().ended();
        }
        if self.clock.borrow().all_ended() { Turn::Done(self.close()) } else { Turn::Yield }
    }

    /// What the caps leave of the open epoch. Nothing, once either cap is reached.
    fn room(&self) -> Budget {
        let clock = self.clock.borrow();
        let options = clock.options();
        let records = options.max_records.saturating_sub(self.read.records as usize);
        // Records count as what they weigh on the wire or as what they decode to, whichever is more.
        let bytes = options.max_bytes.saturating_sub(self.held.max(self.read.bytes as usize));
        if records == 0 || bytes == 0 {
            return Budget { records: 0, bytes: 0 };
        }
        // A budget is of bytes on the wire.
        Budget { records, bytes: bytes.div_ceil(self.growth().unwrap_or(1)) }
    }

    /// By how much records grow when they are decoded, as far as is known.
    fn growth(&self) -> Option<usize> {
        match self.read.bytes as usize {
            0 => self.growth,
            bytes => Some((self.held / bytes).max(1)),
        }
    }

    fn poll(&mut self, budget: Budget, decode: &mut DecodeRecord<'_>) -> anyhow::Result<Polled> {
        let (read, held) = (&mut self.read, &mut self.held);
        let (time, dead_letters, partitions) = (&self.time, &self.dead_letters, &mut self.partitions);
        let mut early = false;
        let polled = self.feed.poll(budget, &mut |record| {
            let decoded = decode(record);
            if decoded.not_yet {
                early = true;
                return Took::NotYet;
            }
            if read.records == 0 {
                read.first_read = time.calendar();
            }
            read.records += 1;
            read.bytes += record.size() as u64;
            if let Some(timestamp) = record.timestamp {
                read.oldest = Some(read.oldest.map_or(timestamp, |oldest| oldest.min(timestamp)));
            }
            *held = decoded.held;
            if let Some(time) = decoded.event_time {
                partitions.read(record.topic, record.partition, time.micros());
            }
            if let Some(reason) = decoded.malformed {
                read.dead_letters += 1;
                dead_letters.warn(record, &reason);
            }
            Took::Yes
        })?;
        if early {
            // What it lacks is on its way. Nobody says when it has come.
            self.run_again_in(HOLD_POLL);
        }
        Ok(polled)
    }

    /// Closes the open epoch.
    fn close(&mut self) -> Report {
        (self.growth, self.held) = (self.growth(), 0);
        let mut report = std::mem::take(&mut self.read);
        report.moved = self.feed.moved();
        report.time = self.time_report(&report);
        if !report.moved.is_empty() {
            // What was read again had been published before, perhaps: what others see of that must not go back.
            let last = self.replay.as_ref().map_or(self.epoch, |replay| replay.resume.last());
            self.unpublished.push_back((last, report.moved.clone()));
        }
        self.epoch += 1;
        self.timer = None;
        self.unblock();
        report
    }

    /// There is room again in the open epoch.
    fn unblock(&mut self) {
        if let Some(since) = self.blocked_since.take() {
            self.blocked += self.time.now().saturating_sub(since);
        }
    }

    /// What is to be said of time as the open epoch closes. All workers say it of an epoch that is replayed: it may be one
    /// in which nothing was read.
    fn time_report(&mut self, report: &Report) -> Option<TimeReport> {
        let now = self.time.now();
        for moved in &report.moved {
            self.partitions.join(&moved.topic, moved.partition, now);
        }
        self.wait_for_those_behind(now);
        let clock = self.clock.borrow();
        let times = self.partitions.close(now);
        if let Some(Replay { resume, input, .. }) = &self.replay {
            return resume.entry(self.epoch).map(|entry| entry.replayed(input));
        }
        let is_new = std::mem::replace(&mut self.told, times) != times;
        let forced = clock.is_forced(self.epoch) || is_new && self.said_done && clock.all_ended();
        let closed = clock.closing_time();
        (is_new || forced || report.is_epoch()).then_some(TimeReport {
            worker: 0,
            forced,
            closed,
            known: Known::Read(times),
        })
    }

    /// Tells the feed what has been published since the last turn.
    fn forget_published(&mut self) {
        let frontier = self.clock.borrow().frontier();
        while self.unpublished.front().is_some_and(|&(epoch, _)| epoch < frontier) {
            let (_, moved) = self.unpublished.pop_front().expect("there is a front");
            self.feed.published(&moved, false);
        }
    }

    fn run_again_in(&mut self, delay: Duration) {
        let now = self.time.now();
        if self.timer.is_none_or(|timer| timer <= now || timer > now + delay) {
            self.timer = Some(now + delay);
            if let Some(here) = &self.here {
                here.activate_after(delay);
            }
        }
    }

    fn activate(&self) {
        if let Some(here) = &self.here {
            here.activate();
        }
    }
}
