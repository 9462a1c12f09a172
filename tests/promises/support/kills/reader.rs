//! Reads topics as any program of a user's would that reads committed records only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::kafka::Topic;
use crate::support::{DEADLINE, unique};

/// Shows each committed record of a topic, those of a partition in order. Returns the partitions' ends.
pub fn read(topic: &Topic, mut each: impl FnMut(&BorrowedMessage<'_>)) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.address)
        .set("group.id", unique())
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut ends = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        let (_, end) = consumer.fetch_watermarks(&topic.name, partition, DEADLINE).expect("an answer");
        ends.insert(partition, end);
        list.add_partition_offset(&topic.name, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("partitions");
    let (mut open, mut heard) = (topic.partitions, Instant::now());
    while open > 0 {
        assert!(heard.elapsed() < DEADLINE, "{} was not read to its end", topic.name);
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => each(&message),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => panic!("reading {}: {error}", topic.name),
            None => continue,
        }
        heard = Instant::now();
    }
    ends
}

/// The epoch that a record says it is of.
pub fn epoch(message: &BorrowedMessage<'_>) -> Option<u64> {
    let header = message.headers()?.iter().find(|header| header.key == "epoch")?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}
