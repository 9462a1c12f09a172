//! The first record of each partition.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::Settings;
use super::topics::Topic;

/// How long to wait for a record at a time.
const POLL: Duration = Duration::from_millis(100);
/// How long to wait at most for a partition.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows the first record that can be read of each partition of these topics, where there is one. Partitions of which nothing is
/// heard for a while are left out. The consumer is of this group, and commits nothing.
///
/// # Errors
/// If there can be no consumer, or what `show` says.
pub(crate) fn each_first(
    settings: &Settings,
    group: &str,
    topics: &[&Topic],
    mut show: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let consumer = settings.consumer(group, 1)?;
    for (topic, partitions) in topics {
        let mut list = TopicPartitionList::new();
        for partition in 0..*partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list).with_context(|| format!("reading the first records of {topic}"))?;
        let mut open: BTreeSet<i32> = (0..*partitions).collect();
        let mut heard = Instant::now();
        while !open.is_empty() && heard.elapsed() < settings.connect_timeout.min(PATIENCE) {
            match consumer.poll(POLL) {
                // What was fetched beyond the first ones comes as well, until something of all partitions has come.
                Some(Ok(record)) if record.topic() == topic && open.remove(&record.partition()) => {
                    heard = Instant::now();
                    show(&record)?;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    open.remove(&partition);
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}
