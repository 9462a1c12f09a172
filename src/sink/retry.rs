//! Trying again, slower and slower.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first wait.
const FIRST: Duration = Duration::from_millis(50);
/// How often, at most, it is said that something is tried again.
const REMIND: Duration = Duration::from_secs(10);

/// How long to wait between tries: from 50 ms on, twice as long each time, up to `longest`, and for each wait up to as
/// long again by chance, so that many clients don't come back at once. There is no last try.
pub(super) fn delays(longest: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST)
        .with_max_delay(longest / 2)
        .with_jitter()
        .without_max_times()
}

/// Waits between the tries of one thing.
pub(super) struct Retry {
    delays: ExponentialBackoff,
    deadline: Option<Instant>,
    told: Instant,
}

impl Retry {
    /// For as long as it takes, or until the deadline; `longest` is the longest wait.
    pub(super) fn new(longest: Duration, deadline: Option<Instant>) -> Self {
        Retry { delays: delays(longest).build(), deadline, told: Instant::now() }
    }

    /// Waits before the next try; `why` says what was wrong with the last one.
    ///
    /// # Errors
    /// If the deadline has passed: it says why.
    pub(super) fn wait(&mut self, why: &str) -> Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            bail!("{why}");
        }
        if self.told.elapsed() >= REMIND {
            self.told = Instant::now();
            tracing::warn!("{why}; trying again");
        } else {
            tracing::debug!("{why}; trying again");
        }
        std::thread::sleep(self.delays.next().unwrap_or(FIRST));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        let error = Retry::new(FIRST, Some(Instant::now())).wait("no answer").unwrap_err();
        assert_eq!(error.to_string(), "no answer");
    }
}
