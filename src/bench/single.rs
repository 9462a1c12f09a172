//! A bare consumer that is handed one message a call, as rdkafka offers it: what many a call gain is seen beside it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::bare::assign;
use crate::kafka::client::Settings;

/// The longest wait for a message in one call.
const WAIT: Duration = Duration::from_millis(100);

/// What is met of a connection: librdkafka makes it again, and reading goes on.
const CONNECTION: [RDKafkaErrorCode; 4] = [
    RDKafkaErrorCode::AllBrokersDown,
    RDKafkaErrorCode::BrokerTransportFailure,
    RDKafkaErrorCode::OperationTimedOut,
    RDKafkaErrorCode::Resolve,
];

/// Reads these partitions of a topic of this run from their first record to their end, with the settings that word-count
/// has, and drops the records unseen. Returns how many they were, and when the last one was there.
///
/// # Errors
/// If librdkafka does not take the settings; what the consumer meets.
pub(super) fn skip(
    settings: &Settings,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
) -> Result<(u64, Instant)> {
    let consumer = settings.consumer("cutwater-bench", 1)?;
    let wanted = assign(&consumer, topic, partitions)?;
    let mut records = 0;
    while records < wanted {
        match consumer.poll(WAIT) {
            Some(Ok(_)) => records += 1,
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(KafkaError::MessageConsumption(code))) if CONNECTION.contains(&code) => {}
            Some(Err(error)) => return Err(error).context("reading"),
        }
    }
    Ok((records, Instant::now()))
}
