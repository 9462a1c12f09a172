//! Epochs that close although nothing was read in them, since an operator waits for a time.
//!
//! An operator asks by its waker. What it is shown of time comes with an epoch, so where everything is published and what
//! was asked for has come all the same, an epoch closes without records: for a wall-clock time when the calendar says so,
//! for a watermark when partitions have become idle that hold it back. While an epoch is unfinished, none is closed for a
//! timer: that epoch may be what the operator waits for, or have it wait for something else.

use std::collections::BTreeSet;
use std::time::Duration;

use cutwater_dataflows::Epoch;
use cutwater_dataflows::waker::Wakers;

use super::announce::Announcement;
use super::{Clock, Closing};

/// For longer waits, the worker's loop has the clock look at what is due.
const SOON: Duration = Duration::from_millis(250);

/// What a clock knows of those who wait for time.
#[derive(Default)]
pub(super) struct Timers {
    wakers: Wakers,
    /// The last epoch that is replayed: none up to it is closed for a timer.
    replayed: Epoch,
    /// The latest wall-clock time that a timer waited for and an epoch was closed for.
    at: i64,
    /// Closed epochs that are ones whether or not something was read. Those that are published are left out.
    forced: BTreeSet<Epoch>,
    /// The newest epoch that may move the watermark, though nothing be read in it.
    moves: Epoch,
    /// How many of the inputs of all workers have been read to their ends, and of this worker.
    ended: usize,
    ended_here: usize,
    pub(super) workers: usize,
}

impl Clock {
    /// The wakers that it listens to.
    pub fn wakers(&self) -> &Wakers {
        &self.timers.wakers
    }

    /// Epochs up to this one are replayed: the ledger says which there are.
    pub fn replays_through(&mut self, epoch: Epoch) {
        self.timers.replayed = epoch;
    }

    /// True iff something of the dataflow depends on time.
    pub fn is_timed(&self) -> bool {
        self.timers.wakers.is_timed()
    }

    /// The wall-clock time at which an epoch closes now: microseconds since the Unix epoch.
    pub fn closing_time(&self) -> i64 {
        self.calendar().max(self.timers.at)
    }

    /// True iff the epoch is one although nothing was read in it.
    pub fn is_forced(&self, epoch: Epoch) -> bool {
        self.timers.forced.contains(&epoch)
    }

    /// Partitions have become idle that may hold back the watermark: `epoch`, which is open, would move it.
    pub fn moves(&mut self, epoch: Epoch) {
        if self.is_timed() && epoch > self.timers.moves {
            self.tell(Announcement::Moves(epoch));
            self.heard(Announcement::Moves(epoch));
        }
    }

    /// A source has read all of its input, and closed the epochs in which it has read something.
    pub fn ended(&mut self) {
        self.timers.ended_here += 1;
        self.tell(Announcement::Ended);
    }

    /// True once the sources of all workers have ended. No worker closes an epoch after that.
    pub fn all_ended(&self) -> bool {
        self.timers.ended == self.timers.workers * self.sources.len()
    }

    /// Closes the open epoch if an operator waits for it. Returns after what time to try again, where that is soon and
    /// nothing else has it tried.
    pub(super) fn close_for_timer(&mut self) -> Option<Duration> {
        let epoch = self.epoch_for_timer()?;
        let (now, wakers) = (self.calendar(), &self.timers.wakers);
        let idle = self.timers.moves > self.closed() && wakers.watermark().is_some();
        let due = if idle { now } else { wakers.closed()? };
        let left = Duration::from_micros(due.saturating_sub(now).max(0) as u64);
        let delay = match self.closing(epoch, false) {
            Closing::Now if left.is_zero() => {
                let announcement = Announcement::CloseForTimer(epoch, now);
                self.tell(announcement);
                self.heard(announcement);
                return None;
            }
            Closing::Now => left,
            Closing::In(delay) => delay.max(left),
            Closing::Blocked => return None,
        };
        (delay < SOON).then_some(delay)
    }

    /// The open epoch, if it may be closed for a timer: all before it is published, and nothing ends.
    fn epoch_for_timer(&self) -> Option<Epoch> {
        let epoch = self.closed() + 1;
        let published = self.frontier.max(self.first);
        let ends = self.stopping || self.frontier == Epoch::MAX;
        let ended = self.timers.ended_here == self.sources.len();
        (published == epoch && epoch > self.timers.replayed && !ends && !ended).then_some(epoch)
    }

    /// True iff an operator of this worker waits for something.
    pub(super) fn is_waited_for(&self) -> bool {
        let wakers = &self.timers.wakers;
        wakers.closed().is_some() || wakers.watermark().is_some()
    }

    fn calendar(&self) -> i64 {
        i64::try_from(self.time.calendar()).unwrap_or(i64::MAX)
    }
}

impl Timers {
    /// An epoch is closed for a timer.
    pub(super) fn close(&mut self, epoch: Epoch, at: i64) {
        self.at = self.at.max(at);
        self.forced.insert(epoch);
    }

    pub(super) fn moves(&mut self, epoch: Epoch) {
        self.moves = self.moves.max(epoch);
    }

    pub(super) fn one_ended(&mut self) {
        self.ended += 1;
    }

    /// All epochs below are published.
    pub(super) fn published(&mut self, frontier: Epoch) {
        self.forced = self.forced.split_off(&frontier);
    }
}
