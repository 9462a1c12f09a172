//! Time: the machine's, or that of a simulation.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Time: Send + Sync {
    /// How much time has passed since some moment before. It never goes back.
    fn now(&self) -> Duration;

    /// What the calendar says, in microseconds since the Unix epoch: for people and for latencies. It may go back.
    fn calendar(&self) -> u64;
}

/// The time of this machine.
pub struct MachineTime {
    start: Instant,
}

impl Default for MachineTime {
    fn default() -> Self {
        MachineTime { start: Instant::now() }
    }
}

impl Time for MachineTime {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn calendar(&self) -> u64 {
        micros_since_epoch()
    }
}

/// What this machine's calendar says, in microseconds since the Unix epoch.
pub(crate) fn micros_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
