//! What of a state nothing can change any more, by the lateness.
//!
//! The horizon is the watermark less the lateness. A record with an event time before the horizon of the epoch before is late,
//! and its source leaves it out; so what ends before the horizon of an epoch is dropped at the end of that epoch. Keys
//! stand in the order of the horizons for which they wait: an epoch costs the keys that are dropped in it, however many wait.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::limits::horizon;
use crate::rows::Timestamp;
use crate::watermark::Now;

/// The keys of an operator, by the horizons at which something of their state is dropped.
pub(super) struct Retirement {
    lateness: Duration,
    /// The horizon of the last epoch.
    before: Option<Timestamp>,
    waiting: BTreeSet<(Timestamp, Vec<u8>)>,
}

impl Retirement {
    pub(super) fn new(lateness: Duration) -> Self {
        Retirement { lateness, before: None, waiting: BTreeSet::new() }
    }

    /// The horizon of an epoch with this time; `None` where the watermark is not known.
    pub(super) fn horizon(&self, now: Option<Now>) -> Option<Timestamp> {
        now.and_then(|now| now.watermark).map(|watermark| horizon(watermark, self.lateness))
    }

    /// The horizon of the last epoch: what may have been dropped by now.
    pub(super) fn before(&self) -> Option<Timestamp> {
        self.before
    }

    /// An epoch with this time is over.
    pub(super) fn passed(&mut self, now: Option<Now>) {
        self.before = self.before.max(self.horizon(now));
    }

    /// A key that waited for `old` waits for `new`.
    pub(super) fn change(&mut self, key: &[u8], old: Option<Timestamp>, new: Option<Timestamp>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.waiting.remove(&(old, key.to_vec()));
        }
        if let Some(new) = new {
            self.waiting.insert((new, key.to_vec()));
        }
    }

    /// The keys of which something is dropped in an epoch with this time. They don't wait any more.
    pub(super) fn take(&mut self, now: Option<Now>) -> BTreeSet<Vec<u8>> {
        let mut keys = BTreeSet::new();
        let Some(horizon) = self.horizon(now) else { return keys };
        while self.waiting.first().is_some_and(|(until, _)| *until <= horizon) {
            keys.extend(self.waiting.pop_first().map(|(_, key)| key));
        }
        keys
    }
}
