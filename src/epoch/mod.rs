//! Epochs: when a worker closes the open one, and how the others learn of it.
//!
//! The first worker that has records, and whose epoch has been open for the shortest time, closes it and
//! announces that to all. The others close the same epoch when they hear of it, whether they have records or
//! not. A worker whose input has ended does the same for the epoch of its last records. So an idle worker holds
//! nothing back, no epoch is closed while nothing comes in, and an epoch closes everywhere at about the same
//! time.
//!
//! Epochs that a run goes through again, as the ledger says, are not announced: every worker knows where they end.
//! Epochs without records close only for `timers`.

mod announce;
mod timers;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cutwater_dataflows::{Activator, Epoch};

use announce::Announcement;
pub use announce::announce;
use timers::Timers;

use crate::time::Time;

/// When epochs close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochOptions {
    /// The shortest time an epoch stays open.
    pub shortest: Duration,
    /// Records of a worker and input after which an epoch closes earlier.
    pub max_records: usize,
    /// Bytes of keys and values, or of the rows that they decode to, whichever are more, likewise.
    pub max_bytes: usize,
    /// How many closed epochs may be unfinished.
    pub in_flight: usize,
    /// For how long a partition may be without records before it no longer holds the watermark back.
    pub idle_after: Duration,
}

impl Default for EpochOptions {
    fn default() -> Self {
        EpochOptions {
            shortest: Duration::from_millis(100),
            max_records: 1_000_000,
            max_bytes: 64 << 20,
            in_flight: 2,
            idle_after: Duration::from_secs(30),
        }
    }
}

impl EpochOptions {
    /// For runs whose rows leave once, after the end: nobody waits for an epoch, and fewer of them cost less. They tell
    /// how far the run has come.
    pub fn at_end() -> Self {
        EpochOptions { shortest: Duration::from_secs(1), ..EpochOptions::default() }
    }
}

/// While the epoch before is unfinished, an epoch stays open so many times as long as it must: closed, it would wait behind
/// that one, and its records would be no sooner out than those that come meanwhile. After that the workers have much to
/// do, and do it while the sinks are busy.
const PATIENCE: u32 = 3;

/// A worker's view of its epochs, shared by its source drivers.
pub struct Clock {
    options: EpochOptions,
    time: Arc<dyn Time>,
    /// The first epoch of the run.
    first: Epoch,
    /// All epochs below are published.
    frontier: Epoch,
    /// The newest epoch that any source of this worker has open, and since when.
    open: Epoch,
    opened: Duration,
    /// Epochs up to this one are to be closed.
    close_through: Epoch,
    /// The newest epoch that a source of this worker had records of when it ended, until it is closed: nobody
    /// else may have reason to close it.
    left_open: Option<Epoch>,
    /// What this worker has to tell the others.
    announce: Vec<Announcement>,
    timers: Timers,
    stopping: bool,
    sources: Vec<Activator>,
    announcer: Option<Activator>,
    /// Run when an epoch is closed, when all is published, and from time to time.
    on_closed: Option<Activator>,
}

/// May the open epoch be closed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It may, now.
    Now,
    /// Not before that time has passed.
    In(Duration),
    /// Not before another epoch is published: as many as may be are unfinished.
    Blocked,
}

impl Clock {
    /// A clock at the first epoch of a run, with nothing published by it.
    pub fn new(options: EpochOptions, first: Epoch, time: Arc<dyn Time>) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Clock {
            options,
            first,
            frontier: 0,
            open: first,
            opened: time.now(),
            time,
            close_through: first - 1,
            left_open: None,
            announce: Vec::new(),
            timers: Timers::default(),
            stopping: false,
            sources: Vec::new(),
            announcer: None,
            on_closed: None,
        }))
    }

    /// The options.
    pub fn options(&self) -> &EpochOptions {
        &self.options
    }

    /// The first epoch of the run.
    pub fn first(&self) -> Epoch {
        self.first
    }

    /// Whose time it goes by.
    pub fn time(&self) -> &Arc<dyn Time> {
        &self.time
    }

    /// All epochs below it are published.
    pub fn frontier(&self) -> Epoch {
        self.frontier
    }

    /// The newest epoch that this worker has closed, or knows to be closed by another; the one
    /// before the first as long as there is none.
    pub fn closed(&self) -> Epoch {
        self.close_through.max(self.open - 1)
    }

    /// Has an operator run when [`Clock::closed`] grows, when all is published, and whenever the clock is nudged.
    pub fn on_closed(&mut self, operator: Activator) {
        self.on_closed = Some(operator);
    }

    /// True once the inputs are to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// True iff `epoch` is to be closed.
    pub fn is_due(&self, epoch: Epoch) -> bool {
        epoch <= self.close_through
    }

    /// May `epoch`, which has records, be closed? `full` says that it has reached a cap.
    pub fn closing(&self, epoch: Epoch, full: bool) -> Closing {
        // What precedes the first epoch is no epoch of this run: nothing is unfinished before.
        let unfinished = epoch + 1 - self.frontier.max(self.first).min(epoch + 1);
        if unfinished > self.options.in_flight as u64 {
            return Closing::Blocked;
        }
        let shortest = self.options.shortest * if unfinished > 1 { PATIENCE } else { 1 };
        let left = shortest.saturating_sub(self.time.now().saturating_sub(self.opened));
        if full || left.is_zero() { Closing::Now } else { Closing::In(left) }
    }

    /// Closes epochs up to this one, here and on all other workers.
    pub fn close(&mut self, epoch: Epoch) {
        self.tell(Announcement::Close(epoch));
        self.heard(Announcement::Close(epoch));
    }

    /// Ends the inputs, here and on all other workers.
    pub fn stop(&mut self) {
        if !self.stopping {
            self.tell(Announcement::Stop);
            self.heard(Announcement::Stop);
        }
    }

    /// A source of this worker has opened `epoch`.
    pub fn opened(&mut self, epoch: Epoch) {
        if epoch > self.open {
            self.open = epoch;
            self.opened = self.time.now();
            self.on_closed.iter().for_each(Activator::activate);
        }
    }

    /// The frontier of what is published has moved; `Epoch::MAX` when all epochs are published.
    pub fn published(&mut self, frontier: Epoch) {
        if frontier != self.frontier {
            self.frontier = frontier;
            self.timers.published(frontier);
            self.activate_sources();
            if frontier == Epoch::MAX {
                self.on_closed.iter().for_each(Activator::activate);
            }
            if frontier == Epoch::MAX || self.left_open.is_some() || self.is_waited_for() {
                self.activate_announcer();
            }
        }
    }

    /// Has the sources run, whether or not something has come, and what may be due by now be looked at.
    pub fn nudge(&self) {
        self.activate_sources();
        self.on_closed.iter().for_each(Activator::activate);
        if self.left_open.is_some() || self.is_waited_for() {
            self.activate_announcer();
        }
    }

    /// A source joins.
    pub fn join(&mut self, source: Activator) {
        self.sources.push(source);
    }

    /// A source has ended with records of `epoch`, which it has open.
    pub fn left(&mut self, epoch: Epoch) {
        self.left_open = self.left_open.max(Some(epoch));
        self.activate_announcer();
    }

    /// Closes the epoch that was left open, when it may be. Returns after what time to try again, where
    /// nothing else has it tried.
    fn close_left_open(&mut self) -> Option<Duration> {
        self.left_open = self.left_open.filter(|&epoch| !self.is_due(epoch));
        match self.closing(self.left_open?, false) {
            Closing::Now => {
                let epoch = self.left_open.take()?;
                self.close(epoch);
                None
            }
            Closing::In(delay) => Some(delay),
            Closing::Blocked => None,
        }
    }

    /// The operator that carries announcements, to so many workers.
    fn attach(&mut self, announcer: Activator, workers: usize) {
        self.timers.workers = workers;
        self.wakers().on_asked(announcer.clone());
        self.announcer = Some(announcer);
    }

    fn tell(&mut self, announcement: Announcement) {
        self.announce.push(announcement);
        self.activate_announcer();
    }

    fn activate_announcer(&self) {
        self.announcer.iter().for_each(Activator::activate);
    }

    /// Another worker has announced that, or this one; all that a worker announces comes in order.
    fn heard(&mut self, announcement: Announcement) {
        match announcement {
            Announcement::Stop => self.stopping = true,
            Announcement::Ended => self.timers.one_ended(),
            Announcement::Moves(epoch) => {
                self.timers.moves(epoch);
                self.activate_announcer();
            }
            Announcement::Close(epoch) => self.close_through(epoch),
            Announcement::CloseForTimer(epoch, at) => {
                self.timers.close(epoch, at);
                self.close_through(epoch);
            }
        }
        self.activate_sources();
    }

    fn close_through(&mut self, epoch: Epoch) {
        if epoch > self.close_through {
            self.close_through = epoch;
            self.on_closed.iter().for_each(Activator::activate);
        }
    }

    fn activate_sources(&self) {
        self.sources.iter().for_each(Activator::activate);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Time that passes when it is told to.
    #[derive(Default)]
    struct Told(Mutex<Duration>);

    impl Time for Told {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn calendar(&self) -> u64 {
            0
        }
    }

    #[test]
    fn an_epoch_closes_when_its_time_has_come_and_few_are_unfinished() {
        let (hour, time) = (Duration::from_secs(3600), Arc::new(Told::default()));
        let options = EpochOptions { shortest: hour, ..EpochOptions::default() };
        for first in [1, 2, 1000] {
            let clock = Clock::new(options, first, time.clone());
            let mut clock = clock.borrow_mut();
            assert_eq!(clock.closing(first, false), Closing::In(hour));
            assert_eq!(clock.closing(first, true), Closing::Now);
            *time.0.lock().unwrap() += hour / 2;
            assert_eq!(clock.closing(first, false), Closing::In(hour / 2));
            *time.0.lock().unwrap() += hour;
            assert_eq!(clock.closing(first, false), Closing::Now);
            assert_eq!(clock.closed(), first - 1);
            clock.close(first);
            assert_eq!(clock.closed(), first);
            assert!(clock.is_due(first) && !clock.is_due(first + 1));
            assert_eq!(clock.closing(first + 1, true), Closing::Now);
            clock.opened(first + 1);
            *time.0.lock().unwrap() += hour;
            assert_eq!(
                clock.closing(first + 1, false),
                Closing::In(2 * hour),
                "the one before is unfinished"
            );
            *time.0.lock().unwrap() += 2 * hour;
            assert_eq!(clock.closing(first + 1, false), Closing::Now);
            clock.close(first + 1);
            assert_eq!(clock.closing(first + 2, true), Closing::Blocked, "two are unfinished");
            clock.published(first + 1);
            assert_eq!(clock.closing(first + 2, true), Closing::Now);
        }
    }

    #[test]
    fn what_is_closed_without_a_word_is_closed_all_the_same() {
        let clock = Clock::new(EpochOptions::default(), 5, Arc::new(Told::default()));
        let mut clock = clock.borrow_mut();
        clock.opened(8);
        assert_eq!(clock.closed(), 7);
        assert!(clock.announce.is_empty() && !clock.is_due(5), "nobody else is told to close it");
        assert_eq!(clock.closing(8, true), Closing::Blocked, "5 to 7 are unfinished");
    }
}
