//! Topics: making them, writing to them, reading them, and what groups have committed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cutwater_dataflows::testing::Sample;
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::committed::settle;
use super::{DEADLINE, unique};

/// A cluster.
pub struct Kafka {
    /// Its bootstrap address.
    pub address: String,
}

impl Kafka {
    /// The cluster at this address.
    pub fn at(address: &str) -> Kafka {
        Kafka { address: address.to_owned() }
    }

    /// Makes a topic for this test.
    pub fn topic(&self, partitions: i32) -> Topic {
        self.named_topic(&unique(), partitions)
    }

    /// Makes a topic of this name.
    pub fn named_topic(&self, name: &str, partitions: i32) -> Topic {
        self.make(name, partitions, &[])
    }

    /// Makes a topic for this test, of which only the last record of each key is kept: the others are soon gone,
    /// once there are newer records of whatever key.
    pub fn compacted_topic(&self, partitions: i32) -> Topic {
        let compact =
            [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];
        self.make(&unique(), partitions, &compact)
    }

    /// Makes a topic for this test with one partition, whose records have so many bytes at most.
    pub fn narrow_topic(&self, bytes: usize) -> Topic {
        self.make(&unique(), 1, &[("max.message.bytes", &bytes.to_string())])
    }

    /// Makes a topic for this test with one partition, whose records are of the time at which they are written.
    pub fn topic_of_its_own_time(&self) -> Topic {
        self.make(&unique(), 1, &[("message.timestamp.type", "LogAppendTime")])
    }

    fn make(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Topic {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        retry(name, || {
            let made = block_on(self.admin().create_topics([&topic], &AdminOptions::new()));
            made.expect("an answer").remove(0)
        });
        self.wait_for(name, partitions);
        self.known_topic(name, partitions)
    }

    /// Waits until brokers tell of all partitions of a topic: they learn of them a moment after the controller.
    fn wait_for(&self, topic: &str, partitions: i32) {
        let (deadline, wanted) = (Instant::now() + DEADLINE, partitions as usize);
        let several = self.address.contains(',');
        // Each broker that runs is asked: one may know of a topic that another does not.
        let known = |address| {
            let client: BaseConsumer = config(address).create().expect("a consumer");
            let Ok(metadata) = client.fetch_metadata(Some(topic), SOON) else { return several };
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.filter(|partition| partition.leader() >= 0).count() == wanted
        };
        while !self.address.split(',').all(known) {
            assert!(Instant::now() < deadline, "{topic} has not {partitions} partitions with leaders");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A topic that is there.
    pub fn known_topic(&self, name: &str, partitions: i32) -> Topic {
        Topic { address: self.address.clone(), name: name.to_owned(), partitions }
    }

    /// The names of all topics.
    pub fn topics(&self) -> Vec<String> {
        let client: BaseConsumer = self.config().create().expect("a consumer");
        let metadata = client.fetch_metadata(None, DEADLINE).expect("an answer");
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }

    fn config(&self) -> ClientConfig {
        config(&self.address)
    }
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

/// A broker that runs answers within it.
const SOON: Duration = Duration::from_secs(5);

/// Has a cluster change a topic. A broker on a busy machine may not be heard for so long that the cluster does without it
/// until it is heard again: then there is none to have partitions.
fn retry(topic: &str, change: impl Fn() -> TopicResult) {
    let deadline = Instant::now() + DEADLINE;
    while let Err((_, error)) = change() {
        assert_eq!(error, RDKafkaErrorCode::InvalidReplicationFactor, "changing topic {topic}");
        assert!(Instant::now() < deadline, "changing topic {topic}: {error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A topic.
pub struct Topic {
    /// The cluster's bootstrap address.
    pub address: String,
    pub name: String,
    pub partitions: i32,
}

impl Topic {
    /// Writes lines, one record each, to the partitions by turns.
    pub fn send<S: AsRef<str>>(&self, lines: impl IntoIterator<Item = S>) {
        let writer = self.writer();
        for (line, partition) in lines.into_iter().zip((0..self.partitions).cycle()) {
            writer.send(partition, Some(line.as_ref().as_bytes()));
        }
        writer.flush();
    }

    /// Writes one record.
    pub fn send_to(&self, partition: i32, value: Option<&[u8]>) {
        let writer = self.writer();
        writer.send(partition, value);
        writer.flush();
    }

    /// Writes to this topic.
    pub fn writer(&self) -> Writer {
        self.writer_with(&[])
    }

    /// Writes to this topic, in transactions that the caller begins and ends.
    pub fn transactions(&self) -> Writer {
        self.transactions_with(&[])
    }

    /// As [`Topic::transactions`], with librdkafka properties.
    pub fn transactions_with(&self, properties: &[(&str, &str)]) -> Writer {
        let id = unique();
        // What this test holds open for long on a busy machine is not to be aborted.
        let ours = [("transactional.id", id.as_str()), ("transaction.timeout.ms", "600000")];
        let writer = self.writer_with(&[&ours, properties].concat());
        writer.producer.init_transactions(DEADLINE).expect("transactions");
        writer
    }

    /// Writes to this topic, with librdkafka properties.
    pub fn writer_with(&self, properties: &[(&str, &str)]) -> Writer {
        let mut config = config(&self.address);
        config.set("enable.idempotence", "true").set("linger.ms", "1");
        // The client's limit is a little below the broker's; a line of a megabyte is for both.
        config.set("message.max.bytes", "1048588");
        for (key, value) in properties {
            config.set(*key, *value);
        }
        let producer = config.create_with_context(Deliveries::default()).expect("a producer");
        Writer { producer, topic: self.name.clone() }
    }

    /// Gives the topic more partitions.
    pub fn grow(&mut self, partitions: i32) {
        let kafka = Kafka::at(&self.address);
        let wanted = [NewPartitions::new(&self.name, partitions as usize)];
        retry(&self.name, || {
            let grown = block_on(kafka.admin().create_partitions(&wanted, &AdminOptions::new()));
            grown.expect("an answer").remove(0)
        });
        kafka.wait_for(&self.name, partitions);
        self.partitions = partitions;
    }

    /// Deletes the records below `offset`.
    pub fn expire(&self, partition: i32, offset: i64) {
        let kafka = Kafka::at(&self.address);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset)).expect("an offset");
        let done = block_on(kafka.admin().delete_records(&list, &AdminOptions::new())).expect("an answer");
        done.elements()[0].error().expect("the records are deleted");
    }

    /// Deletes the topic, and returns when it is gone.
    pub fn delete(&self) {
        let kafka = Kafka::at(&self.address);
        let gone = block_on(kafka.admin().delete_topics(&[&self.name], &AdminOptions::new()));
        gone.expect("an answer").remove(0).expect("the topic is deleted");
    }

    /// Where a group stands, by partition; nothing where it stands nowhere.
    pub fn committed(&self, group: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer =
            config(&self.address).set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.name, 0, self.partitions - 1);
        let committed = consumer.committed_offsets(list, DEADLINE).expect("an answer");
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        committed.elements().iter().filter_map(|e| Some((e.partition(), offset(e.offset())?))).collect()
    }

    /// All records that are there, partition by partition, committed ones only.
    pub fn records(&self) -> Vec<Record> {
        settle(self);
        let consumer: BaseConsumer = config(&self.address)
            .set("group.id", unique())
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(&self.name, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("partitions");
        let deadline = Instant::now() + DEADLINE;
        let (mut records, mut open) = (Vec::new(), self.partitions);
        while open > 0 {
            assert!(Instant::now() < deadline, "{} was not read to its end", self.name);
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(Record::new(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => panic!("reading {}: {error}", self.name),
                None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

/// A record that was read.
#[derive(Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: BTreeMap<String, String>,
}

impl Record {
    fn new(message: &BorrowedMessage<'_>) -> Record {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text),
            value: message.payload().map(text),
            headers: headers.map(|h| (h.key.to_owned(), h.value.map(text).unwrap_or_default())).collect(),
        }
    }
}

/// Writes to a topic: idempotent, so each record once, and those of a partition in order.
pub struct Writer {
    pub producer: BaseProducer<Deliveries>,
    topic: String,
}

impl Writer {
    /// Writes a record, soon.
    pub fn send(&self, partition: i32, value: Option<&[u8]>) {
        let record = BaseRecord::to(&self.topic).partition(partition);
        self.write(if let Some(value) = value { record.payload(value) } else { record });
    }

    /// Writes a record with a key, soon.
    pub fn send_keyed(&self, partition: i32, key: &str, value: &[u8]) {
        self.write(BaseRecord::to(&self.topic).partition(partition).key(key.as_bytes()).payload(value));
    }

    /// Writes a record with a key and headers, soon.
    pub fn send_headed(&self, partition: i32, key: &str, value: &[u8], headers: &[(&str, &str)]) {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, &(key, value)| all.insert(Header { key, value: Some(value) }));
        let record = BaseRecord::to(&self.topic).partition(partition).headers(headers);
        self.write(record.key(key.as_bytes()).payload(value));
    }

    /// Writes a record of a dataflow's samples, with its timestamp, soon.
    pub fn send_sample(&self, partition: i32, sample: &Sample) {
        let mut record = BaseRecord::to(&self.topic).partition(partition);
        record.key = sample.key.as_deref();
        record.payload = sample.value.as_deref();
        record.timestamp = sample.timestamp;
        self.write(record);
    }

    /// Writes a record with a key and a null value, soon.
    pub fn delete(&self, partition: i32, key: &str) {
        self.write(BaseRecord::to(&self.topic).partition(partition).key(key.as_bytes()));
    }

    /// Writes a record, soon.
    pub fn write(&self, mut record: BaseRecord<'_, [u8], [u8]>) {
        while let Err((error, back)) = self.producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "writing to {}", self.topic);
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Returns when all records are acknowledged.
    pub fn flush(&self) {
        self.producer.flush(DEADLINE).unwrap_or_else(|error| panic!("writing to {}: {error}", self.topic));
        let failure = self.producer.context().0.lock().expect("no callback panics").clone();
        assert!(failure.is_none(), "writing to {}: {failure:?}", self.topic);
    }
}

/// Keeps the first failed delivery.
#[derive(Default)]
pub struct Deliveries(Mutex<Option<KafkaError>>);

// A broker that a test stops is no news.
impl ClientContext for Deliveries {
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().expect("no callback panics").get_or_insert(error.clone());
        }
    }
}
