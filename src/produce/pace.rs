//! The pace of records that are not to be sent as fast as they can.

use std::str::FromStr;
use std::time::{Duration, Instant};

/// How far behind its time a record may be made up for. More would be a burst after every outage.
const SLACK: Duration = Duration::from_millis(100);

/// The shortest sleep. A high rate is even enough with a few records at a time, and costs a fraction of the sleeps.
const SHORTEST: Duration = Duration::from_millis(1);

/// So many records a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    gap: Duration,
}

impl Rate {
    /// So many records a second.
    ///
    /// # Errors
    /// If it is no number of 0.001 or more.
    pub fn per_second(rate: f64) -> Result<Self, String> {
        if rate >= 0.001 {
            Ok(Rate { gap: Duration::from_secs_f64(rate.recip()) })
        } else {
            Err("expected a number of 0.001 or more".to_owned())
        }
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Rate::per_second(text.parse().unwrap_or(f64::NAN))
    }
}

/// When records are due.
pub struct Pace {
    gap: Duration,
    due: Instant,
}

impl Pace {
    /// The first record is due now.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Pace { gap: rate.gap, due: now }
    }

    /// How long to wait with the next record.
    pub fn next(&mut self, now: Instant) -> Duration {
        // Each is due a gap after the one before, not after now: what a sleep lasts too long is made up for.
        let due = self.due.max(now.checked_sub(SLACK).unwrap_or(now));
        self.due = due + self.gap;
        let wait = due.saturating_duration_since(now);
        if wait < SHORTEST { Duration::ZERO } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn records_are_due_evenly_whatever_waiting_takes() {
        let start = Instant::now();
        let mut pace = Pace::new("100".parse().unwrap(), start);
        assert_eq!(pace.next(start), Duration::ZERO);
        assert_eq!(pace.next(start), 10 * MS);
        assert_eq!(pace.next(start + 13 * MS), 7 * MS);
        // A bit late, and back on time with the one after.
        assert_eq!(pace.next(start + 35 * MS), Duration::ZERO);
        assert_eq!(pace.next(start + 35 * MS), 5 * MS);
    }

    #[test]
    fn a_long_pause_is_no_reason_for_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new("100".parse().unwrap(), start);
        let later = start + 10_000 * MS;
        let at_once = (0..1000).take_while(|_| pace.next(later).is_zero()).count();
        assert_eq!(at_once, 11);
    }

    #[test]
    fn a_high_rate_sleeps_for_several_records_at_a_time() {
        let mut now = Instant::now();
        let mut pace = Pace::new("20000".parse().unwrap(), now);
        let waits: Vec<Duration> = (0..20_000)
            .map(|_| {
                let wait = pace.next(now);
                now += wait;
                wait
            })
            .filter(|wait| !wait.is_zero())
            .collect();
        assert!(waits.iter().all(|&wait| wait >= MS && wait < 2 * MS), "{waits:?}");
        let slept: Duration = waits.iter().sum();
        assert!(slept > 998 * MS && slept <= 1000 * MS, "{slept:?}");
    }

    #[test]
    fn rates_are_checked() {
        for wrong in ["0", "-1", "NaN", "", "fast", "1e-30"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        for right in ["0.001", "1", "1e30", "inf"] {
            assert!(right.parse::<Rate>().is_ok(), "{right}");
        }
    }
}
