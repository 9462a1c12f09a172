//! Starting a run again after a failure: how often, and after how long.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use backon::{BackoffBuilder as _, ExponentialBackoff};

use crate::retry;

/// When a run is started again from its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It ends with the first failure.
    Never,
    /// After failures, up to so many in a row without progress.
    OnFailure(u32),
}

/// Failures in a row without progress after which a run ends, where nothing else is said.
const LIMIT: u32 = 10;
/// The longest wait before a start.
const LONGEST: Duration = Duration::from_secs(30);

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "expected never, on-failure or on-failure:N, N from 1 on".to_owned();
        match text.split_once(':') {
            None if text == "never" => Ok(Restart::Never),
            None if text == "on-failure" => Ok(Restart::OnFailure(LIMIT)),
            Some(("on-failure", limit)) => {
                let limit = limit.parse().ok().filter(|&limit| limit > 0);
                limit.map(Restart::OnFailure).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

/// The failures of a run since it last made progress.
pub(super) struct Failures {
    limit: u32,
    in_a_row: u32,
    /// Starts after the first one.
    pub(super) restarts: u64,
    delays: ExponentialBackoff,
}

impl Failures {
    /// None yet; `limit`: with so many in a row without progress, the run ends.
    pub(super) fn new(limit: u32) -> Self {
        Failures { limit, in_a_row: 0, restarts: 0, delays: retry::delays(LONGEST).build() }
    }

    /// The run has failed, after progress or without: after how long it is to be started again. Says so.
    ///
    /// # Errors
    /// If it is not: it has failed too often without progress.
    pub(super) fn next(&mut self, why: &str, progress: bool) -> Result<Duration> {
        if progress {
            (self.in_a_row, self.delays) = (0, retry::delays(LONGEST).build());
        }
        self.in_a_row += 1;
        if self.in_a_row >= self.limit {
            let (times, s) = (self.in_a_row, if self.in_a_row == 1 { "" } else { "s" });
            bail!("--restart: giving up after {times} failure{s} without progress, the last one: {why}");
        }
        self.restarts += 1;
        let wait = self.delays.next().unwrap_or(LONGEST);
        let shown = humantime::format_duration(Duration::from_millis(wait.as_millis() as u64));
        let (which, limit) = (self.in_a_row, self.limit);
        tracing::warn!(
            "{why}; starting again in {shown} (failure {which} of {limit} in a row without progress)"
        );
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read() {
        let read = |text: &str| text.parse::<Restart>();
        assert_eq!(read("never"), Ok(Restart::Never));
        assert_eq!(read("on-failure"), Ok(Restart::OnFailure(LIMIT)));
        assert_eq!(read("on-failure:3"), Ok(Restart::OnFailure(3)));
        for wrong in ["", "always", "on-failure:", "on-failure:0", "on-failure:-1", "never:3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn failures_without_progress_have_an_end_and_others_have_none() {
        let mut failures = Failures::new(3);
        let waits: Vec<Duration> = (0..50).map(|_| failures.next("it was killed", true).unwrap()).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(101)), "{waits:?}");
        assert_eq!(failures.restarts, 50);
        let first = failures.next("no space left", false).unwrap();
        let error = failures.next("no space left", false).unwrap_err().to_string();
        assert!(error.contains("3 failures") && error.ends_with("no space left"), "{error}");
        assert!(first >= Duration::from_millis(100), "{first:?}");
    }
}
