//! Trying again, slower and slower, until it works, a deadline has passed, or the run has failed elsewhere. There is no
//! other loop of this kind in a run.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::fault::{Fault, Waiting};

/// The first wait.
const FIRST: Duration = Duration::from_millis(50);
/// How often, at most, it is said that something is tried again.
const REMIND: Duration = Duration::from_secs(10);

/// How long to wait between tries: from 50 ms on, twice as long each time, up to `longest`, and for each wait up to as
/// long again by chance, so that many clients don't come back at once. There is no last try.
pub(crate) fn delays(longest: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST)
        .with_max_delay(longest / 2)
        .with_jitter()
        .without_max_times()
}

/// Waits between the tries of one thing.
pub struct Retry {
    delays: ExponentialBackoff,
    deadline: Option<Instant>,
    told: Instant,
    waiting: Waiting,
}

impl Retry {
    /// For as long as it takes, or until the deadline, or until an error is raised; `longest` is the longest wait.
    pub fn new(fault: &Fault, longest: Duration, deadline: Option<Instant>) -> Self {
        let waiting = fault.waiting();
        Retry { delays: delays(longest).build(), deadline, told: Instant::now(), waiting }
    }

    /// Waits before the next try; `why` says what was wrong with the last one.
    ///
    /// # Errors
    /// If the deadline has passed, or an error was raised: it says why.
    pub fn wait(&mut self, why: &str) -> Result<()> {
        self.wait_at_least(Duration::ZERO, why)
    }

    /// As [`Retry::wait`], and no shorter than `least`.
    ///
    /// # Errors
    /// As [`Retry::wait`].
    pub fn wait_at_least(&mut self, least: Duration, why: &str) -> Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            bail!("{why}");
        }
        self.waiting.is_for(why);
        if self.told.elapsed() >= REMIND {
            self.told = Instant::now();
            tracing::warn!("{why}; trying again");
        } else {
            tracing::debug!("{why}; trying again");
        }
        self.waiting.fault().pause(self.delays.next().unwrap_or(FIRST).max(least))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_never_end() {
        let longest = Duration::from_secs(30);
        let waits: Vec<Duration> = delays(longest).build().take(100).collect();
        assert_eq!(waits.len(), 100);
        assert!(waits[0] < 2 * FIRST + Duration::from_millis(1) && waits[0] >= FIRST, "{:?}", waits[0]);
        assert!(waits.iter().all(|&wait| wait <= longest), "{waits:?}");
        assert!(waits[99] >= longest / 2, "{:?}", waits[99]);
    }

    #[test]
    fn a_deadline_ends_it_with_the_reason() {
        let fault = Fault::default();
        let error = Retry::new(&fault, FIRST, Some(Instant::now())).wait("no answer").unwrap_err();
        assert_eq!(error.to_string(), "no answer");
    }

    #[test]
    fn an_error_elsewhere_ends_it() {
        let fault = Fault::default();
        let mut retry = Retry::new(&fault, FIRST, None);
        retry.wait("no answer").unwrap();
        assert_eq!(fault.waits(), ["no answer"]);
        let hour = Duration::from_secs(3600);
        let waiter = std::thread::spawn(move || retry.wait_at_least(hour, "asked to wait").is_err());
        fault.raise(anyhow!("no space left"));
        assert!(waiter.join().unwrap());
    }
}
