//! Committed output, as any reader sees it: read with plain librdkafka and `isolation.level=read_committed`, and the
//! offsets that a group has committed, with their metadata. None of it is the sink's own code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::kafka::Topic;
use super::{DEADLINE, unique};

/// A record of committed output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    /// Its header `epoch`.
    pub epoch: Option<u64>,
    pub key: Option<String>,
    /// `None`: the key is gone.
    pub value: Option<String>,
}

impl Seen {
    fn new(message: &BorrowedMessage<'_>) -> Seen {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Seen {
            partition: message.partition(),
            offset: message.offset(),
            epoch: epoch(message),
            key: message.key().map(text),
            value: message.payload().map(text),
        }
    }
}

/// A dead letter, as its headers have it.
#[derive(Debug)]
pub struct Letter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub message: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Letter {
    /// The dead letter that a record is.
    pub fn of(message: &BorrowedMessage<'_>) -> Letter {
        let header = |name: &str| -> String {
            let headers = message.headers().expect("headers");
            let name = format!("__streams.errors.{name}");
            let header = headers.iter().find(|header| header.key == name);
            let value = header.and_then(|header| header.value).unwrap_or_else(|| panic!("no header {name}"));
            String::from_utf8(value.to_vec()).expect("text")
        };
        Letter {
            topic: header("topic"),
            partition: header("partition").parse().expect("a number"),
            offset: header("offset").parse().expect("a number"),
            message: header("message"),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        }
    }
}

/// All dead letters that a topic holds now.
pub fn letters(topic: &Topic) -> Vec<Letter> {
    let mut letters = Vec::new();
    each(topic, "read_committed", |message| {
        assert!(epoch(message).is_some(), "a header epoch");
        letters.push(Letter::of(message));
    });
    letters
}

/// All committed records that are there now: by partition, in order.
pub fn read(topic: &Topic) -> Vec<Seen> {
    read_as(topic, "read_committed")
}

/// All records that are there now, those of open and aborted transactions included.
pub fn read_uncommitted(topic: &Topic) -> Vec<Seen> {
    read_as(topic, "read_uncommitted")
}

/// Waits until no transaction is open in a topic. Who commits one has its answer before the topic's partitions know of it,
/// and before readers of committed records see the rows.
pub fn settle(topic: &Topic) {
    let [committed, all] = ["read_committed", "read_uncommitted"].map(|isolation| -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &topic.address).set("isolation.level", isolation);
        config.create().expect("a consumer")
    });
    let end = |consumer: &BaseConsumer, partition| {
        consumer.fetch_watermarks(&topic.name, partition, DEADLINE).expect("an answer").1
    };
    let deadline = Instant::now() + DEADLINE;
    for partition in 0..topic.partitions {
        while end(&committed, partition) < end(&all, partition) {
            assert!(Instant::now() < deadline, "a transaction is open in {} {partition}", topic.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn read_as(topic: &Topic, isolation: &str) -> Vec<Seen> {
    let mut records = Vec::new();
    each(topic, isolation, |message| records.push(Seen::new(message)));
    records.sort();
    records
}

/// Shows each record that is there now, those of a partition in order. Returns the partitions' ends: up to the first
/// open transaction, where only committed records are read.
pub fn each(
    topic: &Topic,
    isolation: &str,
    mut show: impl FnMut(&BorrowedMessage<'_>),
) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.address)
        .set("group.id", unique())
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..topic.partitions {
        list.add_partition_offset(&topic.name, partition, Offset::Beginning).expect("an offset");
        let (_, end) = consumer.fetch_watermarks(&topic.name, partition, DEADLINE).expect("an answer");
        ends.insert(partition, end);
    }
    consumer.assign(&list).expect("partitions");
    let deadline = Instant::now() + DEADLINE;
    let mut open = ends.clone();
    while !open.is_empty() {
        assert!(Instant::now() < deadline, "{} was not read to its end", topic.name);
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => match open.get(&message.partition()) {
                Some(&end) if message.offset() < end => show(&message),
                Some(_) => drop(open.remove(&message.partition())),
                None => {}
            },
            // The last offsets may be those of no record.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            // A broker that a test restarts is asked again.
            Some(Err(_)) | None => {}
        }
    }
    ends
}

/// The epoch that a record says it is of.
pub fn epoch(message: &BorrowedMessage<'_>) -> Option<u64> {
    Some(header(message, "epoch")?.parse().expect("an epoch is a number"))
}

/// A record's header of this name.
pub fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let header = message.headers()?.iter().find(|header| header.key == name)?;
    Some(std::str::from_utf8(header.value?).expect("text"))
}

/// What must hold of committed output: in each partition epochs never go back, and within an epoch a key comes once
/// (for `--emit upserts`). Returns the last value of each key; those that are gone are not among them.
#[track_caller]
pub fn latest(records: &[Seen]) -> BTreeMap<String, String> {
    let mut latest = BTreeMap::new();
    let (mut epochs, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for record in records {
        let key = record.key.clone().expect("an upsert has a key");
        let before = epochs.insert(record.partition, record.epoch);
        assert!(before <= Some(record.epoch), "{record:?} comes after epoch {before:?}");
        assert!(seen.insert((record.epoch, key.clone())), "{record:?} is there twice");
        match &record.value {
            Some(value) => drop(latest.insert(key, value.clone())),
            None => drop(latest.remove(&key)),
        }
    }
    latest
}

/// What a group holds of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub offset: i64,
    /// Its metadata, as it is.
    pub metadata: String,
}

#[derive(Deserialize)]
struct Mark {
    job: String,
    epoch: u64,
}

impl Held {
    /// The job and epoch that the metadata names.
    #[track_caller]
    pub fn mark(&self) -> (String, u64) {
        let Mark { job, epoch } = serde_json::from_str(&self.metadata)
            .unwrap_or_else(|error| panic!("{:?} names no job and epoch: {error}", self.metadata));
        (job, epoch)
    }
}

/// What a group holds of a topic's partitions; nothing where it holds nothing.
pub fn held(topic: &Topic, group: &str) -> BTreeMap<i32, Held> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.address)
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(&topic.name, 0, topic.partitions - 1);
    let committed = consumer.committed_offsets(list, DEADLINE).expect("an answer");
    let held = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some(Held { offset, metadata: element.metadata().to_owned() }),
        _ => None,
    };
    committed.elements().iter().filter_map(|e| Some((e.partition(), held(e)?))).collect()
}

/// Looks at a group again and again: its offsets and epochs never go back.
#[derive(Default)]
pub struct Watch(BTreeMap<i32, (i64, u64)>);

impl Watch {
    /// Looks; returns the highest epoch.
    #[track_caller]
    pub fn look(&mut self, topic: &Topic, group: &str) -> u64 {
        for (partition, held) in held(topic, group) {
            let now = (held.offset, held.mark().1);
            let before = self.0.insert(partition, now).unwrap_or_default();
            assert!(
                before.0 <= now.0 && before.1 <= now.1,
                "group {group}, {} partition {partition}: {now:?} after {before:?}",
                topic.name
            );
        }
        self.0.values().map(|(_, epoch)| *epoch).max().unwrap_or(0)
    }
}
