//! Asking again: right after a broker has died, partitions have no leader for a moment, or another than was said.

use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::error::KafkaError;

use crate::fault::Fault;
use crate::retry::Retry;

/// The longest wait before the next time.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long to ask again where the cluster answers that it can't.
const ANSWERED: Duration = Duration::from_secs(30);
/// For how long to ask again where it doesn't answer in time: longer than a transaction of somebody else may be open,
/// whose offsets are waited for.
const UNANSWERED: Duration = Duration::from_secs(30 * 60);
/// An answer that takes longer came of no broker, but of a time-out.
const SLOW: Duration = Duration::from_secs(5);

/// Asks the cluster, and again where it gives an error.
///
/// # Errors
/// The last one, if it goes on for half a minute, or half an hour without an answer; at once if it is of another kind
/// than Kafka's, or another part of the run has failed.
pub fn retry<T>(fault: &Fault, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let mut retry = Retry::new(fault, PAUSE, None);
    let start = Instant::now();
    let mut answered = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let error = match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let unanswered = asked.elapsed() >= SLOW;
        if !error.is::<KafkaError>() || answered > ANSWERED || start.elapsed() > UNANSWERED {
            return Err(error);
        }
        retry.wait(&format!("{error:#}"))?;
        if !unanswered {
            answered += asked.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

    fn leaderless<T>() -> Result<T> {
        Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)).context("asking for offsets")
    }

    #[test]
    fn what_the_cluster_can_mend_is_asked_again() {
        let fault = Fault::default();
        let mut times = 0;
        let answer = retry(&fault, || {
            times += 1;
            if times == 1 { leaderless() } else { Ok(7) }
        });
        assert_eq!((answer.unwrap(), times), (7, 2));
        let mut times = 0;
        let error = retry(&fault, || -> Result<()> {
            times += 1;
            Err(anyhow!("the topic was recreated"))
        });
        assert_eq!((error.unwrap_err().to_string().as_str(), times), ("the topic was recreated", 1));
    }

    #[test]
    fn nothing_is_asked_again_after_an_error_elsewhere() {
        let fault = Fault::default();
        let mut times = 0;
        let answer = retry(&fault, || -> Result<()> {
            times += 1;
            fault.raise(anyhow!("no space left"));
            leaderless()
        });
        assert!(answer.is_err());
        assert_eq!(times, 1);
    }
}
