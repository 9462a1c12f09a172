//! Asking again: right after a broker has died, partitions have no leader for a moment, or another than was said.

use std::time::Duration;

use anyhow::Result;
use backon::{BlockingRetryable as _, ConstantBuilder};
use rdkafka::error::KafkaError;

/// How long to wait before the next time.
const PAUSE: Duration = Duration::from_millis(500);
/// How often to ask again: for half a minute, where each answer is an error at once.
const TIMES: usize = 60;

/// Asks the cluster, and again where it gives an error.
///
/// # Errors
/// The last one, if it goes on for half a minute; at once if it is of another kind than Kafka's.
pub fn insist<T>(ask: impl FnMut() -> Result<T>) -> Result<T> {
    ask.retry(ConstantBuilder::new().with_delay(PAUSE).with_max_times(TIMES))
        .when(|error| error.is::<KafkaError>())
        .notify(|error, _| tracing::debug!("{error:#}; asking again"))
        .call()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn what_the_cluster_can_mend_is_asked_again() {
        let leaderless = || KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition);
        let mut times = 0;
        let answer = insist(|| {
            times += 1;
            if times == 1 { Err(leaderless()).context("asking for offsets") } else { Ok(7) }
        });
        assert_eq!((answer.unwrap(), times), (7, 2));
        let mut times = 0;
        let error = insist(|| -> Result<()> {
            times += 1;
            Err(anyhow!("the topic was made anew"))
        });
        assert_eq!((error.unwrap_err().to_string().as_str(), times), ("the topic was made anew", 1));
    }
}
