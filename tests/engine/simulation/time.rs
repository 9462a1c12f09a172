//! A time that goes on only when it is told to, and a calendar that jumps.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use cutwater::time::Time;

/// A time that is set.
#[derive(Default)]
pub(super) struct SetTime {
    micros: AtomicU64,
    jumped: AtomicI64,
}

impl SetTime {
    pub(super) fn advance(&self, by: Duration) {
        self.micros.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }

    /// Sets the calendar forward, or back.
    pub(super) fn jump(&self, micros: i64) {
        self.jumped.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Time for SetTime {
    fn now(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    fn calendar(&self) -> u64 {
        const START: u64 = 1_700_000_000_000_000;
        let now = START + self.micros.load(Ordering::Relaxed);
        now.saturating_add_signed(self.jumped.load(Ordering::Relaxed))
    }
}
