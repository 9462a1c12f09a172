//! What the keys of an operator wait for.

use std::collections::BTreeSet;

use crate::operators::keyed_state::Due;
use crate::rows::Timestamp;
use crate::waker::Waker;
use crate::watermark::Now;

/// The times for which keys wait, and the waker that asks for the next ones.
pub(super) struct Timers {
    waker: Waker,
    asked: Due,
    watermark: BTreeSet<(Timestamp, Vec<u8>)>,
    closed: BTreeSet<(Timestamp, Vec<u8>)>,
}

impl Timers {
    pub(super) fn new(waker: Waker) -> Self {
        Timers { waker, asked: Due::never(), watermark: BTreeSet::new(), closed: BTreeSet::new() }
    }

    /// A key waits for nothing of this any more.
    pub(super) fn remove(&mut self, key: &[u8], due: Due) {
        for (timers, time) in [(&mut self.watermark, due.watermark), (&mut self.closed, due.closed)] {
            if let Some(time) = time {
                timers.remove(&(time, key.to_vec()));
            }
        }
    }

    /// A key waits for this, as far as it has not come `now`.
    pub(super) fn insert(&mut self, key: &[u8], due: Due, now: Option<Now>) {
        let reached = [now.and_then(|now| now.watermark), now.map(|now| now.closed)];
        let timers = [(&mut self.watermark, due.watermark), (&mut self.closed, due.closed)];
        for ((timers, time), reached) in timers.into_iter().zip(reached) {
            let time = time.filter(|&time| reached.is_none_or(|reached| time > reached));
            if let Some(time) = time {
                timers.insert((time, key.to_vec()));
            }
        }
    }

    /// The keys that wait for what has come, each once; they don't any more.
    pub(super) fn take(&mut self, now: Now) -> BTreeSet<Vec<u8>> {
        let mut keys = BTreeSet::new();
        for (timers, reached) in [(&mut self.watermark, now.watermark), (&mut self.closed, Some(now.closed))]
        {
            let Some(reached) = reached else { continue };
            while timers.first().is_some_and(|(time, _)| *time <= reached) {
                keys.extend(timers.pop_first().map(|(_, key)| key));
            }
        }
        keys
    }

    /// Asks for the next times.
    pub(super) fn ask(&mut self) {
        let next = |timers: &BTreeSet<(Timestamp, Vec<u8>)>| timers.first().map(|&(time, _)| time);
        let due = Due { watermark: next(&self.watermark), closed: next(&self.closed) };
        if due == self.asked {
            return;
        }
        self.waker.rest();
        due.watermark.into_iter().for_each(|time| self.waker.at_watermark(time));
        due.closed.into_iter().for_each(|time| self.waker.at(time));
        self.asked = due;
    }
}
